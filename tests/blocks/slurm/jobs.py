"""The jobs whose batch scripts are kept as golden files, one for each runtime and shape of server.

`python -m tests.blocks.slurm.jobs` writes the golden files again; look at the difference before you commit it.
"""

from pathlib import Path

from proctor.blocks.job import Container, EnvVar, JobSpec, Mount, Server, Step
from proctor.blocks.slurm.files import job_files
from proctor.configs.execution_schema import SlurmExecution

GOLDEN = Path(__file__).parent / "golden"
DIGEST = "@sha256:" + "1a" * 32
EVAL = Container(
    f"registry.example/eval/simple-evals:26.03{DIGEST}",
    ("simple-evals==26.3",),
    (EnvVar("API_KEY", "host", "API_KEY"), EnvVar("HF_HOME", "runtime", "SCRATCH")),
    (Mount("/shared/my data", "/data", read_only=True),),
)
SERVERS = Container(
    "vllm/vllm-openai:v0.9", ("vllm",), (EnvVar("HF_TOKEN", "secret", "hf"),), (Mount("/m", "/checkpoint", True),)
)
COMMANDS = {
    "vllm": "vllm serve /checkpoint --served-model-name llama --port 8000 --tensor-parallel-size 8",
    "sglang": "python3 -m sglang.launch_server --model-path /checkpoint --port 8000 --tp-size 16",
}


def step(index: int) -> Step:
    container = Container(EVAL.image, EVAL.packages, EVAL.env, EVAL.mounts if index == 0 else ())
    return Step(
        f"gpqa.{index}", "simple_evals.gpqa", container, "config: {}\n", "http://127.0.0.1:8000/v1/chat/completions"
    )


def server(kind: str = "vllm", command: str | None = "") -> Server:
    return Server(kind, SERVERS, COMMANDS.get(kind) if command == "" else command, 8000, "llama", pre_cmd="export A=1")


def job(ours: Server | None = None, steps: int = 2) -> JobSpec:
    return JobSpec(
        "proctor-0123abcd-9f8e7d-0-1",
        "0123abcd",
        "/shared/results/20260101-0123abcd",
        tuple(map(step, range(steps))),
        ours,
    )


def section(**changes: object) -> SlurmExecution:
    values: dict[str, object] = {
        "hostname": "cluster",
        "account": "my account",
        "partition": "gpu",
        "qos": "normal",
        "output_dir": "/shared/results",
        "walltime": "04:00:00",
        "gpus_per_node": 8,
        "cpus_per_task": 32,
        "memory": "256G",
    }
    return SlurmExecution.model_validate(values | changes)


CASES: dict[str, tuple[JobSpec, SlurmExecution]] = {
    "pyxis-vllm": (job(server()), section()),
    "pyxis-nim": (job(server("nim", None), 1), section(exclusive=True, mail="me@example.org", mount_home=False)),
    "pyxis-ray-two-nodes": (job(server(), 1), section(nodes=2)),
    "pyxis-sglang-two-nodes": (job(server("sglang"), 1), section(nodes=2)),
    "pyxis-haproxy-two-instances": (
        job(server("vllm", COMMANDS["vllm"].replace("8000", "8001")), 1),
        section(nodes=4, num_instances=2),
    ),
    "apptainer-vllm": (job(server(), 1), section(container_runtime="apptainer")),
    "podman": (job(), section(container_runtime="podman", requeue=True, reservation="r", dependency="afterok:1")),
    "docker-ray-two-nodes": (job(server(), 1), section(nodes=2, container_runtime="docker")),
    "docker-vllm": (job(server(), 1), section(container_runtime="docker", gres="gpu:8", gpus_per_node=None)),
    "charliecloud": (job(), section(container_runtime="charliecloud")),
    "none-vllm": (
        job(server(), 1),
        section(container_runtime="none", sbatch_extra_flags={"constraint": "a&b", "spread-job": True}),
    ),
}


def texts(name: str) -> dict[str, str]:
    """The golden files of a case: the rendered part of the batch script, and what is special to its server."""
    made, execution = CASES[name]
    files = job_files(made, execution)
    head = files["job.sh"].partition("# How images and environments come")[0]
    special = {f"{name}.{part}": files[part] for part in ("server.sh", "haproxy.cfg") if part in files}
    return {f"{name}.job.sh": head, **special}


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for case in CASES:
        for file, text in texts(case).items():
            (GOLDEN / file).write_text(text)
