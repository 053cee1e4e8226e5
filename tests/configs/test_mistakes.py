"""A user's mistake is one sentence that names the place and the nearest right thing."""

import subprocess
import sys
from pathlib import Path

import pytest

from proctor.cli.main import main
from proctor.configs.errors import ConfigError
from proctor.configs.load import load
from tests.configs.test_load import BASE

FILES = {
    "unknown key": (
        BASE + "execution:\n  outptu_dir: x\n",
        "c.yaml:12: execution.outptu_dir: unknown key; did you mean 'execution.output_dir'?",
    ),
    "key of a section at the root": (
        BASE + "walltime: 3\n",
        "c.yaml:11: walltime: unknown key; did you mean 'execution.w",
    ),
    "key of another execution": (BASE + "execution: {qos: high}\n", "only execution: slurm has it"),
    "key of a task": (
        BASE.replace("- name: mmath_en", "- nam: mmath_en"),
        "c.yaml:9: evaluation.tasks[0].nam: unknown key",
    ),
    "unknown section": (BASE + "exeuction: {}\n", "did you mean 'execution'?"),
    "wrong type": (
        BASE + "execution:\n  cpus: many\n",
        "c.yaml:12: execution.cpus: 'many' does not fit; it must be a num",
    ),
    "wrong choice": (BASE + "execution: {mode: paralel}\n", "did you mean 'parallel'?"),
    "wrong duration": (BASE + "execution: {benchmark_timeout: 1h}\n", "'1h' is no duration; write HH:MM:SS"),
    "no size": (
        BASE + "execution: {memory_limit: 64Gi}\n",
        "execution.memory_limit: '64Gi' does not fit; write a numbe",
    ),
    "no gpus": (
        BASE + "execution: {gpus: 'device:0'}\n",
        "execution.gpus: 'device:0' does not fit; write all, none, a",
    ),
    "no user": (BASE + "execution: {user: me}\n", "execution.user: 'me' does not fit; write uid or uid:gid"),
    "no network": (BASE + "execution: {network: a b}\n", "execution.network: 'a b' does not fit; write the name of a"),
    "no engine": (BASE + "execution: {docker_host: here}\n", "execution.docker_host: 'here' does not fit; write an ad"),
    "negative": (BASE + "execution: {cpus: -1}\n", "execution.cpus: -1 does not fit; it must be greater than 0"),
    "section that is a value": (BASE + "execution: 3\n", "execution"),
    "tasks that are text": (
        BASE.partition("  tasks:")[0] + "  tasks: mmath_en\n",
        "evaluation.tasks: 'mmath_en' does not",
    ),
    "mandatory value": (
        BASE + "execution:\n  output_dir: ???\n",
        "c.yaml:12: execution.output_dir is ???; give it a value",
    ),
    "bad yaml": (BASE + "execution: {a: [1\nname: x\n", "c.yaml:12: not valid YAML: "),
    "tab": (BASE + "\tname: x\n", "c.yaml:11: not valid YAML: "),
    "same key twice": (BASE + "name: a\nname: b\n", "c.yaml:12: not valid YAML: found duplicate key name"),
    "circle": (BASE + "name: ${execution.output_dir}\nexecution: {output_dir: '${name}'}\n", "leads back to itself"),
    "part of itself": (BASE + "name: &a [*a]\n", "c.yaml: a part of it contains itself"),
    "too deep": (BASE + f"name: {'[' * 3000}{']' * 3000}\n", "c.yaml: a part of it contains itself, or it is nested"),
    "unknown reference": (BASE + "name: ${exection.type}\n", "c.yaml:11: name: '${exection.type}' refers to 'exection"),
    "unknown resolver": (BASE + "name: ${env:HOME}\n", "uses 'env', which is no resolver"),
    "broken reference": (BASE + "name: ${oc.env:HOME\n", "c.yaml"),
    "unset variable": (
        BASE + "name: ${oc.env:NOT_SET_AT_ALL}\n",
        "needs the environment variable NOT_SET_AT_ALL, which is",
    ),
    "secret by value": (
        BASE + "env_vars: {A: '${oc.env:HOME}'}\n",
        "would copy a secret into the config; write host:HOME",
    ),
    "no tasks": (
        BASE.partition("  tasks:")[0] + "  tasks: []\n",
        "evaluation.tasks is empty; name at least one benchmark",
    ),
    "no evaluation": (BASE.partition("evaluation:")[0], "evaluation.tasks is empty; name at least one benchmark"),
    "url": (BASE.replace("http://localhost:8080", "localhost:8080"), "'localhost:8080/v1/chat/completions' is no URL"),
    "port too high": (
        BASE.replace(":8080/", ":99999/"),
        "c.yaml:6: target.api_endpoint.url: 'http://localhost:99999/v1",
    ),
    "port that is a word": (
        BASE.replace(":8080/", ":abc/"),
        "localhost:abc/v1/chat/completions' is no URL; write http",
    ),
    "harness target": (
        BASE + "  nemo_evaluator_config: {target: foo}\n",
        "c.yaml:11: evaluation.nemo_evaluator_config.target: it must be a section of keys",
    ),
    "harness endpoint": (
        BASE + "  nemo_evaluator_config: {target: {api_endpoint: null}}\n",
        "nemo_evaluator_config.target.api_endpoint: it must be a section of keys",
    ),
    "harness config": (BASE + "  nemo_evaluator_config: {config: [1]}\n", "config: it must be a section of keys"),
    "harness url": (
        BASE + "  nemo_evaluator_config: {target: {api_endpoint: {url: h:80}}}\n",
        "nemo_evaluator_config.target.api_endpoint.url: 'h:80' is no URL",
    ),
    "harness api key": (
        BASE + "  nemo_evaluator_config: {target: {api_endpoint: {api_key_name: NOT_SET_AT_ALL}}}\n",
        "target.api_endpoint.api_key_name: the environment variable NOT_SET_AT_ALL is not set",
    ),
    "harness api key by value": (
        BASE + "  nemo_evaluator_config: {target: {api_endpoint: {api_key: sk-canary}}}\n",
        "nemo_evaluator_config.target.api_endpoint.api_key: a key must not stand in a config; write the NAME",
    ),
    "harness output folder": (
        BASE + "config: {output_dir: /elsewhere}\n",
        "c.yaml:11: evaluation.nemo_evaluator_config.config.output_dir: Proctor chooses the folder of the results",
    ),
    "mapping that is a folder": (BASE + "  mapping: /\n", "evaluation.mapping: cannot read /: Is a directory"),
    "api key": (
        BASE.replace("model_id: m", "model_id: m, api_key_name: NOT_SET_AT_ALL"),
        "c.yaml:6: target.api_endpoint.api_key_name: the environment variable NOT_SET_AT_ALL is not set",
    ),
    "api key by value": (BASE.replace("model_id: m", "api_key: sk-canary"), "write the NAME of its variable"),
    "group choice": (
        BASE.replace("execution: local", "execution: slrum"),
        "c.yaml:1: there is no execution 'slrum'; did you",
    ),
    "type": (BASE + "deployment: {type: vlm}\n", "deployment.type: there is no deployment 'vlm'; did you mean 'vllm'?"),
    "two spellings": (
        BASE.replace("execution: local", "execution: slurm") + "execution: {walltime: 60, time_limit: 61}\n",
        "execution.time_limit and execution.walltime are the same setting and differ",
    ),
    "run parameter": (
        BASE + "config: {params: {limit_sample: 3}}\n",
        "c.yaml:11: evaluation.nemo_evaluator_config.config.params.limit_sample: unknown key; did you mean 'limit_samples'?",
    ),
    "auxiliary": (BASE + "auxiliary_deployments: {judge: {type: vllm}}\n", "auxiliary servers are not supported"),
    "unknown benchmark": (
        BASE.replace("mmath_en", "mmath_em"),
        "c.yaml:9: evaluation.tasks: there is no benchmark 'mmath_em'; did you mean",
    ),
    "ambiguous benchmark": (
        BASE.replace("mmath_en", "mmlu"),
        "c.yaml:9: evaluation.tasks: 'mmlu' is offered by several harnesses; write lm-evaluation-harness.mmlu or simple_",
    ),
    "unlisted benchmark": (BASE.replace("mmath_en", "mmath.mmath_xx"), "set evaluation.trust_unlisted: true"),
    "own container": (
        BASE.replace("name: mmath_en", "{name: mmath_en, container: x}"),
        "set evaluation.trust_unlisted: true",
    ),
    "list": ("- 1\n", "holds no config"),
    "empty": ("", "holds no config"),
    "missing file in defaults": ("defaults: [nothing, _self_]\n" + BASE.partition("_self_\n")[2], "nothing"),
}


