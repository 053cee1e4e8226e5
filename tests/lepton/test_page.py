"""docs/lepton.md as a reader would use it."""

import re
from pathlib import Path

from proctor.cli.dry_run import dry_run
from proctor.configs.load import read_config

PAGE = Path(__file__).parent.parent.parent / "docs" / "lepton.md"


def test_its_config_becomes_an_endpoint_and_a_job_for_each_benchmark(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    (tmp_path / "page.yaml").write_text(found[1])
    shown = dry_run(read_config(tmp_path, "page", []))
    assert (shown.count("# POST /deployments"), shown.count("# POST /jobs")) == (1, 2)
    for words in ("vllm serve meta-llama/Llama-3.1-8B-Instruct", '"gpu.8xh200"', '"node-nfs:shared"', "host:HF_TOKEN"):
        assert words in shown
