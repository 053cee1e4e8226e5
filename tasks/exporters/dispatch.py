"""Sending an evaluation's scores to a destination, with the variables that its library reads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from proctor.blocks.errors import ExportError
from proctor.configs.errors import ConfigError
from proctor.configs.export_schema import ENVIRONMENT, Destination, DestinationSettings
from proctor.configs.host_env import host_value
from proctor.tasks.outgoing import Receipt, outgoing, receipt, without_login
from proctor.tasks.results import EvaluationResult


def send(result: EvaluationResult, destination: Destination, settings: DestinationSettings, folder: str) -> Receipt:
    """Export once more or for the first time: the destination holds the evaluation once afterwards.

    `folder` is the evaluation's own. Raises ExportError, which says whether trying again may help.
    """
    exporter: Any = import_module(f"proctor.tasks.exporters.{destination}")
    try:
        sent = outgoing(result, destination, settings)
        with lent(destination):
            where: str = exporter.export(sent, settings, folder)
    except ExportError as error:
        raise ExportError(without_login(str(error)), error.again) from None
    except ConfigError as error:
        raise ExportError(str(error), again=False) from None
    except ImportError as error:
        missing = f"export.destinations: {destination} needs a package that is not installed here ({error.name})"
        raise ExportError(f"{missing}: pip install 'proctor[{destination}]'", again=False) from None
    except Exception as error:  # noqa: BLE001 what a library raises that we do not know is no reason for a traceback
        words = (str(error).splitlines() or ["no words"])[0][:300]
        raise ExportError(without_login(f"{destination}: {type(error).__name__}: {words}"), again=True) from None
    return receipt(destination, without_login(where), sent)


@contextmanager
def lent(destination: Destination) -> Iterator[None]:
    """Let a library see the variables that were handed over for this evaluation, as long as it works."""
    names = ENVIRONMENT.get(destination, ())
    before = {name: os.environ.get(name) for name in names}
    found = {name: value for name in names if (value := host_value(name, os.environ)) is not None}
    os.environ.update(found)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
