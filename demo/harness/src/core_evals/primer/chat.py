"""One question to an OpenAI-compatible chat endpoint, with retries; standard library only."""

import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

RETRIED = {408, 409, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how."""

    url: str
    model: str
    max_new_tokens: int
    temperature: float
    top_p: float
    request_timeout: float
    max_retries: int


@dataclass(frozen=True)
class Reply:
    """What the model said and what it cost."""

    text: str
    prompt_tokens: int
    generated_tokens: int


class ChatError(Exception):
    """The endpoint gave no usable answer; says why."""


def ask(endpoint: Endpoint, question: str) -> Reply:
    """The model's reply; raises ChatError when `max_retries` more tries were in vain or the endpoint refuses."""
    for attempt in range(endpoint.max_retries + 1):
        try:
            return reply(send(endpoint, question))
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.read(300).decode(errors='replace')}"
            if error.code not in RETRIED:
                break
        except (OSError, ValueError, LookupError) as error:
            reason = f"{type(error).__name__}: {error}"
        if attempt < endpoint.max_retries:
            time.sleep(min(8.0, 0.5 * 2**attempt))
    raise ChatError(f"no answer from {endpoint.url}: {reason}")


def send(endpoint: Endpoint, question: str) -> dict[str, Any]:
    """The endpoint's answer to one request; proxies of the environment are not used."""
    body = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": endpoint.max_new_tokens,
        "temperature": endpoint.temperature,
        "top_p": endpoint.top_p,
    }
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("PRIMER_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(endpoint.url, json.dumps(body).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=endpoint.request_timeout) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def reply(answer: dict[str, Any]) -> Reply:
    """The parts of a chat completion that are scored and recorded; raises LookupError when it is none."""
    usage = answer.get("usage") or {}
    return Reply(
        answer["choices"][0]["message"]["content"] or "",
        usage.get("prompt_tokens", 0),
        usage.get("completion_tokens", 0),
    )
