"""Fails each test that leaves processes, threads or asyncio tasks behind. Costs about 0.1 ms a test."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from ipyjobs.backends.process.linux import started_at

T = TypeVar("T")

# What is on its way out may take this long. No event tells that another's thread or grandchild has ended, so we ask
# again and again; a test that leaves nothing behind never waits.
PATIENCE_S = 3.0
INTERVAL_S = 0.005
# What the system says of a process's birth is as exact as its clock's tick.
CLOCK_S = 0.02
# Kept by the standard library for the whole life of a process.
_KEPT = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@pytest.fixture(autouse=True)
def leaks() -> Iterator[None]:
    """What a test starts has ended when the test and its fixtures have: processes, threads, then tasks."""
    processes, threads = set(_descendants(())), set(threading.enumerate())
    begun = (time.clock_gettime(time.CLOCK_BOOTTIME) - CLOCK_S) * os.sysconf("SC_CLK_TCK")
    yield
    if left := _still_there(lambda: [each for each in _descendants(processes) if not _is_older(each, begun)]):
        pytest.fail(f"left running: {', '.join(map(_process_words, left))}", pytrace=False)
    if left := _still_there(lambda: _lasting_threads(threads)):
        pytest.fail(f"threads left running: {', '.join(sorted(each.name for each in left))}", pytrace=False)


@pytest.fixture
async def leaked_tasks() -> AsyncIterator[None]:
    """Stand first among a coroutine test's fixtures, so that this looks after theirs have been torn down."""
    before = asyncio.all_tasks()
    yield
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + PATIENCE_S
    while (left := _pending(before)) and loop.time() < give_up_at and any(task.cancelling() for task in left):
        await asyncio.sleep(INTERVAL_S)
    if left:
        pytest.fail(f"tasks left pending: {', '.join(sorted(map(_task_words, left)))}", pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
        place = item.fixturenames.index("leaks") + 1 if "leaks" in item.fixturenames else 0
        item.fixturenames.insert(place, "leaked_tasks")


def _pending(before: Collection[asyncio.Task[object]]) -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task not in before and task is not asyncio.current_task()]


def _task_words(task: asyncio.Task[object]) -> str:
    return getattr(task.get_coro(), "__qualname__", task.get_name())


def _still_there(look: Callable[[], list[T]]) -> list[T]:
    give_up_at = time.monotonic() + PATIENCE_S
    while (left := look()) and time.monotonic() < give_up_at:
        time.sleep(INTERVAL_S)
    return left


def _lasting_threads(before: Collection[threading.Thread]) -> list[threading.Thread]:
    """List the new threads that keep a process alive, and those of an engine."""
    new = (thread for thread in threading.enumerate() if thread not in before and thread.is_alive())
    return [thread for thread in new if not thread.daemon or thread.name.startswith("ipyjobs")]


def _descendants(known: Collection[int]) -> list[int]:
    """List the living descendants of this process, without those `known` and what these have started."""
    found: list[int] = []
    todo = _children("self")
    while todo:
        pid = todo.pop()
        if pid not in known and _alive(pid):
            found.append(pid)
            todo += _children(pid)
    return found


def _children(pid: int | str) -> list[int]:
    try:
        tasks = [(each / "children").read_text() for each in Path(f"/proc/{pid}/task").iterdir()]
        return [int(word) for text in tasks for word in text.split()]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/task").exists():  # it ended while we looked
            return []
        return [each.pid for each in psutil.Process(None if pid == "self" else int(pid)).children()]


def _alive(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and not any(
            word in " ".join(process.cmdline()) for word in _KEPT
        )
    except psutil.Error:
        return False


def _is_older(pid: int, ticks: float) -> bool:
    """Say whether a process had begun by then; a list of children may leave one out while another ends."""
    return 0 < started_at(pid) < ticks


def _process_words(pid: int) -> str:
    try:
        return f"{pid} {' '.join(psutil.Process(pid).cmdline())[:100]}"
    except psutil.Error:
        return str(pid)
