"""From a config to jobs: what a user would notice in what runs."""

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from proctor.blocks.job import EnvVar, Mount
from proctor.blocks.stages import StepPaths, server_command, step_wrapper
from proctor.configs.errors import ConfigError
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.plan import Plan, config_hash, plan, remaining

CREATED = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


def config(**sections: Any) -> EvaluationConfig:
    base: dict[str, Any] = {
        "execution": {"type": "local", "output_dir": "/out"},
        "target": {"api_endpoint": {"url": "http://localhost:8080/v1/chat/completions", "model_id": "meta/llama"}},
        "evaluation": {"tasks": [{"name": "mmath_en"}]},
        "base_dir": "/home/me",
    }
    return EvaluationConfig.model_validate({**base, **sections})


def planned(**sections: Any) -> Plan:
    return plan(config(**sections), "3f2a91bc", CREATED)


def document(**sections: Any) -> Any:
    return yaml.safe_load(planned(**sections).jobs[0].steps[0].run_config)


def test_the_same_config_gives_the_same_plan() -> None:
    assert planned() == planned()
    assert planned().output_dir == "/out/20261123_143000-3f2a91bc"
    assert planned().jobs[0].name.startswith("proctor-3f2a91bc-")
    assert planned().jobs[0].name.endswith("-0-1")


def test_results_of_the_cloud_come_home_to_a_folder_that_outlives_the_engine() -> None:
    assert planned(execution={"type": "lepton"}).folder == "/home/me/results/20261123_143000-3f2a91bc"
    found = planned(execution={"type": "lepton", "output_dir": "./cloud_results"})
    assert found.output_dir == found.folder == "/home/me/cloud_results/20261123_143000-3f2a91bc"


def test_it_is_said_where_no_response_cache_outlives_a_job() -> None:
    on_a_volume = {"type": "lepton", "output_dir": "/shared", "results": {"via": "mount", "volume": "node-nfs:shared"}}
    said = [" ".join(planned(execution=each).notes) for each in ({"type": "lepton"}, on_a_volume)]
    assert ["asks everything again" in each for each in said] == [True, False]


def test_benchmarks_that_share_a_job_of_the_cloud_have_folders_of_their_own_and_one_image() -> None:
    tasks = [{"name": "mmath_en"}, {"name": "mmath_fr"}]
    found = planned(execution={"type": "lepton", "split": 1}, evaluation={"tasks": tasks})
    folders = [yaml.safe_load(step.run_config)["config"]["output_dir"] for step in found.jobs[0].steps]
    assert folders == ["/results/mmath_en.0", "/results/mmath_fr.1"]
    spread = planned(execution={"type": "lepton", "split": 2}, evaluation={"tasks": tasks})
    assert len(spread.jobs) == 1, "one server for all of them"
    tasks[1]["container"] = "another/image:1"
    words = r"execution.split: \S+mmath_en runs \S+ and \S+mmath_fr runs another/image:1, but"
    with pytest.raises(ConfigError, match=words):
        planned(execution={"type": "lepton", "split": 1}, evaluation={"tasks": tasks, "trust_unlisted": True})


def test_one_job_holds_every_benchmark_and_one_server() -> None:
    tasks = [{"name": "mmath_en"}, {"name": "mmath_fr"}, {"name": "hellaswag"}]
    deployment = {"type": "vllm", "checkpoint_path": "/models/llama", "served_model_name": "llama"}
    (job,) = planned(evaluation={"tasks": tasks}, deployment=deployment).jobs
    assert [step.name for step in job.steps] == ["mmath_en.0", "mmath_fr.1", "hellaswag.2"]
    assert job.server
    assert job.server.container.mounts == (Mount("/models/llama", "/checkpoint", read_only=True),)
    assert job.server.command
    assert job.server.command.startswith("vllm serve /checkpoint --served-model-name llama --port 8000")
    urls = [yaml.safe_load(step.run_config)["target"]["api_endpoint"]["url"] for step in job.steps]
    assert urls == ["http://127.0.0.1:8000/v1/chat/completions"] * 2 + ["http://127.0.0.1:8000/v1/completions"]


