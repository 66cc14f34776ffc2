"""The four ways to run a task, how each is stopped, and what each blocks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from ipyjobs import (
    DeadlockError,
    Engine,
    EngineSetting,
    InvalidOption,
    InvalidStateError,
    Job,
    LocalJob,
    MainJob,
    NotPicklable,
    ProcessJob,
    Reason,
    Status,
    TaskTerminationException,
    TerminationFlag,
    ThreadJob,
    current_job,
    logger,
    task,
)  # fmt: skip

from .conftest import FUSE_S, Gate


def place() -> tuple[int, int, int | None]:
    """Process, thread and loop of whoever calls."""
    loop = None
    with contextlib.suppress(RuntimeError):
        loop = id(asyncio.get_running_loop())
    return os.getpid(), threading.get_ident(), loop


@contextlib.contextmanager
def warnings_logged() -> Iterator[list[str]]:
    said: list[str] = []
    number = logger.add(lambda message: said.append(str(message)), level="WARNING")
    try:
        yield said
    finally:
        logger.remove(number)


class Held:
    """A coroutine function that goes on when it is let go."""

    def __init__(self) -> None:
        self.began, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> str:
        self.began.set()
        await asyncio.wait_for(self.may_end.wait(), FUSE_S)
        return "ended"


@pytest.mark.row("R-01")
async def test_each_execution_runs_where_it_says(engine: Engine) -> None:
    pid, thread, loop = place()

    found = {
        each: await task(place, engine, execution=each).submit() for each in ("main", "async", "thread", "process")
    }

    assert found["main"] == (pid, thread, loop)
    assert found["async"] == (pid, thread, loop)
    assert found["thread"][0] == pid
    assert found["thread"][1] not in (thread, engine.inbox.thread)
    assert found["process"][0] != pid


@pytest.mark.row("R-03")
@pytest.mark.parametrize(
    ("execution", "kind"), [(None, ProcessJob), ("async", LocalJob), ("main", MainJob), ("thread", ThreadJob)]
)
def test_a_task_that_names_no_execution_gets_the_engines(execution: Any, kind: type[Job]) -> None:
    plain, named = task(place), task(place, execution="thread")

    with Engine(EngineSetting(execution=execution)):
        jobs = plain.submit(), named.submit()

    assert type(jobs[0]) is kind
    assert type(jobs[1]) is ThreadJob


@pytest.mark.parametrize("execution", ["fast", "", 3, "local"])
def test_an_execution_that_there_is_not_is_refused(execution: Any) -> None:
    with pytest.raises(InvalidOption, match="'main', 'async', 'thread' or 'process'"):
        EngineSetting(execution=execution)
    with pytest.raises(InvalidOption, match="'main', 'async', 'thread' or 'process'"):
        task(place, execution=execution)


# -- main


@pytest.mark.row("R-02")
async def test_a_main_job_cannot_be_cancelled_while_it_runs(engine: Engine) -> None:
    held = Held()
    job = task(held, engine, execution="main").submit()
    await held.began.wait()

    with pytest.raises(InvalidStateError, match='execution="main"'):
        job.cancel()
    with pytest.raises(InvalidStateError, match='execution="main"'):
        engine.cancel(job)
    with pytest.raises(InvalidStateError, match='execution="main"'):
        engine.remove(job)
    await engine.cancel_all()
    await engine.jobs.cancel()

    assert job.status is Status.RUNNING
    assert 'execution="main"' in job.note
    held.may_end.set()
    assert await job == "ended"


@pytest.mark.row("R-02")
async def test_the_engines_end_waits_for_a_main_job_and_says_why(engine: Engine) -> None:
    held = Held()
    job = task(held, engine, execution="main").submit()
    await held.began.wait()

    stopping = asyncio.create_task(asyncio.to_thread(engine.stop))
    await job.wait_until(lambda job: 'execution="main"' in job.note, FUSE_S)
    held.may_end.set()
    await stopping

    assert job.status is Status.DONE
    assert job.result() == "ended"


@pytest.mark.row("R-02")
async def test_a_main_job_that_does_not_end_is_left_when_the_engine_stops(engine: Engine) -> None:
    held = Held()
    job = task(held, engine, execution="main").submit()
    await held.began.wait()

    with warnings_logged() as said:
        await asyncio.to_thread(engine.stop)

    assert job.status is Status.CANCELLED
    assert job.reason is Reason.SHUTDOWN
    assert "can't be stopped" in job.note
    assert any("Held" in each for each in said)
    held.may_end.set()


async def test_a_main_job_that_waits_can_be_cancelled(engine: Engine) -> None:
    held = Held()
    first, second = (task(held, engine, execution="main").submit() for _ in range(2))
    await held.began.wait()

    second.cancel()

    assert second.status is Status.CANCELLED
    held.may_end.set()
    assert await first == "ended"


@pytest.mark.row("R-04")
async def test_nothing_else_starts_while_a_main_coroutine_runs(engine: Engine) -> None:
    held = Held()
    main = task(held, engine, execution="main").submit()
    await held.began.wait()

    others = engine.submit(LocalJob(place), ThreadJob(place), ProcessJob(place), MainJob(place))

    assert [job.status for job in others.values()] == [Status.PENDING] * 4
    await others[0].wait_until(lambda job: job.waiting_for == "slot", FUSE_S)
    assert "until 'Held' has ended" in others[0].record().waiting
    held.may_end.set()
    await others
    assert all(job.started_at >= main.ended_at for job in others.values())


@pytest.mark.row("R-04")
async def test_what_runs_already_goes_on_beside_a_main_job(engine: Engine, gate: Gate) -> None:
    held = Held()
    before = engine.submit(ThreadJob(gate.wait))
    await gate.came()
    main = task(held, engine, execution="main").submit()
    await held.began.wait()

    gate.open()
    await before

    assert main.status is Status.RUNNING
    held.may_end.set()
    await main


async def test_waiting_inside_a_main_job_for_what_it_keeps_from_starting_is_refused(engine: Engine) -> None:
    async def patient() -> None:
        await engine.submit(ThreadJob(place))

    def blocking() -> None:
        engine.wait_job(engine.submit(ThreadJob(place)))

    for function in (patient, blocking):
        job = engine.submit(MainJob(function))
        await job.join()
        assert isinstance(job.exception(), DeadlockError)
        assert "engine to itself" in str(job.exception()) or "use `await" in str(job.exception())
    await engine.join()


# -- how each is stopped


@pytest.mark.row("R-02")
async def test_a_process_task_is_killed(engine: Engine) -> None:
    def busy() -> None:
        while True:
            pass

    job = task(busy, engine, execution="process").submit()
    await job.wait_until_status("running", FUSE_S)
    pid = int(job.attempts[0].worker.removeprefix("pid "))

    await job.cancel()

    assert job.status is Status.CANCELLED
    assert not psutil.pid_exists(pid)


@pytest.mark.row("R-02")
async def test_an_async_task_is_cancelled_where_it_awaits(engine: Engine) -> None:
    held = Held()
    job = task(held, engine, execution="async").submit()
    await held.began.wait()

    await job.cancel()

    assert job.status is Status.CANCELLED
    assert [each.action for each in engine.records] == ["run", "terminate"]


def until_asked(gate: Gate, flag: TerminationFlag = TerminationFlag()) -> str:  # noqa: B008 - what is documented
    gate.wait()
    if flag.is_set():
        raise TaskTerminationException
    return "not asked"


def deaf(gate: Gate) -> str:
    gate.wait()
    assert current_job().cancelled()
    return "did it all"


@pytest.mark.row("R-02")
@pytest.mark.row("R-06")
@pytest.mark.parametrize(("function", "action"), [(until_asked, "terminate"), (deaf, "success")])
async def test_a_thread_task_leaves_by_its_flag_and_the_record_tells(
    engine: Engine, gate: Gate, function: Any, action: str
) -> None:
    job = task(function, engine, execution="thread").submit(gate)
    await gate.came()

    job.cancel()
    gate.open()
    await job.wait_until(lambda job: job.attempts[0].ended_at is not None, FUSE_S)

    assert job.status is Status.CANCELLED
    assert [each.action for each in engine.records] == ["run", action]


@pytest.mark.row("R-06")
@pytest.mark.parametrize("execution", ["async", "thread", "process"])
async def test_a_task_that_ends_itself_is_cancelled(engine: Engine, execution: Any) -> None:
    def gives_up() -> None:
        raise TaskTerminationException

    job = task(gives_up, engine, execution=execution, retries=2).submit()
    await job.join()

    assert job.status is Status.CANCELLED
    assert job.reason is Reason.USER
    assert len(job.attempts) == 1
    assert [each.action for each in engine.records] == ["run", "terminate"]


@pytest.mark.row("R-06")
@pytest.mark.parametrize("execution", ["main", "async", "thread", "process"])
async def test_a_flag_works_everywhere_and_is_not_set_unless_asked(engine: Engine, execution: Any) -> None:
    def asked(flag: TerminationFlag = TerminationFlag()) -> bool:  # noqa: B008
        return flag.is_set()

    assert await task(asked, engine, execution=execution).submit() is False
    assert TerminationFlag().is_set() is False


@pytest.mark.row("R-07")
async def test_a_thread_that_never_ends_does_not_keep_the_engine_from_ending(engine: Engine, gate: Gate) -> None:
    job = task(gate.wait, engine, execution="thread", name="stubborn").submit()
    await gate.came()

    with warnings_logged() as said:
        await engine.stop()

    assert not engine.alive
    assert job.status is Status.CANCELLED
    assert job.reason is Reason.SHUTDOWN
    assert any("'stubborn'" in each for each in said)
    gate.open()


# -- the user's loop


def block(seconds: float, returned_at: list[float]) -> None:
    time.sleep(seconds)
    returned_at.append(time.monotonic())


async def block_without_awaiting(seconds: float, returned_at: list[float]) -> None:
    block(seconds, returned_at)


@pytest.mark.row("E-07")
@pytest.mark.row("R-05")
@pytest.mark.parametrize("function", [block, block_without_awaiting])
async def test_a_job_that_blocks_the_users_loop_says_so(engine: Engine, function: Any) -> None:
    seen: list[tuple[float, str]] = []
    engine.flow.listeners.append(lambda job: seen.append((time.monotonic(), job.note)))
    beat = asyncio.create_task(asyncio.sleep(0.2))

    began = time.monotonic()
    returned_at: list[float] = []
    job = engine.submit(LocalJob(function, (1.7, returned_at)))
    await job
    lag_s = time.monotonic() - began

    assert lag_s >= 1.7, "the loop stood still for as long"
    assert job.note == "blocks the notebook's loop for 2 s"
    if engine.threaded:
        first = min(at for at, note in seen if note.startswith("blocks the notebook's loop for"))
        assert first < returned_at[0], "while it did"
    await beat


@pytest.mark.row("E-07")
async def test_a_coroutine_that_awaits_blocks_nothing(engine: Engine) -> None:
    beats = 0

    async def patient() -> str:
        await asyncio.sleep(1.2)
        return "waited"

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.1)

    other = asyncio.create_task(beat())
    job = engine.submit(LocalJob(patient))

    assert await job == "waited"
    assert job.note == ""
    assert beats > 3
    other.cancel()


async def test_a_measured_coroutine_behaves_as_any(engine: Engine) -> None:
    async def inner(x: int) -> int:
        await asyncio.sleep(0)
        return x

    async def work() -> list[Any]:
        found: list[Any] = list(await asyncio.gather(inner(1), inner(2)))
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            found.append("timeout")
        try:
            await asyncio.wait_for(asyncio.to_thread(int, "x"), FUSE_S)
        except ValueError:
            found.append("raised")
        return found

    assert await engine.submit(LocalJob(work)) == [1, 2, "timeout", "raised"]


# -- processes


@pytest.mark.row("R-08")
async def test_a_parameter_that_cannot_travel_is_named_at_submit(engine: Engine) -> None:
    work = task(print, engine, execution="process", name="work")

    with pytest.raises(NotPicklable, match=r"argument.*lock.*cannot be sent"):
        work.submit(threading.Lock())

    assert len(engine.jobs) == 0


SCRIPT = """
from ipyjobs import Engine, task

@task
def double(x):
    return 2 * helper(x)

@task
def helper(x):
    return x

with Engine():
    print(double(21), double.submit(1).task is double)
"""


@pytest.mark.row("R-08")
def test_a_decorated_function_of_a_script_needs_no_guard(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)

    assert ended.stdout == "42 True\n", ended.stderr
