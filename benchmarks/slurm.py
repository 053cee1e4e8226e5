"""What a cluster costs: remote commands, connections and time of submitting and polling, and GPU time of an allocation.

Runs on the test cluster of scripts/start-slurm; the jobs of the first two tables are held, so that nothing runs.
"""

import socket
import subprocess
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.table import Row
from proctor.blocks.job import Container, JobHandle, JobSpec, Server, Step
from proctor.blocks.slurm import remote
from proctor.blocks.slurm.block import SlurmBackend
from tests.cluster import SSH_PORT, USER, as_user, execution, fake_harness, ssh_config, why_not
from tests.wan_proxy import WanProxy

SUBMITS = (1, 10, 50, 200)
POLLS = (1, 50, 500)
ROUND_TRIPS = (0.0, 0.05)
FORGOTTEN = 50
GPUS = 8
LOADING = 10
"""Seconds that the model server of the GPU measurement takes to load."""


def measure() -> list[Row]:
    """The rows of this table; one that says why when there is no cluster here."""
    if reason := why_not():
        return [Row(f"not measured: {reason}", 0.0, None, "")]
    home = Path(f"~{USER}").expanduser()
    folder = home / "bench" / uuid.uuid4().hex[:8]
    as_user("mkdir", "-p", str(folder))
    try:
        return [*traffic(folder), *allocations(folder, str(fake_harness(home)))]
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=False)


def jobs(folder: Path, number: int) -> list[JobSpec]:
    """So many jobs of one step each."""
    steps = (Step("a.0", "fake.a", Container(), "{}", "http://127.0.0.1:9/v1/chat/completions"),)
    names = (uuid.uuid4().hex[:8] for _ in range(number))
    return [JobSpec(f"proctor-{name}-abcdef-0-1", name, str(folder / name), steps) for name in names]


def handles_of(answers: object) -> list[JobHandle]:
    """The handles among the answers; every job must have been accepted."""
    values = list(answers.values()) if isinstance(answers, dict) else []
    handles = [value for value in values if isinstance(value, JobHandle)]
    assert len(handles) == len(values), values
    return handles


def traffic(folder: Path) -> list[Row]:
    """Submitting and polling, near and far."""
    rows: list[Row] = []
    for round_trip in ROUND_TRIPS:
        with WanProxy(SSH_PORT, round_trip / 2) as proxy, tempfile.TemporaryDirectory() as here:
            config = ssh_config(Path(here), proxy.port)
            backend = SlurmBackend(execution=execution(ssh_config=config, sbatch_extra_flags={"hold": True}))
            where = f"{round_trip * 1000:.0f} ms away"
            rows += submitting(backend, folder, where)
            rows += polling(backend, folder, where)
            rows.append(Row(f"connections for all of this, {where}", float(proxy.connections), 1.0, ""))
    return rows


def submitting(backend: SlurmBackend, folder: Path, where: str) -> list[Row]:
    """Wall time, CPU time and remote commands of one submission."""
    rows, cpu = [], {}
    backend.cluster.run("true")
    for number in SUBMITS:
        commands, begun, before = backend.cluster.commands, time.monotonic(), time.process_time()
        handles = handles_of(backend.submit(jobs(folder, number)))
        cpu[number] = time.process_time() - before
        seconds = time.monotonic() - begun
        rows.append(Row(f"submit {number} jobs, {where}", seconds, None, "s"))
        rows.append(
            Row(f"submit {number} jobs, {where}: remote commands", backend.cluster.commands - commands, 3.0, "")
        )
        backend.cancel(handles)
    most, least = max(SUBMITS), min(SUBMITS)
    rows.append(
        Row(f"each further job, {where}", (cpu[most] - cpu[least]) / (most - least) * 1000, None, "CPU ms here")
    )
    return rows


