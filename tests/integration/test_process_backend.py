"""The process backend: what comes back, what is stopped, and what happens when somebody dies."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from ipyjobs.backends.process import ProcessBackend, linux
from ipyjobs.context import current_job, report
from ipyjobs.errors import NotPicklable, WorkerDied
from ipyjobs.pickling import FutureLike, Payload
from tests.integration.process_jobs import (
    add,
    die,
    echo,
    family,
    opened,
    run,
    sleep,
    spin,
)


@pytest.fixture(params=["guard", "spawn"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[ProcessBackend]:
    """An open backend, with a guard and without."""
    async with opened(guarded=request.param == "guard") as backend:
        yield backend
    assert not psutil.Process().children(recursive=True)


@pytest.fixture
async def guarded() -> AsyncIterator[ProcessBackend]:
    """An open backend with a guard."""
    async with opened(2) as backend:
        yield backend
    assert not psutil.Process().children(recursive=True)


# -- what comes back


async def test_a_job_returns_its_value_and_what_it_looks_like(backend: ProcessBackend) -> None:
    heard = run(backend, add, [1], [2])

    assert await heard.value() == [1, 2]
    assert heard.events == ["started", "done"]
    assert heard.preview is not None
    assert (heard.preview.type, heard.preview.short) == ("list", "[1, 2]")
    assert heard.pid != os.getpid()
    assert heard.name.startswith(f"pid {heard.pid} since ")


async def test_more_jobs_than_workers_all_come_back(backend: ProcessBackend) -> None:
    heard = [run(backend, add, number, 1) for number in range(20)]

    assert [await each.value() for each in heard] == list(range(1, 21))


async def test_functions_of_cells_and_coroutine_functions_run(backend: ProcessBackend) -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec("import asyncio, math\nasync def f(x):\n    await asyncio.sleep(0)\n    return math.sqrt(x)", scope)

    assert await run(backend, scope["f"], 16).value() == 4
    assert await run(backend, functools.partial(add, 1), 2).value() == 3
    assert await run(backend, math.hypot, 3, 4).value() == 5


class Future(FutureLike):
    __slots__ = ("job_id",)

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id


async def test_values_of_upstream_jobs_are_put_in_place(backend: ProcessBackend) -> None:
    first = run(backend, echo, [1])
    await first.end()
    assert first.payload is not None
    upstream = {"a": first.payload, "b": Payload({"k": 2}), "c": Payload(3)}

    value = await run(backend, echo, [Future("a"), {"x": Future("b")}, Future("c")], upstream=upstream).value()

    assert value == [[1], {"x": {"k": 2}}, 3]


async def test_an_upstream_value_that_cannot_travel_fails_the_job(backend: ProcessBackend) -> None:
    heard = run(backend, echo, Future("a"), upstream={"a": Payload(threading.Lock())})

    with pytest.raises(NotPicklable):
        await heard.value()


async def test_a_big_argument_and_result_travel_while_the_loop_goes_on(backend: ProcessBackend) -> None:
    data = os.urandom(1 << 20) * 100
    await run(backend, echo).value()

    heard = run(backend, echo, data)
    turns = 0
    while not heard.over.is_set():
        turns += 1
        await asyncio.sleep(0)

    assert await heard.value() == data
    assert turns > 100


def chatty() -> None:
    print("out")
    print("err", file=sys.stderr)
    os.write(1, b"raw\n")
    os.system("echo child")


async def test_output_of_every_kind_is_there_before_the_end(backend: ProcessBackend) -> None:
    heard = run(backend, chatty)
    await heard.end()

    assert heard.output == b"out\nraw\nchild\n"
    assert heard.errors == b"err\n"


def flood() -> None:
    for number in range(20_000):
        print(number)
    sys.stdout.write("no newline at the end")


async def test_much_output_is_complete_and_in_order(backend: ProcessBackend) -> None:
    heard = run(backend, flood)
    await heard.end()

    assert heard.output.decode() == "".join(f"{number}\n" for number in range(20_000)) + "no newline at the end"


def shout() -> None:
    print("now")
    sleep()


async def test_a_line_is_heard_while_the_job_goes_on(backend: ProcessBackend) -> None:
    heard = run(backend, shout)

    await heard.said(lambda: heard.output == b"now\n")

    backend.stop(heard)
    assert await heard.end() == "stopped"


def progressing() -> str:
    for number in range(100_000):
        report(number / 100_000)
    report(1.0, "ready")
    job = current_job()
    assert job is not None
    return job.name


async def test_reports_are_few_and_the_last_one_always_comes(backend: ProcessBackend) -> None:
    heard = run(backend, progressing)

    assert await heard.value() == "job"
    assert heard.reports[0][0] == 0
    assert heard.reports[-1] == (1.0, "ready", None)
    assert len(heard.reports) < 100


def report_and_sleep() -> None:
    report(0.1)
    report(0.2)
    report(0.3, "last words")
    sleep()


async def test_a_last_report_comes_although_the_job_says_no_more(backend: ProcessBackend) -> None:
    heard = run(backend, report_and_sleep)

    await heard.said(lambda: heard.reports[-1:] == [(0.3, "last words", None)])

    backend.stop(heard)
    await heard.end()


def with_tqdm() -> None:
    from tqdm import tqdm

    for _ in tqdm(range(10), mininterval=0):
        pass


async def test_tqdm_fills_the_progress(backend: ProcessBackend) -> None:
    heard = run(backend, with_tqdm)
    await heard.value()

    assert heard.reports[-1][0] == 1.0


def hold_memory() -> None:
    data = bytearray(200_000_000)
    data[::4096] = b"x" * len(data[::4096])
    sleep()


async def test_memory_is_reported_while_a_job_runs(backend: ProcessBackend) -> None:
    heard = run(backend, hold_memory)

    await heard.said(lambda: heard.memory_bytes > 200_000_000)

    backend.stop(heard)
    await heard.end()


# -- failures


class Odd(Exception):
    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(where)
        self.code = code


def fail() -> None:
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise Odd(7, where="home") from error


async def test_an_exception_is_raised_as_it_is(backend: ProcessBackend) -> None:
    heard = run(backend, fail)

    with pytest.raises(Odd) as caught:
        await heard.value()
    assert caught.value.code == 7
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert heard.failure is not None
    assert [each.function for each in heard.failure.errors()[0].frames] == ["fail"]


@pytest.mark.parametrize("code", [3, 0])
async def test_an_exit_is_a_failure_with_its_code(backend: ProcessBackend, code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        await run(backend, sys.exit, code).value()

    assert caught.value.code == code


async def test_a_result_that_cannot_travel_is_a_failure_that_names_it(backend: ProcessBackend) -> None:
    with pytest.raises(NotPicklable, match="the result .*lock.* dict key 'a'"):
        await run(backend, lambda: {"a": __import__("threading").Lock()}).value()


async def test_a_killed_worker_fails_its_job_and_names_the_signal(backend: ProcessBackend) -> None:
    with pytest.raises(WorkerDied, match="SIGKILL"):
        await run(backend, die).value()
    with pytest.raises(WorkerDied, match="SIGSEGV"):
        await run(backend, die, signal.SIGSEGV).value()

    assert await run(backend, add, 1, 1).value() == 2


async def test_leaving_the_process_is_a_failure_even_with_status_0(backend: ProcessBackend) -> None:
    with pytest.raises(WorkerDied, match="exit status 0"):
        await run(backend, os._exit, 0).value()


def print_and_die() -> None:
    print("last words")
    die()


async def test_what_was_printed_before_death_is_kept(backend: ProcessBackend) -> None:
    heard = run(backend, print_and_die)

    assert await heard.end() == "failed"
    assert heard.output == b"last words\n"


async def test_one_death_harms_no_other_job(backend: ProcessBackend) -> None:
    other = run(backend, shout)
    await other.begun.wait()

    assert await run(backend, die).end() == "failed"

    assert not other.over.is_set()
    assert psutil.pid_exists(other.pid)
    backend.stop(other)
    await other.end()


def frozen_parts() -> str:
    raise SystemError("cannot be unpickled here")


class Trap:
    def __reduce__(self) -> Any:
        return frozen_parts, ()


async def test_arguments_that_cannot_be_loaded_there_fail_the_job(backend: ProcessBackend) -> None:
    with pytest.raises(SystemError, match="cannot be unpickled here"):
        await run(backend, echo, Trap()).value()


# -- stopping


@pytest.mark.parametrize("function", [sleep, spin], ids=["sleeping", "busy"])
async def test_a_stopped_job_is_gone(backend: ProcessBackend, function: Any) -> None:
    heard = run(backend, function)
    await heard.begun.wait()

    assert backend.stop(heard)

    assert await heard.end() == "stopped"
    assert not psutil.pid_exists(heard.pid)


async def test_a_job_is_stopped_with_its_whole_tree(guarded: ProcessBackend) -> None:
    heard = run(guarded, family)
    pids = await heard.printed_pids(3)

    guarded.stop(heard)

    assert await heard.end() == "stopped"
    assert not [each for each in pids if psutil.pid_exists(each)]


async def test_a_job_that_waits_for_a_worker_is_stopped_without_having_run(backend: ProcessBackend) -> None:
    heard = run(backend, echo)

    backend.stop(heard)

    assert await heard.end() == "stopped"
    assert heard.events == ["stopped"]


async def test_stopping_twice_or_after_the_end_is_harmless(backend: ProcessBackend) -> None:
    heard = run(backend, sleep)
    await heard.begun.wait()
    for _ in range(3):
        backend.stop(heard)
    await heard.end()
    backend.stop(heard)

    assert heard.events == ["started", "stopped"]
    assert await run(backend, add, 1, 1).value() == 2


async def test_closing_ends_everything_in_two_seconds(guarded: ProcessBackend) -> None:
    running = [run(guarded, family) for _ in range(3)]
    pids = [each for heard in running for each in await heard.printed_pids(3)]

    before = time.monotonic()
    await guarded.close()

    assert time.monotonic() - before < 2
    assert [each.events[-1] for each in running] == ["stopped"] * 3
    assert not [each for each in pids if psutil.pid_exists(each)]


async def test_twenty_openings_leave_no_descriptors_processes_or_threads() -> None:
    async def once(guarded: bool) -> None:
        backend = ProcessBackend(2, guarded=guarded)
        backend.open(asyncio.get_running_loop())
        heard = run(backend, sleep)
        assert await run(backend, add, 1, 1).value() == 2
        await backend.close()
        assert heard.over.is_set()

    threads = set(threading.enumerate())
    for guarded in (True, False):
        await once(guarded)
        before = psutil.Process().num_fds()
        for _ in range(20 if guarded else 3):
            await once(guarded)

        assert psutil.Process().num_fds() == before
    assert not psutil.Process().children(recursive=True)
    assert set(threading.enumerate()) <= threads


async def test_a_closed_backend_can_be_opened_again(backend: ProcessBackend) -> None:
    assert await run(backend, echo, 1).value() == 1
    await backend.close()

    backend.open(asyncio.get_running_loop())

    assert await run(backend, echo, 2).value() == 2


def test_the_processors_that_may_be_used_are_counted() -> None:
    assert 1 <= linux.usable_cpus() <= len(os.sched_getaffinity(0))
