"""`primer_facts`: asks the questions of facts.jsonl and scores the answers."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core_evals.primer.chat import Endpoint, ask
from core_evals.primer.scoring import holds, statistics

SAMPLES = "nemo-evaluator-per-sample-outputs"  # where nemo-evaluator expects the records of single samples


@dataclass(frozen=True)
class Question:
    """One question, the answers that count, and what kind of question it is."""

    id: str
    kind: str
    text: str
    accepted: tuple[str, ...]


def questions(limit: int | None = None) -> list[Question]:
    """The questions of the package, or the first `limit` of them."""
    lines = Path(__file__).with_name("facts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [Question(row["id"], row["kind"], row["question"], tuple(row["accepted"])) for row in rows][:limit]


def sample(endpoint: Endpoint, question: Question) -> dict[str, Any]:
    """The record of one question, asked and scored."""
    reply = ask(endpoint, question.text)
    return {
        "id": question.id,
        "sub_query_id": 0,
        "kind": question.kind,
        "query": question.text,
        "generation": reply.text,
        "ground_truth": list(question.accepted),
        "score": int(holds(reply.text, question.accepted)),
        "num_prompt_tokens": reply.prompt_tokens,
        "num_generated_tokens": reply.generated_tokens,
    }


def run(endpoint: Endpoint, limit: int | None, parallelism: int, output_dir: Path) -> dict[str, float]:
    """Asks, writes a record a question and returns the statistics; one answer that cannot be had fails the whole run."""
    folder = output_dir / SAMPLES
    folder.mkdir(parents=True, exist_ok=True)
    scores: list[int] = []
    with ThreadPoolExecutor(max(1, parallelism)) as pool, (folder / "primer_facts.jsonl").open("w") as samples:
        for record in pool.map(lambda question: sample(endpoint, question), questions(limit)):
            samples.write(json.dumps(record, ensure_ascii=False) + "\n")
            samples.flush()
            scores.append(record["score"])
            print(f"{record['id']}: {'right' if record['score'] else 'wrong'}", flush=True)
    return statistics(scores)
