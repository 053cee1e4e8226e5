"""The seed documents keep their word: each snippet composes, validates, plans and renders; each command works.

`examples/` and `snippets/` are the YAML blocks of the documents, `commands.txt` their command lines. A snippet that is only
a part of a config is completed on the command line, never changed.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proctor.cli.dry_run import dry_run
from proctor.configs.load import read_config

HERE = Path(__file__).parent
PROCTOR = str(Path(sys.executable).parent / "proctor")
TARGET = [
    "target.api_endpoint.url=http://localhost:8080/v1/chat/completions",
    "target.api_endpoint.model_id=meta/llama-3.1-8b-instruct",
]
MODEL = TARGET[1:]
TASKS = ["evaluation.tasks=[{name: hellaswag}]"]
ON_SLURM = ["execution=slurm", "execution.output_dir=/shared/results"]

SNIPPETS = {
    "local": ([*TARGET, *TASKS], ["docker run", "--gpus", "--shm-size=16g", "--memory=64g", "--cpus=8"]),
    "slurm": (
        [*MODEL, *TASKS, "deployment.checkpoint_path=/models/llama-3.1-8b"],
        [
            *("# job proctor-", "on myuser@cluster.example.com", "#SBATCH --account=my_account", "--partition=gpu"),
            *("--qos=normal", "--nodes=1", "--gpus-per-node=8", "--cpus-per-task=32", "--mem=256G", "--time=04:00:00"),
            *("/shared/data:/data:ro", "/shared/models:/models:ro", "/shared/models/llama-3.1-8b:/checkpoint:ro"),
        ],
    ),
    "deployment_vllm": (
        [*ON_SLURM, *MODEL, *TASKS],
        [
            *("vllm serve /checkpoint", "--tensor-parallel-size 4", "--max-model-len 8192"),
            *("--gpu-memory-utilization 0.9", "/models/llama-3.1-8b:/checkpoint:ro"),
        ],
    ),
    "deployment_sglang": (
        [*ON_SLURM, *MODEL, *TASKS],
        ["sglang.launch_server --model-path /checkpoint", "--tp-size 4"],
    ),
    "deployment_nim": (
        [*ON_SLURM, *TASKS],
        ["nvcr.io#nim/meta/llama-3.1-8b-instruct:latest", "/opt/nim/start_server.sh"],
    ),
    "long_running": (
        [*ON_SLURM, *TARGET, *TASKS],
        ["#SBATCH --time=1-00:00:00", "cache_dir: /shared/cache", "reuse_cached_responses: true"],
    ),
    "lepton": (
        [*TARGET, *TASKS],
        ['"resource_shape": "gpu.a100-80g"', '"name": "NGC_API_KEY"', '"name": "HF_TOKEN"', "host:HF_TOKEN"],
    ),
    "lepton_endpoint": (
        ["execution=lepton", *MODEL, *TASKS],
        ["url: lepton://my-llama-deployment/v1/completions", "model_id: meta/llama-3.1-8b-instruct"],
    ),
}

EXAMPLES = {
    "local_llama_3_1_8b_instruct": ["docker run", "/results/", "model_id: meta/llama-3.1-8b-instruct"],
    "slurm_llama_3_1_8b_instruct": [
        *("#SBATCH --partition=gpu", "#SBATCH --gpus-per-node=8", "#SBATCH --time=04:00:00", "vllm serve /checkpoint"),
        *(
            "/shared/models/llama-3.1-8b-instruct:/checkpoint:ro",
            "http://localhost:8000/v1/chat/completions is not used",
        ),
    ],
    "lepton_vllm_llama_3_1_8b_instruct": [
        "vllm serve meta-llama/Llama-3.1-8B-Instruct",
        "POST /deployments",
        "POST /jobs",
    ],
}


def test_no_snippet_is_forgotten() -> None:
    assert {path.stem for path in (HERE / "snippets").glob("*.yaml")} == set(SNIPPETS)
    assert {path.stem for path in (HERE / "examples").glob("*.yaml")} == set(EXAMPLES)


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_becomes_what_it_says(name: str) -> None:
    overrides, words = SNIPPETS[name]
    shown = dry_run(read_config(HERE / "snippets", name, overrides))
    assert not [word for word in words if word not in shown]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_becomes_what_it_says(name: str) -> None:
    shown = dry_run(read_config(HERE / "examples", name))
    assert not [word for word in EXAMPLES[name] if word not in shown]
    for benchmark in ("hellaswag", "arc_challenge", "winogrande"):
        assert f"type: {benchmark}" in shown


def commands() -> list[str]:
    return (HERE / "commands.txt").read_text().splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder as the documents imagine it: examples/ in it, and a local_config.yaml."""
    shutil.copytree(HERE / "examples", tmp_path / "examples")
    shutil.copy(HERE / "examples" / "local_llama_3_1_8b_instruct.yaml", tmp_path / "local_config.yaml")
    return tmp_path


@pytest.mark.parametrize("command", commands())
@pytest.mark.slow
def test_a_command_line(command: str, place: Path) -> None:
    argv = shlex.split(
        command.replace("<your_config>", "slurm_llama_3_1_8b_instruct").replace("<invocation_id>", "0a1b2c3d")
    )
    argv[0] = PROCTOR
    if argv[1] == "run" and "--dry-run" not in argv:
        argv.append("--dry-run")
    elif argv[1:] != ["ls", "tasks"]:
        argv.append("--help")
    done = subprocess.run(argv, cwd=place, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if "+config.params.limit_samples=10" in argv:
        assert done.stdout.count("limit_samples: 10") == 4, "in the config and in the run config of each benchmark"
    if "target.api_endpoint.model_id=model/another/one" in argv:
        assert f"{place}/my_results/" in done.stdout
        assert "model_id: model/another/one" in done.stdout
