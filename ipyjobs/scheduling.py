"""Who may start now, and when to look again: decided purely, without clock, loop or threads.

A pending job is either parked until something wakes it (its upstream jobs have ended, a time has come), due to have its
condition asked, or ready and waiting for a slot in its line. A line is a backend, a queue and sometimes a task; a start
needs a free slot of each of them and overall. Slots belong to attempts: they are taken by `take` and given back by
`release`, whatever the job's status does in between. While an exclusive attempt holds its slots nothing else starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from ipyjobs.errors import InvalidOption


@dataclass(frozen=True, slots=True)
class Wakes:
    """When it is worth asking a condition again: at whichever comes first."""

    jobs: frozenset[str] = frozenset()
    need: int = 0
    """How many of `jobs` must end before asking is useful."""
    at: float | None = None
    """A point in time, seconds since 1970; anew whenever the clock is set."""
    every: float | None = None
    """Seconds until the next look, at a condition that cannot say when it changes."""


class Line(NamedTuple):
    """Where a job queues."""

    backend: str
    queue: str
    task: str = ""
    """The task whose runs are counted; empty where nobody counts them."""


@dataclass(slots=True)
class _Entry:
    line: _Line
    rank: int
    """The smallest starts first: see `_rank`."""
    general: bool
    exclusive: bool = False
    need: int = 0
    watching: Collection[str] = ()
    alarm: int = 0
    """Which of the job's alarms counts; earlier ones are void."""
    by_clock: bool = False
    """The alarm goes by a clock that can be set."""
    place: str = "parked"
    asked: bool = True
    """Not one that only counts down."""


@dataclass(slots=True)
class _Count:
    limit: int | None = None
    used: int = 0


@dataclass(slots=True)
class _Line:
    backend: _Count
    queue: _Count
    task: _Count | None = None
    ready: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


_ORDERS = 1 << 48


def _rank(priority: int, order: int) -> int:
    """By priority, then by order of submission, in one number: the heap compares a dozen pairs for each job."""
    return order - priority * _ORDERS


def checked_limit(option: str, limit: object) -> int | None:
    """`limit` if it is one: None or a whole number from 1."""
    if limit is None or (type(limit) is int and limit >= 1):
        return limit
    raise InvalidOption(option, limit, "a whole number from 1, or None for no limit")