@pytest.mark.parametrize("case", FILES, ids=str)
def test_a_file(tmp_path: Path, case: str) -> None:
    text, words = FILES[case]
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load(tmp_path, "c")
    told = str(error.value)
    assert words in told
    assert "\n" not in told
    assert "canary" not in told


OVERRIDES = {
    "execution.max_paralel=3": "there is no key 'execution.max_paralel'; did you mean 'execution.max_parallel'?",
    "execution.mode.x=3": "execution.mode",
    "evaluation.tasks.0.timeout=1h": "'1h' is no duration; write HH:MM:SS",
    "evaluation.tasks.hellaswig.timeout=3": "this config has no benchmark 'hellaswig'; it has mmath_en",
    "evaluation.tasks.mmath_fr.timeout=3": "this config has no benchmark 'mmath_fr'; did you mean 'mmath_en'?",
    "evaluation.tasks.7.timeout=3": "the list has 2 entries; count from 0",
    "~execution.cpus": "there is no execution.cpus in this config to remove",
    "execution.cpus": "no override; write KEY=VALUE",
    "execution.docker_args=[a": "its value is not complete; check its brackets and quotes",
    "execution.cpus=1,2": "several values in a row are not supported",
    "execution=slrum": "-o execution=slrum: there is no execution 'slrum'; did you mean 'slurm'?",
    "execution.cpus=many": "-o execution.cpus=many: execution.cpus: 'many' does not fit",
    "env_vars.A=[canary]": "-o env_vars.A=...: env_vars.A: this list does not fit",
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_an_override(tmp_path: Path, override: str) -> None:
    (tmp_path / "c.yaml").write_text(BASE)
    with pytest.raises(ConfigError) as error:
        load(tmp_path, "c", [override])
    assert OVERRIDES[override] in str(error.value)
    assert "canary" not in str(error.value)


def test_names_that_do_not_exist_are_answered_with_those_that_do(tmp_path: Path) -> None:
    (tmp_path / "local_llama.yaml").write_text(BASE)
    with pytest.raises(ConfigError, match=r"there is no config 'local_lama'.*did you mean 'local_llama'\?"):
        load(tmp_path, "local_lama")
    with pytest.raises(ConfigError, match="there is no such folder"):
        load(tmp_path / "nowhere", "c")
    with pytest.raises(ConfigError, match=r"-t mmath_fr: .* did you mean 'mmath_en'\?"):
        load(tmp_path, "local_llama", [], ["mmath_fr"])


def test_a_binary_file_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        load(tmp_path, "c")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").symlink_to("/proc/self/mem")  # root may read every ordinary file
    with pytest.raises(ConfigError, match=r"^cannot read .*c.yaml: Input/output error$"):
        load(tmp_path, "c")


@pytest.mark.parametrize("case", FILES, ids=str)
def test_every_mistake_ends_with_2_and_one_line(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(FILES[case][0])
    monkeypatch.setattr(sys, "argv", ["proctor", "run", "--config", str(tmp_path / "c.yaml")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("proctor: ")
    assert FILES[case][1] in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("case", ["unknown key", "bad yaml", "circle"])
def test_the_command_line_says_it_in_one_line_and_ends_with_2(tmp_path: Path, case: str) -> None:
    (tmp_path / "c.yaml").write_text(FILES[case][0])
    argv = [str(Path(sys.executable).parent / "proctor"), "run", "--config", str(tmp_path / "c.yaml"), "--dry-run"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("proctor: ")
    assert done.stderr.count("\n") == 1
