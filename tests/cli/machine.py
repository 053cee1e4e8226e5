"""`proctor` as a user runs it, with a PROCTOR_HOME of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE

PROCTOR = str(Path(sys.executable).parent / "proctor")

CONFIG = """
defaults: [{{execution: simulated}}, {{deployment: none}}, _self_]
execution: {{output_dir: {output}, step_seconds: 1}}
target: {{api_endpoint: {{url: "http://127.0.0.1:9/v1/chat/completions", model_id: tiny}}}}
evaluation: {{tasks: [{{name: mmath_en}}, {{name: mmath_zh}}]}}
"""


@dataclass
class Machine:
    """One user's machine: a folder for Proctor, a folder to work in."""

    home: Path
    work: Path
    first: list[subprocess.CompletedProcess[str]] = field(default_factory=list)
    """What the two `proctor up` said that brought it up at the same time."""

    def environment(self, **variables: str) -> dict[str, str]:
        """The user's shell; `variables` on top."""
        own = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "PROCTOR"))}
        return {**own, "PROCTOR_HOME": str(self.home), "HOME": str(self.work), "COLUMNS": "200", **variables}

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """A command that goes on while the test does; it hears Ctrl-C also where the tests themselves run in the background."""
        return subprocess.Popen(
            ["env", "--default-signal=INT", PROCTOR, *arguments],
            env=self.environment(**variables),
            cwd=self.work,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command that ended."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=2 * PATIENCE)
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, *arguments: str) -> Any:
        """What a command says to programs."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def detached(self, *overrides: str, **variables: str) -> str:
        """The id of an evaluation that was started now."""
        done = self.run("run", "--config", self.config(), *options(overrides), "--detach", **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def config(self, text: str = CONFIG) -> str:
        """A config file that measures nothing real."""
        path = self.work / "simulated.yaml"
        path.write_text(text.format(output=self.work / "results"))
        return str(path)

    @property
    def api_url(self) -> str:
        """The server's address, as its record says."""
        return str(json.loads((self.home / "server.json").read_text())["url"])

    def pids(self) -> dict[str, int]:
        """The processes of the stack."""
        return {name: int(json.loads((self.home / f"{name}.json").read_text())["pid"]) for name in ("server", "worker")}


def options(overrides: tuple[str, ...]) -> list[str]:
    """Overrides as command-line options."""
    return [part for override in overrides for part in ("-o", override)]
