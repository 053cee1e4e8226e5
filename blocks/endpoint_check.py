"""Does an endpoint answer with that model and that kind of request? One small real request."""

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import httpx

from proctor.blocks.finding import Finding, ok, problem, warning

TIMEOUT = 60.0


def pixel() -> str:
    """A picture of one black point, as a data URL."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 4)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()


def body(kind: str, model: str) -> dict[str, Any]:
    """The smallest request of a kind of endpoint."""
    if kind == "embedding":
        return {"model": model, "input": "Hello"}
    if kind.startswith("completions"):
        extra = {"logprobs": 1, "echo": True} if kind == "completions_logprob" else {}
        return {"model": model, "prompt": "Hello", "max_tokens": 1, **extra}
    text: Any = "Say A."
    if kind == "vlm":
        text = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": pixel()}}]
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 1}


def check_endpoint(url: str, model: str, kind: str, key: str | None) -> Finding:
    """Ask once."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.post(url, json=body(kind, model), headers=headers, timeout=TIMEOUT)
    except httpx.TransportError as error:
        return problem(
            f"nothing answers at {url}: {error or type(error).__name__}", "start the server, or correct the URL"
        )
    except httpx.InvalidURL as error:
        return problem(f"target.api_endpoint.url: {url} is no URL: {error}", "correct it")
    if answer.is_error:
        return problem(
            f"{url} answers {answer.status_code} for model {model}: {told(answer)}", advice(answer.status_code)
        )
    return judge(url, kind, model, content(answer))


def judge(url: str, kind: str, model: str, answer: Mapping[str, Any]) -> Finding:
    """Whether an answer is one of this kind."""
    if kind == "embedding":
        return ok(f"{url} embeds with {model}") if answer.get("data") else strange(url, kind)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        return strange(url, kind)
    if kind == "completions_logprob" and not choices[0].get("logprobs"):
        return problem(
            f"{url} answers, but gives no log probabilities", "these benchmarks need a server that returns `logprobs`"
        )
    served = answer.get("model")
    if isinstance(served, str) and served != model and not served.endswith(model) and not model.endswith(served):
        return warning(f"{url} was asked for {model} and answers as {served}", "check target.api_endpoint.model_id")
    return ok(f"{url} answers as {model} ({kind})")


def strange(url: str, kind: str) -> Finding:
    """An answer that no harness could use."""
    return problem(f"what {url} answers is none of {kind}", "check the URL's route and the benchmark's endpoint_type")


def content(answer: httpx.Response) -> Mapping[str, Any]:
    """The JSON object in an answer; empty when there is none."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def told(answer: httpx.Response) -> str:
    """The server's own words."""
    error = content(answer).get("error") or content(answer).get("detail") or content(answer).get("message")
    words = error.get("message") if isinstance(error, dict) else error
    return str(words or answer.text or answer.reason_phrase).strip()[:200]


def advice(status: int) -> str:
    """What to do about an HTTP status."""
    if status in {401, 403}:
        return "set the variable that target.api_endpoint.api_key_name names to a key that may use this model"
    if status == 404:
        return "check the URL's route (…/v1/chat/completions) and target.api_endpoint.model_id"
    if status == 429:
        return "the key is out of requests for now: wait, or lower params.parallelism"
    if status < 500:
        return "check the model's name and the benchmark's endpoint_type"
    return "look at the server's own log"