def polling(backend: SlurmBackend, folder: Path, where: str) -> list[Row]:
    """Wall time here and on the cluster of one look at so many jobs."""
    rows = []
    handles = handles_of(backend.submit(jobs(folder, max(POLLS))))
    as_if_running(handles)
    for number in POLLS:
        some = handles[:number]
        commands, begun = backend.cluster.commands, time.monotonic()
        backend.poll(some)
        rows.append(Row(f"poll {number} jobs, {where}", time.monotonic() - begun, None, "s"))
        rows.append(Row(f"poll {number} jobs, {where}: remote commands", backend.cluster.commands - commands, 1.0, ""))
        if where.startswith("0 "):
            bound = 0.3 if number == max(POLLS) else None
            rows.append(Row(f"poll {number} jobs: on the cluster", remote_seconds(some), bound, "s"))
    if where.startswith("0 "):
        some = [*handles[FORGOTTEN:], *forgotten(handles[:FORGOTTEN])]
        words = f"poll {len(some)} jobs, {FORGOTTEN} of them only in Slurm's books: on the cluster"
        rows.append(Row(words, remote_seconds(some), None, "s"))
    backend.cancel(handles)
    return rows


def as_if_running(handles: list[JobHandle]) -> None:
    """The stage files that steps which run leave, so that a look has them to read."""
    for handle in handles:
        for stage in ("pre-start", "waiting", "running"):
            path = Path(handle.output_dir) / handle.steps[0] / f"stage.{stage}"
            path.write_text(f"2026-01-01T00:00:00Z {handle.name}\n")


def forgotten(handles: list[JobHandle]) -> list[JobHandle]:
    """These handles with the ids of jobs that ended before, whose folders are gone as well."""
    ids = as_user("sacct", "-n", "-X", "-P", "-S", "now-1days", "-s", "CD,CA,F", "-E", "now", "-o", "JobIDRaw").split()
    return [
        replace(handle, output_dir="/nowhere", native_id=ids[number % len(ids)])
        for number, handle in enumerate(handles)
    ]


def remote_seconds(handles: list[JobHandle]) -> float:
    """The time that the cluster takes to answer a poll, as a rule: the median of several."""
    text, times = remote.poll(handles), []
    for _ in range(7):
        begun = time.monotonic()
        subprocess.run(["runuser", "-u", USER, "--", "sh", "-s"], input=text.encode(), check=True, capture_output=True)
        times.append(time.monotonic() - begun)
    return median(times)


def allocations(folder: Path, package: str) -> list[Row]:
    """GPU seconds of three benchmarks that share a server, and of three with a server each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = Container(packages=(package,))
    server = Server("generic", environment, f"fake-server {port} {LOADING}", port, "fake-model", ready_timeout=60)
    document = '{"config": {"type": "fake", "output_dir": "%s", "params": {"extra": {"script": "time.sleep(3)"}}}}'
    (base,) = jobs(folder, 1)
    steps = tuple(
        Step(f"b.{k}", "fake.b", environment, document % f"{base.output_dir}/b.{k}", f"http://127.0.0.1:{port}/v1")
        for k in range(3)
    )
    backend = SlurmBackend(execution=execution(gpus_per_node=GPUS))
    shared = gpu_seconds(backend, [replace(base, steps=steps, server=server)])
    alone = [
        replace(base, name=f"{base.name[:-3]}{k + 1}-1", steps=(step,), server=server) for k, step in enumerate(steps)
    ]
    single = sum(gpu_seconds(backend, [job]) for job in alone)
    return [
        Row("3 benchmarks, one server for all", shared, None, "GPU s"),
        Row("3 benchmarks, a server for each", single, None, "GPU s"),
        Row("GPU time saved", 100 * (1 - shared / single), None, "%"),
    ]


def gpu_seconds(backend: SlurmBackend, some: list[JobSpec]) -> float:
    """GPU seconds of these jobs, from Slurm's own books."""
    handles = handles_of(backend.submit(some))
    while not all(status.state.final for status in backend.poll(handles).values()):
        time.sleep(0.5)
    backend.cancel(handles)
    time.sleep(2)
    ids = ",".join(handle.native_id for handle in handles)
    elapsed = as_user("sacct", "-n", "-X", "-P", "-j", ids, "-o", "ElapsedRaw").split()
    return float(sum(map(int, elapsed)) * GPUS)
