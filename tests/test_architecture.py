"""The rules of docs/architecture.md, checked on the source itself."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("flows", "tasks", "blocks", "configs", "cli", "demo")

ALLOWED = {
    "flows": {"flows", "tasks", "blocks", "configs"},
    "tasks": {"tasks", "blocks", "configs"},
    "blocks": {"blocks", "configs"},
    "configs": {"configs"},
    "cli": {"cli", "flows", "tasks", "blocks", "configs", "demo"},
    "demo": {"demo"},
}
"""Which room may import from which; nothing imports cli."""

PURE = (
    "configs/*.py",
    "blocks/installed.py",
    "blocks/job.py",
    "blocks/**/render.py",
    "blocks/**/parse.py",
    "blocks/stages.py",
)
PURE_TASKS = ("contradictions", "endpoint", "harness", "notes", "plan", "report", "resolve", "results", "servers")
IMPURE = {"prefect", "subprocess", "socket", "httpx", "docker", "paramiko", "leptonai", "psutil"}

MODULE_LINES = 400
FUNCTION_LINES = 40


def sources() -> list[Path]:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return [path for path in files if "harness" not in path.relative_to(ROOT).parts[:2]]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Every module that a file imports, by full name."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_rooms_import_only_downwards(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    used = {name.split(".")[1] for name in imports(path) if name.startswith("proctor.")}
    assert used <= ALLOWED[room], f"{relative(path)} imports from {used - ALLOWED[room]}"


def pure_modules() -> list[Path]:
    found = [path for pattern in PURE for path in ROOT.glob(pattern)]
    return found + [ROOT / "tasks" / f"{name}.py" for name in PURE_TASKS]


@pytest.mark.parametrize("path", pure_modules(), ids=relative)
def test_pure_modules_import_nothing_that_acts(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)} & IMPURE
    assert not used, f"{relative(path)} is pure by design but imports {used}"


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MODULE_LINES, f"{relative(path)} is two things; split it by meaning"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES, f"{relative(path)}:{node.lineno} {node.name} has {lines} lines"


def test_flows_hold_no_classes() -> None:
    for path in (ROOT / "flows").glob("*.py"):
        classes = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
        assert not classes, f"{relative(path)} defines {classes}; Prefect may load a flow file twice"


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc"])
def test_no_room_without_a_meaning(name: str) -> None:
    assert not [path for room in ROOMS for path in (ROOT / room).rglob(f"{name}*") if "harness" not in path.parts]


def test_no_mocks_at_boundaries() -> None:
    pattern = re.compile(r"unittest\.mock|\bMagicMock\b|\bmocker\b|monkeypatch\.setattr\([^)]*subprocess")
    guilty = [
        relative(path)
        for path in (ROOT / "tests").rglob("*.py")
        if path != Path(__file__) and pattern.search(path.read_text())
    ]
    assert not guilty, "tests talk to real parts"


def test_every_dependency_says_why() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    requirement = re.compile(r'^  "[a-z0-9-]+(\[[a-z]+\])?[<>=!~0-9.,]*",')
    silent = [line for line in lines if requirement.match(line) and "#" not in line]
    assert not silent, "each dependency has one line of reason"


DRY_RUN = "run --config-dir examples --config-name slurm_llama_3_1_8b_instruct --dry-run"


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "tasks"], ["run", "--help"], DRY_RUN.split()], ids=" ".join)
def test_light_commands_do_not_import_prefect(arguments: list[str]) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from proctor.cli.main import cli;"
        f"result = CliRunner().invoke(cli, {arguments!r}); assert result.exit_code == 0, result.output;"
        "heavy = {'prefect', 'docker', 'fastapi'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_script_is_called_or_shown_by_something() -> None:
    places = [ROOT / "Makefile", *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    places += [
        path for room in ("scripts", "tests", "benchmarks") for path in (ROOT / room).rglob("*") if path.is_file()
    ]
    texts = {path: path.read_text(errors="ignore") for path in places if path != Path(__file__)}
    for script in (ROOT / "scripts").iterdir():
        users = [path for path, text in texts.items() if path != script and script.stem in text]
        assert script.is_dir() or users, f"nothing calls scripts/{script.name}"
