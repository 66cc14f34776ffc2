"""Jobs on a Dask cluster: one of the engine's own, which is made when it is first needed, or any other."""

# distributed has hardly any types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from ipyjobs.backends import Backend
from ipyjobs.backends.dask.connection import CLOSE_S, Connection, Modules, Run, connect
from ipyjobs.backends.dask.given import Lent
from ipyjobs.captures import text_of
from ipyjobs.errors import InvalidStateError, JobLost, WorkerDied, WorkersBroken
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.log import logger
from ipyjobs.pickling import Packed, Payload, pack
from ipyjobs.preview import Preview
from ipyjobs.remote import RemoteSource
from ipyjobs.version import __version__

T = TypeVar("T")

TRIES = 100
"""So often a job that has not begun is sent to the cluster again, before it is given up."""
GRACE_S = 1.0
"""How long the news that a worker has died may take, after Dask has started to act on it."""
TOGETHER = 250
"""So many jobs are sent in one message."""
LARGE_BYTES = 1 << 20
"""What is larger is put on a worker first, not sent through the scheduler."""

_SCALARS = frozenset({type(None), int, float, bool, str, bytes})


@dataclass(slots=True, eq=False)
class _Work:
    """One attempt, from `start` to its end."""

    call: Call
    context: Context
    packed: Packed
    number: int = 0
    """Of this sending, as the book of the engine's own cluster has it."""
    key: str = ""
    """Of the Dask task; empty before it was sent."""
    future: Any = None
    worker: str = ""
    """Address of the Dask worker; empty until the function has begun."""
    pid: int = 0
    tries: int = 0
    stopping: bool = False
    seen: Preview | None = None
    """Of a large result, which is still to be fetched."""
    watch: asyncio.Task[None] | None = None
    source: RemoteSource | None = None
    """Of a generator."""
    parts: tuple[Any, ...] = ()
    """What was put on workers beforehand."""


