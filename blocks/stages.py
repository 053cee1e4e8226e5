"""The POSIX sh wrapper that every benchmark runs through, on every backend; pure text.

The wrapper needs nobody: it claims its step, waits for its turn and for the server, runs the harness under its clock
and leaves stage files in the step's output folder, where `proctor.blocks.stage_files` reads them. It runs in dash,
busybox sh and bash. Paths and names come in as values and are quoted here and nowhere else.
"""

import json
import shlex
from dataclasses import dataclass
from importlib.resources import files
from math import ceil

from proctor.blocks.job import JobSpec, Server, Step

EXIT_TIMEOUT = 124
EXIT_UNAVAILABLE = 69
"""The endpoint or server never answered (EX_UNAVAILABLE of sysexits.h)."""
EXIT_NO_RESULTS = 65
"""The harness ended with 0 and left no results.yml (EX_DATAERR)."""
EXIT_CANNOT_START = 126
"""The environment of a step cannot be built, so nothing of it ran."""
EXIT_INTERRUPTED = 143
GRACE_SECONDS = 12
"""Between TERM and KILL for a harness that is told to end; with what comes before and after, a cancelled one is gone in 30 s."""

COUNT_SECONDS = "5"
"""Between two looks at a response cache."""


def step_marker(job_name: str, step: str) -> str:
    """The value of PROCTOR_STEP in the environment of every process of a step; the wrapper ends them by it."""
    return f"{job_name}/{step}/"


@dataclass(frozen=True, slots=True)
class StepPaths:
    """Where things are, as the step sees them."""

    results: str
    """The step's output folder."""
    job: str
    """The folder that holds the output folders of all steps; read only is enough."""
    order: str
    """A file with the job's step names, one a line, in order."""
    run_config: str
    """The YAML document for the harness."""
    server: str = "server"
    """The server's folder beside those of the steps."""


def step_wrapper(job: JobSpec, step: Step, paths: StepPaths, ready_timeout: float, *, counted: bool = False) -> str:
    """The complete script of one step; `ready_timeout` is the endpoint's, and a server of the job has its own.

    Where the requests are `counted`, their number so far is kept in `.proctor/requests` of the step's folder.
    """
    return step_head(job, step, paths, ready_timeout, counted=counted) + step_body()


def step_body() -> str:
    """What the scripts of all steps have in common; it comes after the head of one."""
    return texts("lib.sh", "step.sh")


def step_head(job: JobSpec, step: Step, paths: StepPaths, ready_timeout: float, *, counted: bool = False) -> str:
    """What is special about the script of one step."""
    values = {
        "JOB": job.name,
        "STEP": step.name,
        "OUT": paths.results,
        "ALL": paths.job,
        "ORDER": paths.order,
        "SERVER": paths.server,
        "MAX": str(job.max_parallel),
        "TIMEOUT": str(ceil(step.timeout)) if step.timeout else "",
        "GRACE": str(GRACE_SECONDS),
        "READY_TIMEOUT": str(ceil(job.server.ready_timeout if job.server else ready_timeout)),
        "COMMAND": harness_command(step, paths.run_config),
        "POST": step.post_cmd,
        "COUNT": COUNT_SECONDS if counted else "",
        **waiting_values(job.server, step),
    }
    exports = {
        "NEMO_EVALUATOR_TELEMETRY_LEVEL": "0",
        # on TERM it waits so long for its children, one of which (multiprocessing's resource tracker) never obeys
        "NEMO_EVALUATOR_SHUTDOWN_TIMEOUT_SECONDS": "5",
        # or a harness's lines would wait in its buffer while a user follows its log
        "PYTHONUNBUFFERED": "1",
    }
    return assignments(values, exports)


def server_wrapper(job: JobSpec, server: Server, folder: str) -> str:
    """The script that runs a server's command in `folder`, where it leaves the same stage files as a step does."""
    values = {"JOB": job.name, "STEP": "server", "OUT": folder, "ALL": "", "GRACE": str(GRACE_SECONDS)}
    values["COMMAND"] = server_command(server)
    return script(values, {"PYTHONUNBUFFERED": "1"}, "lib.sh", "server.sh")


def server_command(server: Server) -> str:
    """Shell text that becomes the server, so that signals reach it: pre_cmd, then the command in place of the shell.

    A command of several parts (`cd there && serve`) stays a child of the shell.
    """
    command = server.command or ""
    text = f"exec {command}" if single(command) else command
    return f"{server.pre_cmd}\n{text}".lstrip("\n")


def single(command: str) -> bool:
    """Whether shell text is one program with its arguments, which `exec` can start."""
    reader = shlex.shlex(command, posix=True, punctuation_chars=";&|()")
    reader.commenters = ""
    try:
        words = list(reader)
    except ValueError:
        return False
    operators = any(word and not word.strip(";&|()") for word in words)
    return not operators and "\n" not in command.strip() and "=" not in command.strip().split(" ")[0]


def waiting_values(server: Server | None, step: Step) -> dict[str, str]:
    """What the wrapper waits for before it starts the harness: our server, or any answer of the endpoint."""
    if server is None:
        return {"HEALTH_URL": "", "MODELS_URL": models_url(step.endpoint_url), "MODEL": "", "MODEL_AS_JSON": ""}
    base = f"http://127.0.0.1:{server.port}"
    return {
        "HEALTH_URL": base + server.health_path,
        "MODELS_URL": base + server.models_path,
        "MODEL": server.served_model,
        "MODEL_AS_JSON": "\n".join(spellings(server.served_model)),
    }


def spellings(name: str) -> list[str]:
    """The ways in which a JSON document may spell a name."""
    plain = [json.dumps(name), json.dumps(name, ensure_ascii=False)]
    return list(dict.fromkeys([*plain, *(text.replace("/", "\\/") for text in plain)]))


def models_url(endpoint_url: str) -> str:
    """The listing of models beside an OpenAI-compatible route, or the URL itself when it is another one."""
    for route in ("/chat/completions", "/completions", "/embeddings"):
        if endpoint_url.endswith(route):
            return endpoint_url.removesuffix(route) + "/models"
    return endpoint_url


def harness_command(step: Step, run_config: str) -> str:
    """Shell text that becomes the harness: pre_cmd first, in the same shell, so that its exports count."""
    config = shlex.quote(run_config)
    return (
        f"{step.pre_cmd}\n"
        "if command -v nemo-evaluator >/dev/null 2>&1; then\n"
        f"  exec nemo-evaluator run_eval --run_config {config}\n"
        "elif command -v eval-factory >/dev/null 2>&1; then\n"
        f"  exec eval-factory run_eval --run_config {config}\n"
        "fi\n"
        "echo 'proctor: neither nemo-evaluator nor eval-factory is installed in this environment' >&2\n"
        "exit 127\n"
    ).lstrip("\n")


def script(values: dict[str, str], exports: dict[str, str], *parts: str) -> str:
    """A shell script: quoted assignments, then the named files beside this module."""
    return assignments(values, exports) + texts(*parts)


def assignments(values: dict[str, str], exports: dict[str, str]) -> str:
    """The beginning of a shell script."""
    lines = ["#!/bin/sh", "# Written by Proctor; see docs/architecture.md."]
    lines += [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    return "\n".join(lines) + "\n"


def texts(*parts: str) -> str:
    """The named files beside this module."""
    folder = files("proctor.blocks") / "wrapper"
    return "\n".join((folder / part).read_text() for part in parts)