def test_a_server_for_every_benchmark_when_asked() -> None:
    execution = {"type": "local", "output_dir": "/out", "server_per_benchmark": True}
    deployment = {"type": "generic", "image": "x", "command": "serve"}
    jobs = planned(
        execution=execution, deployment=deployment, evaluation={"tasks": [{"name": "mmath_en"}, {"name": "mmath_fr"}]}
    ).jobs
    assert [len(job.steps) for job in jobs] == [1, 1]
    assert all(job.server for job in jobs)
    assert jobs[0].name != jobs[1].name


def test_the_next_attempt_keeps_the_folders() -> None:
    (job,) = planned(evaluation={"tasks": [{"name": "mmath_en"}, {"name": "mmath_fr"}]}).jobs
    again = remaining(job, {"mmath_fr.1"})
    assert [step.name for step in again.steps] == ["mmath_fr.1"]
    assert (again.attempt, again.output_dir) == (2, job.output_dir)
    assert again.name == job.name[:-1] + "2"


def test_what_the_harness_reads() -> None:
    evaluation = {
        "nemo_evaluator_config": {"config": {"params": {"limit_samples": 10, "temperature": 0}}},
        "tasks": [{"name": "mmath_en", "nemo_evaluator_config": {"config": {"params": {"limit_samples": 2}}}}],
    }
    target = {"api_endpoint": {"url": "http://h/v1/chat/completions", "model_id": "m", "api_key_name": "KEY"}}
    found = document(evaluation=evaluation, target=target)
    assert found["config"] == {
        "type": "mmath_en",
        "output_dir": "/results",
        "params": {"limit_samples": 2, "temperature": 0},
    }
    assert found["target"]["api_endpoint"] == {
        "url": "http://h/v1/chat/completions",
        "model_id": "m",
        "type": "chat",
        "api_key_name": "KEY",
    }


INTERCEPTORS = {"interceptors": [{"name": "caching", "config": {"reuse_cached_responses": True}}, {"name": "endpoint"}]}


def test_interceptors_pass_from_either_place_untouched() -> None:
    endpoint = {"url": "http://h/v1/chat/completions", "model_id": "m"}
    one = document(target={"api_endpoint": {**endpoint, "adapter_config": INTERCEPTORS}})
    inner = {"target": {"api_endpoint": {"adapter_config": INTERCEPTORS}}}
    two = document(evaluation={"nemo_evaluator_config": inner, "tasks": [{"name": "mmath_en"}]})
    assert one["target"]["api_endpoint"]["adapter_config"] == INTERCEPTORS
    assert two["target"]["api_endpoint"]["adapter_config"] == INTERCEPTORS


def test_interceptors_that_contradict_are_refused() -> None:
    inner = {"target": {"api_endpoint": {"adapter_config": {"mode": "client"}}}}
    target = {"api_endpoint": {"url": "http://h/v1/chat/completions", "model_id": "m", "adapter_config": INTERCEPTORS}}
    with pytest.raises(ConfigError, match="adapter_config stands in"):
        planned(target=target, evaluation={"nemo_evaluator_config": inner, "tasks": [{"name": "mmath_en"}]})


def test_a_completions_benchmark_asks_the_sibling_route_and_says_so() -> None:
    found = planned(evaluation={"tasks": [{"name": "hellaswag"}]})
    assert found.jobs[0].steps[0].endpoint_url == "http://localhost:8080/v1/completions"
    assert any("hellaswag asks http://localhost:8080/v1/completions" in note for note in found.notes)
    assert any("logprobs" in note for note in found.notes)


def test_images_run_by_digest_and_a_container_of_ones_own_is_noted() -> None:
    (step,) = planned().jobs[0].steps
    assert step.container.image == (
        "nvcr.io/nvidia/eval-factory/mmath@sha256:84b51127916846c4df5635d865e4f474aa332343f0cb09af3de71300ef33bf44"
    )
    own = planned(evaluation={"trust_unlisted": True, "tasks": [{"name": "mmath_en", "container": "mine:1"}]})
    assert own.jobs[0].steps[0].container.image == "mine:1"
    assert any("by tag" in note for note in own.notes)


