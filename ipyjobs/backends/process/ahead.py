"""Calls that are sent to a worker before it has ended what it does, so that it need not wait for the engine.

A worker that waits sleeps, and to wake it up takes longer than a small call. What is sent ahead has not begun: the
worker must first claim it, and until then the engine can take it back (`Line.take_back`). It does so as soon as a call
in front turns out to be long, so that nothing waits behind it while another worker has nothing to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ipyjobs.backends.process import wire
from ipyjobs.backends.process.workers import Work, Worker
from ipyjobs.execution import Call, Context
from ipyjobs.pickling import Packed, Payload

if TYPE_CHECKING:
    from ipyjobs.backends.process import ProcessBackend

AHEAD_S = 0.001
"""So much work, as far as known, is sent to a worker at most."""
DEPTH = 32
"""So many calls; more are sent when half of them have ended, so that they go in one piece."""
SMALL_BYTES = 8192
LATE_S = 0.002
"""What was sent ahead is taken back when the worker has ended nothing for this long."""
_NEVER = 1e9
_MOST_KNOWN = 10_000


class Ahead:
    """Decides what is sent ahead, and takes it back."""

    def __init__(self, backend: ProcessBackend) -> None:
        self._backend = backend
        self._seconds: dict[int, float] = {}
        """How long calls of a function take, by the hash of its pickle: quick to grow, slow to shrink."""
        self._roomy: dict[Worker, None] = {}
        """Workers that may have room, not asked about since."""
        self._unsent: dict[Worker, list[Work]] = {}
        """What has not been sent yet."""
        self._watch: asyncio.TimerHandle | None = None
        self._seen: dict[Worker, int] = {}
        """What each worker did when it was last looked at."""

    def learn(self, work: Work, seconds: float, *, printed: bool) -> None:
        """A call has taken so long. One that prints is waited for: its output must be read before the next begins."""
        key = hash(work.packed.function)
        known = self._seconds.get(key)
        if printed:
            seconds = _NEVER
        if known is None and len(self._seconds) >= _MOST_KNOWN:
            self._seconds.clear()
        self._seconds[key] = seconds if known is None or seconds >= known else known + (seconds - known) * 0.2

    def _expected(self, work: Work) -> float:
        return _NEVER if work.fresh else self._seconds.get(hash(work.packed.function), _NEVER)

    def endless(self, worker: Worker, work: Work) -> None:
        """A call goes on as long as somebody reads its values: nothing should wait behind it."""
        self.learn(work, _NEVER, printed=False)
        worker.expected_s = _NEVER
        self.reclaim(worker)

    def join(self, worker: Worker, work: Work) -> None:
        """A work is given to a worker, behind those that it has."""
        work.expected_s = self._expected(work)
        worker.expected_s += work.expected_s
        worker.works.append(work)

    def leave(self, worker: Worker, work: Work) -> None:
        """A work is its worker's no more."""
        if worker.works[0] is work:
            worker.works.popleft()
        else:
            worker.works.remove(work)
        worker.expected_s = worker.expected_s - work.expected_s if worker.works else 0.0

    # -- sending

    def may_have_room(self, worker: Worker) -> None:
        """A worker was given a call, or has ended one."""
        self._roomy[worker] = None

    def leaders(self) -> Iterator[Context]:
        """For each worker that has room for several, what it does at present."""
        backend = self._backend
        if self._roomy:
            backend.look_around()
        while self._roomy:
            worker, _ = self._roomy.popitem()
            if (
                0 < len(worker.works) <= DEPTH // 2
                and worker.expected_s < AHEAD_S
                and not worker.retiring
                and not worker.doomed
                and not worker.line.sending
                and worker.surroundings == backend.around.version
                and worker.imports == backend.around.imports
            ):
                yield worker.works[0].context

    def may_follow(self, packed: Packed | None, options: Mapping[str, Any], upstream: Iterable[Payload]) -> bool:
        if packed is None or options:
            return False
        size = len(packed.function) + len(packed.arguments)
        for each in upstream:
            if each.size_bytes is None:
                return False
            size += each.size_bytes
        return size <= SMALL_BYTES

    def start_after(self, call: Call, context: Context, leader: Context) -> bool:
        work = self._backend.start_after(call, context, leader)
        worker = work.worker
        assert worker is not None
        self.join(worker, work)
        unsent = self._unsent.get(worker)
        if unsent is None:
            unsent = self._unsent[worker] = []
        unsent.append(work)
        return len(worker.works) < DEPTH and worker.expected_s < AHEAD_S

    def flush(self) -> None:
        while self._unsent:
            worker, works = self._unsent.popitem()
            if not worker.line.send_ahead([each.number for each in works], [each.frame for each in works]):
                for each in works:
                    self.leave(worker, each)
                self._return(worker, works)
            elif self._watch is None:
                self._watch = self._backend.loop.call_later(LATE_S, self._look)

    # -- taking back

    def take_back(self) -> None:
        for worker in self._backend.workers:
            self.reclaim(worker)

    def reclaim(self, worker: Worker) -> None:
        """Give back whatever a worker was sent ahead and has not claimed."""
        if (len(worker.works) > 1 or worker.retiring) and (unclaimed := self._unclaimed(worker)):
            self._return(worker, unclaimed)

    def stop(self, worker: Worker, work: Work) -> None:
        """End a work that a worker was given."""
        backend = self._backend
        unclaimed = self._unclaimed(worker)
        if work in unclaimed:
            unclaimed.remove(work)
            work.worker = None
            backend.loop.call_soon(backend.stopped, work)
        elif len(worker.works) == 1:
            backend.kill(worker)
        else:
            # It has claimed one more, so it has said all about those before: that must be heard first.
            backend.loop.call_soon(self._stop_claimed, worker, work)
        self._return(worker, unclaimed)

    def _stop_claimed(self, worker: Worker, work: Work) -> None:
        worker.line.hear()
        if worker.work is work and not worker.doomed:
            self._backend.kill(worker)

    def _unclaimed(self, worker: Worker) -> list[Work]:
        """The works that a worker has not claimed, and never will, in order; they are its own no more."""
        self.flush()
        numbers = worker.line.take_back()
        unclaimed = [each for each in worker.works if each.number in numbers] if numbers else []
        for each in unclaimed:
            self.leave(worker, each)
        return unclaimed

    def _return(self, worker: Worker, works: list[Work]) -> None:
        for each in reversed(works):
            self._backend.return_unbegun(each)
        if not worker.works and not worker.retiring and not worker.doomed:
            self._backend.rest(worker)

    def _look(self) -> None:
        """Take back what waits behind a call that takes long."""
        self._watch = None
        busy = [each for each in self._backend.workers if len(each.works) > 1]
        for worker in busy:
            first = worker.works[0]
            if self._seen.get(worker) == first.number:
                # As late as the others of its kind may be.
                self.learn(first, LATE_S, printed=False)
                self.reclaim(worker)
        self._seen = {each: each.works[0].number for each in busy if len(each.works) > 1}
        if self._seen:
            self._watch = self._backend.loop.call_later(LATE_S, self._look)

    def close(self) -> None:
        """The workers are gone."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for each in (self._roomy, self._unsent, self._seen):
            each.clear()

    # -- output

    def settle_output(self, worker: Worker) -> None:
        """Before output is read: see to it that it is known whose it is.

        A worker claims a call only when all output of the one before has been read, or it was told to go on. So once it
        can claim no other, and all that it has said is heard, what there is to read is of the work that it does.
        """
        if len(worker.works) > 1:
            self.reclaim(worker)
            worker.line.hear()

    def go_on(self, worker: Worker) -> None:
        """The output of the call that has just ended has been read."""
        worker.line.send(wire.frame(wire.GO_ON, None))
