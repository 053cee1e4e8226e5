"""The workspace a section means, its client, and every error of the SDK as one of ours.

Only `leptonai.api.v2` of the 0.47 line is used, and only when a workspace is reached: its import takes two seconds. Its
exceptions hold the token and cannot be pickled, so none leaves this module.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from proctor.blocks.errors import RejectedError, TransientError
from proctor.blocks.lepton.login import Login, login
from proctor.configs.errors import ConfigError
from proctor.configs.execution_schema import LeptonExecution

if TYPE_CHECKING:
    from leptonai.api.v2 import APIClient

T = TypeVar("T")

TIMEOUT = 30.0
"""Seconds for one request; the SDK's own limit is 120, and none for logs."""
TRIES = 4
LONGEST_SLEEP = 5.0
"""Seconds of a `Retry-After` that are slept through; a longer one ends the request."""
LONGEST_HOLD = 600.0
"""Seconds of a `Retry-After` that are believed."""
EXPIRED = "they last a day by default: put a fresh one where execution.token points, then `proctor resume`"


class UnauthorizedError(TransientError):
    """The token is refused, perhaps because it has expired; the jobs run on, and a fresh token finds them."""


class RefusalError(RejectedError):
    """Lepton answered a request with a 4xx status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message


class ThrottledError(TransientError):
    """Lepton asks not to be asked again for so many seconds."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message, seconds)
        self.message = message
        self.seconds = seconds

    def __str__(self) -> str:
        return self.message


LOCK = threading.Lock()
MADE: dict[Login, "APIClient"] = {}
HELD: dict[tuple[Login, str], float] = {}
"""Until when (monotonic) a service, or the part of it that keeps the logs, is not asked: it wanted patience."""


def client(execution: LeptonExecution) -> "APIClient":
    """The client of this section's workspace, one for each login in a process. No request is made yet."""
    wanted = login(execution)
    with LOCK:
        if wanted not in MADE:
            MADE[wanted] = new_client(wanted)
        return MADE[wanted]


def new_client(wanted: Login) -> "APIClient":
    """A client with our limits: 30 s for a request, and further tries for GET and DELETE alone."""
    try:
        from leptonai.api.v2 import APIClient  # noqa: PLC0415 (two seconds, only where Lepton is reached)
    except ImportError:
        raise ConfigError(
            "execution: lepton needs the Lepton SDK; install it with `pip install 'proctor[lepton]'`"
        ) from None
    except TypeError:  # what its import raises for an empty record
        raise ConfigError("the login record of `lep login` is damaged; log in again, or remove it") from None
    try:
        made = APIClient(wanted.workspace, wanted.token, wanted.url, wanted.origin)
    except (RuntimeError, ValueError, TypeError):
        raise ConfigError(
            "execution: lepton found no login: set LEPTON_WORKSPACE_ID and LEPTON_API_TOKEN where Proctor runs, "
            "or run `lep login`"
        ) from None
    made.url = made.url.rstrip("/")
    made._timeout = TIMEOUT
    try_again(made)
    return made