class DaskBackend(Backend):
    """Runs each job as a task of a Dask cluster.

    Parameters
    ----------
    limit
        Jobs at once; None: no limit of its own.
    given
        A `distributed.Client`, a cluster or a scheduler's address. None: a cluster of the engine's own on this machine,
        with a worker for each processor that may be used, one job at a time on each.
    """

    name: ClassVar[str] = "dask"

    def __init__(self, limit: int | None = None, given: object = None) -> None:
        super().__init__(limit)
        self.given = given
        self._works: dict[Context, _Work] = {}
        self._by_key: dict[str, _Work] = {}
        self._unsent: list[_Work] = []
        self._sending = False
        self._connecting: asyncio.Task[Connection] | None = None
        self._at: Connection | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._numbers = itertools.count(1)
        self._mark = os.urandom(4).hex()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lent: dict[asyncio.AbstractEventLoop | None, Any] = {}
        """Clients by the loop that they are for."""

    def pack(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], shared: dict[Any, Any]
    ) -> Packed:
        return pack(function, args, kwargs, shared)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    @property
    def dashboard(self) -> str:
        """Where the cluster's own page is; empty if there is none, or no cluster yet."""
        return "" if self._at is None else self._at.dashboard

    async def address(self) -> tuple[str, Any]:
        """The scheduler's address and security settings; the cluster is made if there is none yet."""
        client = (await asyncio.shield(self._connect())).client
        return client.scheduler.address, client.security

    def use(self, given: object) -> None:
        """Have jobs run elsewhere from now on.

        Raises
        ------
        InvalidStateError
            Jobs are here that have not ended.
        """
        if self._works:
            raise InvalidStateError(f"{len(self._works)} Dask jobs have not ended; wait for them or cancel them first")
        self.given = given
        if self._connecting is not None:
            self._spawn(self._disconnect())

    def lend_client(self) -> Any:
        """A client of the same cluster for the user: asynchronous where a loop runs, else one that blocks."""
        assert self._loop is not None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        client = self._lent.get(loop)
        if client is None or client.status == "closed":
            distributed = Modules().distributed
            cluster = Lent(self.address, self._loop)
            client = distributed.Client(cluster, asynchronous=loop is not None, set_as_default=False)
            self._lent[loop] = client
        return client

    # -- attempts

    def start(self, call: Call, context: Context) -> None:
        packed = call.packed or pack(call.function, call.args, call.kwargs, {})
        for payload in call.upstream.values():
            if payload.size_bytes is None:
                payload.load()  # raises where there is nothing to give: the values of a generator are gone
        work = self._works[context] = _Work(call, context, packed)
        self._send_soon(work)

    def stop(self, context: Context) -> bool:
        work = self._works.get(context)
        if work is None or work.stopping:
            return True
        work.stopping = True
        self._spawn(self._stop(work))
        # What runs on somebody else's cluster can be asked to stop, not made to.
        return self._is_own or not work.worker

    async def close(self) -> None:
        for work in self._works.values():
            work.stopping = True
        own = self._is_own
        await self._take_back()
        await self._disconnect()
        for work in list(self._works.values()):
            if own or not work.worker:
                self._stopped(work)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stop(self, work: _Work) -> None:
        if work in self._unsent:
            self._unsent.remove(work)
        at = self._at
        if work.future is None or at is None:
            self._stopped(work)
            return
        if at.own is not None:
            if await at.own.stop(work.number):
                self._stopped(work)
            return  # else its end is on its way
        try:
            worker = await at.withdraw(work.key)
        except OSError:  # the scheduler is gone, and `_lost` is about to say so
            return
        if self._works.get(work.context) is not work:
            return
        if not worker:
            self._stopped(work)
        elif not work.worker:
            # It began just before it was asked to stop.
            self._begun(work, worker, 0)
            work.context.note("asked to stop, still running on the cluster")

    def _stopped(self, work: _Work) -> None:
        if self._works.get(work.context) is work:
            self._over(work).stopped()

    def _failed(self, work: _Work, failure: Failure) -> None:
        if self._works.get(work.context) is work:
            context = self._over(work)
            context.stopped() if work.stopping else context.failed(failure)

    def _over(self, work: _Work) -> Context:
        """Forget a work, on the cluster too; whoever calls this says how it ended."""
        del self._works[work.context]
        self._by_key.pop(work.key, None)
        if work.watch is not None and work.watch is not asyncio.current_task():
            work.watch.cancel()
        work.future, work.parts = None, ()  # with the last reference Dask lets go of the task
        return work.context

    # -- to the cluster

    def _send_soon(self, work: _Work) -> None:
        self._unsent.append(work)
        if not self._sending:
            self._sending = True
            self._spawn(self._send())

    async def _send(self) -> None:
        """Send in one go what was started in this turn of the loop."""
        try:
            at = await asyncio.shield(self._connect())
        except Exception as error:
            works, self._unsent = self._unsent, []
            for work in works:
                self._failed(work, Failure.of(error))
            return
        finally:
            self._sending = False
        works, self._unsent = self._unsent, []
        for part in range(0, len(works), TOGETHER):
            # The cluster begins with the first while the last are being made ready.
            if part:
                await asyncio.sleep(0)
            self._send_some(at, [work for work in works[part : part + TOGETHER] if work.context in self._works])

    def _send_some(self, at: Connection, works: list[_Work]) -> None:
        ready: list[_Work] = []
        parts: list[tuple[Any, Any, dict[str, Any]]] = []
        for work in works:
            upstream = work.call.upstream
            large = len(work.packed.arguments) > LARGE_BYTES or len(work.packed.function) > LARGE_BYTES
            if work.stopping:
                self._stopped(work)
            elif large or any(_is_slow(each) for each in upstream.values()):
                self._spawn(self._send_large(at, work))
            else:
                ready.append(work)
                parts.append((work.packed.function, work.packed.arguments, _data(upstream)))
        if ready:
            self._submit(at, ready, parts)

    async def _send_large(self, at: Connection, work: _Work) -> None:
        """Put large parts on a worker first."""
        payloads = work.call.upstream
        try:
            data = await asyncio.get_running_loop().run_in_executor(
                None, lambda: [each.data() for each in payloads.values()]
            )
            given = [work.packed.function, work.packed.arguments, *data]
            large = [each for each in given if len(each) > LARGE_BYTES]
            placed = iter(await at.client.scatter(large, hash=False) if large else ())
        except Exception as error:
            self._failed(work, Failure.of(error))
            return
        if self._works.get(work.context) is not work or work.stopping:
            self._stopped(work)
            return
        function, arguments, *values = [next(placed) if len(each) > LARGE_BYTES else each for each in given]
        work.parts = (function, arguments, *values)
        self._submit(at, [work], [(function, arguments, dict(zip(payloads, values, strict=True)))])

    def _submit(self, at: Connection, works: list[_Work], parts: list[tuple[Any, Any, dict[str, Any]]]) -> None:
        heads: list[tuple[Any, ...]] = []
        for work in works:
            work.tries += 1
            work.number = next(self._numbers)
            work.key = f"ipyjobs-{self._mark}-{work.number}"
            work.worker, work.pid = "", 0
            self._by_key[work.key] = work
            call = work.call
            heads.append((work.key, work.number, call.job_id, call.name, call.attempt, at.client.id))
        keys = [work.key for work in works]
        futures = at.client.map(Run(), heads, *zip(*parts, strict=True), key=keys, pure=False, retries=0)
        for work, future in zip(works, futures, strict=True):
            work.future = future
            work.context.handle(f"{work.key} at {at.client.scheduler.address}")
            work.watch = self._spawn(self._watch(at, work, future))

    async def _watch(self, at: Connection, work: _Work, future: Any) -> None:
        """See to a task whose end is not told by the job itself."""
        error = await future.exception()
        if work.future is not future:
            return
        if work.seen is not None:
            await self._fetch(at, work, future)
        elif future.status == "error":
            self._erred(at, work, error)
        elif not at.alive:
            self._lost()
        elif future.status == "finished" or work.worker or work.tries >= TRIES:
            # It was sent to a second worker, and has not begun there; or somebody has cancelled it there.
            if at.own is None:
                await asyncio.sleep(GRACE_S)  # that its worker has died is being told, and says more
            where = f" ({work.worker})" if work.worker else ""
            self._failed(work, Failure.died(f"the Dask worker{where} died before the job had ended and said so"))
        else:
            self._again(work)

    def _again(self, work: _Work) -> None:
        """Send a job again that has not begun."""
        self._by_key.pop(work.key, None)
        work.future = work.watch = None
        if work.stopping:
            self._stopped(work)
        else:
            self._send_soon(work)

    async def _fetch(self, at: Connection, work: _Work, future: Any) -> None:
        try:
            [data] = await at.client.gather([future], direct=True if at.own is not None else None)
        except Exception as error:
            gone = WorkerDied(f"the result was lost with its Dask worker ({work.worker})")
            gone.__cause__ = error
            self._failed(work, Failure.of(gone))
            return
        if self._works.get(work.context) is work and work.seen is not None:
            seen = work.seen
            self._over(work).done(Payload.of_bytes(data), seen)

    def _erred(self, at: Connection, work: _Work, error: BaseException) -> None:
        """Dask itself could not run the task: what a job raises comes as its end, not as an error of Dask's."""
        text = f"{type(error).__name__}: {text_of(error)}"
        if work.worker:
            self._failed(work, Failure.died(f"its Dask worker ({work.worker}) has let go of it: {text}"))
        elif isinstance(error, (at.killed_worker, OSError)) and work.tries < TRIES:
            self._again(work)
        elif isinstance(error, ImportError) and "ipyjobs" in text:
            why = f"a Dask worker cannot load ipyjobs ({text}): install ipyjobs {__version__} where the workers run"
            self._failed(work, Failure.died(why, WorkersBroken))
        else:
            self._failed(work, Failure.died(f"the Dask cluster cannot run it: {text}", WorkersBroken))

    # -- from the cluster

    def _heard(self, event: tuple[float, tuple[Any, ...]]) -> None:
        kind, key, *what = event[1]
        work = self._by_key.get(key)
        if work is None:
            return
        match kind:
            case "begun":
                self._begun(work, *what[0])
            case "printed":
                for error, data in what[0]:
                    work.context.write(data, error=error)
            case "report":
                work.context.report(*what[0])
            case "yielding":
                self._begun(work, *what[0])
                self._yields(work)
            case "yielded" if work.source is not None:
                work.source.yielded(what[0])
            case "end":
                worker, pid, outcome, *seen, data, large = what[0]
                self._begun(work, worker, pid)
                self._ended(work, outcome, Preview(*seen), None if large else data)
            case "died":
                pid = f", pid {work.pid}" if work.pid else ""
                self._failed(
                    work,
                    Failure.died(f"the Dask worker ({work.worker}{pid}) died before the job had ended and said so"),
                )
            case _:
                logger.debug("a Dask scheduler said something unknown: {}", kind)

    def _yields(self, work: _Work) -> None:
        assert self._loop is not None
        at, key = self._at, work.key
        if at is not None and not work.stopping:
            work.source = RemoteSource(self._loop, lambda move, data: self._spawn(at.step(key, move, data)))
            work.context.yields(work.source)

    def _begun(self, work: _Work, worker: str, pid: int) -> None:
        work.worker, work.pid = worker, pid
        work.context.started(f"pid {pid}" if self._is_own else worker)

    def _ended(self, work: _Work, outcome: str, seen: Preview, data: bytes | None) -> None:
        if work.stopping:
            self._stopped(work)
        elif data is None:
            work.seen = seen
        elif outcome == "done":
            self._over(work).done(Payload.of_bytes(data), seen)
        else:
            self._over(work).failed(Failure.from_bytes(data))

    # -- the connection

    @property
    def _is_own(self) -> bool:
        return self._at is not None and self._at.own is not None

    def _connect(self) -> asyncio.Task[Connection]:
        if self._connecting is None:
            self._connecting = self._spawn(self._make_connection())
        return self._connecting

    async def _make_connection(self) -> Connection:
        try:
            self._at = await connect(self.given, self._heard, self._lost)
        except BaseException:
            self._connecting = None  # the next job tries again
            raise
        return self._at

    async def _disconnect(self) -> None:
        connecting, self._connecting = self._connecting, None
        at, self._at = self._at, None
        if at is not None:
            await at.close()
        elif connecting is not None:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    async def _take_back(self) -> None:
        """Close the clients that were lent."""
        lent, self._lent = self._lent, {}
        for loop, client in lent.items():
            if loop is self._loop:
                await _closed(client)
            elif loop is None:
                await asyncio.get_running_loop().run_in_executor(None, client.close, CLOSE_S)
            elif not loop.is_closed():
                # Not waited for: that loop may stand still because it waits for us.
                asyncio.run_coroutine_threadsafe(_closed(client), loop)

    def _lost(self) -> None:
        """The scheduler is gone: so are all jobs, and the next one finds or makes another."""
        at, self._at, self._connecting = self._at, None, None
        if at is None:
            return
        self._spawn(at.close())
        whose = "this engine's Dask cluster" if at.own is not None else "the Dask scheduler"
        for work in list(self._works.values()):
            if work.future is not None:
                self._failed(work, Failure.died(f"{whose} is gone, and the job with it", JobLost))

    def _spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        assert self._loop is not None
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _closed(client: Any) -> None:
    try:
        await client.close(CLOSE_S)
    except Exception as error:  # it may have lost its scheduler, or have been closed by its user just now
        logger.debug("a Dask client did not close: {!r}", error)


def _data(upstream: Mapping[str, Payload]) -> dict[str, Any]:
    return {each: payload.data() for each, payload in upstream.items()}


def _is_slow(payload: Payload) -> bool:
    """Whether pickling it, or sending it, may take a while."""
    size = payload.size_bytes
    return size > LARGE_BYTES if size is not None else type(payload.load()) not in _SCALARS
