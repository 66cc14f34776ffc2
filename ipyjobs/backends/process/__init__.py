"""Jobs in processes of their own: warm, one job at a time, and each with its whole tree easily killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ipyjobs.backends import Backend
from ipyjobs.backends.process import linux, wire
from ipyjobs.backends.process.ahead import Ahead
from ipyjobs.backends.process.host import Guards, Host
from ipyjobs.backends.process.line import Line
from ipyjobs.backends.process.obituaries import Obituaries
from ipyjobs.backends.process.surroundings import Surroundings
from ipyjobs.backends.process.workers import Work, Worker
from ipyjobs.errors import WorkersBroken
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.log import logger
from ipyjobs.pickling import Packed, Payload, pack
from ipyjobs.preview import NOTHING, Preview
from ipyjobs.remote import RemoteSource

TRIES = 5
"""So many starts in a row may fail before the jobs that wait are failed too."""
MEASURE_S = 1.0

_SCALARS = frozenset({type(None), int, float, bool, str, bytes})


class ProcessBackend(Backend):
    """Runs each job in a worker process.

    Parameters
    ----------
    limit
        Jobs at once; by default the processors that this process may use.
    preload
        Modules that every worker has imported from the start. They are imported once, before the workers are made.
    guarded, guard
        Whether a guard keeps the workers, by default where the system allows it, and whose (`Guards`). Without, a
        worker takes 100 ms to start, and what outlives a killed kernel depends on luck.
    """

    name: ClassVar[str] = "process"
    costly: ClassVar[bool] = True

    def __init__(
        self, limit: int | None = None, *, preload: tuple[str, ...] = (), guarded: bool | None = None, guard: Any = None
    ) -> None:
        super().__init__(linux.usable_cpus() if limit is None else limit)
        self._preload = preload
        self._guarded = linux.available() if guarded is None else guarded
        self._guards: Guards | None = guard
        self._host: Host | None = None
        self._works: dict[Context, Work] = {}
        self._waiting: deque[Work] = deque()
        self._workers: dict[int, Worker] = {}
        self._idle: list[Worker] = []
        self._starting = 0
        self._numbers = itertools.count(1)
        self._slots = list(range(wire.SLOTS - 1, -1, -1))
        self._failed_starts = 0
        self._measuring = False
        self._closing = False
        self._down = False
        """The host has died too often; the next job tries again."""
        self.around = Surroundings()
        self.ahead = self.forward = Ahead(self)

    def pack(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], shared: dict[Any, Any]
    ) -> Packed:
        return pack(function, args, kwargs, shared)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._closing = self._down = False
        self.look_around()
        self._obituaries = Obituaries()
        if self._guarded:
            from ipyjobs.backends.process.guarded import SharedGuard  # only where there is one

            self._host = (self._guards or SharedGuard()).host(loop, self, self._preload)
        else:
            from ipyjobs.backends.process.spawn import SpawnHost

            self._host = SpawnHost(loop, self)
        self._host.open()
        _opened.add(self)
        self._balance()

    # -- attempts

    def start(self, call: Call, context: Context) -> None:
        packed = call.packed or pack(call.function, call.args, call.kwargs, {})
        work = self._works[context] = Work(call, context, packed, bool(call.options.get("fresh")))
        for payload in call.upstream.values():
            if payload.size_bytes is None and type(payload.load()) not in _SCALARS:
                # Pickling takes as long as it takes; not on this loop.
                ready = self.loop.run_in_executor(None, _pickle, tuple(call.upstream.values()))
                ready.add_done_callback(lambda ended: self._pickled(work, ended))
                return
        self._begin(work)

    def stop(self, context: Context) -> bool:
        work = self._works.get(context)
        if work is None or work.stopping:
            return True
        work.stopping = True
        if work.worker is None:
            if work in self._waiting:
                self._waiting.remove(work)
            self.loop.call_soon(self.stopped, work)
        else:
            self.ahead.stop(work.worker, work)
        return True

    def kill(self, worker: Worker) -> None:
        worker.doomed = True
        if self._host is not None:
            self._host.kill(worker.number)

    # -- attempts that are sent ahead

    def start_after(self, call: Call, context: Context, leader: Context) -> Work:
        """Make a call ready to be sent to where `leader` runs."""
        worker = self._works[leader].worker
        assert worker is not None
        assert call.packed is not None
        work = self._works[context] = Work(call, context, call.packed, fresh=False, ahead=True)
        work.frame = self._frame(worker, work)[0]
        return work

    @property
    def workers(self) -> list[Worker]:
        return list(self._workers.values())

    def return_unbegun(self, work: Work) -> None:
        """What was sent ahead waits again: for a slot, or for a worker where it has its slot already."""
        work.worker = None
        if work.started:
            self._waiting.appendleft(work)
        else:
            del self._works[work.context]
            work.context.taken_back()

    async def close(self) -> None:
        self._closing = True
        _opened.discard(self)
        host, self._host = self._host, None
        if host is not None:
            await host.close()
        for worker in self.workers:
            worker.line.close()
            self._slots.append(worker.slot)
        for work in list(self._works.values()):
            self.stopped(work)
        self._workers.clear()
        self._idle.clear()
        self._waiting.clear()
        self._starting = self._failed_starts = 0
        self.ahead.close()

    def _pickled(self, work: Work, ended: asyncio.Future[None]) -> None:
        error = ended.exception()
        if work.stopping or self._works.get(work.context) is not work:
            return
        if error is not None:
            self._over(work).failed(Failure.of(error))
        else:
            self._begin(work)

    def _begin(self, work: Work) -> None:
        self.look_around()
        if self._down and self._host is not None:
            self._down = False
            self._host.open()
        worker = self._take(work.fresh)
        if worker is None:
            self._waiting.append(work)
        else:
            self._assign(worker, work)
        self._balance()

    def _assign(self, worker: Worker, work: Work) -> None:
        work.ahead = False
        try:
            frame = self._frame(worker, work)
        except Exception as error:  # the upstream's value was made in this process, and cannot be pickled
            self._over(work).failed(Failure.of(error))
            self.rest(worker)
            return
        self.ahead.join(worker, work)
        self.ahead.may_have_room(worker)
        # A small call to an idle worker is as good as begun; that a worker says so takes 20 µs. Said before it is sent,
        # so that it has not ended before it has started.
        if len(frame) == 1:
            self._started(work)
        worker.line.send(frame)
        if not self._measuring:
            self._measuring = True
            self.loop.call_later(MEASURE_S, self._measure)

    def _frame(self, worker: Worker, work: Work) -> list[Any]:
        """The call as a frame for this worker: one buffer if it is small, else several; then its start is told."""
        packed, call = work.packed, work.call
        work.number, work.worker = next(self._numbers), worker
        around = None
        if worker.surroundings != self.around.version:
            worker.surroundings = self.around.version
            around = self.around.sent
        if not worker.used:
            worker.used, worker.imports = True, self.around.imports
        function, arguments = packed.function, packed.arguments
        values = [each.view() for each in call.upstream.values()] if call.upstream else ()
        sizes = len(function), len(arguments), tuple(zip(call.upstream, map(len, values), strict=True))
        size = sizes[0] + sizes[1] + sum(map(len, values))
        head = (work.number, call.job_id, call.name, call.attempt, work.fresh, size > wire.SMALL_BYTES, work.ahead,
                around, sizes)  # fmt: skip
        return wire.frame(wire.CALL, head, function, arguments, *values)

    def _started(self, work: Work, at: float | None = None) -> None:
        if not work.started and work.worker is not None:
            work.started = True
            work.context.handle(work.worker.handle)
            work.context.started(work.worker.name, at)

    def stopped(self, work: Work) -> None:
        if self._works.get(work.context) is work:
            self._over(work).stopped()

    def _over(self, work: Work) -> Context:
        del self._works[work.context]
        if work.worker is not None:
            self.ahead.leave(work.worker, work)
        return work.context

    # -- what workers say

    def heard(self, worker: Worker, kind: int, head: Any, body: bytes | memoryview) -> None:
        """A frame has come from a worker."""
        work = worker.works[0] if worker.works else None
        if kind >= wire.DONE and work is not None and not worker.doomed:
            self._answered(worker, work, kind, head, body)
        elif kind == wire.READY:
            worker.pid, worker.name = head, f"pid {head}"
            worker.handle = f"pid {head} since {linux.started_at(head)}"
            self._starting -= 1
            self._failed_starts = 0
            self.rest(worker)
        elif work is None or worker.doomed:
            return
        elif kind == wire.REPORT:
            work.context.report(*head[1:])
        elif kind == wire.STARTED:
            self._started(work)
        elif kind == wire.YIELDED and work.source is not None:
            work.source.yielded(bytes(body) if len(body) <= wire.PART_BYTES else body)
        elif kind == wire.YIELDING:
            self._started(work)
            work.source = RemoteSource(
                self.loop, lambda move, data: worker.line.send(wire.frame(wire.STEP, (work.number, move), data))
            )
            work.context.yields(work.source)
            self.ahead.endless(worker, work)
        elif kind == wire.STALE:
            self._refused(worker, work)

    def _refused(self, worker: Worker, work: Work) -> None:
        # Nothing of the job has run. A new worker will import what the file says now.
        worker.retiring = True
        self.ahead.leave(worker, work)
        self.ahead.reclaim(worker)
        work.worker = None
        if work.stopping:
            self.stopped(work)
        else:
            self._waiting.appendleft(work)
        self._balance()

    def _answered(self, worker: Worker, work: Work, kind: int, head: Any, body: bytes | memoryview) -> None:
        _, left, worker.has_files, printed, ended_at, seconds, *seen = head
        if printed:
            worker.line.drain_output()
        if not work.started:
            self._started(work)
        self.ahead.learn(work, seconds, printed=printed)
        context = self._over(work)
        if kind == wire.DONE:
            data = bytes(body) if len(body) <= wire.PART_BYTES else body
            context.done(Payload.of_bytes(data), Preview(*seen) if seen else NOTHING, ended_at)
        else:
            context.failed(Failure.from_bytes(body))
        if left or worker.retiring:
            worker.retiring = True
            self.ahead.reclaim(worker)
            self._balance()
        elif worker.works:
            # It has the slot that has just been given back, and began when this one had ended.
            self._started(worker.works[0], ended_at)
            self.ahead.may_have_room(worker)
            if printed:
                self.ahead.go_on(worker)
        else:
            self.rest(worker)

    # -- workers

    def rest(self, worker: Worker) -> None:
        """A worker has nothing to do: give it the next job, keep it, or let it go."""
        if self._closing or ((worker.used or self._preload) and worker.imports != self.around.imports):
            self._retire(worker)
            self._balance()
            return
        for work in self._waiting:
            if not (work.fresh and worker.used):
                self._waiting.remove(work)
                self._assign(worker, work)
                return
        self._idle.append(worker)
        if len(self._idle) > (self.limit or 1) + 1:
            self._retire(self._idle.pop(0))

    def _take(self, fresh: bool) -> Worker | None:
        if not fresh:
            return self._idle.pop() if self._idle else None
        new = next((each for each in self._idle if not each.used), None)
        if new is not None:
            self._idle.remove(new)
        return new

    def _retire(self, worker: Worker) -> None:
        worker.retiring = True
        worker.line.close()

    def _balance(self) -> None:
        """Have a worker started for everyone who waits, and one to spare."""
        if self._closing or self._down or self._host is None:
            return
        fresh = sum(work.fresh for work in self._waiting) if self._waiting else 0
        new = sum(not each.used for each in self._idle) if fresh else 0
        missing = max(len(self._waiting) + 1 - len(self._idle), fresh - new) - self._starting
        for _ in range(missing):
            self._spawn(self._host)

    def _spawn(self, host: Host) -> None:
        worker = Worker(self, next(self._numbers), self._slots.pop(), imports=self.around.imports)
        worker.line = Line(self.loop, worker)
        self._workers[worker.number] = worker
        self._starting += 1
        wire.MARK.pack_into(host.marks, worker.slot * wire.MARK.size, 0)
        host.spawn(worker.number, worker.slot, worker.line.listen())
        worker.line.drop_theirs()

    def worker_dead(self, number: int, status: int) -> None:
        """A worker and all that descended from it are gone."""
        if self._host is None or number not in self._workers:
            return
        worker = self._workers.pop(number)
        if worker.pid == 0:
            self._failed_starts += 1
        self._bury(self._host, worker, status)
        if self._failed_starts >= TRIES:
            self._broken()
        else:
            self._balance()

    def _bury(self, host: Host, worker: Worker, status: int) -> None:
        # Its last words may still be on the line.
        worker.retiring = True
        self.ahead.reclaim(worker)
        worker.line.drain()
        worker.line.close()
        if worker in self._idle:
            self._idle.remove(worker)
        if worker.pid == 0:
            self._starting -= 1
        (mark,) = wire.MARK.unpack_from(host.marks, worker.slot * wire.MARK.size)
        self._slots.append(worker.slot)
        for work in list(worker.works):
            self._bereaved(worker, work, begun=mark == work.number, status=status)

    def _bereaved(self, worker: Worker, work: Work, *, begun: bool, status: int) -> None:
        if work.stopping:
            self.stopped(work)
        elif begun:
            self._started(work)
            self._over(work).failed(Failure.died(self._obituaries.of(worker, status)))
        elif work.started or work.ahead:
            self._over(work).released(f"its worker (pid {worker.pid}) ended before it began")
        else:
            self.ahead.leave(worker, work)
            work.worker = None
            self._waiting.appendleft(work)

    def _broken(self) -> None:
        self._failed_starts = 0
        said = self._host.tail() if self._host is not None else ""
        text = f"no worker process can start, {TRIES} in a row have failed" + (f"; they said:\n{said}" if said else "")
        waiting = list(self._waiting)
        self._waiting.clear()
        for work in waiting:
            self._over(work).failed(Failure.died(text, WorkersBroken))

    def host_lost(self) -> None:
        """The host has died and all workers with it: their jobs have failed, and a new one is made."""
        host = self._host
        if host is None:
            return
        workers = self.workers
        self._workers.clear()
        self._failed_starts += not any(each.pid for each in workers)
        for worker in workers:
            self._bury(host, worker, -1)
        if self._failed_starts >= TRIES:
            self._down = True
            self._broken()
            return
        host.open()
        self._balance()

    def host_note(self, text: str) -> None:
        """Something about the workers that the user should know."""
        logger.warning(text)

    # -- what it costs, and where we are

    def _measure(self) -> None:
        busy = [each.number for each in self.workers if each.work is not None]
        self._measuring = bool(busy) and self._host is not None
        if self._host is not None and busy:
            self._host.measure(busy)
            self.loop.call_later(MEASURE_S, self._measure)

    def memory_measured(self, number: int, size_bytes: int) -> None:
        """What a worker's tree uses at present."""
        worker = self._workers.get(number)
        if worker is not None and worker.work is not None:
            worker.memory_bytes = size_bytes
            worker.work.context.memory(size_bytes)

    def look_around(self) -> None:
        """Notice a changed environment, folder or search path, in a microsecond."""
        around = self.around
        if not around.changed():
            return
        self.ahead.take_back()
        if around.update():
            idle, self._idle = self._idle, []
            for each in idle:
                if each.used or self._preload:
                    self._retire(each)
                else:
                    self._idle.append(each)
            if self._preload and self._host is not None:
                self._host.renew()

    def forget(self) -> None:
        """In a forked child: close the copies of what is the parent's."""
        if self._host is not None:
            self._host.forget()
        for worker in self.workers:
            worker.line.forget()
        self._host, self._closing = None, True


def _pickle(payloads: tuple[Payload, ...]) -> None:
    for each in payloads:
        each.view()


_opened: weakref.WeakSet[ProcessBackend] = weakref.WeakSet()


def _forked() -> None:
    for each in list(_opened):
        each.forget()
    _opened.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
