"""A clock that tests move, for whatever asks an engine for the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from ipyjobs.clocks import Clock
from ipyjobs.status import Status

BERLIN = ZoneInfo("Europe/Berlin")


def berlin(text: str, *, fold: int = 0) -> float:
    """Seconds since 1970 at an ISO time in Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


def in_berlin(at: float) -> str:
    """What a clock in Berlin shows, to the second, with its distance from UTC in hours."""
    return datetime.fromtimestamp(at, BERLIN).strftime("%a %d %H:%M:%S %z")[:-2]


class HandClock(Clock):
    """Stands still until it is moved."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._elapsed = 1000.0
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> float:
        return self._now

    def elapsed(self) -> float:
        return self._elapsed

    def pass_to(self, now: float) -> None:
        """Time passes until this moment."""
        self._elapsed += now - self._now
        self._now = now

    def set_to(self, now: float) -> None:
        """Somebody sets the clock."""
        self._now = now
        self.jump()

    def jump(self) -> None:
        for each in list(self._watchers):
            each()

    @property
    def watched(self) -> int:
        return len(self._watchers)

    def watch(self, loop: asyncio.AbstractEventLoop, jumped: Callable[[], None]) -> Callable[[], None]:
        self._watchers.append(jumped)
        return lambda: self._watchers.remove(jumped)


class Statuses:
    """An engine of which only the statuses and the clock are known."""

    def __init__(self, now: float = 0.0, **statuses: Status) -> None:
        self.statuses = statuses
        self.ends: dict[str, float] = {}
        self.clock = HandClock(now)

    def status_of(self, job_id: str) -> Status | None:
        return self.statuses.get(job_id)

    def ended_at(self, job_id: str) -> float | None:
        return self.ends.get(job_id, 1.0) if self.statuses.get(job_id, Status.CREATED).ended else None
