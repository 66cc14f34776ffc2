"""What the engine knows of its workers, and of the attempts that they are given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ipyjobs.backends.process.line import Line
from ipyjobs.execution import Call, Context
from ipyjobs.pickling import Packed
from ipyjobs.remote import RemoteSource

if TYPE_CHECKING:
    from ipyjobs.backends.process import ProcessBackend


@dataclass(slots=True, eq=False)
class Work:
    """One attempt, from `start` to its end."""

    call: Call
    context: Context
    packed: Packed
    fresh: bool
    number: int = 0
    """Of the call, as its worker marks it."""
    worker: Worker | None = None
    started: bool = False
    stopping: bool = False
    source: RemoteSource | None = None
    ahead: bool = False
    """It was sent ahead, and begins when those before it have ended."""
    expected_s: float = 0.0
    """How long it will take, as far as known."""
    frame: bytes = b""
    """What is to be sent to its worker, of one that is sent ahead."""


@dataclass(slots=True, eq=False)
class Worker:
    """One process, from before its birth to after its death; hears what comes over its line."""

    backend: ProcessBackend
    number: int
    slot: int
    line: Line = field(init=False)
    heard: Callable[[int, Any, bytes | memoryview], None] = field(init=False)
    pid: int = 0
    """0 until it is ready."""
    name: str = ""
    handle: str = ""
    """Process and the clock tick it started at, as processes are numbered anew."""
    used: bool = False
    retiring: bool = False
    doomed: bool = False
    """It is being killed."""
    has_files: bool = False
    """It has imported files that the user may edit, and may refuse a call because of that."""
    surroundings: int = -1
    """Version of the environment, folder and search path that it has."""
    imports: int = 0
    """Version of environment and search path that its imports were made with."""
    memory_bytes: int = 0
    expected_s: float = 0.0
    """How long all its works together will take, as far as known."""
    works: deque[Work] = field(default_factory=deque[Work])
    """What it has been given: first the work that it does, then those that were sent ahead."""

    def __post_init__(self) -> None:
        self.heard = partial(self.backend.heard, self)

    @property
    def work(self) -> Work | None:
        """What it does at present."""
        return self.works[0] if self.works else None

    # -- what comes over its line

    def printing(self) -> None:
        self.backend.ahead.settle_output(self)

    def printed(self, data: bytes, error: bool) -> None:
        if self.works:
            self.works[0].context.write(data, error=error)

    def hold(self) -> None:
        self.backend.hold()

    def settle(self) -> None:
        self.backend.settle()
