"""A real executable named `nemo-evaluator` that does what its run config says, without dependencies.

`config.params.extra.script` is Python code, run with `out` (the output folder) in scope. Of a run config in YAML only
the output folder is read, and the code comes from the variable FAKE_SCRIPT.
"""

import json
import os
import pathlib
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def main() -> None:
    document = read(pathlib.Path(sys.argv[sys.argv.index("--run_config") + 1]).read_text())
    out = pathlib.Path(document["config"]["output_dir"])
    with (out / "ran").open("a") as ran:
        ran.write(f"{time.time()} start\n")
    scope = {"out": out, "os": os, "time": time, "sys": sys, "document": document}
    exec(document["config"]["params"]["extra"].get("script", ""), scope)
    score = {"value": 0.5, "stats": {"count": 4, "stderr": 0.25}}
    results = {"tasks": {"fake": {"metrics": {"accuracy": {"scores": {"accuracy": score}}}}}, "groups": {}}
    (out / "results.yml").write_text(json.dumps({**document, "results": results}))
    with (out / "ran").open("a") as ran:
        ran.write(f"{time.time()} end\n")


def read(text: str) -> Any:
    if text.startswith("{"):
        return json.loads(text)
    (line,) = (line for line in text.splitlines() if line.strip().startswith("output_dir: "))
    extra = {"script": os.environ.get("FAKE_SCRIPT", "")}
    return {"config": {"output_dir": line.partition(": ")[2].strip("'\""), "params": {"extra": extra}}}


class Handler(BaseHTTPRequestHandler):
    """Health, models and a chat route."""

    model = os.environ.get("FAKE_MODEL", "fake-model")

    def do_GET(self) -> None:
        self.answer({"object": "list", "data": [{"id": self.model}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"model": self.model, "choices": [{"message": {"role": "assistant", "content": "4"}}]})

    def answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        print(format % args, flush=True)


def serve() -> None:
    """fake-server PORT [SECONDS BEFORE IT ANSWERS] [SECONDS BEFORE IT DIES]."""
    port, wait, life = (float(argument) for argument in [*sys.argv[1:], "0", "0"][:3])
    time.sleep(wait)
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    if life:
        threading.Timer(life, lambda: os._exit(9)).start()
    print("fake server is up", flush=True)
    server.serve_forever()
