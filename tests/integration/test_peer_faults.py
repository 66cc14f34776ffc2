"""What goes wrong in executor-engine 0.3.3, measured there, and must not here; each test carries its line's id."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipyjobs import (
    AfterAnother,
    CycleError,
    Engine,
    EngineSetting,
    InvalidStateError,
    Job,
    LocalJob,
    ProcessJob,
    Status,
    ThreadJob,
)  # fmt: skip

from .conftest import FUSE_S, Gate

KINDS = [LocalJob, ThreadJob, ProcessJob]


def add(a: int, b: int) -> int:
    return a + b


class Adder:
    def __call__(self, a: int, b: int) -> int:
        return a + b


@pytest.mark.row("F-02")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", [partial(add, 1, 2), partial(Adder(), 1, b=2), partial(sum, [1, 2])])
async def test_partials_builtins_and_callable_objects_are_run(engine: Engine, kind: type[Job], function: Any) -> None:
    assert await engine.submit(kind(function)) == 3


class Flaky:
    """Fails the first time it is called in this process."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls == 1:
            raise ValueError("not yet")
        return "well"


@pytest.mark.row("F-03")
@pytest.mark.row("F-27")
def test_waiting_ends_when_the_retry_has_ended_not_before() -> None:
    with Engine(EngineSetting(print_traceback=False, echo=False)) as engine:
        job = engine.submit(ThreadJob(Flaky(), retries=1, retry_time_delta=0.05))

        assert engine.wait_job(job, FUSE_S) == "well"
        assert job.status is Status.DONE


@pytest.mark.row("F-03")
async def test_join_ends_when_the_retry_has_ended_not_before(engine: Engine) -> None:
    job = engine.submit(ThreadJob(Flaky(), retries=1, retry_time_delta=0.05))
    await job.join(FUSE_S)

    assert job.status is Status.DONE


@pytest.mark.row("F-04")
@pytest.mark.parametrize("status", list(Status))
async def test_a_status_can_be_set_by_nobody(engine: Engine, status: Status) -> None:
    job = engine.submit(ThreadJob(add, (1, 2)))
    await job
    with pytest.raises(InvalidStateError, match="set by its engine only"):
        job.status = status

    assert job.status is Status.DONE
    assert job in engine.jobs.done


@pytest.mark.row("F-05")
async def test_a_failed_upstream_costs_no_slot(engine: Engine) -> None:
    engine.max_jobs = 1
    for _ in range(5):
        up = ThreadJob(add, ("1", 2))
        down = ThreadJob(add, (up.future, 1))
        await engine.submit(down, up)

        assert (up.status, down.status) == ("failed", "cancelled")
    assert engine.scheduler.total.used == 0
    assert await engine.submit(ThreadJob(add, (1, 2))) == 3


@pytest.mark.row("F-06")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
async def test_a_job_that_exits_ends_only_itself(engine: Engine, kind: type[Job], error: BaseException) -> None:
    def end() -> None:
        raise error

    job = engine.submit(kind(end))
    await job.join(FUSE_S)

    assert job.ended
    if not isinstance(error, KeyboardInterrupt) or kind is not LocalJob:  # there it means the stop button
        assert job.status is Status.FAILED
        assert type(job.exception()) is type(error)
    assert await engine.submit(kind(add, (1, 2))) == 3


