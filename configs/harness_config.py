"""What may stand under `nemo_evaluator_config`, which goes into the run config that a harness reads.

Its content is the harness's, and passes untouched; but a section that is none, a key by value, or what only Proctor may
say would break the run after it was started, or say something false about its scores.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from proctor.configs.aliases import at
from proctor.configs.mistakes import Mistake, choice
from proctor.configs.schema import EvaluationConfig
from proctor.configs.source import KeyPath, dotted
from proctor.configs.urls import NO_URL, is_url

SECTIONS: tuple[KeyPath, ...] = (
    ("config",),
    ("config", "params"),
    ("config", "params", "extra"),
    ("target",),
    ("target", "api_endpoint"),
    ("metadata",),
)
"""Where the run config has a mapping."""
ENDPOINT: KeyPath = ("target", "api_endpoint")
TYPES = ("chat", "completions", "completions_logprob", "embedding", "vlm")
RUN_KEYS: Mapping[KeyPath, tuple[str, ...]] = {
    ("config",): ("type", "output_dir", "params", "supported_endpoint_types", "required_capabilities"),
    ("config", "params"): (
        *("limit_samples", "max_new_tokens", "max_retries", "parallelism", "task", "temperature"),
        *("request_timeout", "top_p", "extra"),
    ),
}
"""Keys of the run config that a harness of nemo-evaluator 0.2 accepts; it refuses others after it was started."""


def documents(config: EvaluationConfig) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """Every part of a run config that a config holds, with its place."""
    yield ("evaluation", "nemo_evaluator_config"), config.evaluation.nemo_evaluator_config
    for index, task in enumerate(config.evaluation.tasks):
        yield ("evaluation", "tasks", index, "nemo_evaluator_config"), task.nemo_evaluator_config


def check_harness_configs(config: EvaluationConfig) -> None:
    """Raise Mistake for the first thing that cannot stand under a `nemo_evaluator_config`."""
    for place, document in documents(config):
        check_sections(document, place)
        check_keys(document, place)
        check_endpoint(document, place)


def check_sections(document: Mapping[str, Any], place: KeyPath) -> None:
    """Raise Mistake for a section that is a value."""
    for section in SECTIONS:
        *above, name = section
        holder = at(document, tuple(above))
        if isinstance(holder, Mapping) and name in holder and not isinstance(holder[name], Mapping):
            path = (*place, *section)
            raise Mistake(path, f"{dotted(path)}: it must be a section of keys")


def check_keys(document: Mapping[str, Any], place: KeyPath) -> None:
    """Raise Mistake for a key that looks like a misspelt one, and for the folder that Proctor itself chooses."""
    for section, known in RUN_KEYS.items():
        there = at(document, section)
        for key in there if isinstance(there, dict) else ():
            near = get_close_matches(str(key), known, n=1, cutoff=0.8)
            if key not in known and near:
                path = (*place, *section, key)
                raise Mistake(path, f"{dotted(path)}: unknown key; did you mean {near[0]!r}?")
    if at(document, ("config", "output_dir")) is not None:
        path = (*place, "config", "output_dir")
        raise Mistake(path, f"{dotted(path)}: Proctor chooses the folder of the results; say execution.output_dir")


def check_endpoint(document: Mapping[str, Any], place: KeyPath) -> None:
    """Raise Mistake for an endpoint that is none, and for a key that stands there by value."""
    own, path = at(document, ENDPOINT) or {}, (*place, *ENDPOINT)
    if "api_key" in own:
        raise Mistake(
            (*path, "api_key"),
            f"{dotted((*path, 'api_key'))}: a key must not stand in a config; write the NAME of its variable as "
            "api_key_name",
        )
    if own.get("url") is not None and not is_url(own["url"]):
        raise Mistake((*path, "url"), f"{dotted((*path, 'url'))}: {own['url']!r} {NO_URL}")
    if own.get("type") not in (None, *TYPES):
        said = f"{own['type']!r} is not one of its choices; {choice(own['type'], TYPES)}"
        raise Mistake((*path, "type"), f"{dotted((*path, 'type'))}: {said}")
    for key in ("model_id", "api_key_name"):
        if not isinstance(own.get(key, ""), str | None):
            raise Mistake((*path, key), f"{dotted((*path, key))}: it must be text (put it in quotes)")
