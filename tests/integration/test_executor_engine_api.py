"""What code written for executor-engine asks of an engine and its jobs; each test carries the row it shows."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ipyjobs import (
    AfterAnother,
    AfterOthers,
    AllSatisfied,
    AnySatisfied,
    Condition,
    Engine,
    EngineNotRunning,
    EngineSetting,
    ExecutorError,
    InvalidOption,
    InvalidStateError,
    IpyjobsError,
    Job,
    JobNotFoundError,
    LocalJob,
    NotPicklable,
    ProcessJob,
    RangeCheckError,
    Status,
    ThreadJob,
    logger,
)  # fmt: skip

from .conftest import FUSE_S, Gate

KINDS = [LocalJob, ThreadJob, ProcessJob]


def add(a: int, b: int) -> int:
    return a + b


def fail(text: str = "no") -> None:
    raise ValueError(text)


async def later(value: int) -> int:
    await asyncio.sleep(0)
    return value


@pytest.fixture
def script() -> Iterator[Engine]:
    """An engine as a script has it."""
    with Engine(EngineSetting(print_traceback=False, echo=False)) as engine:
        yield engine


# -- its life


@pytest.mark.row("E-01")
@pytest.mark.row("E-22")
def test_an_engine_lives_in_a_with_block_on_a_thread_of_its_own() -> None:
    said: list[str] = []
    sink = logger.add(said.append, level="WARNING", format="{message}")
    with Engine(EngineSetting(echo=False)) as engine:
        thread = next(each for each in threading.enumerate() if each.name == "ipyjobs-engine")
        engine.start()
        assert engine.submit(LocalJob(threading.get_ident)).engine is engine

    engine.stop()
    logger.remove(sink)
    assert not thread.is_alive()
    assert [each.strip() for each in said] == ["the engine is running already", "the engine is not running"]
    job = ThreadJob(add, (1, 2))
    with pytest.raises(EngineNotRunning, match=r"with Engine\(\) as engine"):
        engine.submit(job)
    assert job.status is Status.CREATED
    assert isinstance(EngineNotRunning("no"), RuntimeError)


@pytest.mark.row("E-02")
@pytest.mark.row("E-03")
@pytest.mark.row("E-09")
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_values_flow_from_job_to_job_in_any_order_of_submission(script: Engine, order: tuple[int, ...]) -> None:
    one = LocalJob(add, args=(1, 2))
    two = ThreadJob(add, args=(one.future, 4))
    three = ProcessJob(lambda a, b: (a + b, os.getpid()), kwargs={"a": two.future, "b": 5})
    jobs = (one, two, three)

    script.submit(*(jobs[each] for each in order))
    assert script.wait(FUSE_S)

    assert (one.result(), two.result(), three.result()[0]) == (3, 7, 12)
    assert three.result()[1] != os.getpid()


@pytest.mark.row("E-03")
def test_what_needs_the_value_of_a_failed_job_never_runs(script: Engine) -> None:
    ran: list[int] = []
    up = ThreadJob(fail)
    down = ThreadJob(ran.append, (up.future,))
    script.submit(down, up)
    script.wait(FUSE_S)

    assert (up.status, down.status, down.reason, ran) == ("failed", "cancelled", "upstream", [])


@pytest.mark.row("E-04")
@pytest.mark.row("E-55")
def test_in_a_coroutine_nothing_needs_to_be_started() -> None:
    engine = Engine(EngineSetting(echo=False))

    async def main() -> tuple[int, int, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        one = ProcessJob(add, args=(1, 2))
        two = ThreadJob(add, args=(one.future, 4))
        await engine.submit_async(one, two)
        await engine.join(timeout=FUSE_S)
        ticking.cancel()
        await engine.stop()
        return one.result(), two.result(), ticks

    first, second, ticks = asyncio.run(main())

    assert (first, second) == (3, 7)
    assert ticks > 3, "the loop was blocked"


@pytest.mark.row("E-55")
async def test_waiting_can_be_cancelled_and_bounded_and_leaves_the_job_alone(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    await gate.came()
    joining = asyncio.ensure_future(job.join())
    await asyncio.sleep(0)
    joining.cancel()
    with pytest.raises(TimeoutError):
        await engine.join([job], timeout=0.01)

    assert job.status is Status.RUNNING
    gate.open()
    await engine.join(timeout=FUSE_S)
    assert job.status is Status.DONE
    with pytest.raises(InvalidStateError, match="never submitted"):
        await ThreadJob(add, (1, 2)).join()


@pytest.mark.row("E-71")
def test_an_engine_lives_on_the_loop_it_is_given() -> None:
    loop = asyncio.new_event_loop()
    engine = Engine(EngineSetting(echo=False), loop=loop)
    assert engine.loop is loop

    async def where() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    with engine:
        job = engine.submit(LocalJob(where))
        engine.wait_job(job, FUSE_S)
        with pytest.raises(InvalidStateError, match="stop it before"):
            engine.loop = loop
    assert job.result() is loop
    assert not loop.is_closed()
    loop.close()
    with pytest.raises(EngineNotRunning, match="closed"):
        engine.start()

    engine.loop = asyncio.new_event_loop()
    with engine:
        assert engine.wait_job(engine.submit(ThreadJob(add, (1, 2))), FUSE_S) == 3
    engine.loop.close()


@pytest.mark.row("E-71")
async def test_an_engine_lives_on_a_given_loop_that_runs_already() -> None:
    engine = Engine(EngineSetting(echo=False), loop=asyncio.get_running_loop()).start()

    assert await engine.submit(LocalJob(threading.get_ident)) == threading.get_ident()
    assert engine.loop is asyncio.get_running_loop()
    await engine.stop()


@pytest.mark.row("E-71")
def test_an_engine_lives_on_a_loop_that_runs_on_another_thread() -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    engine = Engine(EngineSetting(echo=False), loop=loop).start()
    job = engine.submit(LocalJob(threading.get_ident))

    assert engine.wait_job(job, FUSE_S) == thread.ident
    engine.stop()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


# -- statuses


@pytest.mark.row("E-05")
@pytest.mark.row("E-06")
@pytest.mark.row("E-27")
def test_each_status_has_a_view_that_stays_up_to_date(script: Engine, gate: Gate) -> None:
    script.max_jobs = 1
    done = script.submit(ThreadJob(add, (1, 2)))
    failed = script.submit(ThreadJob(fail))
    script.wait(FUSE_S)
    running = script.submit(ThreadJob(gate.wait))
    pending, cancelled = ThreadJob(add, (3, 4)), ThreadJob(add, (5, 6))
    script.submit(pending, cancelled)
    script.cancel(cancelled)
    created = ThreadJob(add, (7, 8))

    views = {name: getattr(script.jobs, name).values() for name in Status}
    assert views == {
        "created": [], "pending": [pending], "running": [running], "done": [done], "failed": [failed],
        "cancelled": [cancelled],
    }  # fmt: skip
    assert created.status == "created" and created not in script.jobs
    with pytest.raises(InvalidStateError, match="running"):
        running.rerun()
    gate.open()
    script.wait(FUSE_S)
    assert len(script.jobs.running) == 0 and len(script.jobs.done) == 3
    assert [job.result() for job in script.jobs.done if job is not running] == [3, 7]


@pytest.mark.row("E-06")
@pytest.mark.row("E-59")
@pytest.mark.parametrize("kind", KINDS)
async def test_an_ended_job_runs_again_by_rerun_and_by_submit(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(add, (1, 2)))
    assert await job == 3
    await job.rerun()
    assert await job == 3

    assert engine.submit(job) is job

    assert await job == 3
    assert [each.round for each in job.attempts] == [1, 2, 3]
    assert len(engine.jobs) == 1


@pytest.mark.row("E-27")
async def test_jobs_are_found_by_id(engine: Engine) -> None:
    job = engine.submit(ThreadJob(add, (1, 2)))

    assert engine.jobs.get_job_by_id(job.id) is job
    with pytest.raises(JobNotFoundError, match="nobody"):
        engine.jobs.get_job_by_id("nobody")
    await job


@pytest.mark.row("E-68")
@pytest.mark.row("E-26")
async def test_what_comes_too_early_says_so(engine: Engine, gate: Gate) -> None:
    job = ThreadJob(gate.wait)
    with pytest.raises(InvalidStateError, match="created"):
        job.result()
    with pytest.raises(InvalidStateError, match="never submitted"):
        job.rerun()
    engine.submit(job)
    with pytest.raises(InvalidStateError, match=r"await job"):
        job.result()
    assert job.exception() is None
    gate.open()
    await job

    failed = engine.submit(ThreadJob(fail, ("this",)))
    await failed.join()
    assert isinstance(failed.exception(), ValueError) and str(failed.exception()) == "this"


@pytest.mark.row("E-72")
async def test_errors_have_one_root_and_a_nonsense_status_is_refused(engine: Engine) -> None:
    job = engine.submit(ThreadJob(add, (1, 2)))

    assert ExecutorError is IpyjobsError
    assert all(issubclass(each, ExecutorError) for each in (JobNotFoundError, InvalidStateError, RangeCheckError))
    with pytest.raises(RangeCheckError, match="'finished'.*created, pending"):
        job.status = "finished"
    with pytest.raises(RangeCheckError, match="'over'"):
        await job.wait_until_status("over")
    with pytest.raises(RangeCheckError, match="'over'"):
        AfterAnother(job, statuses=["over"])
    await job


# -- conditions


@pytest.mark.row("E-15")
async def test_a_job_comes_after_another_however_that_ends(engine: Engine, gate: Gate) -> None:
    first = ThreadJob(gate.wait)
    order: list[str] = []
    after = LocalJob(lambda: order.append("after"), condition=AfterAnother(job_id=first.id))
    only_failed = LocalJob(order.append, ("bad",), condition=AfterAnother(job_id=first.id, statuses=["failed"]))
    unknown = LocalJob(order.append, ("never",), condition=AfterAnother(job_id="nobody"))
    engine.submit(unknown, only_failed, after, first)
    await gate.came()
    order.append("first")
    gate.open()
    await after

    assert order == ["first", "after"]
    assert (only_failed.status, unknown.status) == ("pending", "pending")
    assert await engine.submit(ThreadJob(add, (1, 2))) == 3
    await engine.cancel(only_failed, unknown)


@pytest.mark.row("E-16")
@pytest.mark.row("E-69")
async def test_a_job_comes_after_all_or_after_the_first_of_others(engine: Engine, gate: Gate) -> None:
    quick, slow = ThreadJob(add, (1, 2)), ThreadJob(gate.wait)
    every = LocalJob(add, (0, 0), condition=AfterOthers(job_ids=[quick.id, slow.id]))
    first = LocalJob(add, (0, 0), condition=AfterOthers(job_ids=[quick.id, slow.id], mode="any"))
    engine.submit(every, first, quick, slow)
    await first

    assert every.status is Status.PENDING
    gate.open()
    await every


@pytest.mark.row("E-18")
@pytest.mark.row("E-20")
@pytest.mark.row("E-49")
async def test_conditions_combine_and_nest(engine: Engine, gate: Gate) -> None:
    quick, slow = ThreadJob(add, (1, 2)), ThreadJob(gate.wait)
    one, two = AfterAnother(quick.id), AfterAnother(slow.id)
    both = LocalJob(add, (0, 0), condition=AllSatisfied(conditions=[one, two]))
    either = LocalJob(add, (0, 0), condition=AnySatisfied(conditions=[one, two]))
    nested = LocalJob(add, (0, 0), condition=one & (two | one))
    assert isinstance(one & two, AllSatisfied) and isinstance(one | two, AnySatisfied)
    engine.submit(both, either, nested, quick, slow)
    await either
    await nested

    assert both.status is Status.PENDING
    gate.open()
    await both


@pytest.mark.row("E-19")
async def test_a_value_adds_a_condition_to_the_jobs_own(engine: Engine, gate: Gate) -> None:
    up, other = ThreadJob(add, (1, 2)), ThreadJob(gate.wait)
    down = ThreadJob(add, (up.future, 10), condition=AfterAnother(job_id=other.id))
    engine.submit(down, up, other)
    await up

    assert isinstance(down.condition, AllSatisfied)
    assert down.status is Status.PENDING
    gate.open()
    assert await down == 13


@pytest.mark.row("E-21")
async def test_a_condition_of_the_users_is_asked_with_the_engine_every_so_often(engine: Engine) -> None:
    asked: list[tuple[Any, float]] = []

    class Third(Condition):
        def satisfy(self, engine: Engine) -> bool:
            asked.append((engine, time.monotonic()))
            return len(asked) >= 3

    await engine.submit(ThreadJob(add, (1, 2), condition=Third(), wait_time_delta=0.05))

    assert [each for each, _ in asked] == [engine] * 3
    assert asked[-1][1] - asked[0][1] >= 0.09


# -- limits


@pytest.mark.row("E-24")
@pytest.mark.row("E-51")
@pytest.mark.parametrize("kind", [ThreadJob, ProcessJob])
def test_limits_are_reached_and_never_passed(kind: type[Job]) -> None:
    name = kind.backend_name
    setting = EngineSetting(echo=False, print_traceback=False, **{f"max_{name}_jobs": 2})
    with Engine(setting) as engine:
        most: list[int] = []
        engine.flow.listeners.append(lambda _: most.append(len(engine.jobs.running)))
        jobs = [kind(fail) if i % 5 == 0 else kind(time.sleep, (0.01,)) for i in range(20)]
        engine.submit(*jobs)
        jobs[-1].cancel()
        assert engine.wait(FUSE_S)

    assert max(most) == 2
    assert len(engine.jobs.failed) == 4 and len(engine.jobs.cancelled) == 1


# -- a job's life


@pytest.mark.row("E-40")
async def test_a_job_is_tried_again_with_a_pause_and_counts_down(engine: Engine) -> None:
    left: list[int] = []
    job = ThreadJob(fail, retries=2, retry_time_delta=0.02)
    assert job.retry_remain == 2
    job.observe(lambda change: left.append(job.retry_remain), "attempt")
    engine.submit(job)
    await job.join(FUSE_S)

    assert [each.outcome for each in job.attempts] == ["failed"] * 3
    ends = [each.ended_at for each in job.attempts]
    starts = [each.started_at for each in job.attempts]
    assert all(start - end >= 0.019 for end, start in zip(ends, starts[1:], strict=False) if start and end)
    assert (job.retry_remain, left[-1]) == (0, 0)


@pytest.mark.row("E-41")
async def test_callbacks_get_the_result_or_the_error_once(engine: Engine) -> None:
    got: list[Any] = []

    async def slowly(value: Any) -> None:
        await asyncio.sleep(0)
        got.append(("async", value))

    good = ThreadJob(add, (1, 2), callback=got.append, error_callback=lambda error: got.append("never"))
    good.future.add_done_callback(slowly)
    bad = ThreadJob(fail, error_callback=lambda error: got.append(str(error)), retries=1)
    bad.future.add_error_callback(lambda error: got.append(type(error)))
    await engine.submit(good)
    await engine.submit(bad).join()
    while len(got) < 4:
        await asyncio.sleep(0)

    assert sorted(map(str, got)) == sorted(map(str, [3, ("async", 3), "no", ValueError]))


@pytest.mark.row("E-42")
@pytest.mark.parametrize("kind", [LocalJob, ThreadJob])
async def test_a_parameter_called_like_the_key_gets_the_engine(engine: Engine, kind: type[Job]) -> None:
    def which(x: int, *, __engine__: Any = None) -> tuple[int, Any]:
        return x, __engine__

    assert await engine.submit(kind(which, (1,))) == (1, engine)
    assert await engine.submit(kind(which, (1,), {"__engine__": "mine"})) == (1, "mine")
    engine.setting.kwargs_inject_key = "boss"
    assert await engine.submit(kind(which, (2,))) == (2, None)
    assert await engine.submit(kind(lambda boss: boss)) is engine
    with pytest.raises(NotPicklable, match=r"'boss'.*thread or local"):
        engine.submit(ProcessJob(lambda boss: boss))


def speak(number: int) -> None:
    import sys

    for line in range(20):
        print(f"{number} out {line}")
        print(f"{number} err {line}", file=sys.stderr)
    if number == 7:
        raise ValueError("seven")


@pytest.mark.row("F-23")
@pytest.mark.row("E-43")
@pytest.mark.parametrize("kind", KINDS)
async def test_output_goes_into_each_jobs_own_files(engine: Engine, kind: type[Job]) -> None:
    jobs = [kind(speak, (number,), redirect_out_err=True) for number in range(50 if kind is ThreadJob else 10)]
    await engine.submit(*jobs)

    for number, job in enumerate(jobs):
        assert job.cache_dir is not None
        out, err = ((job.cache_dir / f"{name}.txt").read_text() for name in ("stdout", "stderr"))
        assert out.splitlines() == [f"{number} out {line}" for line in range(20)]
        assert err.splitlines()[:20] == [f"{number} err {line}" for line in range(20)]
        assert ("ValueError: seven" in err) == (number == 7)


@pytest.mark.row("E-43")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_path_gets_both_streams_and_is_appended_to(engine: Engine, kind: type[Job], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "all.txt"
    job = engine.submit(kind(speak, (1,), redirect_out_err=str(path)))
    await job
    await job.rerun()
    await job

    lines = path.read_text().splitlines()
    assert len(lines) == 80
    assert sorted(lines) == sorted(job.log.lines())
    with pytest.raises(InvalidOption, match="this is a folder"):
        kind(speak, (1,), redirect_out_err=str(tmp_path))
    with pytest.raises(InvalidOption, match="path of a file"):
        kind(speak, (1,), redirect_out_err="")


@pytest.mark.row("E-43")
async def test_a_file_that_cannot_be_written_costs_the_file_only(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    job = engine.submit(ThreadJob(speak, (1,), redirect_out_err=str(tmp_path / "taken" / "out.txt")))
    await job
    await engine.join()

    assert job.status is Status.DONE
    assert len(job.log.lines()) == 40
    assert "log only" in job.note


def write_and_look(gate: Gate | None = None) -> tuple[str, bool]:
    Path("made.txt").write_text("here")
    if gate is not None:
        gate.wait()
    return os.getcwd(), Path("made.txt").exists()


@pytest.mark.row("E-44")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_runs_in_its_own_folder_and_nobody_else_does(engine: Engine, kind: type[Job], gate: Gate) -> None:
    before = os.getcwd()
    args = (gate,) if kind is ThreadJob else ()
    jobs = [engine.submit(kind(write_and_look, args, change_dir=True)) for _ in range(3)]
    if kind is ThreadJob:
        await gate.came(3)
        assert os.getcwd() == before
        assert await engine.submit(ThreadJob(os.getcwd)) == before
        gate.open()

    for job in jobs:
        assert await job == (str(job.cache_dir), True)
    bad = engine.submit(kind(fail, change_dir=True))
    await bad.join(FUSE_S)
    assert bad.status is Status.FAILED
    assert os.getcwd() == before == await engine.submit(kind(os.getcwd))


@pytest.mark.row("E-44")
async def test_a_coroutine_has_a_folder_of_its_own_where_it_has_the_process_or_thread(engine: Engine) -> None:
    async def where() -> str:
        await asyncio.sleep(0)
        return os.getcwd()

    def gives() -> Any:
        return where()

    for kind in (ThreadJob, ProcessJob):
        job = engine.submit(kind(where, change_dir=True))
        assert await job == str(job.cache_dir)
    with pytest.raises(InvalidOption, match="a coroutine on the loop"):
        engine.submit(LocalJob(where, change_dir=True))
    with pytest.raises(InvalidOption, match="a coroutine on the loop"):
        await engine.submit(LocalJob(gives, change_dir=True))


@pytest.mark.row("E-64")
@pytest.mark.row("E-65")
async def test_a_job_knows_its_times_its_extra_keywords_and_its_folder(engine: Engine) -> None:
    before = datetime.now() - timedelta(seconds=1)  # noqa: DTZ005  (as executor-engine's times)
    job = ThreadJob(add, (1, 2), model="forest", epochs=3)
    assert (job.name, job.attrs, job.submit_time, job.cache_dir) == (
        "add",
        {"model": "forest", "epochs": 3},
        None,
        None,
    )
    await engine.submit(job)

    assert job.submit_time is not None and job.stoped_time is not None and job.cache_dir is not None
    assert before < job.created_time <= job.submit_time <= job.stoped_time
    assert job.id in repr(job)
    assert engine.cache_dir.is_dir() and job.cache_dir.parent == engine.cache_dir
    with pytest.raises(TypeError, match="did you mean 'retries'"):
        ThreadJob(add, (1, 2), retrys=3)


@pytest.mark.row("E-65")
async def test_the_engines_folder_is_where_the_setting_says(tmp_path: Path) -> None:
    async with Engine(EngineSetting(cache_path=tmp_path / "mine", echo=False)) as engine:
        job = engine.submit(ThreadJob(print, ("hello",)))
        await job

        assert engine.cache_dir == tmp_path / "mine"
        assert job.log.path.parent == tmp_path / "mine"


@pytest.mark.row("E-67")
@pytest.mark.parametrize("kind", KINDS)
async def test_coroutine_functions_are_awaited(engine: Engine, kind: type[Job]) -> None:
    assert await engine.submit(kind(later, (5,))) == 5


# -- waiting


@pytest.mark.row("E-23")
def test_wait_job_gives_the_result_or_none(script: Engine, gate: Gate) -> None:
    assert script.wait_job(script.submit(ThreadJob(add, (1, 2)))) == 3
    assert script.wait_job(script.submit(ThreadJob(fail))) is None
    assert script.wait_job(script.submit(ThreadJob(gate.wait)), timeout=0.01) is None
    gate.open()


@pytest.mark.row("E-54")
def test_wait_is_bounded_and_can_be_told_for_whom(script: Engine, gate: Gate) -> None:
    slow = script.submit(ThreadJob(gate.wait))
    quick = script.submit(ThreadJob(add, (1, 2)))
    assert not script.wait(timeout=0.02, time_delta=0.01)
    assert script.wait(FUSE_S, select_jobs=lambda jobs: [each for each in jobs if each is quick and not each.ended])
    assert script.wait(FUSE_S, select_jobs=lambda jobs: jobs.pending.values())
    assert not script.wait(0.02, select_jobs=lambda jobs: jobs.running.values() + jobs.pending.values())

    threading.Timer(0.05, gate.open).start()
    assert script.wait(FUSE_S, select_jobs=lambda jobs: jobs.running.values() + jobs.pending.values())

    assert slow.status is Status.DONE


@pytest.mark.row("E-54")
async def test_wait_async_does_the_same_without_blocking(engine: Engine, gate: Gate) -> None:
    slow = engine.submit(ThreadJob(gate.wait))
    await gate.came()
    assert not await engine.wait_async(timeout=0.02)
    assert not await engine.wait_async(0.02, select_jobs=lambda jobs: jobs.running.values())
    waiting = asyncio.ensure_future(engine.wait_async(FUSE_S, select_jobs=lambda jobs: jobs.running.values()))
    await asyncio.sleep(0)
    gate.open()

    assert await waiting
    assert slow.status is Status.DONE
    assert await engine.wait_async(FUSE_S)


@pytest.mark.row("E-56")
async def test_one_waits_until_a_job_is_as_wanted(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    await job.wait_until_status("running", FUSE_S)
    with pytest.raises(TimeoutError):
        await job.wait_until(lambda each: each.status == "done", timeout=0.01)
    gate.open()
    await job.wait_until(lambda each: each.status == "done", FUSE_S)


@pytest.mark.row("E-57")
@pytest.mark.row("E-58")
async def test_jobs_are_cancelled_one_by_one_and_all_together(engine: Engine) -> None:
    engine.max_jobs = 3
    done = engine.submit(ThreadJob(add, (1, 2)))
    await done
    busy = engine.submit(ProcessJob(time.sleep, (3600,)))
    waiting = engine.submit(LocalJob(asyncio.sleep, (3600,)))
    removed = engine.submit(ProcessJob(time.sleep, (3600,)))
    pending = engine.submit(ThreadJob(add, (3, 4)))
    await busy.wait_until_status("running", FUSE_S)
    await engine.remove(removed)
    assert removed not in engine.jobs and removed.status is Status.CANCELLED
    await pending
    later = engine.submit(ThreadJob(add, (3, 4), condition=AfterAnother("nobody")))

    await busy.cancel()
    await engine.cancel_all_async()

    assert [each.status for each in (done, busy, waiting, later)] == ["done", "cancelled", "cancelled", "cancelled"]
    await engine.cancel(done)
    assert done.status is Status.DONE


@pytest.mark.row("E-25")
@pytest.mark.parametrize("wanted", [True, False])
def test_the_traceback_of_a_failure_is_logged_unless_told_otherwise(wanted: bool) -> None:
    said: list[str] = []
    sink = logger.add(said.append, level="ERROR", format="{message}")
    with Engine(EngineSetting(print_traceback=wanted, echo=False)) as engine:
        engine.wait_job(engine.submit(ThreadJob(fail, ("look at me",))))
    logger.remove(sink)

    assert ("look at me" in "".join(said)) is wanted


@pytest.mark.row("E-07")
@pytest.mark.row("E-08")
async def test_local_jobs_run_on_the_users_thread_and_thread_jobs_on_others(engine: Engine) -> None:
    here = threading.get_ident()

    assert await engine.submit(LocalJob(threading.get_ident)) == here
    assert await engine.submit(ThreadJob(threading.get_ident)) not in (here, engine.inbox.thread)
