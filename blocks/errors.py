"""What can go wrong where jobs run, as decisions for the caller.

    ConfigError                the user's mistake; never retried (proctor.configs.errors)
    BackendError               our plumbing to a backend failed
      TransientError           try again later: a lost connection, a busy service
      RejectedError            the backend refused; the same request will be refused again
      BackendUnavailableError  out of patience; the jobs are left alone and can be resumed
    JobFailedError             the user's job failed; the plumbing is fine
    ResultError                a job ended, but its results are missing or malformed
    ExportError                a destination did not take the scores; they are safe where they are

Every error pickles, and none carries a request, a header or a secret.
"""

from proctor.blocks.job import JobHandle
from proctor.configs.errors import ConfigError

__all__ = [
    "BackendError",
    "BackendUnavailableError",
    "ConfigError",
    "ExportError",
    "JobFailedError",
    "RejectedError",
    "ResultError",
    "TransientError",
]


class BackendError(Exception):
    """A backend could not be asked, or said no."""


class TransientError(BackendError):
    """Worth another try later; nothing is known to have happened."""

    def __init__(self, message: str, within: float | None = None) -> None:
        super().__init__(message, within)
        self.message = message
        self.within = within
        """For how many seconds trying again makes sense, where that is less than the patience for the whole backend."""

    def __str__(self) -> str:
        return self.message


class RejectedError(BackendError):
    """The backend refused, in its own words; asking again changes nothing."""


class BackendUnavailableError(BackendError):
    """The backend stayed out of sight for longer than the configured patience; its jobs were left alone."""


class JobFailedError(Exception):
    """A job or one of its benchmarks failed by itself."""

    def __init__(
        self, message: str, handle: JobHandle | None = None, exit_code: int | None = None, log: str = ""
    ) -> None:
        super().__init__(message, handle, exit_code, log)
        self.message = message
        self.handle = handle
        self.exit_code = exit_code
        self.log = log

    def __str__(self) -> str:
        return f"{self.message}\n{self.log}" if self.log else self.message


class ResultError(Exception):
    """The output of a benchmark is missing, partial or malformed; what was fetched stays where it is."""


class ExportError(Exception):
    """A destination did not take the scores of an evaluation, which are safe where they are."""

    def __init__(self, message: str, again: bool = True) -> None:
        super().__init__(message, again)
        self.message = message
        self.again = again
        """Whether trying again may help."""

    def __str__(self) -> str:
        return self.message
