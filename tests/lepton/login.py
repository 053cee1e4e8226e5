"""How a test's configuration reaches the stand-in."""

from typing import Any

import pytest

from tests.lepton.service import Service


def log_in(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    """Put the token where users put it."""
    monkeypatch.setenv("LEPTON_API_TOKEN", service.token)


def section(service: Service, **more: Any) -> dict[str, Any]:
    """An `execution:` section for the stand-in."""
    place = {"type": "lepton", "workspace": service.workspace, "workspace_url": service.url}
    return {**place, "resource_shape": "cpu.small", "endpoint_readiness_timeout": 30, **more}