def test_later_sections_win_among_env_vars() -> None:
    found = planned(
        env_vars={"A": "lit:root", "B": "lit:root", "C": "NAME"},
        evaluation={
            "env_vars": {"B": "lit:shared"},
            "tasks": [{"name": "mmath_en", "env_vars": {"B": "secret:block"}}],
        },
        target={"api_endpoint": {"url": "http://h/v1/chat/completions", "model_id": "m", "api_key_name": "KEY"}},
    )
    env = {variable.name: variable for variable in found.jobs[0].steps[0].container.env}
    assert env["A"] == EnvVar("A", "lit", "root")
    assert env["B"] == EnvVar("B", "secret", "block")
    assert env["C"] == EnvVar("C", "host", "NAME")
    assert env["KEY"] == EnvVar("KEY", "host", "KEY")


def test_a_data_set_is_mounted_and_named() -> None:
    (step,) = planned(evaluation={"tasks": [{"name": "mmath_en", "dataset_dir": "data"}]}).jobs[0].steps
    assert Mount("/home/me/data", "/datasets", read_only=True) in step.container.mounts
    assert EnvVar("NEMO_EVALUATOR_DATASET_DIR", "lit", "/datasets") in step.container.env


def test_processes_see_real_folders() -> None:
    found = planned(execution={"type": "process", "output_dir": "out"})
    (step,) = found.jobs[0].steps
    assert found.output_dir == "/home/me/out/20261123_143000-3f2a91bc"
    assert yaml.safe_load(step.run_config)["config"]["output_dir"] == f"{found.output_dir}/mmath_en.0"
    assert step.container.packages[:2] == ("nvidia-mmath==26.3", "nemo-evaluator==0.2.8")


def test_a_limit_below_a_second_is_a_limit() -> None:
    (job,) = planned(evaluation={"tasks": [{"name": "mmath_en", "timeout": 0.4}]}).jobs
    wrapper = step_wrapper(job, job.steps[0], StepPaths("/r", "/j", "/o", "/c"), ready_timeout=0.4)
    assert {"TIMEOUT=1", "READY_TIMEOUT=1"} <= set(wrapper.splitlines())


@pytest.mark.parametrize("value", ["01:30:00", 5400, "5400"])
def test_a_benchmark_has_its_own_limit(value: Any) -> None:
    (step,) = planned(evaluation={"tasks": [{"name": "mmath_en", "timeout": value}]}).jobs[0].steps
    assert step.timeout == 5400


