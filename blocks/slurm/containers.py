"""How a container starts inside a Slurm step, for each `execution.container_runtime`; pure."""

import shlex
from collections.abc import Sequence

from proctor.blocks.job import Container, Mount
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import SlurmExecution


def launch(
    execution: SlurmExecution, container: Container, mounts: Sequence[Mount], names: Sequence[str], name: str
) -> str:
    """The shell text between `srun` and the command; with pyxis it is srun's own options.

    `names` are the environment variables that the container gets, `name` is unique on the node.
    """
    for mount in mounts:
        if set(",:") & set(mount.source + mount.target):
            raise ConfigError(
                f"mounts: {mount.source}:{mount.target} has a comma or colon in a path, which cannot be mounted"
            )
    image = container.image or ""
    match execution.container_runtime:
        case "none":
            return ""
        case "pyxis":
            return shlex.join(pyxis(execution, image, mounts, names))
        case "apptainer":
            return shlex.join(apptainer(execution, image, mounts))
        case "charliecloud":
            return shlex.join(charliecloud(execution, image, mounts))
        case runtime:
            engine = shlex.join([runtime, "run", "--rm", f"--name={name}", "--network=host"])
            volumes = [f"--volume={bind(mount)}" for mount in mounts]
            rest = shlex.join([*volumes, *(f"--env={each}" for each in names), "--entrypoint=", image])
            return f'{engine} --user="$(id -u):$(id -g)" {rest}'


def cleanup(execution: SlurmExecution, name: str) -> str:
    """Shell text that removes what a killed step leaves behind: an engine's container outlives its client."""
    if execution.container_runtime not in {"docker", "podman"}:
        return ""
    return f"{execution.container_runtime} rm -f {shlex.quote(name)} >/dev/null 2>&1"


def apptainer(execution: SlurmExecution, image: str, mounts: Sequence[Mount]) -> list[str]:
    """`apptainer exec`, which passes the environment on by itself."""
    home = [] if execution.mount_home else ["--no-home"]
    binds = [f"--bind={bind(mount)}" for mount in mounts]
    return ["apptainer", "exec", *home, *binds, image if is_file(image) else f"docker://{image}"]


def charliecloud(execution: SlurmExecution, image: str, mounts: Sequence[Mount]) -> list[str]:
    """`ch-run` on an image in Charliecloud's own store; it binds no folder read only."""
    home = ["--home"] if execution.mount_home else []
    return ["ch-run", *home, *(f"--bind={mount.source}:{mount.target}" for mount in mounts), image, "--"]


def pyxis(execution: SlurmExecution, image: str, mounts: Sequence[Mount], names: Sequence[str]) -> list[str]:
    """srun's options of the pyxis plugin."""
    argv = [
        f"--container-image={enroot_image(image)}",
        f"--container-mounts={','.join(bind(mount) for mount in mounts)}",
    ]
    argv += [f"--container-env={','.join(names)}"]
    return argv + ([] if execution.mount_home else ["--no-container-mount-home"])


def bind(mount: Mount) -> str:
    """`SOURCE:TARGET[:ro]`."""
    return f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")


def is_file(image: str) -> bool:
    """Whether an image is a file of the cluster, for instance a .sqsh or .sif."""
    return image.startswith("/") or image.endswith((".sqsh", ".sif"))


def enroot_image(image: str) -> str:
    """An image as enroot names it: `REGISTRY#REPOSITORY`, or the path of a file."""
    registry, slash, rest = image.partition("/")
    named = slash and (set(".:") & set(registry) or registry == "localhost")
    return image if is_file(image) or not named else f"{registry}#{rest}"
