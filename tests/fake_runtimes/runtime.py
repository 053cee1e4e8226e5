#!/usr/bin/env python3
"""Stands in for enroot, for srun with the pyxis plugin, and for apptainer, by the name it is called: none of them is in Debian.

An imported image is a file that names a folder; Charliecloud's ch-run enters that. As in the real ones, what runs there has
the image's PATH with apptainer, and the PATH of its caller with pyxis. `imports` beside this file lists what was imported and when.
"""

import csv
import os
import sys
import time
from pathlib import Path

HERE = Path(sys.argv[0]).absolute().parent


def note(word: str, image: str) -> None:
    with (HERE / "imports").open("a") as log:
        log.write(f"{word} {image}\n")


def bring(image: str, file: str) -> None:
    """Slowly, so that whoever else wants it comes in between."""
    note("begin", image)
    Path(file).write_text("half")
    time.sleep(2)
    Path(file).write_text((HERE / "unpacked").read_text())
    note("end", image)


def run(before: list[str], image: str, binds: list[tuple[str, str]], folder: str, command: list[str]) -> None:
    root = Path(image).read_text().strip()
    for _, target in binds:
        Path(root + target).mkdir(parents=True, exist_ok=True)
    argv = [*before, "/usr/bin/ch-run", *(f"--bind={source}:{target}" for source, target in binds)]
    argv += ["--cd", folder] if folder else []
    argv += [root, "--", *command]
    os.execv(argv[0], argv)


def value(options: list[str], name: str) -> str:
    return next((each.partition("=")[2] for each in options if each.startswith(f"{name}=")), "")


def enroot(arguments: list[str]) -> None:
    _, _, file, uri = arguments  # import -o FILE URI
    bring(uri, file)


def apptainer(arguments: list[str]) -> None:
    if arguments[0] == "pull":
        bring(arguments[3], arguments[2])  # pull --force FILE URI
        return
    options = [each for each in arguments[1:] if each.startswith("--")]
    image, *command = arguments[1 + len(options) :]
    mounts = [next(csv.reader([each.partition("=")[2]])) for each in options if each.startswith("--mount=")]
    binds = [(value(each, "source"), value(each, "destination")) for each in mounts]
    told = Path(Path(image).read_text().strip(), "etc", "environment").read_text()
    os.environ["PATH"] = told.strip().partition("=")[2].strip('"')
    run([], image, binds, value(options, "--pwd"), command)


def srun(arguments: list[str]) -> None:
    number = next(number for number, each in enumerate(arguments) if not each.startswith("-"))
    options, command = arguments[:number], arguments[number:]
    ours = [each for each in options if not each.startswith(("--container", "--no-container"))]
    image = value(options, "--container-image")
    if not image:
        os.execv("/usr/bin/srun", ["/usr/bin/srun", *arguments])
    parts = [each.split(":") for each in value(options, "--container-mounts").split(",")]
    binds = [(each[0], each[1]) for each in parts]
    run(["/usr/bin/srun", *ours], image, binds, value(options, "--container-workdir"), command)


if __name__ == "__main__":
    {"enroot": enroot, "apptainer": apptainer, "srun": srun}[Path(sys.argv[0]).name](sys.argv[1:])