ENDPOINT = {"url": "http://h/v1/chat/completions", "model_id": "m"}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"evaluation": {"tasks": [{"name": "mmath_xx"}]}}, "did you mean 'mmath_"),
        ({"evaluation": {"tasks": [{"name": "nothing_like_it_at_all"}]}}, "`proctor ls tasks`"),
        ({"evaluation": {"tasks": [{"name": "mmlu"}]}}, "lm-evaluation-harness.mmlu or simple_evals.mmlu"),
        ({"evaluation": {"tasks": [{"name": "mmath_en"}, {"name": "mmath.mmath_en"}]}}, "stands twice"),
        ({"evaluation": {"tasks": [{"name": "mmath.mmath_xx"}]}}, "trust_unlisted"),
        ({"evaluation": {"tasks": [{"name": "primer_facts"}]}}, "has no container"),
        ({"evaluation": {"pre_cmd": "rm x", "tasks": [{"name": "mmath_en"}]}}, "evaluation.pre_cmd is code"),
        (
            {"evaluation": {"tasks": [{"name": "mmath_en", "post_cmd": "x"}]}},
            r"evaluation.tasks\[mmath_en\].post_cmd is code",
        ),
        ({"target": {"api_endpoint": {"model_id": "m"}}}, "target.api_endpoint.url is missing"),
        ({"target": {"api_endpoint": {**ENDPOINT, "url": "localhost:80"}}}, "is no URL"),
        ({"target": {"api_endpoint": {"url": "http://h/v1"}}}, "target.api_endpoint.model_id is missing"),
        ({"deployment": {"type": "vllm"}}, "deployment.checkpoint_path is missing"),
        ({"deployment": {"type": "generic", "image": "x"}}, "deployment.command is missing"),
        ({"deployment": {"type": "nim"}}, "deployment.image is missing"),
        ({"deployment": {"type": "nim", "image": "x", "extra_args": "--a"}}, "deployment.extra_args: a NIM image"),
        (
            {"deployment": {"type": "nim", "nim_model_name": "a/b"}, "execution": {"type": "process"}},
            "only as a container",
        ),
        ({"execution": {"type": "slurm", "output_dir": "out"}}, "must be absolute"),
        ({"execution": {"type": "local", "mounts": ["/a"]}}, "SOURCE:TARGET"),
        ({"env_vars": {"TOKEN": "hf_secret-value"}}, "env_vars.TOKEN: its value names no variable"),
        ({"env_vars": {"A B": "lit:x"}}, "is no name of an environment variable"),
    ],
)
def test_mistakes_are_told_in_one_sentence(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        planned(**sections)
    assert "\n" not in str(caught.value)
    assert "hf_secret-value" not in str(caught.value)


def test_an_unlisted_benchmark_runs_with_trust_and_its_full_name() -> None:
    evaluation = {"trust_unlisted": True, "tasks": [{"name": "mmath.mmath_xx"}]}
    assert document(evaluation=evaluation)["config"]["type"] == "mmath.mmath_xx"


def test_trusted_commands_run() -> None:
    evaluation = {
        "trust_pre_cmd": True,
        "pre_cmd": "a",
        "tasks": [{"name": "mmath_en", "pre_cmd": "b", "post_cmd": "c"}],
    }
    (step,) = planned(evaluation=evaluation).jobs[0].steps
    assert (step.pre_cmd, step.post_cmd) == ("b", "c")


def test_only_what_changes_scores_changes_the_config_hash() -> None:
    base = config_hash(config())
    assert (
        config_hash(config(name="other", base_dir="/elsewhere", execution={"type": "local", "output_dir": "/x"}))
        == base
    )
    changed = {"api_endpoint": {"url": "http://localhost:8080/v1/chat/completions", "model_id": "other"}}
    assert config_hash(config(target=changed)) != base


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_server_command_lines_are_quoted(kind: str) -> None:
    deployment = {"type": kind, "checkpoint_path": "/m", "served_model_name": "it's; $HOME", "tensor_parallel_size": 4}
    server = planned(deployment=deployment).jobs[0].server
    assert server
    assert server.command
    assert "'it'\"'\"'s; $HOME'" in server.command


def test_nim_finds_its_image_by_the_models_name() -> None:
    server = planned(deployment={"type": "nim", "nim_model_name": "meta/llama-3.1-8b-instruct"}).jobs[0].server
    assert server
    assert server.container.image == "nvcr.io/nim/meta/llama-3.1-8b-instruct:latest"
    assert server.command is None
    assert server.health_path == "/v1/health/ready"


def test_nim_listens_where_it_is_asked() -> None:
    server = planned(deployment={"type": "nim", "image": "nim:1", "port": 9000}).jobs[0].server
    assert server
    assert server.port == 9000
    assert {each.name: each.value for each in server.container.env} == {
        "NIM_SERVER_PORT": "9000",
        "NIM_HTTP_API_PORT": "9000",
    }


def test_nim_starts_behind_a_command_of_the_users() -> None:
    deployment = {"type": "nim", "image": "nim:1", "pre_cmd": "export A=b"}
    server = planned(deployment=deployment, evaluation={"trust_pre_cmd": True, "tasks": [{"name": "mmath_en"}]}).jobs[0]
    assert server.server
    assert server_command(server.server) == (
        "export A=b\nexec /opt/nvidia/nvidia_entrypoint.sh /opt/nim/start_server.sh"
    )


@pytest.mark.parametrize("folder", ["/out put", "/out;reboot", "/$HOME", "/it's"])
def test_a_folder_that_harnesses_would_split_is_refused_where_no_container_hides_it(folder: str) -> None:
    with pytest.raises(ConfigError, match=r"execution\.output_dir: .*without a container"):
        planned(execution={"type": "process", "output_dir": folder})
    assert planned(execution={"type": "local", "output_dir": folder}).output_dir.startswith(folder)


def test_letters_of_any_language_are_fine_in_a_folder() -> None:
    assert planned(execution={"type": "process", "output_dir": "/ergebnisse/grün_1.0"}).output_dir.startswith("/erg")
