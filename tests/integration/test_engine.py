"""Jobs through the public API, on an engine with a thread of its own and on one that shares the user's loop."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import sys
import threading
import time
from functools import partial

import pytest

from ipyjobs import (
    AfterAnother,
    AfterOthers,
    AllSatisfied,
    AnySatisfied,
    Condition,
    CycleError,
    DeadlockError,
    Engine,
    EngineForked,
    EngineNotRunning,
    EngineSetting,
    InvalidOption,
    InvalidStateError,
    Job,
    JobCancelled,
    JobNotFoundError,
    JobTimeout,
    LocalJob,
    Retry,
    Status,
    ThreadJob,
    current_job,
    logger,
    report,
)  # fmt: skip

from .conftest import FUSE_S, Gate


def add(a: int, b: int) -> int:
    return a + b


def boom() -> None:
    raise ValueError("no")


KINDS = [LocalJob, ThreadJob]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_runs_and_gives_its_result(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(add, (1,), {"b": 2}))

    assert await job == 3
    assert job.result() == 3
    assert job.status is Status.DONE
    assert job.exception() is None


@pytest.mark.parametrize("kind", KINDS)
async def test_coroutine_functions_are_awaited_on_every_backend(engine: Engine, kind: type[Job]) -> None:
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    assert await engine.submit(kind(double, (21,))) == 42


@pytest.mark.parametrize("function", [partial(add, 1, 2), len, "callable object"])
async def test_anything_callable_can_be_a_job(engine: Engine, function: object) -> None:
    class Three:
        def __call__(self) -> int:
            return 3

    args = ([1, 2, 3],) if function is len else ()
    job = engine.submit(ThreadJob(Three() if function == "callable object" else function, args))  # type: ignore[arg-type]

    assert await job == 3


async def test_local_jobs_run_on_the_users_loop_and_thread_jobs_elsewhere(engine: Engine) -> None:
    local, thread = engine.submit(LocalJob(threading.get_ident), ThreadJob(threading.get_ident)).values()

    assert await local == threading.get_ident()
    assert await thread not in (threading.get_ident(), engine.inbox.thread)


async def test_a_local_coroutine_shares_the_running_loop(engine: Engine) -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert await engine.submit(LocalJob(loop)) is asyncio.get_running_loop()


# -- errors


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_function_raised_is_raised_as_it_is(engine: Engine, kind: type[Job]) -> None:
    def fail() -> None:
        try:
            boom()
        except ValueError as error:
            raise KeyError("outer") from error

    job = engine.submit(kind(fail))
    with pytest.raises(KeyError, match="outer") as caught:
        await job

    assert isinstance(caught.value.__cause__, ValueError)
    assert job.exception() is caught.value
    assert job.error == "KeyError: 'outer'"
    frames = []
    traceback = caught.value.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames[-1] == "fail"


async def test_raising_again_and_again_does_not_grow_the_traceback(engine: Engine) -> None:
    job = engine.submit(ThreadJob(boom))
    await job.join()
    lengths = []
    for _ in range(3):
        with pytest.raises(ValueError, match="no") as caught:
            job.result()
        length, traceback = 0, caught.value.__traceback__
        while traceback is not None:
            length, traceback = length + 1, traceback.tb_next
        lengths.append(length)

    assert len(set(lengths)) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_sys_exit_ends_the_job_and_nothing_else(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(sys.exit, (3,)))
    await job.join()

    assert job.status is Status.FAILED
    assert isinstance(job.exception(), SystemExit)
    assert await engine.submit(ThreadJob(add, (1, 2))) == 3


async def test_a_result_asked_for_too_early_says_how_to_wait(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    with pytest.raises(InvalidStateError, match="await job"):
        job.result()
    gate.open()
    await job


async def test_waiting_for_a_job_that_was_never_submitted_is_refused() -> None:
    with pytest.raises(InvalidStateError, match="never submitted"):
        await ThreadJob(boom).join()
    with pytest.raises(InvalidStateError, match="never submitted"):
        await ThreadJob(boom)


# -- one job after another


async def test_a_future_anywhere_in_the_arguments_becomes_the_value(engine: Engine) -> None:
    one = ThreadJob(add, (0, 1))
    two = ThreadJob(add, (1, 1))
    total = ThreadJob(lambda a, b, *, c: [a, b, c], ([one.future, (two,)], {"x": {"y": one}}), {"c": two.future})

    engine.submit(total, two, one)

    assert await total == [[1, (2,)], {"x": {"y": 1}}, 2]


async def test_arguments_without_futures_are_passed_as_they_are(engine: Engine) -> None:
    given = {"a": [1, 2]}

    assert await engine.submit(ThreadJob(lambda x: x, (given,))) is given


async def test_a_group_in_the_arguments_becomes_the_list_of_its_values(engine: Engine) -> None:
    group = engine.submit(*(ThreadJob(add, (i, i)) for i in range(4)))

    assert await engine.submit(ThreadJob(sum, (group,))) == 12


async def test_a_failed_upstream_cancels_what_needs_its_value_and_says_which(engine: Engine) -> None:
    ran = []
    up = ThreadJob(boom, name="source")
    down = ThreadJob(ran.append, (up.future,))
    further = ThreadJob(ran.append, (down.future,))
    engine.submit(further, down, up)
    await engine.join()

    assert (down.status, down.reason) == (Status.CANCELLED, "upstream")
    assert (further.status, further.reason) == (Status.CANCELLED, "upstream")
    with pytest.raises(JobCancelled, match="needs the result of 'source', which failed"):
        down.result()
    assert ran == []


async def test_a_failed_upstream_cancels_at_once_though_others_still_run(engine: Engine, gate: Gate) -> None:
    slow, bad = ThreadJob(gate.wait), ThreadJob(boom)
    down = ThreadJob(print, (slow.future, bad.future))
    engine.submit(slow, bad, down)

    await down.join(FUSE_S)

    assert slow.status is Status.RUNNING
    gate.open()
    await slow


async def test_a_job_submitted_after_its_upstream_failed_is_cancelled(engine: Engine) -> None:
    up = engine.submit(ThreadJob(boom))
    await up.join()

    down = engine.submit(ThreadJob(print, (up.future,)))
    await down.join(FUSE_S)

    assert (down.status, down.reason) == (Status.CANCELLED, "upstream")


async def test_no_slot_is_lost_when_dependencies_fail(engine: Engine) -> None:
    engine.max_jobs = 1
    for _ in range(5):
        up = ThreadJob(boom)
        engine.submit(up, ThreadJob(print, (up.future,)))
    await engine.join()

    assert await asyncio.wait_for(_value(engine), FUSE_S) == 3
    assert engine.scheduler.total.used == 0


async def _value(engine: Engine) -> int:
    return await engine.submit(ThreadJob(add, (1, 2)))


async def test_a_rerun_upstream_reaches_downstream(engine: Engine) -> None:
    value = iter([1, 2])
    up = LocalJob(lambda: next(value))
    down = LocalJob(lambda x: x * 10, (up.future,))
    engine.submit(up, down)
    assert await down == 10

    engine.rerun(up, down)

    assert await down == 20


async def test_a_chain_rerun_without_its_failed_beginning_is_cancelled_as_a_whole(engine: Engine) -> None:
    up = ThreadJob(boom)
    middle = ThreadJob(print, (up.future,))
    down = ThreadJob(print, (middle.future,))
    engine.submit(up, middle, down)
    await engine.join()

    engine.rerun(middle, down)
    await engine.join()

    assert [(job.status, job.reason) for job in (middle, down)] == [(Status.CANCELLED, "upstream")] * 2


async def test_a_job_about_to_start_waits_again_when_its_upstream_is_rerun(engine: Engine, gate: Gate) -> None:
    value = iter([1, 2])
    up = engine.submit(LocalJob(lambda: next(value)))
    await up
    engine.max_jobs = 1
    engine.submit(ThreadJob(gate.wait))
    await gate.came()
    down = engine.submit(ThreadJob(lambda x: x, (up.future,), priority=5))
    up.rerun()

    gate.open()

    assert await down == 2


async def test_a_rerun_downstream_alone_uses_the_newest_value(engine: Engine) -> None:
    value = iter([1, 2])
    up = LocalJob(lambda: next(value))
    down = LocalJob(lambda x: x * 10, (up.future,))
    engine.submit(up, down)
    await down
    await up.rerun()
    await up
    down.rerun()

    assert await down == 20


# -- conditions


@pytest.mark.parametrize("first", [add, boom])
async def test_after_another_waits_for_the_end_whatever_it_is(engine: Engine, first: object) -> None:
    up = ThreadJob(first, (1, 2) if first is add else ())  # type: ignore[arg-type]
    seen: list[Status] = []
    down = ThreadJob(lambda: seen.append(up.status), condition=AfterAnother(job_id=up.id))
    engine.submit(down, up)
    await engine.join()

    assert seen[0].ended


async def test_after_others_waits_for_all(engine: Engine, gate: Gate) -> None:
    ups = [ThreadJob(gate.wait) for _ in range(3)]
    down = ThreadJob(lambda: [up.status for up in ups], condition=AfterOthers(job_ids=[up.id for up in ups]))
    engine.submit(down, *ups)
    await gate.came(3)
    assert down.status is Status.PENDING
    assert engine.waiting_text(down) == "after 3 jobs, 0 done"

    gate.open()

    assert await down == [Status.DONE] * 3


async def test_all_and_any_combine(engine: Engine, gate: Gate) -> None:
    quick, slow = ThreadJob(add, (1, 1)), ThreadJob(gate.wait)
    either = ThreadJob(add, (2, 2), condition=AnySatisfied(conditions=[AfterAnother(quick.id), AfterAnother(slow.id)]))
    both = ThreadJob(add, (3, 3), condition=AllSatisfied(conditions=[AfterAnother(quick.id), AfterAnother(slow.id)]))
    engine.submit(both, either, quick, slow)

    assert await either == 4
    assert both.status is Status.PENDING
    gate.open()
    assert await both == 6


async def test_a_condition_of_the_users_own_is_asked_on_the_users_loop_until_it_holds(engine: Engine) -> None:
    asked: list[tuple[int, object]] = []

    class Third(Condition):
        def satisfy(self, engine: object) -> bool:
            asked.append((threading.get_ident(), engine))
            return len(asked) == 3

    job = engine.submit(ThreadJob(add, (1, 2), condition=Third(), wait_time_delta=0.01))

    assert await job == 3
    assert asked == [(threading.get_ident(), engine)] * 3


async def test_a_condition_that_raises_fails_the_job(engine: Engine) -> None:
    class Bad(Condition):
        def satisfy(self, engine: object) -> bool:
            raise LookupError("where?")

    job = engine.submit(ThreadJob(add, (1, 2), condition=Bad()))
    with pytest.raises(LookupError, match=r"where\?"):
        await job

    assert job.attempts == []


async def test_a_job_that_waits_for_an_unknown_one_says_so_and_harms_nobody(engine: Engine) -> None:
    job = engine.submit(ThreadJob(add, (1, 2), condition=AfterAnother("nobody")))
    await job.wait_until(lambda job: job.waiting_for == "condition", FUSE_S)

    assert "waits for unknown job nobody" in engine.waiting_text(job)
    assert await engine.submit(ThreadJob(add, (1, 2))) == 3
    await job.cancel()


async def test_it_starts_once_the_unknown_job_arrives(engine: Engine) -> None:
    up = ThreadJob(add, (1, 2))
    down = engine.submit(ThreadJob(lambda x: x, (up.future,)))

    engine.submit(up)

    assert await down == 3


async def test_a_job_that_waits_for_an_unknown_one_is_warned_about(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipyjobs.asking.UNKNOWN_S", 0.01)
    warned = asyncio.Event()
    loop = asyncio.get_running_loop()
    sink = logger.add(lambda message: loop.call_soon_threadsafe(warned.set), level="WARNING", filter="ipyjobs")
    try:
        job = engine.submit(ThreadJob(add, (1, 2), condition=AfterAnother("nobody")))
        await asyncio.wait_for(warned.wait(), FUSE_S)
    finally:
        logger.remove(sink)
    await job.cancel()


async def test_a_cycle_is_refused_by_the_submit_that_closes_it(engine: Engine) -> None:
    one = ThreadJob(add, (1, 2), name="one")
    two = ThreadJob(add, (1, 2), name="two", condition=AfterAnother(one.id))
    three = ThreadJob(print, (two.future,), name="three")
    one.condition = AfterAnother(three.id)
    engine.submit(one)
    engine.submit(two)

    with pytest.raises(CycleError, match="→") as caught:
        engine.submit(three)

    assert set(caught.value.ids) == {one.id, two.id, three.id}
    assert three.status is Status.CREATED
    await engine.cancel(one, two)


async def test_a_job_that_waits_for_itself_is_refused(engine: Engine) -> None:
    job = ThreadJob(add, (1, 2))
    job.condition = AfterAnother(job.id)

    with pytest.raises(CycleError):
        engine.submit(job)


async def test_a_way_out_of_a_cycle_is_no_cycle(engine: Engine) -> None:
    one, other = ThreadJob(add, (1, 2)), ThreadJob(add, (1, 2))
    two = ThreadJob(add, (3, 4), condition=AfterAnother(one.id))
    one.condition = AfterAnother(two.id) | AfterAnother(other.id)

    engine.submit(one, two, other)

    assert await two == 7


# -- retries and timeouts


async def test_a_failed_attempt_is_tried_again_until_it_works(engine: Engine) -> None:
    outcomes = iter([ValueError("1"), ValueError("2"), None])

    def flaky() -> str:
        error = next(outcomes)
        if error is not None:
            raise error
        return "at last"

    job = engine.submit(ThreadJob(flaky, retries=Retry(5, delay_s=0.001, backoff=2, jitter=0.5)))

    assert await job == "at last"
    assert [(each.number, each.outcome) for each in job.attempts] == [(1, "failed"), (2, "failed"), (3, "done")]
    assert [str(event.verb) for event in job.story()] == [
        "submit", "start", "retry", "start", "retry", "start", "finish",
    ]  # fmt: skip


async def test_when_no_retry_is_left_the_last_error_stands(engine: Engine) -> None:
    job = engine.submit(ThreadJob(boom, retries=2))
    with pytest.raises(ValueError, match="no"):
        await job

    assert len(job.attempts) == 3


async def test_join_does_not_return_while_a_retry_is_pending(engine: Engine) -> None:
    job = engine.submit(ThreadJob(boom, retries=1, retry_time_delta=0.05))
    await job.join()

    assert job.ended
    assert len(job.attempts) == 2


async def test_a_job_waiting_for_its_retry_can_be_cancelled(engine: Engine) -> None:
    job = engine.submit(ThreadJob(boom, retries=1, retry_time_delta=3600))
    await job.wait_until(lambda job: job.waiting_for == "retry", FUSE_S)
    assert job.retry_at is not None

    await job.cancel()

    assert job.status is Status.CANCELLED


async def test_a_coroutine_that_runs_out_of_time_is_stopped(engine: Engine) -> None:
    stopped = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    job = engine.submit(LocalJob(endless, timeout=0.01))
    with pytest.raises(JobTimeout, match=r"0\.01 s") as caught:
        await job

    assert isinstance(caught.value, TimeoutError)
    assert job.reason == "timeout"
    assert stopped.is_set()


async def test_a_thread_that_runs_out_of_time_keeps_its_slot_until_it_returns(engine: Engine, gate: Gate) -> None:
    engine.max_jobs = 1
    job = engine.submit(ThreadJob(gate.wait, timeout=0.01))
    await job.join(FUSE_S)
    assert (job.status, job.reason) == (Status.FAILED, "timeout")
    assert "still running" in job.note
    other = engine.submit(ThreadJob(add, (1, 2)))
    assert other.status is Status.PENDING

    gate.open()

    assert await other == 3
    assert job.status is Status.FAILED
    assert job.note == ""


async def test_a_timeout_uses_up_a_retry(engine: Engine) -> None:
    job = engine.submit(LocalJob(asyncio.sleep, (3600,), timeout=0.01, retries=1))
    await job.join(FUSE_S)

    assert [each.outcome for each in job.attempts] == ["timeout", "timeout"]


# -- cancel and rerun


async def test_a_pending_job_that_is_cancelled_never_runs(engine: Engine, gate: Gate) -> None:
    engine.max_jobs = 1
    ran = []
    first = engine.submit(ThreadJob(gate.wait))
    second = engine.submit(ThreadJob(ran.append, (1,)))

    await second.cancel()
    gate.open()
    await first
    await engine.submit(ThreadJob(add, (1, 2)))

    assert (second.status, second.reason, ran) == (Status.CANCELLED, "user", [])


async def test_a_created_job_can_be_cancelled() -> None:
    job = ThreadJob(boom)
    await job.cancel()

    assert job.status is Status.CANCELLED


async def test_a_coroutine_job_is_cancelled_at_its_next_await(engine: Engine) -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    job = engine.submit(LocalJob(work))
    await job.wait_until_status("running", FUSE_S)

    await job.cancel()

    assert job.status is Status.CANCELLED
    assert cleaned == [True]


async def test_a_cancelled_thread_job_is_cancelled_at_once_and_its_late_outcome_changes_nothing(
    engine: Engine, gate: Gate
) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    await gate.came()

    await job.cancel()

    assert job.status is Status.CANCELLED
    assert job.note == "cancelled, thread still running"
    assert engine.scheduler.total.used == 1
    gate.open()
    await job.wait_until(lambda job: job.note == "", FUSE_S)
    assert job.status is Status.CANCELLED
    assert job.attempts[0].outcome == "done"
    assert engine.scheduler.total.used == 0


async def test_a_rerun_waits_for_the_thread_of_the_cancelled_attempt(engine: Engine, gate: Gate) -> None:
    together = threading.Lock()

    def alone() -> str:
        assert together.acquire(blocking=False), "two attempts ran at once"
        gate.wait()
        together.release()
        return "done"

    job = engine.submit(ThreadJob(alone))
    await gate.came()
    await job.cancel()
    job.rerun()
    assert job.status is Status.PENDING
    assert "previous attempt" in engine.waiting_text(job)

    gate.open()

    assert await job == "done"
    assert [each.round for each in job.attempts] == [1, 2]


async def test_a_thread_can_ask_whether_it_should_stop(engine: Engine, gate: Gate) -> None:
    left = threading.Event()

    def polite() -> None:
        job = current_job()
        assert job is not None
        gate.wait()
        while not job.cancelled():
            left.wait(0.001)
        left.set()

    gate.open()
    job = engine.submit(ThreadJob(polite))
    await gate.came()
    await job.cancel()

    assert await asyncio.to_thread(left.wait, FUSE_S)
    await job.wait_until(lambda job: job.note == "", FUSE_S)


async def test_cancelling_an_ended_job_changes_nothing(engine: Engine) -> None:
    job = engine.submit(ThreadJob(add, (1, 2)))
    await job

    await job.cancel()

    assert job.status is Status.DONE


async def test_cancelling_never_retries(engine: Engine) -> None:
    job = engine.submit(LocalJob(asyncio.sleep, (3600,), retries=5))
    await job.wait_until_status("running", FUSE_S)

    await job.cancel()

    assert len(job.attempts) == 1


async def test_cancelling_a_thread_does_not_block_the_caller(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    await gate.came()
    job.cancel()

    assert job.status is Status.CANCELLED
    gate.open()


@pytest.mark.parametrize("outcome", ["done", "failed", "cancelled"])
async def test_every_ended_job_can_be_rerun(engine: Engine, outcome: str) -> None:
    behaviour = iter([outcome, "done"])

    async def work() -> str:
        match next(behaviour):
            case "failed":
                boom()
            case "cancelled":
                await asyncio.Event().wait()
        return "fine"

    job = engine.submit(LocalJob(work))
    await job.wait_until(lambda job: job.ended or (outcome == "cancelled" and job.status == "running"), FUSE_S)
    await job.cancel()
    assert job.status == outcome

    job.rerun()

    assert await job == "fine"
    assert job.attempt == 1
    assert job.error == ""


async def test_rerunning_a_running_job_is_refused(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    with pytest.raises(InvalidStateError, match="cancel it first"):
        job.rerun()
    gate.open()
    await job


async def test_submitting_an_ended_job_runs_it_again(engine: Engine) -> None:
    count = iter([1, 2])
    job = engine.submit(ThreadJob(lambda: next(count)))
    await job
    engine.submit(job)

    assert await job == 2


async def test_a_job_cannot_be_submitted_twice_at_once(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    with pytest.raises(InvalidStateError, match="already"):
        engine.submit(job)
    fresh = ThreadJob(add, (1, 2))
    with pytest.raises(InvalidStateError, match="twice"):
        engine.submit(fresh, fresh)
    assert fresh.status is Status.CREATED
    gate.open()
    await job


async def test_remove_forgets_a_job_and_cancels_what_needs_it(engine: Engine, gate: Gate) -> None:
    up = engine.submit(ThreadJob(gate.wait, name="up"))
    down = engine.submit(ThreadJob(print, (up.future,)))
    await gate.came()

    engine.remove(up)

    assert up.id not in engine.jobs
    with pytest.raises(JobNotFoundError, match=up.id):
        engine.jobs[up.id]
    await down.join(FUSE_S)
    assert (down.status, down.reason) == (Status.CANCELLED, "upstream")
    gate.open()


# -- acting from anywhere, awaited or not


async def test_actions_have_happened_whether_awaited_or_not(engine: Engine) -> None:
    job = engine.submit(LocalJob(asyncio.sleep, (3600,)))
    assert job.status in (Status.PENDING, Status.RUNNING)
    job.cancel()
    await job.join(FUSE_S)
    job.rerun()
    assert job.status in (Status.PENDING, Status.RUNNING)
    await job.cancel()
    await engine.remove(job)
    assert len(engine.jobs) == 0


async def test_submit_async_returns_without_waiting_for_the_end(engine: Engine, gate: Gate) -> None:
    job = ThreadJob(gate.wait)

    assert await engine.submit_async(job) is job

    assert not job.ended
    gate.open()
    await job


async def test_jobs_can_be_submitted_from_other_threads(engine: Engine) -> None:
    def submit() -> list[Job]:
        return [engine.submit(ThreadJob(add, (i, i))) for i in range(20)]

    batches = await asyncio.gather(*(asyncio.to_thread(submit) for _ in range(4)))
    await engine.join()

    assert [job.result() for batch in batches for job in batch] == [2 * i for i in range(20)] * 4


async def test_jobs_can_be_submitted_cancelled_and_rerun_from_callbacks(engine: Engine) -> None:
    done = asyncio.Event()
    followers: list[Job] = []

    def follow(result: int) -> None:
        follower = engine.submit(ThreadJob(add, (result, 1)))
        followers.append(follower)
        other = engine.submit(LocalJob(asyncio.sleep, (3600,)))
        other.cancel()
        done.set()

    engine.submit(ThreadJob(add, (1, 2), callback=follow))
    await asyncio.wait_for(done.wait(), FUSE_S)

    assert await followers[0] == 4


async def test_a_job_of_another_engine_is_refused(engine: Engine) -> None:
    async with Engine(threaded=False) as other:
        theirs = other.submit(ThreadJob(add, (1, 2)))
        await theirs
        with pytest.raises(InvalidStateError, match="another engine"):
            engine.submit(theirs)
        with pytest.raises(InvalidStateError, match="another engine"):
            engine.cancel(theirs)
        with pytest.raises(InvalidStateError, match="another engine"):
            engine.submit(ThreadJob(print, (theirs.future,)))


# -- callbacks and observers


async def test_callbacks_are_called_once_on_the_users_loop(engine: Engine) -> None:
    heard: list[tuple[object, int]] = []
    all_heard = asyncio.Event()

    async def later(value: object) -> None:
        now(value)

    def now(value: object) -> None:
        heard.append((str(value), threading.get_ident()))
        if len(heard) == 4:
            all_heard.set()

    good = ThreadJob(add, (1, 2), callback=now, error_callback=pytest.fail)
    good.future.add_done_callback(later)
    bad = ThreadJob(boom, callback=pytest.fail, error_callback=now, retries=1)
    bad.future.add_error_callback(later)
    engine.submit(good, bad)
    await engine.join()
    await asyncio.wait_for(all_heard.wait(), FUSE_S)

    here = threading.get_ident()
    assert sorted(heard) == [("3", here), ("3", here), ("no", here), ("no", here)]


async def test_a_callback_that_raises_changes_nothing(engine: Engine) -> None:
    def raising(value: object) -> None:
        raise RuntimeError("in the callback")

    good = engine.submit(ThreadJob(add, (1, 2), callback=raising))
    bad = engine.submit(ThreadJob(boom, error_callback=raising))
    await engine.join()

    assert good.status is Status.DONE
    assert bad.status is Status.FAILED


async def test_observers_hear_on_the_users_loop_before_await_returns(engine: Engine) -> None:
    heard: list[tuple[str, int]] = []
    job = ThreadJob(add, (1, 2))
    job.observe(lambda change: heard.append((str(change.new), threading.get_ident())), "status")

    await engine.submit(job)

    assert heard[-1] == ("done", threading.get_ident())
    assert {thread for _, thread in heard} == {threading.get_ident()}


async def test_an_observer_that_raises_stops_no_other(engine: Engine) -> None:
    heard: list[str] = []

    def bad(change: object) -> None:
        raise RuntimeError("in the observer")

    job = ThreadJob(add, (1, 2))
    job.observe(bad, "status")
    job.observe(lambda change: heard.append(change.new), "status")
    await engine.submit(job)

    assert heard[-1] == "done"


async def test_what_was_coalesced_ends_on_the_last_value(engine: Engine) -> None:
    def steps() -> None:
        for i in range(101):
            report(i / 100, f"step {i}")

    heard: list[float] = []
    job = ThreadJob(steps)
    job.observe(lambda change: heard.append(change.new), "progress")
    await engine.submit(job)

    assert heard[-1] == 1.0
    assert job.message == "step 100"


async def test_progress_drives_a_widget_through_dlink_and_link_is_refused(engine: Engine) -> None:
    import traitlets

    class Bar(traitlets.HasTraits):
        value = traitlets.Any()

    bar = Bar()
    job = ThreadJob(partial(report, 0.5))
    traitlets.dlink((job, "progress"), (bar, "value"))
    with pytest.raises(TypeError, match="dlink"):
        traitlets.link((job, "progress"), (bar, "value"))
    await engine.submit(job)

    assert bar.value == 1.0


async def test_outcomes_are_read_only_and_inputs_are_fixed_at_submit(engine: Engine) -> None:
    job = ThreadJob(add, (1, 2))
    job.priority = 5
    job.name = "renamed"
    await engine.submit(job)

    assert job.name == "renamed"
    with pytest.raises(InvalidStateError, match="status of job 'renamed' is set by its engine only"):
        job.status = "failed"
    with pytest.raises(InvalidStateError, match="progress of job 'renamed' is set by its engine only"):
        job.progress = 0.5
    with pytest.raises(InvalidStateError, match="name of job 'renamed' was fixed"):
        job.name = "again"


async def test_hold_trait_notifications_loses_nothing(engine: Engine) -> None:
    job = ThreadJob(add, (1, 2))
    with job.hold_trait_notifications():
        await engine.submit(job)

    assert job.status is Status.DONE


# -- waiting


async def test_stopping_the_wait_leaves_the_job_alone(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    for wait in (job.join(), _wait(job)):
        task = asyncio.ensure_future(wait)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(TimeoutError):
        await job.join(timeout=0.01)

    assert job.status is Status.RUNNING
    gate.open()
    await job


async def _wait(job: Job) -> object:
    return await job


async def test_gather_and_timeouts_compose(engine: Engine) -> None:
    jobs = engine.submit(*(ThreadJob(add, (i, 1)) for i in range(5)))

    assert await asyncio.gather(*map(_wait, jobs.values())) == [1, 2, 3, 4, 5]
    async with asyncio.timeout(FUSE_S):
        assert (await jobs) is jobs


async def test_wait_until_status_times_out_and_refuses_nonsense(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    with pytest.raises(TimeoutError):
        await job.wait_until_status("done", 0.01)
    with pytest.raises(InvalidOption, match="one of created"):
        await job.wait_until_status("finished")
    gate.open()
    await job


async def test_a_job_can_be_awaited_on_another_loop(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    elsewhere = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(_wait(job))))
    await gate.came()
    gate.open()

    assert await elsewhere is None


async def test_a_group_is_a_mapping_by_id_and_a_list_by_order(engine: Engine) -> None:
    group = engine.submit(*(ThreadJob(add, (i, 0), name=f"n{i}") for i in range(5)))
    await group

    assert [job.name for job in group.values()] == ["n0", "n1", "n2", "n3", "n4"]
    assert list(group) == group.values()
    assert group.keys() == [job.id for job in group]
    assert group.items() == [(job.id, job) for job in group]
    assert dict(group)[group[0].id] is group[0]
    assert group.get("nobody") is None
    assert group[0] is group[group[0].id]
    assert [job.name for job in group[1:3].values()] == ["n1", "n2"]
    assert group[-1].name == "n4"
    assert group.results() == [0, 1, 2, 3, 4]
    assert len(engine.jobs.done) == 5
    assert engine.jobs.get_job_by_id(group[2].id) is group[2]
    assert engine.jobs.named("n3") is group[3]


async def test_results_raise_the_first_error_or_return_it(engine: Engine) -> None:
    group = engine.submit(ThreadJob(add, (1, 2)), ThreadJob(boom))
    await group

    with pytest.raises(ValueError, match="no"):
        group.results()
    three, error = group.results(errors="return")
    assert three == 3
    assert isinstance(error, ValueError)


async def test_the_views_follow_the_statuses(engine: Engine, gate: Gate) -> None:
    job = engine.submit(ThreadJob(gate.wait))
    await gate.came()
    await job.wait_until_status("running", FUSE_S)
    assert list(engine.jobs.running) == [job]
    gate.open()
    await job

    assert list(engine.jobs.done) == [job]
    assert len(engine.jobs.running) == len(engine.jobs.failed) == len(engine.jobs.created) == 0


@pytest.mark.parametrize("wanted", ["nobody", 17, None])
async def test_an_unknown_job_is_named(engine: Engine, wanted: object) -> None:
    with pytest.raises((JobNotFoundError, IndexError)):
        engine.jobs[wanted]  # type: ignore[index]
    with pytest.raises(JobNotFoundError, match="nobody"):
        engine.jobs.named("nobody")
    with pytest.raises(JobNotFoundError):
        engine.cancel("nobody")  # type: ignore[arg-type]


# -- limits


async def test_never_more_run_than_allowed_and_as_many_as_allowed(engine: Engine) -> None:
    engine.max_jobs = 3
    most, now, lock = 0, 0, threading.Lock()
    full = threading.Event()

    def count() -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
            if now == 3:
                full.set()
        full.wait(FUSE_S)
        with lock:
            now -= 1

    engine.submit(*(ThreadJob(count) for _ in range(12)))
    await engine.join()

    assert most == 3


async def test_limits_of_backends_and_queues_hold_and_can_change_while_running(engine: Engine, gate: Gate) -> None:
    engine.set_limit(1, queue="gpu")
    engine.set_limit(2, backend="thread")
    gpu = [ThreadJob(gate.wait, queue="gpu") for _ in range(2)]
    rest = [ThreadJob(gate.wait) for _ in range(2)]
    engine.submit(*gpu, *rest)
    await gate.came(2)
    assert [job.status for job in (*gpu, *rest)].count(Status.RUNNING) <= 2

    engine.set_limit(None, backend="thread")
    await gate.came(1)
    await rest[1].wait_until_status("running", FUSE_S)
    assert gpu[1].status is Status.PENDING
    assert gpu[1].waiting_for == "slot"
    gate.open()
    await engine.join()


@pytest.mark.parametrize("limit", [0, -3, 2.5, "many", True])
async def test_limits_that_make_no_sense_are_refused(engine: Engine, limit: object) -> None:
    with pytest.raises(InvalidOption, match="whole number from 1"):
        engine.max_jobs = limit  # type: ignore[assignment]
    with pytest.raises(InvalidOption, match="whole number from 1"):
        EngineSetting(max_thread_jobs=limit)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="one of"):
        engine.set_limit(2, backend="cloud")


async def test_a_higher_priority_starts_first(engine: Engine, gate: Gate) -> None:
    engine.max_jobs = 1
    order: list[str] = []
    engine.submit(ThreadJob(gate.wait))
    await gate.came()
    engine.submit(
        *(ThreadJob(order.append, (name,), priority=p) for name, p in (("low", -1), ("usual", 0), ("high", 1)))
    )
    gate.open()
    await engine.join()

    assert order == ["high", "usual", "low"]


async def test_slots_survive_everything_that_can_raise(engine: Engine) -> None:
    engine.max_jobs = 2

    class Bad(Condition):
        def satisfy(self, engine: object) -> bool:
            raise RuntimeError

    jobs = [ThreadJob(boom), LocalJob(boom), ThreadJob(sys.exit), LocalJob(sys.exit), ThreadJob(boom, condition=Bad())]
    jobs += [LocalJob(asyncio.sleep, (3600,), timeout=0.01), ThreadJob(add, (1, 2), callback=boom)]
    engine.submit(*jobs)
    await engine.join()

    assert engine.scheduler.total.used == 0
    assert engine.scheduler.holding == frozenset()


# -- what jobs say and print


async def test_each_job_has_its_own_log_and_nothing_else_is_touched(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    def chat(name: str) -> None:
        for i in range(50):
            print(name, i)
            print(name, i, file=sys.stderr)

    jobs = engine.submit(*(ThreadJob(chat, (f"job{i}",)) for i in range(8)), LocalJob(chat, ("local",)))
    print("a cell's own line")
    await jobs

    assert capsys.readouterr().out == "a cell's own line\n"
    for job in jobs.values():
        name = job.args[0]
        assert job.log.lines() == [f"{name} {i}" for i in range(50) for _ in range(2)]


async def test_a_log_can_be_read_while_the_job_runs(engine: Engine, gate: Gate) -> None:
    def work() -> None:
        print("before")
        gate.wait()
        print("after")

    job = engine.submit(ThreadJob(work))
    await gate.came()
    assert job.log.text() == "before\n"
    gate.open()
    await job

    assert job.log.text() == "before\nafter\n"


async def test_current_job_is_the_one_that_runs_here(engine: Engine) -> None:
    def who() -> tuple[str, str, int]:
        job = current_job()
        assert job is not None
        return job.id, job.name, job.attempt

    for kind in KINDS:
        job = engine.submit(kind(who, name="me"))
        assert await job == (job.id, "me", 1)
    assert current_job() is None
    report(0.5, "outside of a job this does nothing")


async def test_progress_outside_of_its_range_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidOption, match="0 to 1"):
        await engine.submit(ThreadJob(report, (17,)))


async def test_tqdm_fills_the_progress(engine: Engine) -> None:
    def loop() -> float | None:
        from tqdm import tqdm

        for _ in tqdm(range(50), mininterval=0, desc="epochs"):
            pass
        return None

    seen: list[float] = []
    job = ThreadJob(loop)
    job.observe(lambda change: seen.append(change.new), "progress")
    await engine.submit(job)

    assert seen[-1] == 1.0
    assert job.message.startswith("epochs")


async def test_context_variables_of_the_submitter_are_seen_by_the_job(engine: Engine) -> None:
    where = contextvars.ContextVar("where", default="nowhere")
    where.set("here")

    for kind in KINDS:
        assert await engine.submit(kind(where.get)) == "here"


# -- life of the engine


async def test_a_stopped_engine_marks_what_was_running_and_can_be_started_again(engine: Engine) -> None:
    job = engine.submit(LocalJob(asyncio.sleep, (3600,)))
    waiting = engine.submit(ThreadJob(add, (1, 2), condition=AfterAnother(job.id)))
    await job.wait_until_status("running", FUSE_S)

    await engine.stop()

    assert (job.status, job.reason) == (Status.CANCELLED, "shutdown")
    assert (waiting.status, waiting.reason) == (Status.CANCELLED, "shutdown")
    engine.start()
    assert await engine.submit(ThreadJob(add, (1, 2))) == 3
    waiting.rerun()
    assert await waiting == 3


async def test_starting_or_stopping_twice_only_warns(engine: Engine) -> None:
    heard: list[str] = []
    sink = logger.add(heard.append, level="WARNING", format="{message}")
    try:
        engine.start()
        await engine.stop()
        await engine.stop()
    finally:
        logger.remove(sink)

    assert len(heard) == 2


def test_in_a_script_the_engine_has_a_thread_of_its_own() -> None:
    with Engine(EngineSetting(print_traceback=False, echo=False)) as engine:
        one = LocalJob(add, (1, 2))
        two = ThreadJob(add, (one.future, 4))
        engine.submit(two, one)
        assert engine.wait()
        assert two.result() == 7
        assert engine.wait_job(engine.submit(ThreadJob(boom))) is None
        assert engine.wait_job(engine.submit(ThreadJob(add, (1, 1)))) == 2
        where = engine.wait_job(engine.submit(LocalJob(threading.get_ident)))
        assert where != threading.get_ident()
    assert not [each for each in threading.enumerate() if each.name.startswith("ipyjobs")]
    with pytest.raises(EngineNotRunning, match="with Engine"):
        engine.submit(ThreadJob(add, (1, 2)))


def test_wait_returns_at_its_timeout(gate: Gate) -> None:
    with Engine(EngineSetting(echo=False)) as engine:
        job = engine.submit(ThreadJob(gate.wait))
        assert engine.wait(timeout=0.01) is False
        gate.open()
        assert engine.wait(timeout=FUSE_S) is True
        assert job.ended


def test_without_a_loop_submit_says_what_to_do() -> None:
    job = ThreadJob(add, (1, 2))
    with pytest.raises(RuntimeError, match=r"engine.start\(\)"):
        Engine().submit(job)
    assert job.status is Status.CREATED


def test_an_engine_made_at_top_level_works_in_two_asyncio_runs() -> None:
    engine = Engine(EngineSetting(echo=False))

    async def main() -> int:
        job = LocalJob(add, (1, 2))
        await engine.submit_async(job)
        await engine.join()
        return job.result()

    assert asyncio.run(main()) == 3
    assert asyncio.run(main()) == 3


async def test_in_a_forked_child_the_engine_is_dead() -> None:
    engine = Engine(threaded=False)
    async with engine:
        receiver, sender = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                engine.cancel_all()
            except EngineForked as error:
                os.write(sender, str(error).encode())
            finally:
                os._exit(0)
        os.close(sender)
        os.waitpid(pid, 0)
        said = os.read(receiver, 1000).decode()
        os.close(receiver)

    assert f"engine belongs to pid {os.getpid()}" in said


# -- two loops: what goes on while a cell blocks


@pytest.fixture
async def threaded() -> object:
    engine = Engine(EngineSetting(print_traceback=False, echo=False), threaded=True).start()
    yield engine
    await engine.stop()


async def test_a_blocking_wait_drains_the_mailbox(threaded: Engine) -> None:
    heard: list[str] = []
    asked: list[int] = []

    class Second(Condition):
        def satisfy(self, engine: object) -> bool:
            asked.append(1)
            return len(asked) == 2

    local = LocalJob(add, (1, 2), callback=lambda value: heard.append("callback"))
    local.observe(lambda change: heard.append("observer"), "status")
    down = ThreadJob(add, (local.future, 1), condition=Second(), wait_time_delta=0.01)
    threaded.submit(local, down)

    assert threaded.wait(FUSE_S)

    assert down.result() == 4
    assert {"callback", "observer"} <= set(heard)


async def test_jobs_start_and_end_while_the_users_loop_stands_still(threaded: Engine) -> None:
    ended = threading.Event()
    up = ThreadJob(add, (1, 2))
    down = ThreadJob(ended.set, condition=AfterAnother(up.id))
    threaded.submit(up, down)

    assert ended.wait(FUSE_S)  # this very thread blocks the user's loop


async def test_blocking_for_a_coroutine_of_this_loop_is_refused_with_the_way_out(threaded: Engine) -> None:
    job = threaded.submit(LocalJob(asyncio.sleep, (0.01,)))
    after = threaded.submit(ThreadJob(add, (1, 2), condition=AfterAnother(job.id)))
    for wait in (threaded.wait, lambda: threaded.wait_job(after), threaded.jobs.wait):
        with pytest.raises(DeadlockError, match="await"):
            wait()

    assert await after == 3


async def test_blocking_on_the_engines_own_loop_is_refused_with_the_way_out() -> None:
    async with Engine(EngineSetting(echo=False), threaded=False) as engine:
        job = engine.submit(ThreadJob(add, (1, 2)))
        with pytest.raises(DeadlockError, match="await"):
            engine.wait()
        assert await job == 3


async def test_a_local_job_that_waits_for_itself_is_refused(threaded: Engine) -> None:
    job = LocalJob(lambda: threaded.wait_job(job))
    threaded.submit(job)
    with pytest.raises(DeadlockError, match="cannot wait for itself"):
        await job


async def test_a_local_job_may_block_for_a_thread_job(threaded: Engine) -> None:
    def nested() -> int:
        return threaded.wait_job(threaded.submit(ThreadJob(add, (1, 2))))

    assert await threaded.submit(LocalJob(nested)) == 3


async def test_an_interrupt_stops_the_waiting_and_not_the_job(threaded: Engine, gate: Gate) -> None:
    job = threaded.submit(ThreadJob(gate.wait))
    await gate.came()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            threaded.wait()
    finally:
        signal.signal(signal.SIGINT, before)

    assert job.status is Status.RUNNING
    gate.open()
    await job


async def test_the_stop_button_ends_a_local_function_that_holds_the_loop(threaded: Engine) -> None:
    def hold() -> None:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        time.sleep(FUSE_S)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as between the cells of a kernel
    try:
        job = threaded.submit(LocalJob(hold))
        started = time.monotonic()
        await job.join(FUSE_S)
    finally:
        signal.signal(signal.SIGINT, before)

    assert (job.status, job.reason) == (Status.CANCELLED, "user")
    assert time.monotonic() - started < FUSE_S / 2
