"""Hydra composition of a user's file with our groups and the overrides of the command line."""

import difflib
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from proctor.configs.errors import ConfigError

HERE = Path(__file__).parent
GROUPS = ("execution", "deployment")
DEFAULTS = "defaults:\n  - execution: local\n  - deployment: none\n  - _self_\n"


def find_file(config_dir: str, config_name: str) -> Path:
    """The config file of a name, with or without its ending. Raises ConfigError with near names."""
    folder = Path(config_dir).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"--config-dir: there is no folder {config_dir!r}")
    candidates = [config_name, f"{config_name}.yaml", f"{config_name}.yml"]
    for name in candidates:
        if (folder / name).is_file():
            return folder / name
    there = sorted(path.stem for path in folder.iterdir() if path.suffix in {".yaml", ".yml"})
    near = difflib.get_close_matches(config_name, there, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it holds {', '.join(there) or 'no config'}"
    raise ConfigError(f"--config-name: there is no {config_name}.yaml in {config_dir}; {hint}")


def read_text(path: Path) -> str:
    """The text of a config file, which is valid YAML with a mapping at its root. Raises ConfigError with the line."""
    try:
        text = path.read_text()
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read {path}: {reason}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if root is None or not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}: a config is a mapping of sections (execution, deployment, target, evaluation)")
    return text


def compose(path: Path, text: str, overrides: Sequence[str]) -> Any:
    """The composed OmegaConf config; interpolations are not resolved yet. Raises ConfigError."""
    from hydra import compose as hydra_compose  # noqa: PLC0415 (0.2 s that `proctor --help` does not pay)
    from hydra import initialize_config_dir  # noqa: PLC0415
    from hydra.core.global_hydra import GlobalHydra  # noqa: PLC0415
    from hydra.errors import HydraException  # noqa: PLC0415
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415

    search = ", ".join(f"'file://{folder.absolute()}'" for folder in (path.parent, HERE))
    GlobalHydra.instance().clear()
    with primary(text) as folder:
        try:
            with initialize_config_dir(str(folder), version_base="1.3"):
                return hydra_compose("primary", [f"hydra.searchpath=[{search}]", *map(forced, overrides)])
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(told(error, path)) from error


@contextmanager
def primary(text: str) -> Iterator[Path]:
    """A folder with the user's text as Hydra's primary config, with our defaults where it has none of its own."""
    has_defaults = re.search(r"^defaults\s*:", text, re.MULTILINE)
    with tempfile.TemporaryDirectory(prefix="proctor-config-") as folder:
        Path(folder, "primary.yaml").write_text(text if has_defaults else f"{DEFAULTS}{text}")
        yield Path(folder)


def forced(override: str) -> str:
    """`a.b=c` as `++a.b=c`: every key of the schema can be set, and the schema refuses the others by name."""
    key, equals, value = override.partition("=")
    if not equals and not override.startswith("~"):
        raise ConfigError(f"-o {override!r} is no override; write KEY=VALUE, for instance -o execution.output_dir=out")
    if key in GROUPS:
        return f"{key}={value}"
    bare = key.lstrip("+")
    return override if override.startswith("~") else f"++{bare}={quoted(value)}"


def quoted(value: str) -> str:
    """A value as Hydra's grammar reads it back: what it cannot parse (a bare URL with `=`, a space) becomes a string."""
    if re.fullmatch(r"[\w./:@%+-]*", value) or value[:1] in {"[", "{", "'", '"'} or value.startswith("${"):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def told(error: Exception, path: Path) -> str:
    """Hydra's complaint as one sentence."""
    text = " ".join(str(error).split())
    missing = re.search(r"Could not find '((\w+)/([^']+))'|In '[^']*': Could not find '((\w+)/([^']+))'", text)
    if missing:
        group, option = missing.group(2) or missing.group(5), missing.group(3) or missing.group(6)
        options = sorted(each.stem for each in (HERE / group).glob("*.yaml"))
        near = difflib.get_close_matches(option, options, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(options)}"
        return f"{path}: there is no {group} {option!r}; {hint}"
    text = text.replace("primary.yaml", path.name).replace("'primary'", f"'{path.name}'")
    return f"{path}: {text.split(' See https:')[0]}"
