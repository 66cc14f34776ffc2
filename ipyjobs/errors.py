"""What can go wrong, as a tree.

IpyjobsError
├── InvalidStateError (RuntimeError)     the job or engine is not in a state for that
│   ├── IllegalMove                      a status cannot change that way
│   ├── JobCancelled                     a cancelled job has no result
│   ├── EngineNotRunning                 nobody would run the job
│   └── EngineForked                     the engine lives in the parent process
├── DeadlockError (RuntimeError)         a blocking wait that could never return
├── JobNotFoundError (LookupError)       no job has this id or name
├── CycleError (ValueError)              jobs that wait for each other
├── InvalidOption (ValueError)           an option with a value that makes no sense
│   ├── RangeCheckError                  a status that does not exist
│   ├── ForeignAddress (NotImplementedError)  an address of another machine
│   └── InvalidLauncher (TypeError)      a web app that is neither a function nor a command
├── NotPicklable (TypeError)             something that cannot travel to another process
├── ResultUnreadable                     a result that arrived but cannot be loaded here
│   └── Unverified (ValueError)          bytes that were not written with this user's key
├── StoreError (RuntimeError)            the store cannot do that now
│   ├── StoreTooNew                      a newer ipyjobs made it
│   └── StoreUnreadable                  it is damaged, or no store at all
├── TaskTerminationException             raised by a function that leaves early because it was asked to stop
└── JobFailed (RuntimeError)             the job failed and no exception of its own exists
    ├── JobTimeout (TimeoutError)        it ran out of time
    ├── CommandFailed (SubprocessError)  its command did not end with 0
    ├── WebappFailed                     it does not listen where it should
    ├── WorkerDied                       its process was killed or went away
    │   └── WorkersBroken                no worker can start
    └── JobLost                          its kernel, guard or host is gone

An exception raised by the user's own function is never wrapped: `job.result()` raises it as it is.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class IpyjobsError(Exception):
    """Root of all errors raised by ipyjobs."""


ExecutorError = IpyjobsError
"""The root's name in executor-engine."""


class InvalidStateError(IpyjobsError, RuntimeError):
    """The job or the engine is not in a state in which that is possible."""


class IllegalMove(InvalidStateError):
    """A job's status cannot change that way."""

    def __init__(self, status: str, verb: str) -> None:
        self.status = status
        self.verb = verb
        super().__init__(f"cannot {verb!s} a job that is {status!s}")


class JobCancelled(InvalidStateError):
    """The job was cancelled, so it has no result."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"job {name!r} was cancelled ({reason}) and has no result; `job.rerun()` runs it again")


class EngineNotRunning(InvalidStateError):
    """The engine has no loop to run jobs on, or was stopped."""


class EngineForked(InvalidStateError):
    """The engine belongs to the process this one was forked from."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        super().__init__(f"engine belongs to pid {pid}; this is a forked child, make an `Engine()` of its own here")


class DeadlockError(IpyjobsError, RuntimeError):
    """A blocking wait that could never return, because what it waits for needs the waiting thread."""


class JobNotFoundError(IpyjobsError, LookupError):
    """No job has this id or name. It was never submitted, or was removed."""

    def __init__(self, job_id: object) -> None:
        self.job_id = job_id
        super().__init__(f"no job has the id or name {job_id!r}; `engine.jobs` lists those that are known")


class CycleError(IpyjobsError, ValueError):
    """Jobs that wait for each other; `ids` holds one such cycle, in order."""

    def __init__(self, ids: Sequence[str], names: Sequence[str] = ()) -> None:
        self.ids = tuple(ids)
        around = " → ".join([*(names or ids), (names or ids)[0]])
        super().__init__(f"these jobs wait for each other and would never start: {around}")


class InvalidOption(IpyjobsError, ValueError):
    """An option has a value that makes no sense."""

    def __init__(self, option: str, value: object, expected: str) -> None:
        self.option = option
        self.value = value
        shown = repr(value)
        # Both ends: of a path it is the last part that says which.
        shown = shown if len(shown) <= 100 else f"{shown[:50]}…{shown[-40:]} ({len(shown):,} characters)"
        super().__init__(f"{option}={shown} is not possible; expected {expected}")


class RangeCheckError(InvalidOption):
    """There is no such status (a name kept from executor-engine)."""


class ForeignAddress(InvalidOption, NotImplementedError):
    """Web apps are served on this machine only."""


class InvalidLauncher(InvalidOption, TypeError):
    """A web app is a function or a command."""


class NotPicklable(IpyjobsError, TypeError):
    """A function, argument or result that cannot travel to another process; `culprit` names it."""

    def __init__(self, culprit: str, why: str, way_out: str) -> None:
        self.culprit = culprit
        super().__init__(f"{culprit} cannot be sent to another process: {why}; {way_out}")


class ResultUnreadable(IpyjobsError):
    """The job is done, but its result cannot be loaded in this process."""


class Unverified(ResultUnreadable, ValueError):
    """Bytes that could run anything when they are opened, and of which nothing shows that this user wrote them."""


class StoreError(IpyjobsError, RuntimeError):
    """The store of jobs cannot do that now."""


class StoreTooNew(StoreError):
    """The store's tables were made by a newer ipyjobs."""

    def __init__(self, place: str, found: str, known: str) -> None:
        self.found, self.known = found, known
        super().__init__(
            f"the store {place} has version {found}, this ipyjobs knows {known} and older: "
            "install a newer ipyjobs, or choose another store"
        )


class StoreUnreadable(StoreError):
    """The store is damaged, or not a store at all."""

    def __init__(self, place: str, why: str) -> None:
        self.place, self.why = place, why
        super().__init__(f"the store {place} can't be read: {why}")


class TaskTerminationException(IpyjobsError):
    """Raised by a job's own function to say that it leaves early, as it was asked to: the job is cancelled."""


class JobFailed(IpyjobsError, RuntimeError):
    """The job failed and there is no exception of its own to raise."""


class JobTimeout(JobFailed, TimeoutError):
    """The job ran out of its time."""

    def __init__(self, name: str, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(f"job {name!r} did not end within {timeout_s:g} s")


class CommandFailed(JobFailed, subprocess.SubprocessError):
    """A command did not end with 0: `code` is its exit status, or minus the signal that killed it.

    None: it could not be started. `stderr` is the end of what it said there.
    """

    def __init__(self, message: str, *, command: str = "", code: int | None = None, stderr: str = "") -> None:
        self.command = command
        self.code = code
        self.stderr = stderr
        super().__init__(message)


class WebappFailed(JobFailed):
    """A web app does not listen where it should."""


class WorkerDied(JobFailed):
    """The process that ran the job was killed or went away."""


class WorkersBroken(WorkerDied):
    """No worker process can start; the message holds the end of what they said."""


class JobLost(JobFailed):
    """The kernel, guard or host that ran the job is gone."""
