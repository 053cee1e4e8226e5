"""The catalog of benchmarks."""

from pathlib import Path

import pytest

from proctor.configs.catalog import by_digest, load_catalog
from proctor.configs.errors import ConfigError

AMBIGUOUS = ["mmlu", "mmlu_pro", "mgsm", "ifeval", "humaneval_instruct", "ifbench", "humaneval", "humanevalplus"]
AMBIGUOUS += ["gpqa_diamond", "scicode", "hle"]


def test_it_lists_421_benchmarks_of_23_harnesses_and_our_own() -> None:
    entries = load_catalog().entries.values()
    theirs = [entry for entry in entries if entry.harness != "primer"]
    assert len(theirs) == 421
    assert len({entry.harness for entry in theirs}) == 23
    assert sum(entry.required_capabilities == ("logprobs",) for entry in theirs) == 81
    counts = {
        kind: sum(entry.endpoint_type == kind for entry in theirs)
        for kind in ("chat", "completions", "embedding", "vlm")
    }
    assert counts == {"chat": 219, "completions": 175, "embedding": 20, "vlm": 7}


def test_every_nvidia_image_runs_by_digest() -> None:
    for entry in load_catalog().entries.values():
        if entry.harness != "primer":
            assert entry.image
            assert "@sha256:" in entry.image
            assert ":26.03" not in entry.image


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_ambiguous_name_offers_the_full_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"\w\.{name} or [\w-]+\.{name}"):
        load_catalog().find(name)


def test_names_are_found_short_and_full() -> None:
    catalog = load_catalog()
    short, full = catalog.find("hellaswag"), catalog.find("lm-evaluation-harness.hellaswag")
    assert short
    assert short is full
    assert catalog.find("hellaswig") is None
    assert "hellaswag" in catalog.nearest("hellaswig")


def test_a_mapping_of_ones_own_comes_first(tmp_path: Path) -> None:
    mine = tmp_path / "mapping.toml"
    mine.write_text('[mmath]\ncontainer = "local/mmath:1"\nchat = ["mmath_en"]\n')
    entry = load_catalog(mine).find("mmath_en")
    assert entry
    assert entry.image == "local/mmath:1"
    assert load_catalog(mine).find("mmath_fr") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("[x]\ncontaner = 1", "did you mean 'container'"), ("[x", "not valid TOML"), ("x = 1", "no table")],
)
def test_a_bad_mapping_is_told(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_catalog(path)


def test_digest_replaces_the_tag_and_keeps_a_port() -> None:
    assert by_digest("host:5000/a/b:1.2", "sha256:ff") == "host:5000/a/b@sha256:ff"
    assert by_digest("host:5000/a/b", "sha256:ff") == "host:5000/a/b@sha256:ff"
    assert by_digest("a/b@sha256:11", "sha256:ff") == "a/b@sha256:11"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe[h]", "is not text in UTF-8"),
        (b"[h]\nchat = 3\n", r"\[h\] chat: it must be a list of texts"),
        (b'[h]\nchat = "abc"\n', r"\[h\] chat: it must be a list of texts"),
        (b"[h]\npackages = [1]\n", r"\[h\] packages: it must be a list of texts"),
        (b"[h]\ncontainer = 1\n", r"\[h\] container: it must be text"),
        (b"h = 1\n", r"\[h\] does not know"),
    ],
)
def test_a_mapping_that_is_none_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "mapping.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_catalog(path)
