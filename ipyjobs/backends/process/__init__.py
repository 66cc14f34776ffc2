"""Jobs in processes of their own: warm, one job at a time, and each with its whole tree easily killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ipyjobs.backends import Backend
from ipyjobs.backends.process import linux, wire
from ipyjobs.backends.process.host import Guards, Host
from ipyjobs.backends.process.line import Line
from ipyjobs.errors import WorkersBroken
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.log import logger
from ipyjobs.pickling import Packed, Payload, pack
from ipyjobs.preview import Preview
from ipyjobs.remote import RemoteSource

TRIES = 5
"""So many starts in a row may fail before the jobs that wait are failed too."""
MEASURE_S = 1.0

_SCALARS = frozenset({type(None), int, float, bool, str, bytes})


@dataclass(slots=True, eq=False)
class _Work:
    """One attempt, from `start` to its end."""

    call: Call
    context: Context
    packed: Packed
    fresh: bool
    number: int = 0
    """Of the call, as its worker marks it."""
    worker: _Worker | None = None
    started: bool = False
    stopping: bool = False
    source: RemoteSource | None = None


@dataclass(slots=True, eq=False)
class _Worker:
    """One process, from before its birth to after its death."""

    number: int
    slot: int
    line: Line = field(init=False)
    pid: int = 0
    """0 until it is ready."""
    name: str = ""
    handle: str = ""
    """Process and the clock tick it started at, as processes are numbered anew."""
    used: bool = False
    retiring: bool = False
    has_files: bool = False
    """It has imported files that the user may edit, and may refuse a call because of that."""
    surroundings: int = -1
    """Version of the environment, folder and search path that it has."""
    imports: int = 0
    """Version of environment and search path that its imports were made with."""
    memory_bytes: int = 0
    work: _Work | None = None


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
        self._works: dict[Context, _Work] = {}
        self._waiting: deque[_Work] = deque()
        self._workers: dict[int, _Worker] = {}
        self._idle: list[_Worker] = []
        self._starting = 0
        self._numbers = itertools.count(1)
        self._slots = list(range(wire.SLOTS - 1, -1, -1))
        self._failed_starts = 0
        self._measuring = False
        self._closing = False
        self._down = False
        """The host has died too often; the next job tries again."""
        self._environ: dict[bytes, bytes] = {}
        self._cwd = ""
        self._path: list[str] = []
        self._sent_path: list[str] = []
        self._surroundings = self._imports = 0
        self._oom_kills = 0

    def pack(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], shared: dict[Any, Any]
    ) -> Packed:
        return pack(function, args, kwargs, shared)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._closing = self._down = False
        self._look_around()
        self._oom_kills = linux.oom_kills()
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
        work = self._works[context] = _Work(call, context, packed, bool(call.options.get("fresh")))
        for payload in call.upstream.values():
            if payload.size_bytes is None and type(payload.load()) not in _SCALARS:
                # Pickling takes as long as it takes; not on this loop.
                ready = self._loop.run_in_executor(None, _pickle, tuple(call.upstream.values()))
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
            self._loop.call_soon(self._stopped, work)
        elif self._host is not None:
            self._host.kill(work.worker.number)
        return True

    async def close(self) -> None:
        self._closing = True
        _opened.discard(self)
        host, self._host = self._host, None
        if host is not None:
            await host.close()
        for worker in self._workers.values():
            worker.line.close()
            self._slots.append(worker.slot)
        for work in list(self._works.values()):
            self._stopped(work)
        self._workers.clear()
        self._idle.clear()
        self._waiting.clear()
        self._starting = self._failed_starts = 0

    def _pickled(self, work: _Work, ended: asyncio.Future[None]) -> None:
        error = ended.exception()
        if work.stopping or self._works.get(work.context) is not work:
            return
        if error is not None:
            self._over(work).failed(Failure.of(error))
        else:
            self._begin(work)

    def _begin(self, work: _Work) -> None:
        self._look_around()
        if self._down and self._host is not None:
            self._down = False
            self._host.open()
        worker = self._take(work.fresh)
        if worker is None:
            self._waiting.append(work)
        else:
            self._assign(worker, work)
        self._balance()

    def _assign(self, worker: _Worker, work: _Work) -> None:
        packed, call = work.packed, work.call
        try:
            upstream = [(each, call.upstream[each].view()) for each in call.upstream] if call.upstream else []
        except Exception as error:  # the upstream's value was made in this process, and cannot be pickled
            self._over(work).failed(Failure.of(error))
            self._rest(worker)
            return
        parts = (packed.function, packed.arguments, *[data for _, data in upstream])
        sizes = (len(packed.function), len(packed.arguments), tuple([(each, len(data)) for each, data in upstream]))
        around = None
        if worker.surroundings != self._surroundings:
            worker.surroundings = self._surroundings
            around = (self._environ, self._cwd, self._sent_path)
        if not worker.used:
            worker.used, worker.imports = True, self._imports
        # A small call to an idle worker is as good as begun; that a worker says so takes 20 µs.
        acknowledge = sum(map(len, parts)) > wire.PART_BYTES
        work.number, work.worker, worker.work = next(self._numbers), worker, work
        head = (work.number, call.job_id, call.name, call.attempt, work.fresh, acknowledge, around, sizes)
        worker.line.send(wire.frame(wire.CALL, head, *parts))
        if not acknowledge:
            self._started(work)
        if not self._measuring:
            self._measuring = True
            self._loop.call_later(MEASURE_S, self._measure)

    def _started(self, work: _Work) -> None:
        if not work.started and work.worker is not None:
            work.started = True
            work.context.handle(work.worker.handle)
            work.context.started(work.worker.name)

    def _stopped(self, work: _Work) -> None:
        if self._works.get(work.context) is work:
            self._over(work).stopped()

    def _over(self, work: _Work) -> Context:
        del self._works[work.context]
        if work.worker is not None:
            work.worker.work = None
        return work.context

    # -- what workers say

    def _heard(self, worker: _Worker, kind: int, head: Any, body: bytes | memoryview) -> None:
        work = worker.work
        if kind == wire.READY:
            worker.pid, worker.name = head, f"pid {head}"
            worker.handle = f"pid {head} since {linux.started_at(head)}"
            self._starting -= 1
            self._failed_starts = 0
            self._rest(worker)
        elif work is None or work.stopping:
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
                self._loop, lambda move, data: worker.line.send(wire.frame(wire.STEP, (work.number, move), data))
            )
            work.context.yields(work.source)
        elif kind == wire.STALE:
            # Nothing of the job has run. A new worker will import what the file says now.
            worker.retiring, worker.work, work.worker = True, None, None
            self._waiting.appendleft(work)
            self._balance()
        else:
            self._answered(worker, work, kind, head, body)

    def _answered(self, worker: _Worker, work: _Work, kind: int, head: Any, body: bytes | memoryview) -> None:
        _, left, worker.has_files, printed, *seen = head
        if printed:
            worker.line.drain_output()
        self._started(work)
        context = self._over(work)
        if left:
            worker.retiring = True
            self._balance()
        else:
            self._rest(worker)
        self.hold()
        if kind == wire.DONE:
            data = bytes(body) if len(body) <= wire.PART_BYTES else body
            context.done(Payload.of_bytes(data), Preview(*seen))
        else:
            context.failed(Failure.from_bytes(body))
        self.settle()

    def _printed(self, worker: _Worker, data: bytes, error: bool) -> None:
        if worker.work is not None:
            worker.work.context.write(data, error=error)

    # -- workers

    def _rest(self, worker: _Worker) -> None:
        """A worker has nothing to do: give it the next job, keep it, or let it go."""
        if self._closing or ((worker.used or self._preload) and worker.imports != self._imports):
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

    def _take(self, fresh: bool) -> _Worker | None:
        if not fresh:
            return self._idle.pop() if self._idle else None
        new = next((each for each in self._idle if not each.used), None)
        if new is not None:
            self._idle.remove(new)
        return new

    def _retire(self, worker: _Worker) -> None:
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
        worker = _Worker(next(self._numbers), self._slots.pop(), imports=self._imports)
        worker.line = Line(
            self._loop,
            lambda kind, head, body: self._heard(worker, kind, head, body),
            lambda data, error: self._printed(worker, data, error),
        )
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

    def _bury(self, host: Host, worker: _Worker, status: int) -> None:
        # Its last words may still be on the line.
        worker.line.drain()
        worker.line.close()
        if worker in self._idle:
            self._idle.remove(worker)
        if worker.pid == 0:
            self._starting -= 1
        (mark,) = wire.MARK.unpack_from(host.marks, worker.slot * wire.MARK.size)
        self._slots.append(worker.slot)
        if worker.work is not None:
            self._bereaved(worker, worker.work, begun=mark == worker.work.number, status=status)

    def _bereaved(self, worker: _Worker, work: _Work, *, begun: bool, status: int) -> None:
        if work.stopping:
            self._stopped(work)
        elif begun:
            self._started(work)
            self._over(work).failed(Failure.died(self._obituary(worker, status)))
        elif work.started:
            self._over(work).released(f"its worker (pid {worker.pid}) ended before it began")
        else:
            work.worker = worker.work = None
            self._waiting.appendleft(work)

    def _obituary(self, worker: _Worker, status: int) -> str:
        if status >= 0 and not os.WIFSIGNALED(status):
            return (
                f"the job ended its own process (pid {worker.pid}) with exit status {os.waitstatus_to_exitcode(status)}"
            )
        if status < 0:
            return f"the worker process (pid {worker.pid}) is gone, and so is what guarded it"
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        text = f"the worker process (pid {worker.pid}) was killed by {name}"
        kills, self._oom_kills = self._oom_kills, linux.oom_kills()
        if number == signal.SIGKILL and self._oom_kills > kills:
            text += ": the system ran out of memory"
        elif number == signal.SIGKILL and worker.memory_bytes > linux.memory_bytes() * 0.5:
            text += f", probably for want of memory: it used {worker.memory_bytes / 1e9:.1f} GB"
        return text

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
        workers = list(self._workers.values())
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
        busy = [each.number for each in self._workers.values() if each.work is not None]
        self._measuring = bool(busy) and self._host is not None
        if self._host is not None and busy:
            self._host.measure(busy)
            self._loop.call_later(MEASURE_S, self._measure)

    def memory_measured(self, number: int, size_bytes: int) -> None:
        """What a worker's tree uses at present."""
        worker = self._workers.get(number)
        if worker is not None and worker.work is not None:
            worker.memory_bytes = size_bytes
            worker.work.context.memory(size_bytes)

    def _look_around(self) -> None:
        """Notice a changed environment, folder or search path, in a microsecond."""
        environ, cwd = wire.environ(), wire.cwd()
        if environ == self._environ and cwd == self._cwd and sys.path == self._path:
            return
        self._surroundings += 1
        self._cwd = cwd
        if environ != self._environ or sys.path != self._path:
            # Libraries read these when they are imported: who has imported any is of no use any more.
            self._imports += 1
            self._environ, self._path, self._sent_path = dict(environ), list(sys.path), wire.search_path()
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
        for worker in self._workers.values():
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
