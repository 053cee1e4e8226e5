"""How a step or a server becomes a command line of each container runtime; pure shell text."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from proctor.blocks.job import Container, Mount
from proctor.blocks.slurm.locks import as_they_travel, key_of
from proctor.configs.errors import ConfigError

ENGINES = ("docker", "podman")
REPLACES_PATH = ("pyxis", "charliecloud")
"""Runtimes that give a container the caller's PATH."""

MARKERS = ("PROCTOR_EVALUATION", "PROCTOR_JOB")
RANK = ("MASTER", "SLURM_PROCID", "NIM_HTTP_API_PORT", "NIM_SERVER_PORT")
"""What a server needs to know of the allocation, and its port where only a variable (one of two, by release) tells it."""

NIM_COMMAND = ("/opt/nvidia/nvidia_entrypoint.sh", "/opt/nim/start_server.sh")
"""What a NIM image starts by itself; `srun` starts commands, not entrypoints."""


@dataclass(frozen=True, slots=True)
class Box:
    """A container to start: what runs in which image, and what it sees."""

    key: str
    """`server`, `proxy`, or the number of a step: the end of the container's name."""
    name: str
    """The folder that its words go to."""
    container: Container
    mounts: tuple[Mount, ...]
    argv: tuple[str, ...]
    """What runs in it; empty for what the image itself starts."""
    server: bool = False
    gpus: bool = True
    workdir: str = ""


def prepare(box: Box, runtime: str) -> str:
    """Shell text that brings the image or the environment to the node."""
    image, name = box.container.image or "", shlex.quote(box.name)
    if runtime == "none":
        packages = as_they_travel(box.container.packages)
        return f"environment {name} {key_of(*packages)} {shlex.join(packages)}" if packages else ":"
    if runtime in ENGINES:
        return f"pull {name} {shlex.quote(image)}"
    places = f"places {stored(image, runtime)} {shlex.join(mount.target for mount in box.mounts)}"
    if image.startswith("/"):
        return places if runtime == "charliecloud" else ":"
    words = {
        "pyxis": ("enroot_import", *enroot_uris(image)),
        "apptainer": ("apptainer_pull", f"docker://{image}"),
        "charliecloud": ("charliecloud_pull", image),
    }[runtime]
    text = f"import {name} {shlex.quote(image)} {stored(image, runtime)} {shlex.join(words)}"
    return f"{text} &&\n    {places}" if runtime == "charliecloud" else text


def stored(image: str, runtime: str) -> str:
    """Where an imported image is kept: by digest for ever, by tag for this evaluation, since a tag may move."""
    suffix = {"pyxis": ".sqsh", "apptainer": ".sif", "charliecloud": ".dir"}[runtime]
    if image.startswith("/"):
        return shlex.quote(image)
    short = re.sub(r"[^A-Za-z0-9.]+", "-", image.partition("@")[0])[-60:]
    when = "" if "@sha256:" in image else ".tag-$EVALUATION"
    return f'"$CACHE/{short}-{key_of(image)}{when}{suffix}"'


def enroot_uris(image: str) -> tuple[str, str]:
    """`docker://REGISTRY#REPOSITORY` with tag or digest, in the two spellings that releases of enroot know."""
    reference, at, digest = image.partition("@")
    if "#" not in reference:
        host, slash, rest = reference.partition("/")
        if slash and ("." in host or ":" in host or host == "localhost"):
            reference = f"{host}#{rest}"
    if not at:
        return f"docker://{reference}", f"docker://{reference}"
    registry, hash_sign, repository = reference.rpartition("#")
    bare = f"{registry}{hash_sign}{repository.partition(':')[0]}"
    return f"docker://{bare}@{digest}", f"docker://{bare}:{digest}"


def command(box: Box, runtime: str, mount_home: bool) -> str:
    """Shell text behind `srun OPTIONS`: the rest of its options, and what it runs."""
    return {
        "docker": engine,
        "podman": engine,
        "pyxis": pyxis,
        "apptainer": apptainer,
        "charliecloud": charliecloud,
        "none": plain,
    }[runtime](box, runtime, mount_home)


