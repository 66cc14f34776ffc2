"""Calls that are sent to a worker ahead of their time: they have not begun, whatever becomes of the one in front."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ipyjobs import Engine, Job, JobTimeout, LocalJob, ProcessJob, Status
from ipyjobs.backends.process import ahead

FUSE_S = 20.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent ahead is not taken back because time has passed; `hasty` undoes it."""
    monkeypatch.setattr(ahead, "LATE_S", 3600.0)
    monkeypatch.setattr(ahead, "AHEAD_S", 1.0)


@pytest.fixture
def hasty(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()


def quick(path: str = "", note: str = "") -> int:
    """Short, unless it is told to wait until a file is there; notes that it was run."""
    if note:
        with open(note, "a") as file:
            file.write(f"{os.getpid()}\n")
    while path and not os.path.exists(path):
        time.sleep(0.001)
    return os.getpid()


async def warm(engine: Engine, function: Callable[..., Any] = quick) -> None:
    """Have it known that the function is short."""
    await engine.submit(*[ProcessJob(function) for _ in range(20)])


async def queue_up(engine: Engine, tmp_path: Path, count: int = 3) -> tuple[Path, Job, list[Job]]:
    """One worker, which waits at a gate, and jobs that were sent to it ahead."""
    engine.set_limit(1, backend="process")
    await warm(engine)
    gate = tmp_path / "gate"
    jobs = [ProcessJob(quick, (str(gate), str(tmp_path / "first")))]
    jobs += [ProcessJob(quick, ("", str(tmp_path / f"note{number}"))) for number in range(count)]
    engine.submit(*jobs)
    async with asyncio.timeout(FUSE_S):
        while not (tmp_path / "first").exists() or not (tmp_path / "first").read_text():
            await asyncio.sleep(0.001)
    assert engine.scheduler.ahead == {each.id for each in jobs[1:]}
    return gate, jobs[0], jobs[1:]


async def test_what_is_ahead_is_pending_and_holds_no_slot(engine: Engine, tmp_path: Path) -> None:
    gate, first, rest = await queue_up(engine, tmp_path)

    assert [(each.status, each.waiting_for, each.started_at) for each in rest] == [("pending", "backend", None)] * 3
    assert engine.scheduler.holding == {first.id}
    assert len(engine.jobs.running) == 1
    gate.touch()
    pid = await first
    assert [await each for each in rest] == [pid] * 3
    assert [[str(event.verb) for event in each.story()] for each in rest] == [["submit", "start", "finish"]] * 3
    assert [each.attempt for each in rest] == [len(each.attempts) for each in rest] == [1, 1, 1]
    assert all(each.attempts[0].worker == f"pid {pid}" for each in rest)


async def test_each_starts_when_the_one_before_has_ended(engine: Engine, tmp_path: Path) -> None:
    gate, first, rest = await queue_up(engine, tmp_path)
    gate.touch()
    for each in rest:
        await each

    times = [(each.started_at, each.ended_at) for each in (first, *rest)]
    started = [at for at, _ in times]
    assert started == sorted(started)
    assert all(at is not None and end is not None and at <= end for at, end in times)
    assert all(each.attempts[0].started_at == each.started_at for each in rest)


async def test_one_that_is_ahead_can_be_cancelled_alone(engine: Engine, tmp_path: Path) -> None:
    gate, first, rest = await queue_up(engine, tmp_path)

    async with asyncio.timeout(FUSE_S):
        await rest[1].cancel()

    assert (rest[1].status, rest[1].reason) == (Status.CANCELLED, "user")
    assert first.status is Status.RUNNING
    gate.touch()
    assert await rest[0] == await rest[2] == await first
    assert not (tmp_path / "note1").exists(), "it never ran"


async def test_the_one_in_front_can_be_cancelled_alone(engine: Engine, tmp_path: Path) -> None:
    _, first, rest = await queue_up(engine, tmp_path)
    old = int((tmp_path / "first").read_text())

    async with asyncio.timeout(FUSE_S):
        await first.cancel()
        pids = [await each for each in rest]

    assert first.status is Status.CANCELLED
    assert old not in pids
    assert [each.attempt for each in rest] == [len(each.attempts) for each in rest] == [1, 1, 1]


async def test_all_can_be_cancelled_at_once(engine: Engine, tmp_path: Path) -> None:
    _, first, rest = await queue_up(engine, tmp_path)

    async with asyncio.timeout(FUSE_S):
        await engine.cancel_all()

    assert {each.status for each in (first, *rest)} == {Status.CANCELLED}
    assert engine.scheduler.holding == engine.scheduler.ahead == frozenset()
    assert not list(tmp_path.glob("note*"))
    await warm(engine)


async def test_when_the_worker_is_killed_what_was_ahead_runs_elsewhere(engine: Engine, tmp_path: Path) -> None:
    _, first, rest = await queue_up(engine, tmp_path)
    old = int((tmp_path / "first").read_text())

    os.kill(old, signal.SIGKILL)

    async with asyncio.timeout(FUSE_S):
        pids = [await each for each in rest]
        await first.join()
    assert old not in pids
    assert (first.status, "SIGKILL" in first.error) == (Status.FAILED, True)
    for each in rest:
        assert [str(event.verb) for event in each.story()] == ["submit", "start", "finish"]
        assert [attempt.outcome for attempt in each.attempts] == ["done"]
        assert each.attempt == 1


@pytest.mark.usefixtures("hasty")
async def test_nothing_waits_behind_a_long_job_while_another_worker_is_free(engine: Engine, tmp_path: Path) -> None:
    engine.set_limit(2, backend="process")
    await warm(engine)
    gate = tmp_path / "gate"
    long = engine.submit(ProcessJob(quick, (str(gate),)))

    async with asyncio.timeout(FUSE_S):
        jobs = await engine.submit(*[ProcessJob(quick) for _ in range(200)])

    assert len(jobs.done) == 200
    assert long.status is Status.RUNNING
    gate.touch()
    await long


async def test_a_job_that_runs_out_of_time_takes_nobody_along(engine: Engine, tmp_path: Path) -> None:
    engine.set_limit(1, backend="process")
    await warm(engine)
    first = ProcessJob(quick, (str(tmp_path / "never"),), timeout=0.2)
    rest = [ProcessJob(quick, timeout=10.0) for _ in range(3)]
    engine.submit(first, *rest)

    async with asyncio.timeout(FUSE_S):
        for each in rest:
            await each
    assert isinstance(first.exception(), JobTimeout)


async def test_the_time_of_one_that_is_ahead_counts_from_its_own_start(engine: Engine, tmp_path: Path) -> None:
    engine.set_limit(1, backend="process")
    await warm(engine)
    gate = tmp_path / "gate"
    first = ProcessJob(quick, (str(gate),))
    second = ProcessJob(quick, timeout=0.1)
    engine.submit(first, second)
    await asyncio.sleep(0.3)
    assert second.status is Status.PENDING

    gate.touch()

    assert await second == await first


def say(number: int) -> None:
    """Print in three ways."""
    print("out", number)
    os.write(1, b"raw %d\n" % number)
    os.system(f"echo child {number}")


def maybe_say(number: int, loud: bool) -> None:
    if loud:
        say(number)


@pytest.mark.parametrize("every", [1, 3])
async def test_output_goes_to_the_log_of_the_job_that_printed_it(engine: Engine, every: int) -> None:
    engine.set_limit(2, backend="process")
    await engine.submit(*[ProcessJob(maybe_say, (0, False)) for _ in range(20)])
    jobs = [ProcessJob(maybe_say, (number, number % every == 0)) for number in range(90)]

    await engine.submit(*jobs)

    for number, job in enumerate(jobs):
        expected = f"out {number}\nraw {number}\nchild {number}\n" if number % every == 0 else ""
        assert sorted(job.log.text().split("\n")) == sorted(expected.split("\n"))


async def test_a_line_that_is_printed_late_is_the_printers_own(engine: Engine, tmp_path: Path) -> None:
    """It is read while others are ahead, and they have not begun."""
    engine.set_limit(1, backend="process")
    gate = tmp_path / "gate"

    def talk(path: str, number: int) -> None:
        if path:
            os.write(1, b"begin ")
            while not os.path.exists(path):
                time.sleep(0.001)
            os.write(1, b"end ")
        if number:
            os.write(1, b"%d" % number)

    await engine.submit(*[ProcessJob(talk, ("", 0)) for _ in range(20)])
    jobs = [ProcessJob(talk, (str(gate), 1)), *[ProcessJob(talk, ("", number)) for number in range(2, 6)]]
    engine.submit(*jobs)
    async with asyncio.timeout(FUSE_S):
        while jobs[0].log.text() != "begin ":
            await asyncio.sleep(0.001)
    gate.touch()
    for each in jobs:
        await each

    assert [each.log.text() for each in jobs] == ["begin end 1", "2", "3", "4", "5"]


async def test_a_job_with_a_worker_of_its_own_never_waits_in_one(engine: Engine, tmp_path: Path) -> None:
    engine.set_limit(1, backend="process")
    await warm(engine)
    gate = tmp_path / "gate"
    first = ProcessJob(quick, (str(gate),))
    fresh = [ProcessJob(quick, fresh=True) for _ in range(3)]
    engine.submit(first, *fresh)
    assert not engine.scheduler.ahead

    gate.touch()

    assert len({await each for each in (first, *fresh)}) == 4


async def test_a_higher_priority_still_starts_first(engine: Engine, tmp_path: Path) -> None:
    gate, _, rest = await queue_up(engine, tmp_path)
    urgent = engine.submit(ProcessJob(quick, priority=1))
    gate.touch()
    await urgent
    for each in rest:
        await each

    assert urgent.started_at is not None
    assert all(each.started_at is not None and urgent.started_at < each.started_at for each in rest)


async def test_a_lowered_limit_holds_for_what_is_ahead(engine: Engine, tmp_path: Path) -> None:
    gate, first, rest = await queue_up(engine, tmp_path)
    engine.set_limit(1, queue="default")
    local = engine.submit(LocalJob(asyncio.Event().wait, priority=5))
    assert local.status is Status.PENDING
    gate.touch()
    await first
    await local.wait_until_status("running", FUSE_S)

    assert [each.status for each in rest] == [Status.PENDING] * 3
    local.cancel()
    for each in rest:
        await each


async def test_two_at_a_time_are_never_three(engine: Engine, tmp_path: Path) -> None:
    engine.set_limit(2, backend="process")

    def count(folder: str) -> int:
        mine = Path(folder, str(os.getpid()))
        mine.touch(exist_ok=False)
        running = len(os.listdir(folder))
        mine.unlink()
        return running

    await engine.submit(*[ProcessJob(count, (str(tmp_path),)) for _ in range(20)])
    most: list[int] = []
    jobs = [ProcessJob(count, (str(tmp_path),)) for _ in range(300)]
    for each in jobs:
        each.observe(lambda _: most.append(len(engine.jobs.running)), names="status")

    group = engine.submit(*jobs)
    await group

    assert max(group.results()) <= 2
    assert max(most) <= 2


async def test_what_is_ahead_sees_the_folder_of_its_start(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.set_limit(1, backend="process")
    await warm(engine, os.getcwd)
    gate, _, _ = await queue_up(engine, tmp_path, 1)
    where = engine.submit(ProcessJob(os.getcwd))
    monkeypatch.chdir(tmp_path)
    engine.submit(ProcessJob(quick))
    engine.set_limit(None, queue="default")  # the engine looks around when it starts something
    gate.touch()

    assert await where == str(tmp_path)


async def test_what_is_ahead_waits_for_the_new_value_when_its_upstream_is_rerun(engine: Engine, tmp_path: Path) -> None:
    engine.set_limit(1, backend="process")

    def plus(path: str, value: int) -> int:
        while path and not os.path.exists(path):
            time.sleep(0.001)
        return value + 1

    await engine.submit(*[ProcessJob(plus, ("", 0)) for _ in range(20)])
    values = iter([10, 20])
    top = engine.submit(LocalJob(lambda: next(values)))
    await top
    gate = tmp_path / "gate"
    first = engine.submit(ProcessJob(plus, (str(gate), 0)))
    await first.wait_until_status("running", FUSE_S)
    down = engine.submit(ProcessJob(plus, ("", top.future)))

    engine.rerun(top)
    gate.touch()

    assert await down == 21


async def test_an_engine_that_stops_leaves_nothing_ahead(engine: Engine, tmp_path: Path) -> None:
    _, first, rest = await queue_up(engine, tmp_path)

    await engine.stop()

    assert {each.status for each in (first, *rest)} == {Status.CANCELLED}
    assert not list(tmp_path.glob("note*"))


def act(what: str, number: int) -> int:
    match what:
        case "print":
            print(number)
        case "raise":
            raise ValueError(number)
        case "exit":
            os._exit(3)
        case "sleep":
            time.sleep(0.01)
        case _:
            pass
    return number


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("seed", range(3))
async def test_every_job_ends_as_it_should_whatever_happens_around_it(engine: Engine, seed: int) -> None:
    random = Random(seed)
    engine.set_limit(2, backend="process")
    await engine.submit(*[ProcessJob(act, ("", 0)) for _ in range(20)])
    kinds = ["", "", "", "", "", "", "", "print", "print", "raise", "exit", "sleep"]
    jobs = [ProcessJob(act, (random.choice(kinds), number), priority=random.choice([0, 0, 0, 1]), retries=number % 2)
            for number in range(100)]  # fmt: skip

    group = engine.submit(*jobs)
    cancelled: set[Job] = set()
    while not all(each.ended for each in jobs):
        await asyncio.sleep(random.random() / 200)
        match random.randrange(5):
            case 0:
                cancelled.add(each := random.choice(jobs))
                each.cancel()
            case 1:
                engine.set_limit(random.choice([1, 2, 3]), backend="process")
            case 2 if len(jobs) < 200:
                jobs.append(engine.submit(ProcessJob(act, ("", 1000), priority=2)))
            case _:
                pass
    await group

    for each in jobs:
        what, number = each.args
        if each.status is Status.CANCELLED:
            assert each in cancelled
        elif what in ("raise", "exit"):
            assert each.status is Status.FAILED
            assert len([attempt for attempt in each.attempts if attempt.outcome != "released"]) == each.retries + 1
        else:
            assert await each == number
            assert each.log.text() == (f"{number}\n" if what == "print" else "")
    assert engine.scheduler.holding == engine.scheduler.ahead == frozenset()
