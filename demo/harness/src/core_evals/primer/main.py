"""The command `primer` that nemo-evaluator runs: one benchmark, then a metrics file for output.py."""

import argparse
import json
import sys
import time
from pathlib import Path

from core_evals.primer.chat import ChatError, Endpoint
from core_evals.primer.facts import run


def parser() -> argparse.ArgumentParser:
    """The options, named as the parameters of a run config are."""
    options = argparse.ArgumentParser(prog="primer")
    options.add_argument("benchmark", choices=["primer_facts", "primer_noop"])
    options.add_argument("--output-dir", type=Path, required=True)
    options.add_argument("--model-url", default="")
    options.add_argument("--model-name", default="")
    options.add_argument("--limit-samples", type=float)
    options.add_argument("--max-new-tokens", type=int, default=24)
    options.add_argument("--temperature", type=float, default=0.0)
    options.add_argument("--top-p", type=float, default=1.0)
    options.add_argument("--parallelism", type=int, default=2)
    options.add_argument("--request-timeout", type=float, default=60)
    options.add_argument("--max-retries", type=int, default=3)
    options.add_argument("--sleep-seconds", type=float, default=0)
    options.add_argument("--fail", type=int, default=0)
    return options


def metrics(args: argparse.Namespace) -> dict[str, float]:
    """The statistics of the benchmark that was asked for."""
    if args.benchmark == "primer_noop":
        return {"count": 1, "mean": 1.0, "stddev": 0.0, "stderr": 0.0}
    endpoint = Endpoint(
        args.model_url,
        args.model_name,
        args.max_new_tokens,
        args.temperature,
        args.top_p,
        args.request_timeout,
        args.max_retries,
    )
    limit = int(args.limit_samples) if args.limit_samples else None
    return run(endpoint, limit, args.parallelism, args.output_dir)


def main() -> None:
    """Runs one benchmark; exits with 1 and a sentence when the endpoint does not answer."""
    args = parser().parse_args()
    time.sleep(args.sleep_seconds)
    if args.fail:
        sys.exit(args.fail)
    try:
        found = metrics(args)
    except ChatError as error:
        sys.exit(f"primer: {error}")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    (args.output_dir / "primer.json").write_text(json.dumps({args.benchmark: found}))
