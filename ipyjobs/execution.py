"""One attempt at a job: what is to be called, and how its backend tells the engine what becomes of it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from ipyjobs.failure import Failure
from ipyjobs.generators import Source
from ipyjobs.pickling import Packed, Payload
from ipyjobs.preview import Preview


@dataclass(slots=True, eq=False)
class Call:
    """What an attempt runs."""

    job_id: str
    name: str
    attempt: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    """As submitted: a `JobFuture` stands wherever an upstream's value belongs."""
    kwargs: Mapping[str, Any]
    upstream: Mapping[str, Payload]
    """Values of the upstream jobs, by job id."""
    stopped: Callable[[], bool]
    """Whether the engine has asked for a stop; may be called from any thread."""
    packed: Packed | None
    """What `Backend.pack` made of function, args and kwargs when the job was submitted."""
    variables: contextvars.Context
    """A context of this attempt's own, copied from where the job was submitted."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What only the backend understands: `fresh` for processes."""


AttemptOutcome = Literal["", "done", "failed", "cancelled", "timeout", "released", "lost"]


@dataclass(slots=True, eq=False)
class Attempt:
    """One try at a job."""

    number: int
    """From 1; a rerun starts anew."""
    round: int
    """Counts reruns, from 1."""
    queued_at: float
    started_at: float | None = None
    ended_at: float | None = None
    outcome: AttemptOutcome = ""
    """Empty while it runs."""
    error: str = ""
    worker: str = ""
    """Where it ran: "pid 4711"."""
    log_start: int = 0
    """Where its output begins in the job's log, bytes."""
    handle: str = ""
    """The work's name outside of the kernel."""
    crashed: bool = False
    """Its worker was killed or went away."""


class Launch(NamedTuple):
    """What a task says of one of its jobs."""

    task: Any
    name: str
    """The task's."""
    one_at_a_time: bool
    """Whether the task's next run waits until this one has ended."""
    run_id: str | None
    """What the task's own rule gave; None: a UUID."""


class Context(Protocol):
    """How a backend speaks to the engine about one attempt. Every method is for the engine's loop only.

    Exactly one of `done`, `failed`, `released` and `stopped` ends the attempt; what comes later is ignored.
    """

    job_id: str
    stopping: bool
    """Whether the engine has asked for a stop."""

    def started(self, worker: str = "", at: float | None = None) -> None:
        """The function begins now, or has begun `at`; until then the job is pending. `worker` says where: "pid 4711".

        Said again, it only adds the worker, for those that learn it late.
        """
        ...

    def taken_back(self) -> None:
        """The attempt was sent ahead (`Backend.start_after`) and will not begin there: all is as if it never was."""
        ...

    def handle(self, text: str) -> None:
        """The work has this name outside of the kernel (a guard's worker, a cluster's job)."""
        ...

    def write(self, data: bytes, *, error: bool = False) -> None:
        """The job printed `data`, to stderr if `error`."""
        ...

    def report(self, progress: float | None, message: str | None, left_s: float | None) -> None:
        """How far the job is, 0 to 1; None leaves a value as it is."""
        ...

    def memory(self, size_bytes: int) -> None:
        """What the job's process tree uses at present."""
        ...

    def note(self, text: str) -> None:
        """What else a reader must know."""
        ...

    def yields(self, source: Source) -> None:
        """The function gave a generator, and here is where its values come from.

        The attempt goes on until one of the four below is said; `done` then with what the generator returned.
        """
        ...

    def serves(self, address: str, *, ready: bool) -> None:
        """The job is a web app at this address, where it answers if it is `ready`."""
        ...

    def done(self, value: Payload, preview: Preview, at: float | None = None) -> None:
        """The function returned, now or `at`, seconds since 1970."""
        ...

    def failed(self, failure: Failure) -> None:
        """The function raised, or its process died while it ran."""
        ...

    def released(self, why: str) -> None:
        """The work was not begun, through no fault of the job: the engine starts it anew."""
        ...

    def stopped(self) -> None:
        """After a stop: nothing of the work is left."""
        ...

    def interrupted(self) -> None:
        """The user's stop button ended the function."""
        ...
