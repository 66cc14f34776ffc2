"""What the measured processes measure themselves with."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_WATCH = """
import os, select, sys, time
poll = select.poll()
left = [os.pidfd_open(int(pid)) for pid in sys.stdin.readline().split()]
for each in left:
    poll.register(each, select.POLLIN)
print("ready", flush=True)
while left:
    for number, _ in poll.poll():
        poll.unregister(number)
        left.remove(number)
print(time.monotonic(), flush=True)
"""


class NotInTime(Exception):
    """The time was up when only some of the jobs had ended."""

    def __init__(self, done: int, of: int) -> None:
        self.done, self.of = done, of
        super().__init__(f"{done} of {of} jobs had ended")


class Ticker:
    """Asks the loop every so often, and notes how much later than asked it answers, in seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self.late_s: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._tick())
        await asyncio.sleep(2 * self._every_s)
        self.late_s.clear()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._task.cancel()

    async def _tick(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(self._every_s)
            now = time.perf_counter()
            self.late_s.append(now - before - self._every_s)
            before = now

    def percentile(self, share: float) -> float:
        """The lateness that `share` of the ticks kept below, in seconds."""
        late_s = sorted(self.late_s)
        return late_s[min(len(late_s) - 1, int(share * len(late_s)))]


class DeathWatch:
    """Notes when the last of some processes has died. A process of its own, so that a blocked loop can't delay it."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, pids)) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    async def died_at(self, timeout_s: float) -> float | None:
        """When the last one died, by `time.monotonic`; None if some are still alive after `timeout_s` seconds."""
        until = time.monotonic() + timeout_s
        while self._process.poll() is None and time.monotonic() < until:
            await asyncio.sleep(0.005)
        if self._process.poll() is None:
            self._process.kill()
            return None
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())


async def pids_in(path: Path) -> list[int]:
    """The pids that `cell.spin` writes, once it has."""
    while not path.exists():
        await asyncio.sleep(0.005)
    return [int(pid) for pid in path.read_text().split()]


async def rest(seconds: float) -> dict[str, float]:
    """CPU of this process while it does nothing of its own; then, for a second more, how late its loop answers."""
    cpu_s, at = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    cpu_s, at = time.process_time() - cpu_s, time.perf_counter() - at
    async with Ticker(0.01) as ticker:
        await asyncio.sleep(1)
        return {"cpu": 100 * cpu_s / at, "lag": 1e3 * ticker.percentile(0.95)}


class Memory:
    """Bytes this process uses more than when this was made: resident pages, or with `traced` Python's allocations."""

    def __init__(self, traced: bool) -> None:
        self._traced = traced
        if traced:
            tracemalloc.start()
        self._before = self._now()

    def more(self) -> int:
        """Bytes since."""
        return self._now() - self._before

    def _now(self) -> int:
        gc.collect()
        if self._traced:
            return tracemalloc.get_traced_memory()[0]
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")
