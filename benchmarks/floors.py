"""The least that a workload can cost: the same work on bare asyncio, threads and worker processes, with no records.

Each function is one benchmark; its keywords are the benchmark's sizes, and it gives the benchmark's figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import cloudpickle

from benchmarks.probes import DeathWatch, Memory, Ticker, pids_in, rest
from ipyjobs.backends.dask.cluster import OwnCluster
from ipyjobs.backends.process import linux

_HEAD = struct.Struct("<I")

# Executed by a small Python of its own, which forks the workers: nothing of the measuring process is in them.
_WORKERS = """
import os, pickle, socket, struct, sys
import cloudpickle

def serve(number):
    connection = socket.socket(fileno=number)
    stream = connection.makefile("rb")
    head = struct.Struct("<I")
    while len(size := stream.read(4)) == 4:
        function, args = pickle.loads(stream.read(*head.unpack(size)))
        reply = pickle.dumps(pickle.loads(function)(*args), 5)
        connection.sendall(head.pack(len(reply)) + reply)
    os._exit(0)

numbers = [int(each) for each in sys.argv[1:]]
for number in numbers:
    if os.fork() == 0:
        for other in numbers:
            if other != number:
                os.close(other)
        serve(number)
for number in numbers:
    os.close(number)
for number in numbers:
    os.wait()
