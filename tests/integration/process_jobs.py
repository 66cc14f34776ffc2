"""Functions for process jobs, and a context that remembers what it is told."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import psutil

from ipyjobs.backends.process import ProcessBackend
from ipyjobs.execution import Call
from ipyjobs.failure import Failure
from ipyjobs.pickling import Payload
from ipyjobs.preview import Preview

FUSE_S = 20.0


class Heard:
    """What a backend said about one attempt; `over` is set at its end, `begun` at its start."""

    def __init__(self) -> None:
        self.stopping = False
        self.events: list[str] = []
        self.begun, self.over, self.spoke = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.output = b""
        self.errors = b""
        self.reports: list[tuple[float | None, str | None, float | None]] = []
        self.memory_bytes = 0
        self.worker = ""
        self.name = ""
        self.payload: Payload | None = None
        self.preview: Preview | None = None
        self.failure: Failure | None = None
        self.why = ""

    def started(self, worker: str = "", at: float | None = None) -> None:
        self.events.append("started")
        self.worker = worker
        self.begun.set()

    def handle(self, text: str) -> None:
        self.name = text

    def write(self, data: bytes, *, error: bool = False) -> None:
        assert not self.over.is_set(), "output after the end"
        self.output, self.errors = (self.output, self.errors + data) if error else (self.output + data, self.errors)
        self.spoke.set()

    def report(self, progress: float | None, message: str | None, left_s: float | None) -> None:
        self.reports.append((progress, message, left_s))
        self.spoke.set()

    def memory(self, size_bytes: int) -> None:
        self.memory_bytes = size_bytes
        self.spoke.set()

    def note(self, text: str) -> None:
        self.events.append("note")

    def done(self, value: Payload, preview: Preview, at: float | None = None) -> None:
        self.payload, self.preview = value, preview
        self._end("done")

    def failed(self, failure: Failure) -> None:
        self.failure = failure
        self._end("failed")

    def released(self, why: str) -> None:
        self.why = why
        self._end("released")

    def stopped(self) -> None:
        self._end("stopped")

    def interrupted(self) -> None:
        self._end("interrupted")

    def _end(self, how: str) -> None:
        self.events.append(how)
        self.over.set()

    async def end(self) -> str:
        """Wait for the end; how it ended."""
        await asyncio.wait_for(self.over.wait(), FUSE_S)
        return self.events[-1]

    async def value(self) -> Any:
        """Wait for the value, or raise what the job raised."""
        await self.end()
        if self.failure is not None:
            raise self.failure.exception()
        assert self.payload is not None, self.events
        return self.payload.load()

    async def said(self, done: Callable[[], bool]) -> None:
        """Wait until something said makes `done` true."""
        async with asyncio.timeout(FUSE_S):
            while not done():
                self.spoke.clear()
                await self.spoke.wait()

    async def printed_pids(self, count: int) -> list[int]:
        """The first `count` numbers that the job prints, a line each."""
        await self.said(lambda: self.output.count(b"\n") >= count)
        return [int(each) for each in self.output.split()[:count]]

    @property
    def pid(self) -> int:
        return int(self.worker.removeprefix("pid "))


@asynccontextmanager
async def opened(
    limit: int = 2, *, preload: tuple[str, ...] = (), guarded: bool = True
) -> AsyncIterator[ProcessBackend]:
    """An open backend, which is closed whatever becomes of the test."""
    backend = ProcessBackend(limit, preload=preload, guarded=guarded)
    backend.open(asyncio.get_running_loop())
    try:
        yield backend
    finally:
        await backend.close()


def run(
    backend: ProcessBackend,
    function: Callable[..., Any],
    *args: Any,
    upstream: dict[str, Payload] | None = None,
    fresh: bool = False,
    **kwargs: Any,
) -> Heard:
    """Start an attempt."""
    heard = Heard()
    packed = backend.pack(function, args, kwargs, {})
    options = {"fresh": True} if fresh else {}
    variables = contextvars.copy_context()
    call = Call("j1", "job", 1, function, args, kwargs, upstream or {}, lambda: False, packed, variables, options)
    backend.start(call, heard)
    return heard


async def gone(*pids: int, fuse_s: float = FUSE_S) -> bool:
    """Wait until these processes have ended; False if one has not by then."""
    processes: list[psutil.Process] = []
    for pid in pids:
        try:
            processes.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout=fuse_s)
    return not [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


# What the jobs do.


def echo(value: Any = None) -> Any:
    return value


def add(x: Any, y: Any) -> Any:
    return x + y


def pid() -> int:
    return os.getpid()


def sleep() -> NoReturn:
    while True:
        time.sleep(60)


def spin() -> NoReturn:
    while True:
        pass


def die(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)


def family() -> NoReturn:
    """Start descendants of every stubborn kind, print their pids, and go on for ever."""
    ignore = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; print(1, flush=True); "
    child = subprocess.Popen([sys.executable, "-c", ignore + "time.sleep(600)"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(each, signal.SIG_IGN)
            os.write(write, b"%d" % os.getpid())
            sleep()
        os._exit(0)
    daemon = int(os.read(read, 20))
    # In one write, as others of the same worker's could come in between.
    sys.stdout.write(f"{os.getpid()}\n{child.pid}\n{daemon}\n")
    sys.stdout.flush()
    sleep()
