"""Probe, provenance, tags and harness name one endpoint: the one that is measured, wherever the config says it."""

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from proctor.configs.errors import ConfigError
from proctor.configs.schema import EvaluationConfig
from proctor.tasks.assemble import Measured, provenance
from proctor.tasks.plan import Plan, plan
from proctor.tasks.records import model_name

A = {"url": "http://a/v1/chat/completions", "model_id": "model-a"}
B = {"url": "http://b:81/v1/chat/completions", "model_id": "model-b", "api_key_name": "FOO"}
VLLM = {"type": "vllm", "hf_model_handle": "org/m"}


def under(endpoint: dict[str, Any]) -> dict[str, Any]:
    return {"nemo_evaluator_config": {"target": {"api_endpoint": endpoint}}}


def config(target: dict[str, Any], shared: dict[str, Any], *tasks: dict[str, Any], **sections: Any) -> EvaluationConfig:
    named = [{"name": name, **task} for name, task in zip(("mmath_en", "mmath_fr"), tasks or ({},), strict=False)]
    document = {
        "execution": {"type": "local", "output_dir": "/out"},
        "target": {"api_endpoint": target},
        "evaluation": {"tasks": named, **shared},
        **sections,
    }
    return EvaluationConfig.model_validate(document)


def asked(planned: Plan, config: EvaluationConfig) -> list[tuple[str, str, str]]:
    """What each benchmark asks (URL, model, variables), after checking that everybody says the same of it."""
    found = []
    for step in planned.jobs[0].steps:
        read = yaml.safe_load(step.run_config)["target"]["api_endpoint"]
        proof = provenance(Measured(config, planned, step.name, None))
        assert (proof.endpoint, proof.model) == (read["url"], read["model_id"])
        assert step.endpoint_url == read["url"], "the probe asks what the harness asks"
        variables = [each.value for each in step.container.env if each.source == "host"]
        assert variables == [read["api_key_name"]] if "api_key_name" in read else variables == []
        found.append((read["url"], read["model_id"], " ".join(variables)))
    return found


def planned_of(config: EvaluationConfig) -> Plan:
    return plan(config, "3f2a91bc", datetime(2026, 11, 23, tzinfo=UTC))


B_ASKED = ("http://b:81/v1/chat/completions", "model-b", "FOO")


@pytest.mark.parametrize(
    ("target", "shared", "tasks", "expected", "model"),
    [
        (A, under(B), [{}], [B_ASKED], "model-b"),
        (A, {}, [under(B), {}], [B_ASKED, (*A.values(), "")], "model-a"),
        ({}, under(B), [{}], [B_ASKED], "model-b"),
        ({}, {}, [under(B)], [B_ASKED], "model-b"),
        (A, under({"url": None, "model_id": None}), [{}], [(*A.values(), "")], "model-a"),
        (A, under(A), [under({"api_key_name": "FOO"})], [(*A.values(), "FOO")], "model-a"),
    ],
    ids=["of all", "of one", "only of all", "only of one", "nothing in it", "a key of one"],
)
def test_everybody_names_the_endpoint_that_is_measured(
    target: dict[str, Any],
    shared: dict[str, Any],
    tasks: list[dict[str, Any]],
    expected: list[tuple[str, str, str]],
    model: str,
) -> None:
    given = config(target, shared, *tasks)
    planned = planned_of(given)
    assert asked(planned, given) == expected
    assert planned.model == model_name(given) == model


def test_another_endpoint_than_targets_is_told() -> None:
    notes = planned_of(config(A, {}, under(B), {})).notes
    assert "mmath.mmath_en asks http://b:81/v1/chat/completions, because nemo_evaluator_config says so" in notes
    assert "mmath.mmath_en asks for the model model-b, because nemo_evaluator_config says so" in notes
    assert not [note for note in notes if "mmath_fr asks" in note]


@pytest.mark.parametrize(
    ("shared", "task", "words"),
    [
        (under({"url": B["url"]}), {}, "api_endpoint.url: benchmarks ask the deployed vllm server"),
        ({}, under({"url": B["url"]}), "api_endpoint.url: benchmarks ask the deployed vllm server"),
        ({}, under({"model_id": "x"}), "the deployed vllm server calls its model org/m"),
    ],
)
def test_what_a_deployed_server_would_contradict_is_refused(
    shared: dict[str, Any], task: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        planned_of(config({}, shared, task, deployment=VLLM))


def test_the_deployed_servers_own_name_and_a_key_are_fine() -> None:
    given = config({}, {}, under({"model_id": "org/m", "api_key_name": "FOO"}), deployment=VLLM)
    assert asked(planned_of(given), given) == [("http://127.0.0.1:8000/v1/chat/completions", "org/m", "FOO")]


def test_a_kind_of_endpoint_decides_the_route() -> None:
    given = config(A, under({"type": "completions"}))
    planned = planned_of(given)
    assert asked(planned, given) == [("http://a/v1/completions", "model-a", "")]
    assert yaml.safe_load(planned.jobs[0].steps[0].run_config)["target"]["api_endpoint"]["type"] == "completions"
    assert provenance(Measured(given, planned, planned.steps[0], None)).endpoint_type == "completions"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"target": "foo"}, "evaluation.nemo_evaluator_config.target: it must be a section of keys"),
        ({"target": {"api_endpoint": None}}, "target.api_endpoint: it must be a section of keys"),
        ({"config": [1]}, "nemo_evaluator_config.config: it must be a section of keys"),
        ({"config": {"params": 3}}, "config.params: it must be a section"),
        ({"config": {"output_dir": "/elsewhere"}}, "config.output_dir: Proctor chooses the folder"),
        ({"config": {"type": "mmath_zh"}}, "'mmath_zh' is not what mmath.mmath_en runs"),
        ({"target": {"api_endpoint": {"api_key": "canary"}}}, "api_key: a key must not stand in a config"),
        ({"target": {"api_endpoint": {"url": "http://h:abc/v1"}}}, "'http://h:abc/v1' is no URL"),
        ({"target": {"api_endpoint": {"type": "caht"}}}, "did you mean 'chat'"),
        ({"target": {"api_endpoint": {"model_id": 3}}}, "model_id: it must be text"),
    ],
)
def test_what_cannot_stand_in_a_run_config_is_refused_before_anything_starts(
    document: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        planned_of(config(A, {"nemo_evaluator_config": document}))
    assert words in str(error.value)
    assert "canary" not in str(error.value)
    with pytest.raises(ConfigError):
        planned_of(config(A, {}, {"nemo_evaluator_config": document}))


@pytest.mark.parametrize(("image", "told"), [(None, True), ("vllm@sha256:" + "0" * 64, False)])
def test_a_servers_image_that_may_change_is_told_and_recorded(image: str | None, told: bool) -> None:
    given = config({}, {}, deployment={**VLLM, "image": image})
    planned = planned_of(given)
    proof = provenance(Measured(given, planned, planned.steps[0], None))
    assert proof.server_image == (image or "vllm/vllm-openai:latest")
    assert told == any("the model server runs vllm/vllm-openai:latest by tag" in note for note in planned.notes)