def engine(box: Box, runtime: str, mount_home: bool) -> str:
    """docker run, podman run."""
    words = [runtime, "run", f'--name="$CONTAINER-{box.key}"', "--init", "--network=host"]
    words += [
        f'--label=proctor.{key}="${variable}"' for key, variable in (("evaluation", "EVALUATION"), ("job", "JOB"))
    ]
    words.append(f"--label=proctor.step={shlex.quote(box.name)}")
    names = variable_names(box)
    words += [f"--env={name}" for name in names]
    if not box.server and runtime == "docker":
        words += ['--user="$(id -u):$(id -g)"', *([] if "HOME" in names else ["--env=HOME=/tmp"])]
    if box.server:
        words.append("--ipc=host")
    if box.gpus and runtime == "docker":
        words.append('${GPUS:+--gpus="\\"device=$GPUS\\""}')
    elif box.gpus:
        words.append('"${GPU_DEVICES[@]}"')
    if runtime == "docker":
        # its daemon starts containers outside of the job's cgroup, podman inside of it
        words.append('${SLURM_MEM_PER_NODE:+"--memory=${SLURM_MEM_PER_NODE}m" "--memory-swap=${SLURM_MEM_PER_NODE}m"}')
    words += [f"--mount={bind(mount, runtime)}" for mount in box.mounts]
    words += [f"--workdir={shlex.quote(box.workdir)}"] if box.workdir else []
    if box.argv:
        words.append(f"--entrypoint={shlex.quote(box.argv[0])}")
    return lines([*words, image_word(box), *map(shlex.quote, box.argv[1:])])


def variable_names(box: Box) -> list[str]:
    """The variables that a container gets from the shell that starts it."""
    ours = [*MARKERS, *(RANK if box.server else ())]
    return list(dict.fromkeys([*ours, *(variable.name for variable in box.container.env)]))


def image_word(box: Box) -> str:
    """The image, which must not look like an option."""
    image = box.container.image or ""
    if image.startswith("-"):
        raise ConfigError(f"container: {image!r} is no name of an image")
    return shlex.quote(image)


def bind(mount: Mount, runtime: str) -> str:
    """A `--mount` value: one CSV record, so that paths may hold anything."""
    fields = ["type=bind", f"source={mount.source}", f"destination={mount.target}"]
    fields += ["readonly" if runtime != "apptainer" else "ro"] if mount.read_only else []
    quoted = ['"' + field.replace('"', '""') + '"' if re.search(r'[",\n\r ]', field) else field for field in fields]
    return shlex.quote(",".join(quoted))


def pyxis(box: Box, runtime: str, mount_home: bool) -> str:
    """srun's own options of the pyxis plugin."""
    words = [f"--container-image={stored(box.container.image or '', runtime)}"]
    words.append(f"--container-mounts={shlex.quote(','.join(colons(mount) for mount in box.mounts))}")
    words.append("--container-mount-home" if mount_home else "--no-container-mount-home")
    words.append(f"--container-env={','.join(variable_names(box))}")
    words += [f"--container-workdir={shlex.quote(box.workdir)}"] if box.workdir else []
    return lines([*words, *map(shlex.quote, box.argv or NIM_COMMAND)])


def colons(mount: Mount) -> str:
    """SOURCE:TARGET[:ro], for runtimes that cannot quote."""
    for path in (mount.source, mount.target):
        if re.search(r"[:,\n]", path):
            raise ConfigError(
                f"mounts: {path!r} holds a colon, a comma or a line break, which this runtime cannot mount"
            )
    return f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")


def apptainer(box: Box, runtime: str, mount_home: bool) -> str:
    """apptainer exec, or run for what the image itself starts."""
    words = ["apptainer", "exec" if box.argv else "run", "${GPUS:+--nv}"]
    words += [] if mount_home else ["--no-home"]
    words += [f"--mount={bind(mount, runtime)}" for mount in box.mounts]
    words += [f"--pwd={shlex.quote(box.workdir)}"] if box.workdir else []
    return lines([*words, stored(box.container.image or "", runtime), *map(shlex.quote, box.argv)])


def charliecloud(box: Box, runtime: str, mount_home: bool) -> str:
    """ch-run, which mounts everything writable."""
    if not box.argv:
        raise ConfigError("deployment.command is missing; charliecloud does not start what an image names by itself")
    words = ["ch-run", *(["--home"] if mount_home else [])]
    words += [f"--bind={shlex.quote(colons(Mount(mount.source, mount.target)))}" for mount in box.mounts]
    words += [f"--cd={shlex.quote(box.workdir)}"] if box.workdir else []
    return lines([*words, stored(box.container.image or "", runtime), "--", *map(shlex.quote, box.argv)])


def plain(box: Box, runtime: str, mount_home: bool) -> str:
    """No container: the environment was prepared, the folder is the place itself."""
    if not box.argv:
        raise ConfigError("deployment.command is missing; without containers there is nothing that starts by itself")
    folder = f"--chdir={shlex.quote(box.workdir)} " if box.workdir else ""
    return folder + " ".join(map(shlex.quote, box.argv))


def lines(words: Sequence[str]) -> str:
    """One word a line, continued."""
    return " \\\n    ".join(words)
