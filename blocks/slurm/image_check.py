"""Can the cluster get the images? Asked by the login node, which pulls nothing. Pure."""

import re
import shlex
from collections.abc import Sequence

from proctor.blocks.finding import Finding, ok, problem, warning
from proctor.blocks.job import JobSpec
from proctor.blocks.slurm.runtimes import ENGINES, stored
from proctor.configs.execution_schema import SlurmExecution

HUB = "registry-1.docker.io"
TYPES = ("docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2", "oci.image.index.v1")
HERE, NO_FILE = "here", "no file"


def images(execution: SlurmExecution, jobs: Sequence[JobSpec]) -> list[str]:
    """Every image, once; none where nothing runs in containers."""
    if execution.container_runtime == "none":
        return []
    containers = [step.container for job in jobs for step in job.steps]
    containers += [job.server.container for job in jobs if job.server]
    return list(dict.fromkeys(each.image for each in containers if each.image))


def image_question(image: str, execution: SlurmExecution) -> str:
    """Shell text that prints `here`, `no file`, or the HTTP status with which the image's registry answers."""
    if image.startswith("/"):
        return f"test -e {shlex.quote(image)} && echo {HERE} || echo {NO_FILE}"
    kept = ""
    if execution.container_runtime not in ENGINES and "@sha256:" in image:
        cache = execution.image_cache or f"{execution.output_dir}/.proctor-cache"
        kept = f"CACHE={shlex.quote(cache)}; "
        kept += f"test -e {stored(image, execution.container_runtime)} && echo {HERE} && exit; "
    accept = ", ".join(f"application/vnd.{each}+json" for each in TYPES)
    ask = ["curl", "-sSIL", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Accept: {accept}"]
    return f"{kept}{shlex.join([*ask, manifest_url(image)])}"


def manifest_url(image: str) -> str:
    """Where a registry describes an image."""
    name, _, digest = image.replace("#", "/").partition("@")
    host, slash, rest = name.partition("/")
    if not (slash and ("." in host or ":" in host or host == "localhost")):
        host, rest = HUB, name if slash else f"library/{name}"
    elif host == "docker.io":
        host = HUB
    repository, _, tag = rest.partition(":")
    return f"https://{host}/v2/{repository}/manifests/{digest or tag or 'latest'}"


def image_finding(image: str, code: int, text: str) -> Finding:
    """What an answer means."""
    words = text.strip(" ;")
    if HERE in words.split(";"):
        return ok(f"image {image} is on the cluster")
    if words == NO_FILE:
        return problem(f"the cluster has no image {image}", "correct its path")
    if code == 127:
        return warning(
            f"nobody can say whether the cluster gets {image}: its login node has no curl", "see docs/slurm.md"
        )
    status = re.search(r"(\d{3})$", words)
    if code or status is None or status[1] == "000":
        told = re.sub(r"[; ]*000$", "", words)
        advice = "compute nodes may reach it; else import the image first and give the path of its file"
        return warning(f"the login node cannot reach the registry of {image}: {told}", advice)
    if status[1] == "404":
        return problem(f"the registry has no image {image}", "check its name, tag and digest")
    if status[1] in {"401", "403"}:
        return ok(f"the registry of {image} answers the cluster; whether it lets you in shows when the job starts")
    return ok(f"image {image} can be had by the cluster")