@pytest.mark.row("F-08")
async def test_cancelling_a_thread_job_blocks_nobody(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    await gate.came()

    await job.cancel()

    assert job.status is Status.CANCELLED
    assert await engine.submit(ThreadJob(add, (1, 2))) == 3
    gate.open()


def ignore_and_breed(path: str) -> None:
    """Ignore the polite signal, have a child and a grandchild in a session of its own, and never end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork():
            time.sleep(3600)
        Path(path).write_text(f"{os.getppid()} {os.getpid()}")
        time.sleep(3600)
    time.sleep(3600)


@pytest.mark.row("F-09")
@pytest.mark.row("F-10")
async def test_cancelling_a_stubborn_process_kills_its_whole_tree(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    job = engine.submit(ProcessJob(ignore_and_breed, (str(path),)))
    while not path.exists() or len(path.read_text().split()) < 2:
        await asyncio.sleep(0.005)  # nobody tells that another process has written
    pids = [int(each) for each in path.read_text().split()]

    await asyncio.wait_for(job.cancel(), FUSE_S)

    assert job.status is Status.CANCELLED
    assert not any(_alive(each) for each in pids)
    assert await engine.submit(ProcessJob(add, (1, 2))) == 3


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.row("F-11")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_callback_that_raises_changes_nothing(engine: Engine, kind: type[Job]) -> None:
    told: list[str] = []

    def bad(_: object) -> None:
        told.append("bad")
        raise RuntimeError("the callback's own")

    good = engine.submit(kind(add, (1, 2), callback=bad))
    failed = engine.submit(kind(add, ("1", 2), error_callback=bad))
    good.future.add_done_callback(lambda _: told.append("next"))
    await engine.join()

    assert (good.status, failed.status) == ("done", "failed")
    assert sorted(told) == ["bad", "bad", "next"]


@pytest.mark.row("F-12")
async def test_jobs_leave_no_threads_processes_or_descriptors(engine: Engine) -> None:
    me = psutil.Process()
    engine.set_limit(2, backend="thread")

    async def there() -> tuple[int, int, int]:
        await engine.submit(*[ThreadJob(add, (1, 2)) for _ in range(50)])
        await engine.submit(*[ProcessJob(add, (1, 2)) for _ in range(50)])
        return threading.active_count(), len(me.children(recursive=True)), me.num_fds()

    before = await there()
    for _ in range(3):
        after = await there()

    # One spare worker more or less may be on its way.
    assert after[0] <= before[0] + 1
    assert after[1] <= before[1] + 1
    assert after[2] <= before[2] + 4


@pytest.mark.row("F-13")
async def test_jobs_that_wait_for_a_job_are_not_asked_again_and_again(engine: Engine, gate: Gate) -> None:
    first = engine.submit(ThreadJob(gate.wait))
    asked = 0

    class Counted(AfterAnother):
        def satisfy(self, engine: Any) -> bool:
            nonlocal asked
            asked += 1
            return super().satisfy(engine)

    waiting = engine.submit(*[LocalJob(add, (1, 2), condition=Counted(first.id)) for _ in range(300)])
    await gate.came()
    await engine.submit(ThreadJob(time.sleep, (0.2,)))
    gate.open()
    await waiting

    assert asked <= 600


@pytest.mark.row("F-14")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_rerun_upstream_gives_its_new_value(engine: Engine, kind: type[Job]) -> None:
    values = iter([1, 2])
    up = LocalJob(lambda: next(values))
    down = kind(add, (up.future, 10))
    engine.submit(up, down)
    assert await down == 11

    engine.rerun(up, down)

    assert await down == 12


@pytest.mark.row("F-15")
async def test_logs_of_threads_do_not_mix_and_the_streams_stay(engine: Engine, gate: Gate) -> None:
    streams = sys.stdout, sys.stderr

    def speak(word: str) -> None:
        for _ in range(200):
            print(word)
        gate.wait()
        print(word)

    one, two = engine.submit(ThreadJob(speak, ("one",)), ThreadJob(speak, ("two",)))
    await gate.came(2)
    gate.open()
    await engine.join()

    assert set(one.log.lines()) == {"one"} and len(one.log.lines()) == 201
    assert set(two.log.lines()) == {"two"} and len(two.log.lines()) == 201
    for stream, before in zip((sys.stdout, sys.stderr), streams, strict=True):
        assert getattr(stream, "_stream", stream) is getattr(before, "_stream", before)


@pytest.mark.row("F-16")
@pytest.mark.parametrize("kind", [ThreadJob, ProcessJob])
async def test_any_bytes_may_be_printed(engine: Engine, kind: type[Job]) -> None:
    def speak() -> str:
        print("caf\udce9 \ud83d")
        return "well"

    job = engine.submit(kind(speak))

    assert await job == "well"
    assert "caf" in job.log.text()


class Stubborn(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


@pytest.mark.row("F-17")
async def test_an_exception_that_cannot_be_pickled_keeps_its_text(engine: Engine) -> None:
    def fail() -> None:
        raise Stubborn("what really happened")

    job = engine.submit(ProcessJob(fail))
    await job.join(FUSE_S)

    assert job.status is Status.FAILED
    assert "what really happened" in str(job.exception())
    assert "Stubborn: what really happened" in job.error


@pytest.mark.row("F-26")
@pytest.mark.parametrize("kind", [LocalJob, ThreadJob])
async def test_the_engine_may_be_called_from_a_callback(engine: Engine, kind: type[Job]) -> None:
    more: list[Job] = []

    def go_on(value: int) -> None:
        if value < 3:
            more.append(engine.submit(kind(add, (value, 1), callback=go_on)))

    engine.submit(kind(add, (0, 1), callback=go_on))
    async with asyncio.timeout(FUSE_S):
        while len(more) < 2 or not more[-1].ended:
            await engine.join()

    assert [await each for each in more] == [2, 3]


@pytest.mark.row("F-28")
def test_an_engine_can_be_started_again() -> None:
    engine = Engine(EngineSetting(echo=False))
    jobs: list[Job] = []
    for number in range(3):
        with engine:
            jobs.append(engine.submit(ProcessJob(add, (number, 1))))
            engine.wait(FUSE_S)

    assert [job.result() for job in jobs] == [1, 2, 3]


@pytest.mark.row("F-29")
async def test_a_job_runs_once_at_a_time_and_nothing_waits_for_ever(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    with pytest.raises(InvalidStateError, match="already"):
        engine.submit(job)
    fresh = ThreadJob(add, (1, 2))
    with pytest.raises(InvalidStateError, match="twice"):
        engine.submit(fresh, fresh)
    one, two = LocalJob(add, (1, 2)), LocalJob(add, (1, 2))
    one.condition, two.condition = AfterAnother(two.id), AfterAnother(one.id)
    with pytest.raises(CycleError):
        engine.submit(one, two)
    needs = engine.submit(ThreadJob(add, (job.future, 1)))
    await gate.came()
    engine.remove(job)
    await needs.join(FUSE_S)

    assert (needs.status, needs.reason) == (Status.CANCELLED, "upstream")
    gate.open()


@pytest.mark.row("F-30")
@pytest.mark.parametrize("kind", [ThreadJob, ProcessJob])
@pytest.mark.parametrize("options", [{"redirect_out_err": True}, {"change_dir": True}])
async def test_coroutine_functions_are_awaited_whatever_the_options(
    engine: Engine, kind: type[Job], options: dict[str, bool]
) -> None:
    async def speak() -> str:
        await asyncio.sleep(0)
        print("spoken")
        return "well"

    assert await engine.submit(kind(speak, **options)) == "well"


@pytest.mark.row("F-32")
async def test_ten_thousand_waiting_jobs_hold_nobody_up(engine: Engine, gate: Gate) -> None:
    first = engine.submit(ThreadJob(gate.wait))
    await gate.came()
    waiting = engine.submit(*[LocalJob(add, (1, 2), condition=AfterAnother(first.id)) for _ in range(10_000)])
    busy = time.process_time()
    for _ in range(20):
        assert await engine.submit(ThreadJob(add, (1, 2))) == 3
    # The peer needs 2 to 39 s for the cancels alone, and 300 ms of its loop for each look at them.
    assert time.process_time() - busy < 2

    await asyncio.wait_for(waiting.cancel(), FUSE_S)

    assert len(waiting.cancelled) == 10_000
    gate.open()


@pytest.mark.row("F-22")
async def test_a_page_is_told_of_values_as_well_as_of_conditions(engine: Engine) -> None:
    from ipyjobs.feed import Feed

    sent: list[dict[str, Any]] = []
    one, two = LocalJob(add, (1, 2)), LocalJob(add, (3, 4))
    last = LocalJob(add, (one.future, 1), condition=AfterAnother(two.id))
    engine.submit(one, two, last)
    await last
    feed = Feed(engine, sent.append)
    feed.receive({"type": "inspect", "id": last.id})
    async with asyncio.timeout(FUSE_S):
        while not sent:
            await asyncio.sleep(0)

    assert {(each["id"], each["via"]) for each in sent[0]["upstream"]} == {(one.id, "value"), (two.id, "order")}
    feed.close()
