"""What ipyjobs adds to a Dask scheduler: a register of the jobs that have begun, and a way for them to speak.

Dask runs a task again when its worker dies; a job may begin once only. So each asks here before it begins.
"""

# distributed has hardly any types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

NAME = "ipyjobs-1"
"""Of the plugin and, as a prefix, of all that it understands; it changes with what these mean."""
BEGIN = f"{NAME}-begin"
WITHDRAW = f"{NAME}-withdraw"
SAY = f"{NAME}-say"
STOP = f"{NAME}-stop"
STEP = f"{NAME}-step"


@dataclass(slots=True)
class _Entry:
    """A job that has begun."""

    worker: str
    client: str
    ended: bool = False


class Register(SchedulerPlugin):
    """Lives on the scheduler's loop, as long as the scheduler does."""

    name = NAME
    idempotent = True

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    async def start(self, scheduler: Any) -> None:
        """Take what workers and clients say."""
        self._scheduler = scheduler
        scheduler.handlers[BEGIN] = self.begin
        scheduler.handlers[WITHDRAW] = self.withdraw
        scheduler.handlers[STEP] = self.step
        scheduler.stream_handlers[SAY] = self.say

    # -- asked by workers

    def begin(self, key: str, worker: str, client: str, pid: int) -> bool:
        """Whether the job with this key may begin, which it may once."""
        if key in self._entries or key not in self._scheduler.tasks:
            return False
        self._entries[key] = _Entry(worker, client)
        self._tell(client, "begun", key, (worker, pid))
        return True

    def say(self, key: str, client: str, kind: str, what: Any, **_: Any) -> None:
        """Pass on what a job says; `kind` "end" is the last."""
        entry = self._entries.get(key)
        if kind in ("begun", "yielding"):  # on an engine's own cluster, where a book says who may begin
            self._entries[key] = _Entry(what[0], client)
        elif kind == "end" and entry is not None:
            entry.ended = True
        self._tell(client, kind, key, what)

    # -- asked by engines

    def withdraw(self, key: str) -> str:
        """The worker where the job runs, which is asked to stop; "": it has ended, or will never begin."""
        entry = self._entries.setdefault(key, _Entry("", "", ended=True))
        if not entry.ended:
            self._scheduler.worker_send(entry.worker, {"op": STOP, "key": key})
        return "" if entry.ended else entry.worker

    def step(self, key: str, move: str, data: bytes) -> None:
        """Pass on to the generator of a job what it is to do."""
        entry = self._entries.get(key)
        if entry is not None and not entry.ended:
            self._scheduler.worker_send(entry.worker, {"op": STEP, "key": key, "move": move, "data": data})

    # -- hooks

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Forget with the scheduler; what runs although nobody wants it any more is asked to stop."""
        if finish == "forgotten":
            entry = self._entries.pop(key, None)
            if entry is not None and not entry.ended:
                self._scheduler.worker_send(entry.worker, {"op": STOP, "key": key})

    def remove_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> None:
        """Say at once whose job died there; Dask would only find out where it would run it again."""
        for key, entry in self._entries.items():
            if entry.worker == worker and not entry.ended:
                entry.ended = True
                self._tell(entry.client, "died", key, worker)

    def _tell(self, client: str, *what: Any) -> None:
        # An event of the scheduler's own would be kept by it, output and all; this one only passes through.
        self._scheduler.client_send(client, {"op": "event", "topic": NAME, "event": (0.0, what)})
