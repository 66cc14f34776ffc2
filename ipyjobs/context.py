"""What a running function can ask and say about its own job, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from ipyjobs.errors import InvalidOption


class Reporter(Protocol):
    """Takes what a job says of its progress to the engine; may be called from any thread."""

    def __call__(self, progress: float | None, message: str | None, left_s: float | None) -> None: ...


@dataclass(slots=True, eq=False)
class JobContext:
    """The job that is running here, as its own function sees it."""

    id: str
    name: str
    attempt: int
    """Number of this try, from 1."""
    _reporter: Reporter = field(repr=False)
    _cancelled: Callable[[], bool] = field(repr=False)
    _write: Callable[[bytes, bool], None] | None = field(default=None, repr=False)
    bar: object = field(default=None, repr=False)
    """The tqdm bar that speaks for the job, while there is one."""

    def cancelled(self) -> bool:
        """Whether this job has been asked to stop. A thread can't be stopped from outside: poll this."""
        return self._cancelled()

    def report(self, progress: float | None = None, message: str | None = None, *, left_s: float | None = None) -> None:
        """Tell the dashboard how far the job is; see `ipyjobs.report`."""
        if progress is not None:
            number = float(progress)
            if not 0 <= number <= 1:
                raise InvalidOption("progress", progress, "a number from 0 to 1")
            progress = number
        self._reporter(progress, None if message is None else str(message), left_s)

    def write(self, data: bytes, *, error: bool = False) -> bool:
        """Put output into the job's log; False where the file descriptors lead there anyway."""
        if self._write is None:
            return False
        self._write(data, error)
        return True


running: ContextVar[JobContext | None] = ContextVar("ipyjobs_running", default=None)


def current_job() -> JobContext | None:
    """The job whose function is running here, or None outside of any.

    Follows the context: in a coroutine, a thread job or a worker it is the job that runs the calling code. A thread
    started by the job itself belongs to the job only if it was started with a copy of its context.
    """
    return running.get()


def report(progress: float | None = None, message: str | None = None) -> None:
    """Tell the dashboard how far the running job is. Does nothing outside of a job.

    Parameters
    ----------
    progress
        From 0 to 1; None leaves it as it is.
    message
        Shown beside the bar, on one line; None leaves it as it is.

    Raises
    ------
    InvalidOption
        `progress` is not a number from 0 to 1.
    """
    job = running.get()
    if job is not None:
        job.report(progress, message)


class TerminationFlag:
    """Says inside a job whether it has been asked to stop: ``def work(flag=TerminationFlag()): … flag.is_set()``.

    It holds nothing and asks `current_job` each time, so one default serves all runs on all backends. Processes are
    killed rather than asked, so there it is never set.
    """

    __slots__ = ()

    def is_set(self) -> bool:
        """Whether the running job has been asked to stop; False outside of any."""
        job = running.get()
        return job is not None and job.cancelled()

    def __repr__(self) -> str:
        return "TerminationFlag()"
