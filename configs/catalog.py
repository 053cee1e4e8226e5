"""The catalog of benchmarks: mapping.toml as typed values, with look-up by name."""

import difflib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from proctor.configs.errors import ConfigError

HERE = Path(__file__).parent
MAPPING = HERE / "mapping.toml"
ENDPOINT_TYPES = ("chat", "completions", "embedding", "vlm")
TEXTS = ("container", "digest", "arch")
KNOWN_KEYS = {*TEXTS, "packages", "logprobs", *ENDPOINT_TYPES}


@dataclass(frozen=True, slots=True)
class Entry:
    """One benchmark of the catalog."""

    harness: str
    benchmark: str
    endpoint_type: str
    container: str | None
    digest: str | None
    arch: str
    packages: tuple[str, ...]
    required_capabilities: tuple[str, ...]

    @property
    def name(self) -> str:
        """The full name, `harness.benchmark`."""
        return f"{self.harness}.{self.benchmark}"

    @property
    def image(self) -> str | None:
        """The image by digest where one is known."""
        return by_digest(self.container, self.digest) if self.container else None


def by_digest(container: str, digest: str | None) -> str:
    """`repository@sha256:...` from an image with a tag and its digest; the image itself when no digest is known."""
    if not digest or "@" in container:
        return container
    repository, colon, tag = container.rpartition(":")
    return f"{repository if colon and '/' not in tag else container}@{digest}"


@dataclass(frozen=True, slots=True)
class Catalog:
    """All benchmarks that mapping.toml (and a mapping of the user's) lists."""

    entries: Mapping[str, Entry]
    """By full name, in the order of the file."""

    def find(self, name: str) -> Entry | None:
        """The entry of `benchmark` or `harness.benchmark`, or None when it is not listed.

        Raises ConfigError, with the full names to choose from, for a short name that several harnesses offer.
        """
        if name in self.entries:
            return self.entries[name]
        found = [entry for entry in self.entries.values() if entry.benchmark == name]
        if len(found) > 1:
            names = " or ".join(entry.name for entry in found)
            raise ConfigError(f"evaluation.tasks: {name!r} is offered by several harnesses; write {names}")
        return found[0] if found else None

    def check(self, name: str, *, own: Collection[str], trusted: bool) -> None:
        """Raise ConfigError for a benchmark that cannot run, or that is not ours to vouch for without `trust_unlisted`.

        `own` says what the config brings for it itself: `container`, `packages`.
        """
        if self.find(name) is not None:
            if "container" in own and not trusted:
                raise ConfigError(
                    f"evaluation.tasks: {name!r} brings a container of its own, which mapping.toml does not list; "
                    "to run it, set evaluation.trust_unlisted: true"
                )
            return
        near = " or ".join(repr(each) for each in self.nearest(name))
        hint = f"did you mean {near}?" if near else "`proctor ls tasks` lists them all"
        harness, dot, _ = name.partition(".")
        if not dot or (self.harness(harness) is None and not own):
            raise ConfigError(f"evaluation.tasks: there is no benchmark {name!r}; {hint}")
        if not trusted:
            raise ConfigError(
                f"evaluation.tasks: {name!r} is not listed in mapping.toml ({hint}); "
                "to run it all the same, set evaluation.trust_unlisted: true"
            )

    def harness(self, name: str) -> Entry | None:
        """Any entry of this harness, for its image and packages."""
        return next((entry for entry in self.entries.values() if entry.harness == name), None)

    def nearest(self, name: str) -> list[str]:
        """Up to three listed names that look like this one."""
        short = {entry.benchmark for entry in self.entries.values()}
        return difflib.get_close_matches(name, [*short, *self.entries], n=3, cutoff=0.6)


@cache
def load_catalog(mapping: Path | None = None) -> Catalog:
    """Our catalog, with a mapping.toml of the user's before it. Raises ConfigError for a file that does not fit."""
    tables = dict(read_mapping(MAPPING))
    if mapping is not None:
        tables |= read_mapping(mapping)
    entries: dict[str, Entry] = {}
    for harness, table in tables.items():
        entries |= {entry.name: entry for entry in harness_entries(harness, table)}
    return Catalog(entries)


def read_mapping(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of one mapping file, checked."""
    try:
        tables: dict[str, dict[str, Any]] = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"evaluation.mapping: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"evaluation.mapping: {path} is not text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"evaluation.mapping: {path} is not valid TOML: {error}") from error
    for harness, table in tables.items():
        unknown = sorted(set(table) - KNOWN_KEYS) if isinstance(table, dict) else ["this value, which is no table"]
        if unknown:
            near = difflib.get_close_matches(unknown[0], KNOWN_KEYS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it may hold {', '.join(sorted(KNOWN_KEYS))}"
            raise ConfigError(f"{path}: [{harness}] does not know {unknown[0]!r}{hint}")
        for key, value in table.items():
            if not fits(key, value):
                wanted = "text" if key in TEXTS else "a list of texts"
                raise ConfigError(f"{path}: [{harness}] {key}: it must be {wanted}")
    return tables


def fits(key: str, value: Any) -> bool:
    """Whether a value is of the kind that its key has."""
    if key in TEXTS:
        return isinstance(value, str)
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def harness_entries(harness: str, table: Mapping[str, Any]) -> list[Entry]:
    """The benchmarks of one harness table."""
    packages = tuple(package.replace("{demo}", str(HERE.parent / "demo")) for package in table.get("packages", ()))
    logprobs = set(table.get("logprobs", ()))
    return [
        Entry(
            harness=harness,
            benchmark=benchmark,
            endpoint_type=endpoint_type,
            container=table.get("container"),
            digest=table.get("digest"),
            arch=table.get("arch", "multiarch"),
            packages=packages,
            required_capabilities=("logprobs",) if benchmark in logprobs else (),
        )
        for endpoint_type in ENDPOINT_TYPES
        for benchmark in table.get(endpoint_type, ())
    ]
