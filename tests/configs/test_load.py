"""From a file and overrides to a config, as users write them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from proctor.configs import compose as composition
from proctor.configs.aliases import ALIASES
from proctor.configs.errors import ConfigError
from proctor.configs.load import load, read_config
from proctor.configs.schema import EvaluationConfig
from proctor.configs.source import EXAMPLES, Source, find_config, parse

BASE = """\
defaults:
  - execution: local
  - deployment: none
  - _self_
target:
  api_endpoint: {url: http://localhost:8080/v1/chat/completions, model_id: m}
evaluation:
  tasks:
    - name: mmath_en
    - name: lm-evaluation-harness.gsm8k
"""


def loaded(folder: Path, text: str = BASE, *overrides: str, tasks: tuple[str, ...] = ()) -> EvaluationConfig:
    (folder / "c.yaml").write_text(text)
    return load(folder, "c", overrides, tasks)


def loaded_slurm(folder: Path, execution: str, *overrides: str) -> Any:
    return loaded(
        folder, BASE.replace("execution: local", "execution: slurm") + f"execution: {execution}\n", *overrides
    )


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_every_key_of_the_schema_can_be_set_without_a_prefix(tmp_path: Path, prefix: str) -> None:
    overrides = [
        f"{prefix}{each}"
        for each in (
            "execution.benchmark_timeout=01:30:00",
            "execution.memory_limit=64g",
            'execution.docker_args=["--gpus=all","--shm-size=16g"]',
            "execution.env_vars.HF_TOKEN=host:HF_TOKEN",
            "evaluation.nemo_evaluator_config.config.params.temperature=1e-5",
            "target.api_endpoint.adapter_config.interceptors=[{name: caching}]",
            "name=nightly run",
            "evaluation.tasks.0.timeout=60",
        )
    ]
    config = loaded(tmp_path, BASE, *overrides)
    assert config.execution.benchmark_timeout == 5400
    assert getattr(config.execution, "memory_limit") == "64g"  # noqa: B009 (a key of local execution)
    assert getattr(config.execution, "docker_args") == ["--gpus=all", "--shm-size=16g"]  # noqa: B009
    assert config.execution.env_vars == {"HF_TOKEN": "host:HF_TOKEN"}
    assert config.evaluation.nemo_evaluator_config == {"config": {"params": {"temperature": 1e-5}}}
    assert config.target.api_endpoint.adapter_config == {"interceptors": [{"name": "caching"}]}
    assert config.name == "nightly run"
    assert config.evaluation.tasks[0].timeout == 60


def test_a_value_that_is_no_grammar_of_hydras_is_text(tmp_path: Path) -> None:
    text = "export A=1; echo 'b c' | tee d=e"
    assert loaded(tmp_path, BASE, f"evaluation.pre_cmd={text}").evaluation.pre_cmd == text


def test_a_key_is_removed(tmp_path: Path) -> None:
    assert loaded(tmp_path, BASE, "~target.api_endpoint.url").target.api_endpoint.url is None
    assert [task.name for task in loaded(tmp_path, BASE, "~evaluation.tasks.0").evaluation.tasks] == [
        "lm-evaluation-harness.gsm8k"
    ]


def test_a_group_is_chosen_with_or_without_a_defaults_list(tmp_path: Path) -> None:
    assert loaded(tmp_path, BASE, "deployment=vllm", "deployment.model_path=/m").deployment.type == "vllm"
    bare = BASE.partition("_self_\n")[2]
    assert loaded(tmp_path, bare).execution.type == "local"
    assert loaded(tmp_path, bare, "execution=process", "+deployment=none").execution.type == "process"
    assert loaded(tmp_path, BASE.replace("execution: local", "execution: slurm/default")).execution.type == "slurm"


def test_the_files_own_keys_win_over_a_chosen_group(tmp_path: Path) -> None:
    (tmp_path / "execution").mkdir()
    (tmp_path / "execution" / "cluster_a.yaml").write_text(
        "defaults: [slurm, _self_]\nhostname: login-a\npartition: batch\n"
    )
    text = BASE.replace("execution: local", "execution: cluster_a") + "execution: {partition: gpu}\n"
    execution: Any = loaded(tmp_path, text).execution
    assert (execution.type, execution.hostname, execution.partition) == ("slurm", "login-a", "gpu")


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_short_way_composes_what_hydra_composes(example: Path) -> None:
    source = Source(example, example.read_text())
    document = parse(source)
    entries = document.pop("defaults")
    assert composition.compose(source, []) == composition.composed_by_hydra({**document, "defaults": entries}, source)


def test_a_benchmark_is_overridden_by_name(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        BASE,
        "evaluation.tasks.mmath_en.timeout=10",
        "++evaluation.tasks.lm-evaluation-harness.gsm8k.timeout=20",
        "evaluation.tasks.gsm8k.nemo_evaluator_config.config.params.limit_samples=5",
    )
    assert [task.timeout for task in config.evaluation.tasks] == [10, 20]
    assert config.evaluation.tasks[1].nemo_evaluator_config["config"]["params"]["limit_samples"] == 5


@pytest.mark.parametrize("wanted", ["gsm8k", "lm-evaluation-harness.gsm8k", "lm-evaluation-harness.gsm8k.1"])
def test_only_the_wanted_benchmarks_stay(tmp_path: Path, wanted: str) -> None:
    assert [task.name for task in loaded(tmp_path, tasks=(wanted,)).evaluation.tasks] == ["lm-evaluation-harness.gsm8k"]


def test_limit_samples_of_the_seed_reaches_every_benchmark(tmp_path: Path) -> None:
    config = loaded(tmp_path, BASE, "+config.params.limit_samples=10")
    assert config.evaluation.nemo_evaluator_config == {"config": {"params": {"limit_samples": 10}}}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [('"12:00:00"', 43200), ("12:00:00", 43200), ("01:00:00", 3600), ("1-02:00:00", 93600), ("90", 90)],
)
@pytest.mark.parametrize("key", ["walltime", "time_limit"])
def test_walltimes_mean_what_they_say(tmp_path: Path, key: str, written: str, seconds: int) -> None:
    assert loaded_slurm(tmp_path, f"{{{key}: {written}}}").execution.walltime == seconds


def test_a_command_line_wins_whatever_the_spelling(tmp_path: Path) -> None:
    config = loaded_slurm(
        tmp_path, "{time_limit: 1000, num_nodes: 2}", "execution.walltime=2000", "execution.num_nodes=3"
    )
    assert (config.execution.walltime, config.execution.nodes) == (2000, 3)


def test_interpolations_read_other_keys_defaults_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCTOR_TEST_USER", "ada")
    config = loaded_slurm(
        tmp_path,
        "{num_nodes: 2, username: '${oc.env:PROCTOR_TEST_USER}', output_dir: '/out/${target.api_endpoint.model_id}', "
        "num_instances: '${execution.num_nodes}', sbatch_comment: '${execution.container_runtime}'}",
    )
    execution = config.execution
    assert (execution.username, execution.output_dir, execution.num_instances) == ("ada", "/out/m", 2)
    assert execution.sbatch_comment == "pyxis"


def test_paths_are_relative_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert loaded(tmp_path).base_dir == str(tmp_path)


def test_both_file_endings_and_our_own_examples_are_found(tmp_path: Path) -> None:
    (tmp_path / "d.yml").write_text(BASE)
    assert find_config(tmp_path, "d").path.name == "d.yml"
    assert find_config(tmp_path, "d.yml").path.name == "d.yml"
    assert find_config("examples", "local_llama_3_1_8b_instruct").path.parent == EXAMPLES


NEMO = """\
defaults: [{execution: lepton/default}, {deployment: vllm}, _self_]
user_config_path: /x
execution:
  output_dir: ./out
  evaluation_tasks: {resource_shape: cpu.large, timeout: 3600, use_shared_storage: true}
  lepton_platform:
    deployment:
      node_group: gpus
      endpoint_readiness_timeout: 1200
      platform_defaults: {enable_rdma: false, image_pull_secrets: [ngc], queue_config: {priority_class: mid-4000}}
    tasks:
      node_group: cpus
      env_vars: {PLAIN: text, TOKEN: {value_from: {secret_name_ref: HF}}}
      mounts: [{from: "node-nfs:fs", path: /a, mount_path: /workspace}]
      image_pull_secrets: [ngc]
deployment:
  checkpoint_path: /m
  lepton_config: {resource_shape: gpu.h100, min_replicas: 1, max_replicas: 2, api_tokens: []}
target: {api_endpoint: {model_id: m}}
evaluation: [hellaswag]
"""


def test_nemo_evaluators_lepton_keys_are_ours(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(NEMO)
    config = read_config(tmp_path, "n")
    execution: Any = config.config.execution
    assert execution.resource_shape == "cpu.large"
    assert execution.benchmark_timeout == 3600
    assert (execution.node_group, execution.endpoint_node_group) == ("cpus", "gpus")
    assert execution.endpoint_readiness_timeout == 1200
    assert config.config.evaluation.env_vars == {"PLAIN": "lit:text", "TOKEN": "runtime:HF"}
    (mount,) = execution.mounts
    assert (mount.volume, mount.path, mount.mount_path) == ("node-nfs:fs", "/a", "/workspace")
    assert execution.endpoint.priority == "mid-4000"
    assert (execution.endpoint_resource_shape, execution.num_replicas) == ("gpu.h100", 2)
    assert any(note.startswith("user_config_path is not used") for note in config.notes)


@pytest.mark.parametrize("alias", ALIASES, ids=lambda alias: f"{alias.old}-{alias.execution}")
def test_every_alias_is_understood(tmp_path: Path, alias: Any) -> None:
    values: dict[str, Any] = {
        "execution.mounts.mount_home": False,
        "execution.auto_export": {"destinations": ["local"]},
    }
    numbers = {"execution.time_limit": 60, "execution.num_nodes": 2, "deployment.lepton_config.max_replicas": 2}
    numbers |= {"execution.evaluation_tasks.timeout": 5, "deployment.lepton_config.min_replicas": 2}
    numbers |= dict.fromkeys((each.old for each in ALIASES if each.old.endswith("initial_delay_seconds")), 5)
    numbers |= {"deployment.lepton_config.auto_scaler.target_gpu_utilization_percentage": 50}
    numbers |= {"execution.lepton_platform.deployment.endpoint_readiness_timeout": 5}
    secrets = "execution.lepton_platform.deployment.platform_defaults.image_pull_secrets"
    lists: dict[str, Any] = {
        "execution.lepton_platform.tasks.mounts": [{"from": "node-nfs:a", "path": "/a", "mount_path": "/m"}],
        "execution.lepton_platform.tasks.image_pull_secrets": ["x"],
    }
    defaults = "execution.lepton_platform.deployment.platform_defaults"
    values |= numbers | lists | {secrets: ["x"]}
    values |= {f"{defaults}.queue_config.can_be_preempted": True}
    values |= {f"{defaults}.user_security_context": {"privileged": True}}
    values |= {"deployment.lepton_config.auto_scaler.target_throughput": {"qpm": 1}}
    mapping: dict[str, Any] = {"config": {"params": {}}} if alias.old.endswith("overrides") else {"A": "/b"}
    plain: Any = {"params": {}} if alias.old.endswith("config") else "x" if alias.convert is None else mapping
    path, value = alias.old.split("."), values.get(alias.old, plain)
    kind = alias.execution or ("lepton" if "lepton" in alias.old or "evaluation_tasks" in alias.old else "slurm")
    tree: dict[str, Any] = {"execution": {"type": kind}, "deployment": {"type": "vllm"}}
    tree["evaluation"] = {"tasks": [{"name": "hellaswag"}]}
    holder: Any = tree
    for name in path[:-1]:
        holder = holder[0] if name == "*" else holder.setdefault(name, {})
    holder[path[-1]] = value
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(tree))
    content: Any = load(tmp_path, "a").model_dump(by_alias=True)
    for name in alias.new.split("."):
        content = content[0] if name == "*" else content[name]
    assert content not in (None, [], {})


LEPTON = """\
defaults: [{execution: lepton}, _self_]
execution: {mounts: [%s]}
target: {api_endpoint: {url: "http://h/v1/chat/completions", model_id: m}}
evaluation: [hellaswag]
"""


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ("{path: /a, mount_path: /m}", "execution.mounts[0].from is missing"),
        ("{from: shared, mount_path: /m}", "execution.mounts[0].from: 'shared' does not fit"),
        ("{from: node-nfs:a, mount_path: /m, mout_options: {}}", "mout_options: unknown key"),
        ("{from: node-nfs:a, mount_path: /m, mount_options: {readonly: true}}", "readonly: unknown key"),
    ],
)
def test_a_mount_of_lepton_that_cannot_be_right(tmp_path: Path, mount: str, words: str) -> None:
    (tmp_path / "m.yaml").write_text(LEPTON % mount)
    with pytest.raises(ConfigError) as error:
        read_config(tmp_path, "m")
    assert words in str(error.value)


def test_a_mount_of_lepton_survives_being_a_parameter(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(LEPTON % "{from: node-nfs:a, mount_path: /m, mount_options: {read_only: true}}")
    config = read_config(tmp_path, "m").config
    shown = config.model_dump(mode="json", exclude_unset=True)
    assert shown["execution"]["mounts"][0]["from"] == "node-nfs:a"
    assert type(config).model_validate(shown) == config


def test_every_field_of_the_form_in_the_ui_says_what_it_is() -> None:
    schema = EvaluationConfig.model_json_schema()
    silent = [
        f"{name}.{key}"
        for name, section in {**schema["$defs"], "EvaluationConfig": schema}.items()
        for key, field in section.get("properties", {}).items()
        if key != "type" and "$ref" not in field and not field.get("description")
    ]
    assert silent == []
    assert all(section.get("description") for section in schema["$defs"].values() if "properties" in section)
