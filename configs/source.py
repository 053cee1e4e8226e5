"""The user's file: found by name, read as YAML, and asked for the line of a key when something is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from proctor.configs.errors import ConfigError

HERE = Path(__file__).parent
EXAMPLES = HERE / "examples"
SUFFIXES = (".yaml", ".yml")

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys of mappings and positions in lists."""


@dataclass(frozen=True, slots=True)
class Source:
    """A config file as it was read."""

    path: Path
    text: str

    @property
    def shown(self) -> str:
        """The path as short as it is clear."""
        return str(self.path.relative_to(Path.cwd())) if self.path.is_relative_to(Path.cwd()) else str(self.path)

    def line(self, path: KeyPath) -> int | None:
        """The line on which a key stands, counted from 1; None when the file does not hold it."""
        node: yaml.Node | None = yaml.compose(self.text, Loader=yaml.SafeLoader)
        found: int | None = None
        for segment in path:
            node, found = below(node, segment)
            if node is None:
                return None
        return found


def below(node: yaml.Node | None, segment: str | int) -> tuple[yaml.Node | None, int | None]:
    """The value under a key or position of a YAML node, with its line."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(segment):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and str(segment).isdigit() and int(segment) < len(node.value):
        item = node.value[int(segment)]
        return item, item.start_mark.line + 1
    return None, None


def find_config(config_dir: str | Path | None, config_name: str) -> Source:
    """The file of a config: `NAME.yaml` or `NAME.yml` in a folder, or a path.

    A relative folder that does not exist here is looked up among the folders that come with Proctor (`examples`).
    Raises ConfigError with the nearest names there are.
    """
    folder = config_folder(config_dir)
    wanted = Path(config_name).expanduser()
    names = [wanted] if wanted.suffix in SUFFIXES else [wanted.with_name(wanted.name + end) for end in SUFFIXES]
    for name in names:
        if (folder / name).is_file():
            return read(folder / name)
    near = nearest_config(folder, config_name)
    raise ConfigError(f"there is no config {config_name!r} (.yaml or .yml) in {folder}; {near}")


def config_folder(config_dir: str | Path | None) -> Path:
    """The folder to look in, absolute."""
    folder = Path(config_dir or ".").expanduser()
    if not folder.is_dir() and not folder.is_absolute() and (HERE / folder).is_dir():
        return HERE / folder
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {folder}: there is no such folder")
    return folder.absolute()


def nearest_config(folder: Path, name: str) -> str:
    """What the user may have meant."""
    there = sorted(path.stem for path in folder.iterdir() if path.suffix in SUFFIXES)
    near = get_close_matches(Path(name).stem, there, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"it holds {', '.join(there)}" if there else "it holds no configs at all"


def read(path: Path) -> Source:
    """A file's text. Raises ConfigError when it cannot be read."""
    try:
        return Source(path.absolute(), path.read_text())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def parse(source: Source) -> dict[str, Any]:
    """The document of a config file, interpolations left as they stand. Raises ConfigError with the line at fault."""
    from omegaconf import OmegaConf  # noqa: PLC0415 (60 ms that reading an example's text need not pay)
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415

    try:
        document = OmegaConf.create(source.text or "{}")
        content = OmegaConf.to_container(document, resolve=False)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{source.shown}:{line}: not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source.shown}: not valid YAML: {one_line(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{source.shown}: a part of it contains itself, or it is nested too deeply") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{source.shown}: {one_line(error)}") from error
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{source.shown} holds no config: a mapping with evaluation.tasks is needed")
    return {str(key): value for key, value in content.items()}


def one_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return str(error).strip().partition("\n")[0].strip()


def dotted(path: Sequence[str | int]) -> str:
    """A path as a user writes it: `evaluation.tasks[0].name`."""
    text = ""
    for segment in path:
        text += f"[{segment}]" if isinstance(segment, int) else f".{segment}" if text else segment
    return text