def try_again(made: "APIClient") -> None:
    """Further tries, with `Retry-After` and jitter, for requests that may be repeated: a POST never is.

    A long `Retry-After` is not slept through, since others may wait for what we hold: it is kept by not asking.
    """
    from requests.adapters import HTTPAdapter  # noqa: PLC0415
    from urllib3.exceptions import MaxRetryError, ResponseError  # noqa: PLC0415
    from urllib3.util import Retry  # noqa: PLC0415

    class Soon(Retry):
        def increment(
            self,
            method: str | None = None,
            url: str | None = None,
            response: Any = None,
            error: Exception | None = None,
            _pool: Any = None,
            _stacktrace: Any = None,
        ) -> "Soon":
            if response is not None and (self.get_retry_after(response) or 0) > LONGEST_SLEEP:
                raise MaxRetryError(_pool, url or "", ResponseError("it wants to be left alone"))
            return super().increment(method, url, response, error, _pool, _stacktrace)

    retry = Soon(
        total=TRIES,
        connect=TRIES,
        read=1,
        status=TRIES,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        status_forcelist={429, 500, 502, 503, 504},
        allowed_methods={"GET", "HEAD", "DELETE"},
        respect_retry_after_header=True,
        raise_on_status=False,
    )
    session = made._session
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=32))
    if urlsplit(made.url).hostname in {"127.0.0.1", "localhost", "::1"}:
        session.trust_env = False  # neither a proxy nor ~/.netrc is meant for this machine


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Whatever the SDK raises inside becomes an error of ours, with `what` was asked for in front.

    TransientError for what may pass, UnauthorizedError for a token, RefusalError for any other 4xx status.
    """
    import requests  # noqa: PLC0415 (comes with the SDK)
    from leptonai.api.v2 import ClientError, ServerError, WorkspaceUnauthorizedError  # noqa: PLC0415
    from leptonai.api.v2.log import LogAPIError  # noqa: PLC0415
    from leptonai.api.v2.utils import WorkspaceForbiddenError, WorkspaceNotFoundError  # noqa: PLC0415

    problem: Exception
    try:
        yield
        return
    except ClientError as error:
        problem = refusal(what, error.response.status_code, said(error.response))
        problem = patience(problem, wished(error.response))
    except ServerError as error:
        problem = TransientError(f"{what}: Lepton has a problem of its own (HTTP {error.response.status_code})")
        problem = patience(problem, wished(error.response))
    except LogAPIError as error:
        problem = refusal(what, error.status_code or 500, ": the log is not to be had")
        problem = patience(problem, error.retry_after or 0)
    except WorkspaceUnauthorizedError:
        problem = refusal(what, 401, "")
    except WorkspaceForbiddenError:
        problem = refusal(what, 403, "")
    except WorkspaceNotFoundError:
        problem = RefusalError(f"{what}: there is no such workspace at this URL (404); check execution.workspace", 404)
    except requests.RequestException as error:
        problem = TransientError(f"{what}: Lepton does not answer ({type(error).__name__})")
    except (RuntimeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        problem = TransientError(f"{what}: Lepton answered something that the SDK cannot read")
    raise problem from None


def refusal(what: str, status: int, words: str) -> Exception:
    """The error for a 4xx status, with what to do about it."""
    if status == 401:
        return UnauthorizedError(f"{what}: Lepton refuses the token (401); {EXPIRED}")
    if status in {408, 425, 429} or status >= 500:
        return TransientError(f"{what}: Lepton asks for patience (HTTP {status})")
    if status == 403:
        return RefusalError(f"{what}: the token has no permission for it in this workspace (403){words}", status)
    return RefusalError(f"{what}: Lepton refused (HTTP {status}){words}", status)


def patience(problem: Exception, seconds: float) -> Exception:
    """The same error; where the service wants to be left alone for so long, one that says so."""
    if isinstance(problem, RejectedError) or seconds <= LONGEST_SLEEP:
        return problem
    return ThrottledError(f"{problem}; it wants to be left alone for {seconds:.0f} s", min(seconds, LONGEST_HOLD))


def wished(response: Any) -> float:
    """For how many seconds an answer asks to be left alone, in its `Retry-After` of either form; 0 where it does not."""
    from urllib3.exceptions import InvalidHeader  # noqa: PLC0415 (comes with the SDK)
    from urllib3.util import Retry  # noqa: PLC0415

    try:
        return float(Retry().parse_retry_after(response.headers.get("Retry-After", "0")))
    except InvalidHeader:
        return 0.0


def said(response: object) -> str:
    """The service's own sentence, and nothing else of its answer."""
    try:
        body = response.json()  # type: ignore[attr-defined]
    except ValueError:
        return ""
    words = body.get("message") if isinstance(body, dict) else None
    return f": {words[:500]}" if isinstance(words, str) and words else ""


def patiently(execution: LeptonExecution, ask: Callable[["APIClient"], T], what: str, part: str = "") -> T:
    """The answer of one question to this section's workspace, with the token as it is now.

    A `part` of the service that wants patience is left alone by itself, the whole with all its parts.
    """
    wanted = login(execution)
    left = max(HELD.get((wanted, each), 0.0) for each in {"", part}) - time.monotonic()
    if left > 0:
        raise TransientError(f"{what}: Lepton asked to be left alone for another {left:.0f} s")
    try:
        found = client(execution)
        with asking(what):
            return ask(found)
    except ThrottledError as error:
        HELD[wanted, part] = time.monotonic() + error.seconds
        raise