class Scheduler:
    """The pending jobs and the slots.

    Parameters
    ----------
    max_jobs
        How many attempts may hold a slot at once; None: no limit.
    """

    def __init__(self, max_jobs: int | None = 20) -> None:
        self.total = _Count(checked_limit("max_jobs", max_jobs))
        self.backends: dict[str, _Count] = {}
        self.queues: dict[str, _Count] = {}
        self.tasks: dict[str, _Count] = {}
        self.alone: str | None = None
        """The job whose exclusive attempt holds its slots."""
        self._entries: dict[str, _Entry] = {}
        self._lines: dict[Line, _Line] = {}
        self._held: dict[str, _Entry] = {}
        self._ahead: dict[str, _Entry] = {}
        self._last_ahead = 0
        """No job ahead ranks behind this."""
        self.overtaken = False
        """A job has become ready that ranks before one ahead: those should be given back."""
        self._watchers_by_job: dict[str, dict[str, None]] = {}
        """In the order in which they came."""
        self.counted_down: list[str] = []
        """Those of `count_down` that have become ready; whoever reads it clears it."""
        self._due: deque[str] = deque()
        self._alarms: list[tuple[float, int, str]] = []
        self._alarm_numbers = 0

    # -- jobs in and out

    def add(
        self,
        job_id: str,
        line: Line,
        *,
        priority: int = 0,
        order: int = 0,
        general: bool = True,
        exclusive: bool = False,
    ) -> None:
        """Take in a pending job, due to have its condition asked (see `park`, `ready`)."""
        self._entries[job_id] = _Entry(self._line(line), _rank(priority, order), general, exclusive, place="due")

    def park(self, job_id: str, wakes: Wakes, now: float, since_1970: float | None = None) -> None:
        """The job's condition does not hold: ask again when `wakes` says so.

        `now` is the time on the clock of `due` and `next_at`, `since_1970` the same moment on that of `Wakes.at`; left
        out, they are the same clock.
        """
        entry = self._entries[job_id]
        self._forget_watches(job_id, entry)
        entry.place = "parked"
        entry.watching = wakes.jobs
        entry.need = min(max(1, wakes.need), len(wakes.jobs))
        for each in wakes.jobs:
            self._watchers_by_job.setdefault(each, {})[job_id] = None
        at = wakes.at
        entry.by_clock = at is not None and since_1970 is not None
        if at is not None and since_1970 is not None:
            at += now - since_1970
        if wakes.every is not None:
            at = now + wakes.every if at is None else min(at, now + wakes.every)
        if at is not None:
            self._alarm_numbers += 1
            entry.alarm = self._alarm_numbers
            heappush(self._alarms, (at, entry.alarm, job_id))

    def count_down(self, job_id: str, awaited: Collection[str]) -> None:
        """The job is ready, without being asked, when all of these have ended."""
        entry = self._entries[job_id]
        entry.place = "parked"
        entry.asked = False
        entry.watching = awaited
        entry.need = len(awaited)
        for each in awaited:
            self._watchers_by_job.setdefault(each, {})[job_id] = None

    def ready(self, job_id: str) -> None:
        """The job's condition holds: it may start when a slot is free."""
        entry = self._entries[job_id]
        if entry.watching:
            self._forget_watches(job_id, entry)
        entry.alarm = 0
        self._queue(job_id, entry)

    def remove(self, job_id: str) -> None:
        """Forget a pending job; one that holds a slot keeps it until `release`."""
        entry = self._entries.pop(job_id, None)
        if entry is not None:
            self._forget_watches(job_id, entry)

    # -- what happens

    def ended(self, job_id: str) -> None:
        """A job has ended: count down for those that watch it."""
        if job_id not in self._watchers_by_job:
            return
        for watcher in self._watchers_by_job.pop(job_id):
            entry = self._entries[watcher]
            # Count down rather than ask: a job after 5,000 others is asked once, not 5,000 times.
            entry.need -= 1
            if entry.need > 0:
                continue
            if entry.asked:
                self.wake(watcher)
            else:
                entry.watching = ()
                self._queue(watcher, entry)
                self.counted_down.append(watcher)

    def wake(self, job_id: str) -> None:
        """Have the job's condition asked at the next `due`, whatever it waits for."""
        entry = self._entries.get(job_id)
        if entry is not None and entry.place == "parked":
            self._forget_watches(job_id, entry)
            entry.place = "due"
            self._due.append(job_id)

    def clock_set(self) -> None:
        """Somebody has set the clock: have those asked at the next `due` that wait for a time on it."""
        for job_id in [each for each, entry in self._entries.items() if entry.by_clock]:
            self.wake(job_id)

    def due(self, now: float) -> list[str]:
        """The jobs whose condition is worth asking now; each is named once, then must be parked, ready or removed."""
        while self._alarms and self._alarms[0][0] <= now:
            _, number, job_id = heappop(self._alarms)
            entry = self._entries.get(job_id)
            if entry is not None and entry.alarm == number:
                self.wake(job_id)
        due = [each for each in self._due if each in self._entries]
        self._due.clear()
        return due

    def next_at(self) -> float | None:
        """When `due` will have something to say again; None: not before something happens."""
        while self._alarms:
            at, number, job_id = self._alarms[0]
            entry = self._entries.get(job_id)
            if entry is not None and entry.alarm == number and entry.place == "parked":
                return at
            heappop(self._alarms)
        return None

    # -- slots

    def take(self) -> list[str]:
        """The jobs that start now, best first; each holds its slots until `release`."""
        started: list[str] = []
        while (line := self._best_line()) is not None:
            alone = all(not each.ready or each is line for each in self._lines.values())
            while True:
                _, job_id = heappop(line.ready)
                entry = self._entries.pop(job_id)
                self._hold(job_id, entry)
                started.append(job_id)
                if entry.exclusive:
                    self.alone = job_id
                    self.overtaken = bool(self._ahead)
                    return started
                # The usual case, one line with a long queue, is spared the comparison of lines.
                if not alone or not line.ready or not self._may_start(line):
                    break
        return started

    def next_after(self, leader: str) -> str | None:
        """The job that would start if the attempt of `leader`, which holds a slot or is ahead itself, ended now.

        Only one of the same line: it takes over exactly the slots that `leader` gives back, so no limit can be passed.
        """
        held = self._held.get(leader) or self._ahead[leader]
        line = held.line
        if not line.ready:
            return None
        self._count_held(held, -1)
        best = self._best_line()
        self._count_held(held, 1)
        if best is not line:
            return None
        job_id = line.ready[0][1]
        entry = self._entries[job_id]
        return job_id if entry.general is held.general and not entry.exclusive else None

    def send_ahead(self, job_id: str) -> None:
        """A job that `next_after` has named is sent to where its leader runs; it holds no slots until `follow`."""
        entry = self._entries.pop(job_id)
        heappop(entry.line.ready)
        if not self._ahead or entry.rank > self._last_ahead:
            self._last_ahead = entry.rank
        self._ahead[job_id] = entry

    def follow(self, job_id: str) -> None:
        """A job ahead starts, with the slots that its leader has just given back."""
        self._hold(job_id, self._ahead.pop(job_id))

    def give_back(self, job_id: str) -> None:
        """A job ahead waits for a slot again, where it waited before."""
        entry = self._ahead.pop(job_id)
        self._entries[job_id] = entry
        self._queue(job_id, entry)

    def release(self, job_id: str) -> None:
        """The attempt is over: its slots are free again. Doing it twice is harmless."""
        entry = self._held.pop(job_id, None)
        if entry is None:
            self._ahead.pop(job_id, None)
        else:
            self._count_held(entry, -1)
            if job_id == self.alone:
                self.alone = None

    def set_limit(
        self, limit: int | None, *, backend: str | None = None, queue: str | None = None, task: str | None = None
    ) -> None:
        """Change how many may hold a slot at once: of a backend, a queue, a task, or overall. Running ones go on.

        Raises
        ------
        InvalidOption
            `limit` is neither None nor a whole number from 1.
        """
        if backend is not None:
            self._count(self.backends, backend).limit = checked_limit(f"limit of {backend}", limit)
        elif queue is not None:
            self._count(self.queues, queue).limit = checked_limit(f"limit of queue {queue}", limit)
        elif task is not None:
            self._count(self.tasks, task).limit = checked_limit(f"limit of task {task}", limit)
        else:
            self.total.limit = checked_limit("max_jobs", limit)

    def reprioritize(self, job_id: str, priority: int) -> None:
        """Change the rank of a pending job."""
        entry = self._entries.get(job_id) or self._ahead.get(job_id)
        if entry is not None:
            entry.rank = _rank(priority, entry.rank % _ORDERS)
            if job_id in self._ahead:
                self.overtaken = True
                return
            if entry.place == "ready":
                self.overtaken = bool(self._ahead)
                line = entry.line
                line.ready = [each for each in line.ready if each[1] != job_id] + [(entry.rank, job_id)]
                heapify(line.ready)

    # -- questions

    def waits_for_slot(self, job_id: str) -> bool:
        """Whether the job's condition holds and only a slot is missing."""
        entry = self._entries.get(job_id)
        return entry is not None and entry.place == "ready"

    @property
    def crowded(self) -> bool:
        """Whether a job may be ready that has no slot."""
        return any(each.ready for each in self._lines.values())

    def missing(self, job_id: str) -> int:
        """How many more of the jobs it watches must end before the job is asked."""
        entry = self._entries.get(job_id)
        return max(0, entry.need) if entry is not None and entry.place == "parked" else 0

    def watched(self, job_id: str) -> Collection[str]:
        """The pending jobs that wait for this one."""
        return self._watchers_by_job.get(job_id, ())

    @property
    def holding(self) -> frozenset[str]:
        """The jobs whose attempts hold slots."""
        return frozenset(self._held)

    @property
    def ahead(self) -> frozenset[str]:
        """The jobs that were sent ahead of their slots."""
        return frozenset(self._ahead)

    # -- private

    def _hold(self, job_id: str, entry: _Entry) -> None:
        self._held[job_id] = entry
        self._count_held(entry, 1)

    def _count_held(self, entry: _Entry, one: int) -> None:
        line = entry.line
        line.backend.used += one
        line.queue.used += one
        if line.task is not None:
            line.task.used += one
        if entry.general:
            self.total.used += one

    def _queue(self, job_id: str, entry: _Entry) -> None:
        entry.place = "ready"
        heappush(entry.line.ready, (entry.rank, job_id))
        if self._ahead and entry.rank < self._last_ahead:
            self.overtaken = True

    def _best_line(self) -> _Line | None:
        best: _Line | None = None
        if self.alone is not None:
            return None
        for line in self._lines.values():
            ready = line.ready
            if ready and self._may_start(line) and (best is None or ready[0] < best.ready[0]):
                best = line
        return best

    def _may_start(self, line: _Line) -> bool:
        """Whether the first of a line can have its slots now."""
        entries, ready = self._entries, line.ready
        while ready:
            rank, job_id = ready[0]
            entry = entries.get(job_id)
            if entry is not None and entry.place == "ready" and entry.rank == rank:
                break
            # Removed and re-ranked jobs leave their places behind; they are dropped when they come to the top.
            heappop(ready)
        else:
            return False
        backend, queue, task, total = line.backend, line.queue, line.task, self.total
        return (
            (backend.limit is None or backend.used < backend.limit)
            and (queue.limit is None or queue.used < queue.limit)
            and (task is None or task.limit is None or task.used < task.limit)
            and (total.limit is None or total.used < total.limit or not entry.general)
        )

    def _line(self, name: Line) -> _Line:
        line = self._lines.get(name)
        if line is None:
            backend, queue = self._count(self.backends, name.backend), self._count(self.queues, name.queue)
            task = self._count(self.tasks, name.task) if name.task else None
            line = self._lines[name] = _Line(backend, queue, task)
        return line

    @staticmethod
    def _count(counts: dict[str, _Count], name: str) -> _Count:
        count = counts.get(name)
        if count is None:
            count = counts[name] = _Count()
        return count

    def _forget_watches(self, job_id: str, entry: _Entry) -> None:
        for each in entry.watching:
            watchers = self._watchers_by_job.get(each)
            if watchers is not None:
                watchers.pop(job_id, None)
                if not watchers:
                    del self._watchers_by_job[each]
        entry.watching = ()
        entry.alarm = 0
