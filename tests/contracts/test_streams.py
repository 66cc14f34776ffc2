"""What generator jobs do on every backend."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from ipyjobs import (
    DeadlockError,
    Engine,
    EngineSetting,
    InvalidOption,
    Job,
    JobCancelled,
    JobTimeout,
    LocalJob,
    NotPicklable,
    ProcessJob,
    Status,
    Stream,
    ThreadJob,
    WorkerDied,
    current_job,
    logger,
    report,
    streams,
)
from tests.contracts.test_backends import OwnBackend, OwnJob, SpawnedBackend, SpawnedJob

FUSE_S = 30.0


@pytest.fixture(params=["threaded", "one loop"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    engine = Engine(EngineSetting(print_traceback=False, echo=False), threaded=request.param == "threaded")
    engine.add_backend(OwnBackend())
    engine.add_backend(SpawnedBackend())
    engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.fixture(params=[LocalJob, ThreadJob, ProcessJob, SpawnedJob, OwnJob])
def kind(request: pytest.FixtureRequest) -> type[Job]:
    return request.param


def count(path: str, stop: int) -> Generator[int, None, str]:
    """Writes down each number just before it yields it."""
    try:
        for number in range(stop):
            with open(path, "a") as file:
                file.write(f"{number} ")
            yield number
    finally:
        with open(path, "a") as file:
            file.write("closed")
    return "the end"


async def count_async(path: str, stop: int) -> AsyncGenerator[int, None]:
    try:
        for number in range(stop):
            await asyncio.sleep(0)
            with open(path, "a") as file:
                file.write(f"{number} ")
            yield number
    finally:
        await asyncio.sleep(0)
        with open(path, "a") as file:
            file.write("closed")


def echo() -> Generator[Any, Any, None]:
    got: Any = "ready"
    while got != "stop":
        got = yield ("got", got)


async def echo_async() -> AsyncGenerator[Any, Any]:
    got: Any = "ready"
    while got != "stop":
        got = yield ("got", got)


def break_off() -> Generator[int, None, None]:
    yield 1
    raise ValueError("midway")


async def break_off_async() -> AsyncGenerator[int, None]:
    yield 1
    raise ValueError("midway")


def catch() -> Generator[str, None, None]:
    try:
        yield "first"
    except KeyError as error:
        yield f"caught {error.args[0]}"
    yield "last"


async def catch_async() -> AsyncGenerator[str, None]:
    try:
        yield "first"
    except KeyError as error:
        yield f"caught {error.args[0]}"
    yield "last"


async def linger() -> AsyncGenerator[int, None]:
    yield 1
    await asyncio.sleep(3600)
    yield 2


def for_ever() -> Generator[int, None, None]:
    number = 0
    while True:
        yield number
        number += 1


both = pytest.mark.parametrize("function", [count, count_async])


# -- reading


@pytest.mark.row("E-45")
@both
async def test_values_come_one_by_one_when_they_are_asked_for(
    engine: Engine, kind: type[Job], function: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "made"
    job = engine.submit(kind(function, (str(path), 3)))
    await job.wait_until_status("running", FUSE_S)
    stream = job.result()
    assert isinstance(stream, Stream)
    made: list[str] = []

    async for _ in stream:
        made.append(path.read_text())
        assert job.status is Status.RUNNING

    assert made == ["0 ", "0 1 ", "0 1 2 "]
    assert job.status is Status.DONE
    assert job.result() is stream
    assert stream.value == ("the end" if function is count else None)
    assert path.read_text() == "0 1 2 closed"


@pytest.mark.row("E-45")
@both
async def test_nothing_runs_before_the_first_value_is_asked_for(
    engine: Engine, kind: type[Job], function: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "made"
    job = engine.submit(kind(lambda: function(str(path), 3)))
    await job.wait_until(lambda job: job.stream is not None, FUSE_S)

    await job.stream.aclose()

    assert job.status is Status.DONE
    assert not path.exists()


@pytest.mark.row("E-45")
@both
async def test_a_thread_of_the_users_can_read_with_a_plain_loop(
    engine: Engine, kind: type[Job], function: Callable[..., Any], tmp_path: Path
) -> None:
    job = engine.submit(kind(function, (str(tmp_path / "made"), 500)))

    assert await asyncio.to_thread(lambda: list(job.result())) == list(range(500))
    assert job.status is Status.DONE


@pytest.mark.row("E-45")
@pytest.mark.parametrize("kind", [LocalJob, ThreadJob, ProcessJob])
@both
def test_a_script_reads_with_a_plain_loop(kind: type[Job], function: Callable[..., Any], tmp_path: Path) -> None:
    with Engine(EngineSetting(print_traceback=False)) as engine:
        job = engine.submit(kind(function, (str(tmp_path / "made"), 20)))

        values = list(job.result())

        assert values == list(range(20))
        assert job.status is Status.DONE
        assert list(job.result()) == []


@pytest.mark.row("E-45")
@pytest.mark.parametrize("kind", [LocalJob, ThreadJob, ProcessJob])
async def test_a_cell_reads_with_a_plain_loop(kind: type[Job], tmp_path: Path) -> None:
    engine = Engine(EngineSetting(echo=False), threaded=True).start()
    job = engine.submit(kind(count, (str(tmp_path / "made"), 20)))

    values = list(job.result())

    assert values == list(range(20))
    assert job.status is Status.DONE
    await engine.stop()


@pytest.mark.row("F-25")
@pytest.mark.row("E-45")
@pytest.mark.parametrize("kind", [LocalJob, ThreadJob])
async def test_a_plain_loop_on_the_engines_own_loop_ends(kind: type[Job], tmp_path: Path) -> None:
    engine = Engine(EngineSetting(echo=False))
    job = await engine.submit_async(kind(count, (str(tmp_path / "made"), 20)))

    assert list(job.result()) == list(range(20))
    assert job.status is Status.DONE
    await engine.stop()


@pytest.mark.parametrize("kind", [ProcessJob, OwnJob])
async def test_a_plain_loop_that_stops_what_it_waits_for_is_refused(kind: type[Job]) -> None:
    engine = Engine(EngineSetting(echo=False))
    engine.add_backend(OwnBackend())
    job = engine.submit(kind(for_ever))

    with pytest.raises(DeadlockError, match="async for"):
        next(job.result())

    assert await anext(job.result()) == 0
    with pytest.raises(DeadlockError, match="async for"):
        next(job.result())
    await engine.stop()


async def test_a_plain_loop_over_an_async_generator_of_this_loop_is_refused(engine: Engine) -> None:
    job = engine.submit(LocalJob(linger))

    with pytest.raises(DeadlockError, match="async for"):
        next(job.result())

    assert await anext(job.result()) == 1
    with pytest.raises(DeadlockError, match="async for"):
        next(job.result())


@pytest.mark.parametrize("kind", [LocalJob, ThreadJob])
async def test_a_generator_that_reads_itself_is_refused(engine: Engine, kind: type[Job]) -> None:
    streams: list[Stream] = []

    def itself() -> Generator[int, None, None]:
        yield next(streams[0])

    job = engine.submit(kind(itself))
    streams.append(job.result())

    with pytest.raises(DeadlockError, match="cannot read its own stream"):
        await anext(job.result())


async def test_whatever_gives_a_generator_has_a_stream(engine: Engine, kind: type[Job]) -> None:
    class Counter:
        def __call__(self, stop: int) -> Generator[int, None, None]:
            yield from range(stop)

        def method(self, stop: int) -> Generator[int, None, None]:
            yield from range(stop)

    async def later(stop: int) -> Any:
        return Counter().method(stop)

    known = [Counter(), Counter().method, functools.partial(Counter(), 3), functools.partial(Counter().method, stop=3)]
    for function in known:
        job = engine.submit(kind(function, () if isinstance(function, functools.partial) else (3,)))
        assert [each async for each in job.result()] == [0, 1, 2]
    for function in (lambda stop: Counter().method(stop), later):
        job = engine.submit(kind(function, (3,)))
        await job.wait_until(lambda job: job.stream is not None, FUSE_S)
        assert [each async for each in job.result()] == [0, 1, 2]


async def test_what_only_iterates_is_a_value_like_any_other(engine: Engine, kind: type[Job]) -> None:
    assert list(await engine.submit(kind(lambda: iter([1, 2])))) == [1, 2]


@both
async def test_two_readers_share_the_values(
    engine: Engine, kind: type[Job], function: Callable[..., Any], tmp_path: Path
) -> None:
    job = engine.submit(kind(function, (str(tmp_path / "made"), 100)))

    async def read() -> list[int]:
        return [each async for each in job.result()]

    in_thread = asyncio.to_thread(lambda: list(job.result()))
    parts = await asyncio.wait_for(asyncio.gather(read(), read(), in_thread), FUSE_S)

    assert all(part == sorted(part) for part in parts)
    assert sorted(itertools.chain(*parts)) == list(range(100))


@pytest.mark.parametrize("kind", [LocalJob, ThreadJob, ProcessJob])
async def test_a_value_is_not_lost_with_the_reader_that_gave_up(
    engine: Engine, kind: type[Job], tmp_path: Path
) -> None:
    go_on = tmp_path / "go on"

    async def slow() -> AsyncGenerator[int, None]:
        yield 0
        while not go_on.exists():
            await asyncio.sleep(0.001)
        yield 1
        yield 2

    stream = engine.submit(kind(slow)).result()
    assert await anext(stream) == 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.05)
    go_on.touch()

    assert [each async for each in stream] == [1, 2]


# -- sending, throwing, closing


@pytest.mark.row("E-46")
@pytest.mark.parametrize("function", [echo, echo_async])
async def test_what_is_sent_arrives_also_where_it_is_false(
    engine: Engine, kind: type[Job], function: Callable[..., Any]
) -> None:
    job = engine.submit(kind(function))
    stream = job.result()
    assert await stream.asend(None) == ("got", "ready")

    for value in (0, "", None, False, [], {"a": 1}, b"x" * 300_000):
        assert await stream.asend(value) == ("got", value)
    assert await asyncio.to_thread(stream.send, 0) == ("got", 0)

    with pytest.raises(StopAsyncIteration):
        await stream.asend("stop")
    assert job.status is Status.DONE


async def test_a_first_value_cannot_be_sent_and_that_harms_nothing(engine: Engine, kind: type[Job]) -> None:
    stream = engine.submit(kind(echo)).result()

    with pytest.raises(TypeError, match="just-started"):
        await stream.asend(1)

    assert await anext(stream) == ("got", "ready")


@pytest.mark.parametrize("function", [catch, catch_async])
async def test_what_is_thrown_is_raised_where_the_generator_stands(
    engine: Engine, kind: type[Job], function: Callable[..., Any]
) -> None:
    job = engine.submit(kind(function))
    stream = job.result()
    assert await anext(stream) == "first"

    assert await stream.athrow(KeyError("this")) == "caught this"

    with pytest.raises(ZeroDivisionError) as caught:
        await stream.athrow(ZeroDivisionError)
    assert job.status is Status.FAILED
    assert job.exception() is caught.value


async def test_only_exceptions_can_be_thrown(engine: Engine, kind: type[Job]) -> None:
    stream = engine.submit(kind(catch)).result()

    with pytest.raises(TypeError, match="must derive from BaseException"):
        await stream.athrow("no exception")  # pyright: ignore[reportArgumentType]

    assert await anext(stream) == "first"


@both
async def test_closing_early_ends_the_job_as_done(
    engine: Engine, kind: type[Job], function: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "made"
    job = engine.submit(kind(function, (str(path), 100)))
    stream = job.result()
    assert await anext(stream) == 0

    await stream.aclose()

    assert path.read_text() == "0 closed"
    assert job.status is Status.DONE
    assert [each async for each in stream] == []
    await stream.aclose()


async def test_closing_one_that_does_not_let_itself_be_closed_fails(engine: Engine, kind: type[Job]) -> None:
    def stubborn() -> Generator[int, None, None]:
        with contextlib.suppress(GeneratorExit):
            yield 1
        yield 2

    job = engine.submit(kind(stubborn))
    await anext(job.result())

    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        await job.result().aclose()

    assert job.status is Status.FAILED


# -- ends of all kinds


@pytest.mark.row("E-45")
@pytest.mark.parametrize("function", [break_off, break_off_async])
async def test_what_it_raises_is_raised_where_it_is_read(
    engine: Engine, kind: type[Job], function: Callable[..., Any]
) -> None:
    job = engine.submit(kind(function))
    stream = job.result()
    assert await anext(stream) == 1

    with pytest.raises(ValueError, match="midway") as caught:
        await anext(stream)

    assert job.status is Status.FAILED
    assert job.exception() is caught.value
    assert caught.traceback[-1].name == function.__name__
    with pytest.raises(ValueError, match="midway"):
        next(stream)


async def test_wrong_arguments_fail_the_job_and_its_reader(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(count, ("too", "many", "arguments")))

    with pytest.raises(TypeError, match="positional arguments"):
        await anext(job.result() if not job.ended else engine.submit(job).result())


@pytest.mark.row("F-25")
@pytest.mark.row("E-45")
@both
async def test_cancelling_closes_it_and_tells_the_reader(
    engine: Engine, kind: type[Job], function: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "made"
    job = engine.submit(kind(function, (str(path), 100)))
    stream = job.result()
    assert await anext(stream) == 0

    await job.cancel()

    assert (job.status, job.reason) == (Status.CANCELLED, "user")
    assert path.read_text() == ("0 " if kind in (ProcessJob, SpawnedJob) else "0 closed")
    with pytest.raises(JobCancelled):
        await anext(stream)
    with pytest.raises(JobCancelled):
        next(stream)
    await stream.aclose()
    assert engine.scheduler.total.used == 0


async def test_cancelling_in_the_middle_of_a_step_tells_the_reader(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(linger))
    assert await anext(job.result()) == 1
    reader = asyncio.create_task(anext(job.result()))
    await asyncio.sleep(0)

    await job.cancel()

    with pytest.raises(JobCancelled):
        await reader
    assert job.status is Status.CANCELLED


async def test_a_thread_in_the_middle_of_a_step_is_left_and_closes_it_later(engine: Engine) -> None:
    came, gate, closed = threading.Event(), threading.Event(), threading.Event()

    def blocked() -> Generator[int, None, None]:
        try:
            yield 1
            came.set()
            assert gate.wait(FUSE_S)
            yield 2
        finally:
            closed.set()

    job = engine.submit(ThreadJob(blocked))
    assert await anext(job.result()) == 1
    reader = asyncio.create_task(anext(job.result()))
    assert await asyncio.to_thread(came.wait, FUSE_S)

    await job.cancel()

    with pytest.raises(JobCancelled):
        await reader
    assert not closed.is_set()
    job.rerun()
    assert job.note == "waits for the previous attempt to return"
    gate.set()
    assert await anext(job.result()) == 1
    assert closed.is_set()
    assert await anext(job.result()) == 2


async def test_what_takes_too_long_fails_from_begin_to_end(engine: Engine, kind: type[Job]) -> None:
    def endless() -> Generator[int, None, None]:  # travels by value, so that a worker need not import this module
        while True:
            yield 1

    job = engine.submit(kind(endless, timeout=0.3))
    stream = job.result()

    async def read_slowly() -> None:
        async for _ in stream:
            await asyncio.sleep(0.01)

    with pytest.raises(JobTimeout):
        await read_slowly()

    assert job.status is Status.FAILED
    assert stream.count > 0


async def test_a_retry_has_a_stream_of_its_own(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(break_off, retries=1))
    first = job.result()
    await anext(first)
    with pytest.raises(ValueError, match="midway"):
        await anext(first)

    second = job.result()

    assert second is not first
    assert await anext(second) == 1
    with pytest.raises(ValueError, match="midway"):
        await anext(first)
    with pytest.raises(ValueError, match="midway"):
        await anext(second)
    assert job.status is Status.FAILED


async def test_a_rerun_begins_again(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(for_ever))
    first = job.result()
    assert [await anext(first), await anext(first)] == [0, 1]
    await first.aclose()

    job.rerun()

    assert await anext(job.result()) == 0
    with pytest.raises(StopAsyncIteration):
        await anext(first)


async def test_stopping_the_engine_ends_open_streams(engine: Engine, kind: type[Job]) -> None:
    read = engine.submit(kind(for_ever))
    assert await anext(read.result()) == 0
    unread = engine.submit(kind(for_ever))
    streams = [read.result(), unread.result()]

    await engine.stop()

    for stream in streams:
        with pytest.raises(JobCancelled, match="shutdown"):
            next(stream)


@pytest.mark.parametrize("kind", [ProcessJob, SpawnedJob])
async def test_a_killed_worker_fails_it_and_nothing_starts_anew(
    engine: Engine, kind: type[Job], tmp_path: Path
) -> None:
    path = tmp_path / "made"
    job = engine.submit(kind(count, (str(path), 100)))
    stream = job.result()
    assert await anext(stream) == 0

    os.kill(int(job.attempts[0].worker.removeprefix("pid ")), signal.SIGKILL)

    with pytest.raises(WorkerDied):
        await asyncio.to_thread(list, stream)
    assert job.status is Status.FAILED
    assert path.read_text().count("0 ") == 1
    with pytest.raises(WorkerDied):
        await anext(stream)


@pytest.mark.parametrize("kind", [ProcessJob, SpawnedJob])
async def test_a_worker_is_used_again_after_a_generator(engine: Engine, kind: type[Job], tmp_path: Path) -> None:
    job = engine.submit(kind(count, (str(tmp_path / "made"), 3)))
    assert [each async for each in job.result()] == [0, 1, 2]

    after = engine.submit(kind(os.getpid))

    assert f"pid {await after}" == job.attempts[0].worker


async def test_the_stop_button_ends_a_local_generator_that_is_being_read(engine: Engine) -> None:
    def stopped() -> Generator[int, None, None]:
        yield 1
        raise KeyboardInterrupt

    job = engine.submit(LocalJob(stopped))
    assert next(job.result()) == 1

    with pytest.raises(KeyboardInterrupt):
        next(job.result())

    await job.join()
    assert (job.status, job.reason) == (Status.CANCELLED, "user")


async def test_the_stop_button_ends_the_waiting_for_a_value_and_not_the_job() -> None:
    engine = Engine(EngineSetting(echo=False), threaded=True).start()
    gate = threading.Event()

    def slow() -> Generator[int, None, None]:
        assert gate.wait(FUSE_S)
        yield 1

    def press() -> None:
        raise KeyboardInterrupt

    job = engine.submit(ThreadJob(slow))
    engine.outbox.post(press)
    with pytest.raises(KeyboardInterrupt):
        next(job.result())

    gate.set()

    assert next(job.result()) == 1
    await engine.stop()


# -- what goes with it


async def test_a_waiting_job_has_its_stream_already(engine: Engine, kind: type[Job]) -> None:
    engine.set_limit(1, queue="narrow")
    first, second = engine.submit(kind(for_ever, queue="narrow"), kind(for_ever, queue="narrow"))
    reader = asyncio.create_task(anext(second.result()))
    assert await anext(first.result()) == 0
    assert second.status is Status.PENDING

    await first.cancel()

    assert await asyncio.wait_for(reader, FUSE_S) == 0


@pytest.mark.parametrize("kind", [ProcessJob, SpawnedJob])
async def test_what_was_sent_before_it_began_and_cannot_travel_is_refused(engine: Engine, kind: type[Job]) -> None:
    engine.set_limit(1, queue="narrow")
    first, second = engine.submit(kind(for_ever, queue="narrow"), kind(for_ever, queue="narrow"))
    readers = [
        asyncio.create_task(each)
        for each in (
            second.result().__anext__(),
            second.result().asend(threading.Lock()),
            second.result().__anext__(),
        )
    ]
    await asyncio.sleep(0)

    await first.cancel()

    assert await readers[0] == 0
    with pytest.raises(NotPicklable, match="the value sent"):
        await readers[1]
    assert await readers[2] == 1


async def test_a_job_cancelled_before_it_began_tells_its_reader(engine: Engine, kind: type[Job]) -> None:
    engine.set_limit(1, queue="narrow")
    _, second = engine.submit(kind(for_ever, queue="narrow"), kind(for_ever, queue="narrow"))
    reader = asyncio.create_task(anext(second.result()))
    await asyncio.sleep(0)

    await second.cancel()

    with pytest.raises(JobCancelled):
        await reader


async def test_output_progress_and_the_job_itself_reach_the_generator(engine: Engine, kind: type[Job]) -> None:
    if kind is OwnJob:
        return  # the least backend sets no context; ours do

    def talk() -> Generator[str, None, None]:
        for number in range(2):
            print("step", number)
            report(0.5 * number, f"at {number}")
            job = current_job()
            assert job is not None
            yield job.name

    job = engine.submit(kind(talk, name="talker"))

    assert [each async for each in job.result()] == ["talker", "talker"]
    assert list(job.log.lines()) == ["step 0", "step 1"]
    assert (job.progress, job.message) == (1.0, "at 1")


async def test_the_job_says_how_many_values_have_come(engine: Engine, kind: type[Job], tmp_path: Path) -> None:
    job = engine.submit(kind(count, (str(tmp_path / "made"), 12)))
    stream = job.result()
    await anext(stream)
    await job.wait_until(lambda job: job.message == "1 value", FUSE_S)
    for _ in range(5):
        await anext(stream)
    await job.wait_until(lambda job: job.message == "6 values", FUSE_S)

    rest = [each async for each in stream]

    assert rest == [6, 7, 8, 9, 10, 11]
    assert job.message == "12 values"
    assert job.record().result == "12 values, returned 'the end'"
    assert repr(stream) == "<Stream of 'count': 12 values, ended>"


async def test_callbacks_are_called_at_the_end_with_the_stream(engine: Engine, kind: type[Job]) -> None:
    told: list[Any] = []
    job = engine.submit(kind(echo, callback=told.append, error_callback=told.append))
    await anext(job.result())
    assert told == []

    with pytest.raises(StopAsyncIteration):
        await job.result().asend("stop")
    await job

    assert told == [job.result()]


async def test_a_job_that_needs_its_result_is_refused(engine: Engine, kind: type[Job]) -> None:
    job = kind(for_ever)

    with pytest.raises(InvalidOption, match="return list"):
        engine.submit(job, kind(str, (job,)))

    hidden = engine.submit(kind(lambda: iter(for_ever())))
    after = engine.submit(kind(str, (hidden,)))
    await hidden.wait_until(lambda job: job.stream is not None, FUSE_S)
    await hidden.stream.aclose()
    with pytest.raises(InvalidOption, match="return list"):
        await after


async def test_a_stream_can_be_given_to_a_job_of_this_process(engine: Engine, kind: type[Job], tmp_path: Path) -> None:
    made = engine.submit(kind(count, (str(tmp_path / "made"), 5)))

    total = engine.submit(ThreadJob(sum, (made.result(),)))

    assert await total == 10


async def test_a_stream_does_not_travel(engine: Engine) -> None:
    made = engine.submit(ThreadJob(for_ever))

    with pytest.raises(NotPicklable, match="stays in the process of its engine"):
        engine.submit(ProcessJob(sum, (made.result(),)))


async def test_waiting_for_one_that_nobody_reads_can_be_limited(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(for_ever))

    assert not await asyncio.to_thread(engine.wait, 0.05)
    with pytest.raises(TimeoutError):
        await job.join(0.05)


@pytest.mark.row("E-44")
@pytest.mark.parametrize("kind", [LocalJob, ThreadJob, ProcessJob])
async def test_each_step_is_made_in_the_jobs_own_folder(engine: Engine, kind: type[Job]) -> None:
    def where() -> Generator[str, Any, None]:
        try:
            got = yield os.getcwd()
            Path("got").write_text(str(got))
            yield os.getcwd()
        except KeyError:
            yield os.getcwd()
        finally:
            Path("closed").touch()

    async def where_async() -> AsyncGenerator[str, Any]:
        try:
            got = yield os.getcwd()
            Path("got").write_text(str(got))
            yield os.getcwd()
        except KeyError:
            yield os.getcwd()
        finally:
            Path("closed").touch()

    before = os.getcwd()
    for function in (where, where_async):
        if function is where_async and kind is not ProcessJob:
            with pytest.raises(InvalidOption, match="an async generator, unless it is a process job"):
                engine.submit(kind(function, change_dir=True))
            continue
        job = engine.submit(kind(function, change_dir=True))
        folder = job.cache_dir
        assert folder is not None
        assert await anext(job.result()) == str(folder)
        assert await job.result().asend(0) == str(folder)
        assert (folder / "got").read_text() == "0"
        assert os.getcwd() == before
        assert await job.result().athrow(KeyError) == str(folder)
        await job.result().aclose()
        assert (folder / "closed").exists()
        assert job.status is Status.DONE


@pytest.mark.parametrize("blocking", [False, True])
async def test_waiting_for_one_that_nobody_reads_is_warned_about(
    engine: Engine, blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "UNREAD_S", 0.01)
    warned = asyncio.Event()
    said: list[str] = []
    loop = asyncio.get_running_loop()
    sink = logger.add(lambda text: (said.append(str(text)), loop.call_soon_threadsafe(warned.set)), level="WARNING")
    job = engine.submit(ThreadJob(for_ever, name="unread"))

    waiting = asyncio.ensure_future(asyncio.to_thread(engine.wait) if blocking else job.join())
    await asyncio.wait_for(warned.wait(), FUSE_S)

    logger.remove(sink)
    assert "generator job 'unread' is waited for, but nobody reads its values" in said[0]
    await job.result().aclose()
    await waiting


@pytest.mark.parametrize("kind", [ProcessJob, SpawnedJob])
async def test_big_values_and_what_cannot_travel(engine: Engine, kind: type[Job]) -> None:
    def big() -> Generator[Any, Any, None]:
        got = yield bytes(3_000_000)
        yield len(got)
        yield [lambda: threading.active_count() + 1]
        yield threading.Lock()

    job = engine.submit(kind(big))
    stream = job.result()
    assert len(await anext(stream)) == 3_000_000
    with pytest.raises(NotPicklable, match="the value sent"):
        await stream.asend(threading.Lock())
    assert await stream.asend(bytes(2_000_000)) == 2_000_000
    assert callable((await anext(stream))[0])

    with pytest.raises(NotPicklable, match="the value yielded"):
        await anext(stream)

    assert job.status is Status.FAILED


@pytest.mark.parametrize("kind", [LocalJob, ThreadJob, ProcessJob])
async def test_an_async_generator_is_one_asyncio_task(engine: Engine, kind: type[Job]) -> None:
    async def careful() -> AsyncGenerator[bool, None]:
        ticked = asyncio.Event()
        asyncio.get_running_loop().call_later(0.001, ticked.set)
        async with asyncio.timeout(FUSE_S):
            task = asyncio.current_task()
            yield True
            await ticked.wait()
            yield asyncio.current_task() is task

    job = engine.submit(kind(careful))

    assert [each async for each in job.result()] == [True, True]
