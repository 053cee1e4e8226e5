"""Which Prefect server is meant, by Prefect's own rules and without importing it: environment, files, profile."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """A Prefect REST API, what it wants to see from us, and where we learnt of it."""

    url: str
    source: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def on_this_machine(self) -> bool:
        """Whether its workers may share our files, as those of the machine's own stack do."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "localhost", "::1"}


def configured(environment: Mapping[str, str], folder: Path) -> Address | None:
    """The server that the environment, a prefect.toml or pyproject.toml in `folder`, or the active profile names."""
    settings = profile(environment)
    source = "the active Prefect profile"
    for name, table in (("pyproject.toml", ("tool", "prefect", "api")), ("prefect.toml", ("api",))):
        api = section(toml(folder / name), table)
        if api:
            settings |= {f"PREFECT_API_{key.upper()}": str(value) for key, value in api.items()}
            source = name if "url" in api else source
    settings |= {key: value for key, value in environment.items() if key.startswith("PREFECT_API_") and value}
    source = "PREFECT_API_URL" if environment.get("PREFECT_API_URL") else source
    url = settings.get("PREFECT_API_URL")
    return Address(url.rstrip("/"), source, credentials(settings)) if url else None


def profile(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of the active profile."""
    home = Path(environment.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    document = toml(Path(environment.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser())
    active = environment.get("PREFECT_PROFILE") or document.get("active") or ""
    return {key: str(value) for key, value in section(document, ("profiles", str(active))).items()}


def credentials(settings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers that a protected server asks for."""
    if key := settings.get("PREFECT_API_KEY"):
        return (("Authorization", f"Bearer {key}"),)
    if text := settings.get("PREFECT_API_AUTH_STRING"):
        from base64 import b64encode  # noqa: PLC0415 (rare)

        return (("Authorization", f"Basic {b64encode(text.encode()).decode()}"),)
    return ()


def toml(path: Path) -> dict[str, Any]:
    """A TOML file; nothing when there is none, or none that can be read."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def section(document: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A table inside a TOML document; empty when it is not there."""
    found: Any = document
    for name in names:
        found = found.get(name, {}) if isinstance(found, Mapping) else {}
    return dict(found) if isinstance(found, Mapping) else {}


def here() -> Address | None:
    """The server that a user of this shell and folder means; None when nothing is configured."""
    return configured(os.environ, Path.cwd())
