"""The local commands of the seed documents, run: only the endpoint's address and the harness's image are ours."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import endpoint, machine  # noqa: F401 (fixtures)
from tests.cli.machine import Machine
from tests.engine import fake_harness_image

pytestmark = pytest.mark.live
HERE = Path(__file__).parent
NAMES = ["arc_challenge", "hellaswag", "winogrande"]
MAPPING = (
    '["lm-evaluation-harness"]\ncontainer = "{image}"\ncompletions = ["hellaswag", "arc_challenge", "winogrande"]\n'
)


def command(line: str, evaluation: str = "") -> list[str]:
    """A command line of the documents, without the program's name."""
    return shlex.split(line.replace("<invocation_id>", evaluation))[1:]


def test_the_local_example_runs_and_its_commands_answer(machine: Machine, endpoint: str) -> None:  # noqa: F811
    lines = (HERE / "commands.txt").read_text().splitlines()
    shutil.copytree(HERE / "examples", machine.work / "examples", dirs_exist_ok=True)
    (machine.work / "mapping.toml").write_text(MAPPING.format(image=fake_harness_image()))
    here = ["-o", f"target.api_endpoint.url={endpoint}", "-o", "+evaluation.mapping=mapping.toml"]
    plain, changed = (
        next(
            line
            for line in lines
            if "local_llama" in line and "--dry-run" not in line and ("my_results" in line) == other
        )
        for other in (False, True)
    )
    done = machine.run(*command(plain), *here)
    assert done.returncode == 0, done.stderr
    assert sum(" 0.5 " in line for line in done.stdout.splitlines()) == 3
    (folder,) = (machine.work / "results").glob("*/results.json")
    evaluation = str(json.loads(folder.read_text())["evaluation"])
    for word, shown in (("status", "COMPLETED"), ("info", "meta/llama-3.1-8b-instruct"), ("kill", "already Completed")):
        line = next(each for each in lines if each.split()[1] == word)
        answer = machine.run(*command(line, evaluation))
        assert answer.returncode == 0, answer.stderr
        assert shown in answer.stdout
    assert evaluation in machine.run("ls", "runs").stdout
    export = next(each for each in lines if each.split()[1] == "export")
    assert machine.run(*command(export, evaluation)).returncode == 0
    scores = json.loads((machine.work / "results.json").read_text())["benchmarks"]
    assert sorted(each["benchmark"].rpartition(".")[2] for each in scores) == NAMES
    other = machine.run(*command(changed), *here, "-o", "+config.params.limit_samples=10")
    assert other.returncode == 0, other.stderr
    (found,) = (machine.work / "my_results").glob("*/results.json")
    assert json.loads(found.read_text())["model"] == "model/another/one"
    assert "limit_samples: 10" in (found.parent / "config.yaml").read_text()