"""


class BareWorkers:
    """Warm worker processes, one socketpair each, driven by `add_reader`. A call is a frame there and a frame back."""

    def __init__(self, count: int) -> None:
        pairs = [socket.socketpair() for _ in range(count)]
        theirs = [pair[1].fileno() for pair in pairs]
        command = [sys.executable, "-c", _WORKERS, *map(str, theirs)]
        self._process = subprocess.Popen(command, pass_fds=theirs)
        self._sockets = [pair[0] for pair in pairs]
        for ours, of_worker in pairs:
            of_worker.close()
            ours.setblocking(False)

    async def __aenter__(self) -> Self:
        ready = cloudpickle.dumps(os.getpid)
        for each in range(len(self._sockets)):
            await self.run([(ready, ())], first=each)
        return self

    async def __aexit__(self, *exception: object) -> None:
        for each in self._sockets:
            each.close()
        self._process.wait()

    async def run(self, calls: Iterable[tuple[bytes, tuple[Any, ...]]], first: int = 0) -> list[Any]:
        """Make `calls`, pairs of a pickled function and arguments, as many at a time as there are workers.

        Returns the values in the order in which they came. `first` is the worker that is asked first.
        """
        loop = asyncio.get_running_loop()
        left = deque(calls)
        awaited = len(left)
        finished = loop.create_future()
        values: list[Any] = []
        received = [bytearray() for _ in self._sockets]

        def send(number: int) -> None:
            if left:
                frame = pickle.dumps(left.popleft(), 5)
                self._send(self._sockets[number], _HEAD.pack(len(frame)) + frame)

        def receive(number: int) -> None:
            buffer = received[number]
            buffer += self._sockets[number].recv(65536)
            if len(buffer) < 4 or len(buffer) < 4 + _HEAD.unpack_from(buffer)[0]:
                return
            values.append(pickle.loads(memoryview(buffer)[4:]))
            received[number] = bytearray()
            send(number)
            if len(values) == awaited:
                finished.set_result(None)

        for number in range(len(self._sockets)):
            loop.add_reader(self._sockets[number], receive, number)
        for number in range(len(self._sockets)):
            send((first + number) % len(self._sockets))
        try:
            await finished
        finally:
            for each in self._sockets:
                loop.remove_reader(each)
        return values

    @staticmethod
    def _send(connection: socket.socket, frame: bytes) -> None:
        # A frame that fits into the socket's buffer, as nearly all do, never blocks.
        sent = connection.send(frame)
        if sent < len(frame):
            connection.setblocking(True)
            connection.sendall(frame[sent:])
            connection.setblocking(False)


def _function(name: str) -> Callable[..., Any]:
    return getattr(sys.modules["__main__"], name)


def _per_job(started: float, jobs: int) -> dict[str, float]:
    return {"time": 1e6 * (time.perf_counter() - started) / jobs}


async def noop_local(jobs: int) -> dict[str, float]:
    noop = _function("noop_coroutine")
    started = time.perf_counter()
    await asyncio.gather(*[asyncio.create_task(noop()) for _ in range(jobs)])
    return _per_job(started, jobs)


noop_coroutine = noop_notebook = noop_local


async def noop_thread(jobs: int) -> dict[str, float]:
    noop, loop = _function("noop"), asyncio.get_running_loop()
    with ThreadPoolExecutor(20) as pool:
        await asyncio.gather(*[loop.run_in_executor(pool, time.sleep, 0.01) for _ in range(20)])
        started = time.perf_counter()
        await asyncio.gather(*[loop.run_in_executor(pool, noop) for _ in range(jobs)])
        return _per_job(started, jobs)


async def noop_process(jobs: int) -> dict[str, float]:
    async with BareWorkers(2) as workers:
        started = time.perf_counter()
        noop = cloudpickle.dumps(_function("noop"))
        await workers.run([(noop, ())] * jobs)
        return _per_job(started, jobs)


async def noop_dask(jobs: int) -> dict[str, float]:
    """`Client.submit` on the same cluster: scheduler and workers in processes of their own."""
    from distributed import Client

    cluster = OwnCluster(asyncio.get_running_loop(), linux.usable_cpus(), lambda: None)
    await cluster.start()
    async with Client(cluster.address, asynchronous=True) as client:
        await client.gather([client.submit(time.sleep, 0.01, pure=False) for _ in range(20)])
        noop = _function("noop")
        started = time.perf_counter()
        await client.gather([client.submit(noop, pure=False) for _ in range(jobs)])
        figures = _per_job(started, jobs)
    await cluster.close()
    return figures


async def trip_thread(jobs: int) -> dict[str, float]:
    noop, loop = _function("noop"), asyncio.get_running_loop()
    with ThreadPoolExecutor(20) as pool:
        await loop.run_in_executor(pool, noop)
        started = time.perf_counter()
        for _ in range(jobs):
            await loop.run_in_executor(pool, noop)
        return _per_job(started, jobs)


async def trip_process(jobs: int) -> dict[str, float]:
    async with BareWorkers(1) as workers:
        started = time.perf_counter()
        for _ in range(jobs):
            await workers.run([(cloudpickle.dumps(_function("noop")), ())])
        return _per_job(started, jobs)


async def first_process(function: str) -> dict[str, float]:
    figures: dict[str, float] = {}
    async with BareWorkers(1) as workers:
        await asyncio.sleep(0.5)
        for figure in ("first", "second"):
            started = time.perf_counter()
            await workers.run([(cloudpickle.dumps(_function(function)), ())])
            figures[figure] = 1e3 * (time.perf_counter() - started)
    return figures


first_numpy = first_process


async def first_cold(function: str) -> dict[str, float]:
    """A Python is started for it."""
    started = time.perf_counter()
    async with BareWorkers(1) as workers:
        await workers.run([(cloudpickle.dumps(_function(function)), ())])
        return {"first": 1e3 * (time.perf_counter() - started)}


async def chain_local(jobs: int) -> dict[str, float]:
    add_one = _function("add_one")

    async def link(before: asyncio.Task[int] | None) -> int:
        return add_one(0 if before is None else await before)

    started = time.perf_counter()
    last: asyncio.Task[int] | None = None
    for _ in range(jobs):
        last = asyncio.create_task(link(last))
    assert last is not None
    assert await last == jobs
    return _per_job(started, jobs)


async def chain_thread(jobs: int) -> dict[str, float]:
    add_one, loop = _function("add_one"), asyncio.get_running_loop()
    with ThreadPoolExecutor(20) as pool:
        value = await loop.run_in_executor(pool, add_one, -1)
        started = time.perf_counter()
        for _ in range(jobs):
            value = await loop.run_in_executor(pool, add_one, value)
        assert value == jobs
        return _per_job(started, jobs)


async def chain_process(jobs: int) -> dict[str, float]:
    async with BareWorkers(1) as workers:
        started = time.perf_counter()
        add_one, value = cloudpickle.dumps(_function("add_one")), 0
        for _ in range(jobs):
            [value] = await workers.run([(add_one, (value,))])
        assert value == jobs
        return _per_job(started, jobs)


async def fan_local(width: int) -> dict[str, float]:
    add_one, total = _function("add_one"), _function("total")

    async def one(before: asyncio.Task[int] | None) -> int:
        return add_one(0 if before is None else await before)

    async def all_of(tasks: list[asyncio.Task[int]]) -> int:
        return total(*await asyncio.gather(*tasks))

    started = time.perf_counter()
    top = asyncio.create_task(one(None))
    middle = [asyncio.create_task(one(top)) for _ in range(width)]
    assert await asyncio.create_task(all_of(middle)) == 2 * width
    return _per_job(started, width + 2)


async def fan_thread(width: int) -> dict[str, float]:
    add_one, total, loop = _function("add_one"), _function("total"), asyncio.get_running_loop()
    with ThreadPoolExecutor(20) as pool:
        await asyncio.gather(*[loop.run_in_executor(pool, time.sleep, 0.01) for _ in range(20)])
        started = time.perf_counter()
        top = await loop.run_in_executor(pool, add_one, 0)
        middle = await asyncio.gather(*[loop.run_in_executor(pool, add_one, top) for _ in range(width)])
        assert await loop.run_in_executor(pool, total, *middle) == 2 * width
        return _per_job(started, width + 2)


async def fan_process(width: int) -> dict[str, float]:
    async with BareWorkers(2) as workers:
        started = time.perf_counter()
        add_one, total = cloudpickle.dumps(_function("add_one")), cloudpickle.dumps(_function("total"))
        [top] = await workers.run([(add_one, (0,))])
        middle = await workers.run([(add_one, (top,))] * width)
        assert await workers.run([(total, tuple(middle))]) == [2 * width]
        return _per_job(started, width + 2)


async def waiting(jobs: int, seconds: float) -> dict[str, float]:
    """An idle loop with the same ticker."""
    return await rest(seconds)


waiting_unknown = waiting_user = waiting


async def cancel(times: int) -> dict[str, float]:
    """SIGKILL to a process group."""
    dead_ms: list[float] = []
    blocked_ms: list[float] = []
    for number in range(times):
        path = Path(f"pids-{number}").absolute()
        source = Path(__file__).with_name("cell.py")
        command = [sys.executable, "-c", f"exec(open({str(source)!r}).read()); spin({str(path)!r})"]
        process = subprocess.Popen(command, start_new_session=True)
        watch = DeathWatch(await pids_in(path))
        async with Ticker(0.001) as ticker:
            await asyncio.sleep(0.02)
            ticker.late_s.clear()
            asked_at = time.monotonic()
            os.killpg(process.pid, signal.SIGKILL)
            died_at = await watch.died_at(5)
            assert died_at is not None
            dead_ms.append(1e3 * (died_at - asked_at))
            await asyncio.sleep(0.02)
            blocked_ms.append(1e3 * max(ticker.late_s))
        process.wait()
    return {"dead": sorted(dead_ms)[times // 2], "blocked": sorted(blocked_ms)[times // 2]}


async def commands(jobs: int) -> dict[str, float]:
    """`asyncio.create_subprocess_exec`, two at a time, with what they print."""
    places = asyncio.Semaphore(2)

    async def one() -> None:
        async with places:
            process = await asyncio.create_subprocess_exec(
                "true", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            await process.communicate()
            assert process.returncode == 0

    await one()
    started = time.perf_counter()
    await asyncio.gather(*[one() for _ in range(jobs)])
    return _per_job(started, jobs)


async def memory(jobs: int, traced: bool = False) -> dict[str, float]:
    """Ended tasks in a dictionary."""
    noop = _function("noop_coroutine")
    memory = Memory(traced)
    tasks = {f"{number:x}": asyncio.create_task(noop()) for number in range(jobs)}
    await asyncio.gather(*tasks.values())
    return {"bytes": memory.more() / jobs}


memory_10k = memory_100k = memory_traced = memory


async def store(jobs: int) -> dict[str, float]:
    """Rows of the same size, 2,000 jobs in a transaction of a write-ahead log: submitted, then ended, three events."""
    texts = ("x" * 30,) * 8 + ("0" * 64,) * 2 + (b"0" * 59,)
    with contextlib.closing(sqlite3.connect("floor.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            f"CREATE TABLE jobs (id TEXT PRIMARY KEY, {', '.join(f'c{n}' for n in range(len(texts)))}, status TEXT, "
            "attempt INTEGER, submitted_at REAL, started_at REAL, ended_at REAL)"
        )
        connection.execute("CREATE INDEX by_status ON jobs (status)")
        connection.execute(
            "CREATE TABLE events (job TEXT, number INTEGER, at REAL, verb TEXT, status TEXT, "
            "PRIMARY KEY (job, number)) WITHOUT ROWID"
        )
        connection.execute("CREATE TABLE results (job TEXT PRIMARY KEY, seal BLOB, data BLOB)")
        started = time.perf_counter()
        for first in range(0, jobs, 2_000):
            ids = [f"0123456789ab-{n:x}" for n in range(first, min(first + 2_000, jobs))]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                f"INSERT INTO jobs VALUES (?, {'?, ' * len(texts)} ?, ?, ?, ?, ?)",
                [(each, *texts, "pending", 0, 1.0, None, None) for each in ids],
            )
            connection.executemany(
                "INSERT INTO events VALUES (?, 0, 1.0, 'submit', 'pending')", [(each,) for each in ids]
            )
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE jobs SET status = ?, attempt = ?, started_at = ?, ended_at = ? WHERE id = ?",
                [("done", 1, 2.0, 3.0, each) for each in ids],
            )
            for number, verb in ((1, "start"), (2, "finish")):
                connection.executemany(
                    "INSERT INTO events VALUES (?, ?, ?, ?, ?)", [(each, number, 1.0, verb, "running") for each in ids]
                )
            value = pickle.dumps(None)
            connection.executemany("INSERT INTO results VALUES (?, ?, ?)", [(each, texts[-1], value) for each in ids])
            connection.execute("COMMIT")
        figures = _per_job(started, jobs)
    posted: deque[tuple[object, ...]] = deque()
    started = time.perf_counter()
    for n in range(jobs):
        posted.append((n, "noop", "pending", 0, 1.0, None, None, None))
    return {**figures, "loop": _per_job(started, jobs)["time"]}
