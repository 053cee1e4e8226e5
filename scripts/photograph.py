"""`photograph.py URL OUT.png TEXT WIDTHxHEIGHT`: a picture of a page once TEXT stands on it, by headless Chromium."""

import base64
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect
from websockets.sync.connection import Connection

SECONDS = 120.0
"""How long a page may take."""
SETTLING = 2.0
"""Seconds from the first sight of the text to the picture: fonts, graphs, what moves into its place."""
OPTIONS = ["--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
OPTIONS += ["--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"]
OPTIONS += ["--remote-debugging-port=0"]


def main(url: str, out: str, text: str, size: str) -> None:
    """Start a browser for one page, and end it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
        command = ["chromium", *OPTIONS, *sandbox, f"--window-size={size.replace('x', ',')}"]
        with Path(profile, "log").open("wb") as log:
            browser = subprocess.Popen([*command, f"--user-data-dir={profile}", "about:blank"], stdout=log, stderr=log)
        try:
            page = httpx.put(f"http://127.0.0.1:{port(Path(profile))}/json/new?{url}", timeout=SECONDS).json()
            with connect(page["webSocketDebuggerUrl"], max_size=None) as line:
                Path(out).write_bytes(picture(line, text))
        finally:
            browser.terminate()
            browser.wait(20)


def port(profile: Path) -> int:
    """Where the browser listens, which it writes down."""
    file, deadline = profile / "DevToolsActivePort", time.monotonic() + SECONDS
    while not (file.exists() and file.read_text()):
        if time.monotonic() > deadline:
            sys.exit(f"screenshot: Chromium did not start:\n{(profile / 'log').read_text()[-2000:]}")
        time.sleep(0.1)
    return int(file.read_text().splitlines()[0])


def picture(line: Connection, text: str) -> bytes:
    """The page as a PNG, once the text stands on it."""
    numbers, deadline = itertools.count(1), time.monotonic() + SECONDS
    seen = f"document.body.innerText.includes({json.dumps(text)})"
    while not ask(line, next(numbers), "Runtime.evaluate", expression=seen)["result"].get("value"):
        if time.monotonic() > deadline:
            sys.exit(f"screenshot: the page does not say {text!r}")
        time.sleep(0.3)
    time.sleep(SETTLING)
    return base64.b64decode(ask(line, next(numbers), "Page.captureScreenshot", format="png")["data"])


def ask(line: Connection, number: int, method: str, **parameters: Any) -> dict[str, Any]:
    """The browser's answer to one command."""
    line.send(json.dumps({"id": number, "method": method, "params": parameters}))
    while True:
        answer = json.loads(line.recv(SECONDS))
        if answer.get("id") == number:
            return dict(answer["result"])


if __name__ == "__main__":
    main(*sys.argv[1:])
