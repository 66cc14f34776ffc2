"""Generator jobs on Dask clusters; what they do on every backend is in the contracts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipyjobs import (
    DaskJob,
    Engine,
    EngineSetting,
    InvalidOption,
    JobCancelled,
    NotPicklable,
    Status,
    WorkerDied,
    current_job,
)
from tests.dask_cluster import running_cluster

FUSE_S = 30.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster for all tests: one takes seconds to start."""
    with running_cluster() as address:
        yield address


@pytest.fixture(params=["threaded", "one loop"])
async def engine(address: str, request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    setting = EngineSetting(print_traceback=False, echo=False, dask=address)
    engine = Engine(setting, threaded=request.param == "threaded").start()
    yield engine
    await engine.stop()


def echo(stop: Any) -> Generator[Any, Any, str]:
    got: Any = "ready"
    while got != stop:
        print("got", got)
        job = current_job()
        got = yield (got, job is not None and job.name)
    return "stopped"


async def echo_async(stop: Any) -> AsyncGenerator[Any, Any]:
    got: Any = "ready"
    while got != stop:
        print("got", got)
        await asyncio.sleep(0)
        job = current_job()
        got = yield (got, job is not None and job.name)


def travelling(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, sent by value: a Dask worker need not find the tests."""
    function.__module__ = "__main__"
    return function


both = pytest.mark.parametrize("function", [travelling(echo), travelling(echo_async)])


@pytest.mark.row("E-45")
@pytest.mark.row("E-46")
@both
async def test_what_is_sent_to_a_dask_worker_arrives(engine: Engine, function: Callable[..., Any]) -> None:
    job = engine.submit(DaskJob(function, ("stop",), name="echo"))
    stream = job.result()
    assert await anext(stream) == ("ready", "echo")

    for value in (0, "", None, False, [], b"x" * 300_000):
        assert await stream.asend(value) == (value, "echo")
    with pytest.raises(NotPicklable, match="the value sent"):
        await stream.asend(asyncio.current_task())

    with pytest.raises(StopAsyncIteration):
        await stream.asend("stop")
    assert job.status is Status.DONE
    assert job.result() is stream
    assert stream.value == ("stopped" if function is echo else None)
    assert job.message == "7 values"
    assert job.log.lines()[:2] == ["got ready", "got 0"]


@pytest.mark.row("E-45")
async def test_a_plain_loop_reads_from_a_dask_worker(engine: Engine) -> None:
    job = engine.submit(DaskJob(lambda: (number for number in range(50))))
    await job.wait_until(lambda job: job.stream is not None, FUSE_S)

    assert await asyncio.to_thread(list, job.result()) == list(range(50))
    assert list(job.result()) == []


@pytest.mark.row("E-45")
async def test_what_is_raised_on_a_dask_worker_is_raised_where_it_is_read(engine: Engine) -> None:
    def break_off() -> Generator[int, None, None]:
        yield 1
        raise ValueError("midway")

    job = engine.submit(DaskJob(break_off))
    assert await anext(job.result()) == 1

    with pytest.raises(ValueError, match="midway") as caught:
        await anext(job.result())

    assert job.exception() is caught.value


async def test_closing_runs_what_is_left_on_the_dask_worker(engine: Engine, tmp_path: Path) -> None:
    def careful(path: str) -> Generator[int, None, None]:
        try:
            yield 1
        except KeyError:
            yield 2
        finally:
            Path(path).touch()

    job = engine.submit(DaskJob(careful, (str(tmp_path / "closed"),)))
    assert await anext(job.result()) == 1
    assert await job.result().athrow(KeyError("this")) == 2

    await job.result().aclose()

    assert (tmp_path / "closed").exists()
    assert job.status is Status.DONE


async def test_cancelling_asks_a_dask_worker_of_somebody_elses_to_close_it(engine: Engine, tmp_path: Path) -> None:
    def careful(path: str) -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            Path(path).touch()

    async def careful_async(path: str) -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            Path(path).touch()

    for function in (careful, careful_async):
        closed = tmp_path / function.__name__
        job = engine.submit(DaskJob(function, (str(closed),)))
        stream = job.result()
        assert await anext(stream) == 1

        await job.cancel()

        assert job.status is Status.CANCELLED
        with pytest.raises(JobCancelled):
            next(stream)
        # Its slot comes back when the generator has ended there; no event tells a test.
        async with asyncio.timeout(FUSE_S):
            while engine.scheduler.total.used:
                await asyncio.sleep(0.005)
        assert closed.exists()


async def test_a_dask_job_that_needs_the_result_of_a_generator_job_fails(engine: Engine) -> None:
    hidden = engine.submit(DaskJob(lambda: (number for number in range(3))))
    after = engine.submit(DaskJob(str, (hidden,)))
    await hidden.wait_until(lambda job: job.stream is not None, FUSE_S)

    await asyncio.to_thread(list, hidden.result())

    with pytest.raises(InvalidOption, match="return list"):
        await after


async def test_on_a_cluster_of_its_own_a_cancelled_or_killed_one_starts_nothing_anew() -> None:
    def who() -> Generator[int, None, None]:
        while True:
            yield os.getpid()

    engine = Engine(EngineSetting(print_traceback=False, echo=False), threaded=True).start()
    cancelled, killed = engine.submit(DaskJob(who), DaskJob(who))
    streams = [cancelled.result(), killed.result()]
    await anext(streams[0])
    pid = await anext(streams[1])

    await cancelled.cancel()
    os.kill(pid, signal.SIGKILL)

    with pytest.raises(JobCancelled):
        next(streams[0])
    with pytest.raises(WorkerDied):
        await asyncio.to_thread(list, streams[1])
    assert (cancelled.status, killed.status) == (Status.CANCELLED, Status.FAILED)
    assert [len(job.attempts) for job in (cancelled, killed)] == [1, 1]
    await engine.stop()
