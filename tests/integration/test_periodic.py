"""Jobs that wait for a time, and jobs that submit others at times, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from ipyjobs import (
    AfterAnother,
    AfterClock,
    AfterTimepoint,
    BeforeTimepoint,
    Condition,
    CronJob,
    Engine,
    EngineSetting,
    EveryPeriod,
    InvalidOption,
    Job,
    JobCancelled,
    LocalJob,
    ProcessJob,
    SentinelJob,
    Status,
    ThreadJob,
    after_clock,
    cron,
    daily,
    every,
    hourly,
)
from ipyjobs.clocks import RELOOK_S, Clock
from tests.integration.conftest import Gate
from tests.times import HandClock, berlin, in_berlin

TZ = "Europe/Berlin"


class Loop(asyncio.SelectorEventLoop):
    """A loop whose time passes when we say so."""

    ahead_s = 0.0

    def time(self) -> float:
        return self.ahead_s


class Days:
    """An engine whose days pass at once; it is looked at only when it has asked to be."""

    def __init__(self, start: str = "2026-03-24 09:00", max_jobs: int | None = 20) -> None:
        self.loop = Loop()
        self.clock = HandClock(berlin(start))
        self.engine = Engine(EngineSetting(max_jobs=max_jobs, print_traceback=False, echo=False), threaded=False)
        self.engine.clock = self.clock
        self.looks = 0
        self.do(self.engine.start)

    def do(self, action: Callable[[], Any]) -> Any:
        """Call on the loop, then let everything settle."""

        async def run() -> Any:
            try:
                return action()
            finally:
                for _ in range(8):
                    await asyncio.sleep(0)

        return self.loop.run_until_complete(run())

    def submit(self, job: Job) -> Any:
        return self.do(lambda: self.engine.submit(job))

    def pass_to(self, end: str) -> None:
        """Time passes until then, and each alarm goes off at its time."""
        last = self.loop.ahead_s + berlin(end) - self.clock.now()
        while (at := self.engine.scheduler.next_at()) is not None and at <= last:
            self.looks += 1
            self._move(max(at, self.loop.ahead_s))
        self._move(last)

    def block_until(self, end: str) -> None:
        """Time passes while nothing on the loop gets a turn."""
        self._move(self.loop.ahead_s + berlin(end) - self.clock.now())

    def sleep_until(self, end: str) -> None:
        """The machine sleeps: of all clocks only the loop's stands still."""
        self.clock.pass_to(berlin(end))
        self.do(self.clock.jump)

    def set_clock(self, to: str) -> None:
        self.do(lambda: self.clock.set_to(berlin(to)))

    def times(self, sentinel: Job) -> list[str]:
        return [in_berlin(at) for at in self.submitted[sentinel.name]]

    def note_times(self) -> None:
        """Remember when, on our clock, each job is submitted."""
        self.submitted: dict[str, list[float]] = {}
        seen: set[str] = set()

        def listen(job: Job) -> None:
            if job.id not in seen and job.status is not Status.CREATED:
                seen.add(job.id)
                self.submitted.setdefault(job.origin, []).append(self.clock.now())

        self.engine.flow.listeners.append(listen)

    def _move(self, to_s: float) -> None:
        step = to_s - self.loop.ahead_s
        self.loop.ahead_s = to_s
        self.clock.pass_to(self.clock.now() + step)
        self.do(lambda: None)

    def close(self) -> None:
        self.loop.run_until_complete(_stop(self.engine))
        self.loop.close()


async def _stop(engine: Engine) -> None:
    await engine.stop()


@pytest.fixture
def days() -> Iterator[Days]:
    days = Days()
    days.note_times()
    yield days
    days.close()
    assert days.clock.watched == 0


def nothing() -> None:
    return None


# -- jobs that wait for a time


@pytest.mark.row("E-17")
def test_a_job_starts_at_its_time_and_is_asked_twice(days: Days) -> None:
    job = days.submit(LocalJob(nothing, condition=AfterTimepoint(datetime(2026, 3, 24, 18), TZ)))  # noqa: DTZ001
    assert job.waiting_for == "condition"
    assert days.engine.waiting_text(job) == "waits for its time"
    assert in_berlin(job.next_at) == "Tue 24 18:00:00 +01"

    days.pass_to("2026-03-24 17:59:59")
    assert job.status is Status.PENDING
    assert days.looks == 0
    days.pass_to("2026-03-24 18:00")

    assert job.status is Status.DONE
    assert job.next_at is None
    assert days.looks == 1


@pytest.mark.row("E-49")
def test_a_time_and_a_job_are_both_waited_for(days: Days) -> None:
    up = LocalJob(nothing, condition=AfterClock("15:00", TZ))
    down = LocalJob(nothing, condition=AfterAnother(up.id) & AfterClock("12:00", TZ))
    either = LocalJob(nothing, condition=AfterAnother(up.id) | AfterClock("12:00", TZ))
    days.do(lambda: days.engine.submit(down, either, up))

    days.pass_to("2026-03-24 12:00")
    assert (down.status, either.status) == (Status.PENDING, Status.DONE)
    days.pass_to("2026-03-24 15:00")

    assert (up.status, down.status) == (Status.DONE, Status.DONE)


def test_two_jobs_that_share_a_period_each_wait_for_it(days: Days) -> None:
    shared = EveryPeriod("1h")
    first = days.submit(LocalJob(nothing, condition=shared))
    days.pass_to("2026-03-24 09:30")
    second = days.submit(LocalJob(nothing, condition=shared))

    days.pass_to("2026-03-24 10:00")
    assert (first.status, second.status) == (Status.DONE, Status.PENDING)
    days.pass_to("2026-03-24 10:30")

    assert second.status is Status.DONE


def test_a_rerun_waits_for_its_period_again(days: Days) -> None:
    job = days.submit(LocalJob(nothing, condition=EveryPeriod("1h")))
    days.pass_to("2026-03-24 10:00")

    days.do(job.rerun)
    assert job.status is Status.PENDING
    days.pass_to("2026-03-24 11:00")

    assert job.status is Status.DONE


def test_a_clock_that_is_set_forward_starts_what_waited_for_it(days: Days) -> None:
    job = days.submit(LocalJob(nothing, condition=AfterClock("15:00", TZ)))

    days.set_clock("2026-03-24 16:00")

    assert job.status is Status.DONE


def test_a_clock_that_is_set_back_is_waited_for_anew(days: Days) -> None:
    job = days.submit(LocalJob(nothing, condition=AfterClock("15:00", TZ)))
    days.pass_to("2026-03-24 14:59")

    days.set_clock("2026-03-24 13:00")
    days.pass_to("2026-03-24 14:59")
    assert job.status is Status.PENDING
    days.pass_to("2026-03-24 15:00")

    assert job.status is Status.DONE


def test_the_clock_is_watched_only_while_somebody_waits_for_a_time(days: Days) -> None:
    job = days.submit(LocalJob(nothing, condition=AfterClock("15:00", TZ)))
    assert days.clock.watched == 1

    days.do(job.cancel)
    days.submit(LocalJob(nothing))

    assert days.clock.watched == 0


# -- sentinels


@pytest.mark.row("F-24")
@pytest.mark.row("E-47")
def test_daily_after_noon_submits_a_job_a_day_at_noon_across_the_change_to_summer_time(days: Days) -> None:
    job = days.submit(CronJob(nothing, daily & after_clock("12:00", TZ), "local"))

    days.pass_to("2026-03-31 11:00")

    assert days.times(job) == [
        "Tue 24 12:00:00 +01", "Wed 25 12:00:00 +01", "Thu 26 12:00:00 +01", "Fri 27 12:00:00 +01",
        "Sat 28 12:00:00 +01", "Sun 29 13:00:00 +02", "Mon 30 13:00:00 +02",
    ]  # fmt: skip
    assert days.looks <= 2 * 8


@pytest.mark.parametrize(
    ("start", "end", "times"),
    [
        ("2026-03-28 00:00", "2026-03-30 12:00", ["Sat 28 02:30:00 +01", "Sun 29 03:00:00 +02", "Mon 30 02:30:00 +02"]),
        ("2026-10-24 00:00", "2026-10-26 12:00", ["Sat 24 02:30:00 +02", "Sun 25 02:30:00 +02", "Mon 26 02:30:00 +01"]),
    ],
)
def test_a_cron_time_comes_once_on_the_days_that_change_the_clock(start: str, end: str, times: list[str]) -> None:
    days = Days(start)
    days.note_times()
    job = days.submit(CronJob(nothing, cron("30 2 * * *", TZ), "local"))

    days.pass_to(end)

    assert days.times(job) == times
    assert days.looks == 3
    days.close()


@pytest.mark.parametrize("condition", [every("5m"), cron("*/5 * * * *", TZ)], ids=["every", "cron"])
@pytest.mark.parametrize("how", [Days.sleep_until, Days.block_until], ids=["machine asleep", "loop blocked"])
def test_what_was_missed_is_made_up_for_once(
    days: Days, how: Callable[[Days, str], None], condition: Condition
) -> None:
    job = days.submit(CronJob(nothing, condition, "local"))
    days.pass_to("2026-03-24 09:10")

    how(days, "2026-03-24 17:32")
    days.pass_to("2026-03-24 17:45")

    assert [each[7:15] for each in days.times(job)] == [
        "09:05:00", "09:10:00", "17:32:00", "17:35:00", "17:40:00", "17:45:00",
    ]  # fmt: skip


def test_a_period_does_not_drift_in_five_hundred_runs(days: Days) -> None:
    job = days.submit(CronJob(nothing, every("7s"), "local"))

    days.pass_to("2026-03-24 10:00")

    times = days.submitted[job.name]
    assert len(times) == 3600 // 7
    assert max(abs(at - times[0] - 7 * number) for number, at in enumerate(times)) < 1e-4


@pytest.mark.row("F-31")
def test_two_crons_that_share_a_condition_both_submit(days: Days) -> None:
    shared = every("10m")
    first, second = CronJob(nothing, shared, "local"), CronJob(len, shared, "local", args=("",))
    days.do(lambda: days.engine.submit(first, second))

    days.pass_to("2026-03-24 10:00")

    assert (first.message, second.message) == ("6 runs", "6 runs")


def test_a_condition_that_goes_on_holding_submits_once_each_time_it_begins(days: Days) -> None:
    job = days.submit(CronJob(nothing, after_clock("12:00", TZ), "local"))

    days.pass_to("2026-03-26 23:00")

    assert [each[:12] for each in days.times(job)] == ["Tue 24 12:00", "Wed 25 12:00", "Thu 26 12:00"]


def test_a_sentinel_whose_time_is_over_is_done_and_says_how_often_it_submitted(days: Days) -> None:
    end = BeforeTimepoint(datetime(2026, 3, 24, 12), TZ)  # noqa: DTZ001
    job = days.submit(CronJob(nothing, hourly & end, "local"))

    days.pass_to("2026-03-24 13:00")

    assert job.status is Status.DONE
    assert job.result() == 2
    assert [each[7:12] for each in days.times(job)] == ["10:00", "11:00"]


def test_what_goes_on_holding_submits_nothing_when_it_is_asked_again(days: Days) -> None:
    at_noon = days.submit(CronJob(nothing, after_clock("12:00", TZ), "local"))
    first, second = LocalJob(nothing), LocalJob(lambda: 1 / 0)
    either = AfterAnother(first) | AfterAnother(second, statuses=["done"])
    after_either = days.submit(SentinelJob(nothing, either, "local"))
    days.submit(first)
    days.pass_to("2026-03-24 12:30")

    days.set_clock("2026-03-24 12:45")
    days.submit(second)

    assert (at_noon.count, after_either.count) == (1, 1)


@pytest.mark.row("E-48")
def test_a_sentinel_submits_once_for_each_end_of_a_job(days: Days) -> None:
    watched = LocalJob(nothing)
    sentinel = days.submit(SentinelJob(nothing, AfterAnother(watched), "local"))
    assert sentinel.message == ""

    days.submit(watched)
    days.pass_to("2026-03-24 10:00")
    assert sentinel.message == "1 run"
    days.do(watched.rerun)

    assert sentinel.message == "2 runs"
    assert days.looks == 0


def test_what_comes_next_is_shown_and_counted(days: Days) -> None:
    job = days.submit(CronJob(nothing, cron("0 9 * * mon-wed", TZ), "local"))
    assert in_berlin(job.next_at) == "Wed 25 09:00:00 +01"

    days.pass_to("2026-03-25 10:00")
    assert in_berlin(job.next_at) == "Mon 30 09:00:00 +02"
    assert job.record().message == "1 run"
    assert job.record().next_at == job.next_at
    days.do(job.cancel)

    assert job.next_at is None


def test_a_cancelled_sentinel_submits_no_more_until_it_is_run_again(days: Days) -> None:
    job = days.submit(CronJob(nothing, every("1h"), "local"))
    days.pass_to("2026-03-24 10:30")

    days.do(job.cancel)
    days.pass_to("2026-03-24 12:15")
    assert job.status is Status.CANCELLED
    assert len(days.times(job)) == 1
    days.do(job.rerun)
    days.pass_to("2026-03-24 13:20")

    assert [each[7:12] for each in days.times(job)] == ["10:00", "13:15"]
    assert job.message == "1 run"


def test_a_sentinel_is_run_again_after_its_engine_was_stopped(days: Days) -> None:
    job = days.submit(CronJob(nothing, every("1h"), "local"))
    days.loop.run_until_complete(_stop(days.engine))
    assert (job.status, job.reason) == (Status.CANCELLED, "shutdown")
    assert days.clock.watched == 0

    days.do(days.engine.start)
    days.do(job.rerun)
    days.pass_to("2026-03-24 11:00")

    assert job.count == 2


def test_a_job_that_fails_does_not_end_its_sentinel(days: Days) -> None:
    job = days.submit(CronJob(lambda: 1 / 0, every("1h"), "local"))

    days.pass_to("2026-03-24 12:00")

    assert job.status is Status.RUNNING
    assert len(days.engine.jobs.failed) == 3


@pytest.mark.row("F-31")
def test_sentinels_hold_no_slot_of_the_jobs_that_they_submit() -> None:
    days = Days(max_jobs=1)
    days.do(lambda: (days.engine.set_limit(1, backend="local"), days.engine.set_limit(1, queue="default")))
    job = days.submit(CronJob(nothing, every("1h"), "local"))

    days.pass_to("2026-03-24 12:00")

    assert len(days.engine.jobs.done) == 3
    assert days.engine.scheduler.total.used == 0
    assert job.status is Status.RUNNING
    days.close()


@pytest.mark.row("E-21")
def test_a_condition_of_the_users_own_is_asked_every_time_delta_and_submits_whenever_it_holds(days: Days) -> None:
    answers = iter([False, True, True, False])

    class Mine(Condition):
        def satisfy(self, engine: Engine) -> bool:
            assert engine is days.engine
            return next(answers, False)

    job = days.submit(SentinelJob(nothing, Mine(), "local", time_delta=60.0))

    days.pass_to("2026-03-24 09:10")

    assert [each[7:15] for each in days.times(job)] == ["09:01:00", "09:02:00"]
    assert days.looks == 10


def test_a_users_condition_that_raises_fails_the_sentinel(days: Days) -> None:
    class Mine(Condition):
        def satisfy(self, engine: object) -> bool:
            raise ZeroDivisionError("mine")

    job = days.submit(SentinelJob(nothing, Mine(), "local"))

    assert job.status is Status.FAILED
    with pytest.raises(ZeroDivisionError, match="mine"):
        job.result()


def test_a_users_condition_that_uses_ours_is_asked_as_in_a_combination(days: Days) -> None:
    class Mine(Condition):
        inner = EveryPeriod("1h")

        def satisfy(self, engine: object) -> bool:
            return self.inner.satisfy(engine)

    job = days.submit(SentinelJob(nothing, Mine(), "local", time_delta=600.0))

    days.pass_to("2026-03-24 12:05")

    assert [each[7:12] for each in days.times(job)] == ["10:00", "11:00", "12:00"]


def test_a_sentinel_may_wait_for_its_own_start_and_for_a_timeout(days: Days) -> None:
    own = {"condition": AfterClock("12:00", TZ), "timeout": 7000.0}
    job = days.submit(CronJob(nothing, every("1h"), "local", sentinel_attrs=own))
    days.pass_to("2026-03-24 11:00")
    assert job.status is Status.PENDING

    days.pass_to("2026-03-24 13:30")
    assert len(days.times(job)) == 1
    days.block_until("2026-03-24 13:57")

    assert (job.status, job.reason) == (Status.FAILED, "timeout")


def test_where_no_event_tells_of_it_a_clock_that_was_set_is_found_by_looking() -> None:
    days = Days()
    days.engine.clock = Looked(days.clock)
    job = days.submit(LocalJob(nothing, condition=AfterClock("15:00", TZ)))
    days.clock.set_to(berlin("2026-03-24 16:00"))

    days.loop.ahead_s += RELOOK_S / 2
    days.do(lambda: None)
    assert job.status is Status.PENDING
    days.loop.ahead_s += RELOOK_S / 2
    days.do(lambda: None)

    assert job.status is Status.DONE
    days.close()


class Looked(Clock):
    """A clock that moves by hand on a system that tells of nothing."""

    def __init__(self, hand: HandClock) -> None:
        self.now, self.elapsed = hand.now, hand.elapsed  # type: ignore[method-assign]

    def watch(self, loop: asyncio.AbstractEventLoop, jumped: Callable[[], None]) -> Callable[[], None]:
        from ipyjobs import clocks

        return clocks._watch_by_looking(self, loop, jumped)


# -- on real clocks, in both modes


@pytest.mark.skipif(sys.platform != "linux", reason="the event is Linux's")
async def test_the_systems_clock_is_watched_by_an_event_that_costs_nothing() -> None:
    loop = asyncio.get_running_loop()

    end = Clock().watch(loop, lambda: None)

    readers = [key.fd for key in loop._selector.get_map().values()]  # type: ignore[attr-defined]
    assert len(readers) == 2, "the loop's own and the clock's"
    end()
    assert len(loop._selector.get_map()) == 1  # type: ignore[attr-defined]


@pytest.mark.row("E-48")
@pytest.mark.parametrize("kind", ["process", "thread", "local", ThreadJob])
async def test_a_sentinel_submits_jobs_of_any_kind(engine: Engine, kind: Any) -> None:
    job = CronJob(divmod, every("0.05s"), kind, args=(7, 2), group="halves", tags=["cron"])
    engine.submit(job)

    await job.wait_until(lambda job: job.count >= 2, timeout=20)
    await job.cancel()

    runs = engine.jobs.group("halves")
    await runs
    assert runs.results() == [(3, 1)] * len(runs)
    assert job.name == "cron-sentinel-divmod"
    assert {run.origin for run in runs} == {job.name}
    assert {run.tags for run in runs} == {("cron",)}
    assert {run.name for run in runs} == {"divmod"}
    assert {type(run) for run in runs} == {kind if isinstance(kind, type) else type(runs[0])}
    assert isinstance(job, LocalJob)


@pytest.mark.row("E-48")
async def test_sentinels_are_named_after_their_function(engine: Engine) -> None:
    def report() -> None: ...

    assert SentinelJob(report, every("1h")).name == "sentinel-report"
    assert CronJob(report, every("1h")).name == "cron-sentinel-report"
    assert CronJob(report, every("1h"), sentinel_attrs={"name": "mine"}).name == "mine"


async def test_a_period_goes_on_while_a_cell_blocks(gate: Gate) -> None:
    engine = Engine(EngineSetting(print_traceback=False, echo=False), threaded=True).start()
    came = threading.Semaphore(0)
    job = engine.submit(CronJob(came.release, every("0.02s"), "thread"))

    blocked_well = all(came.acquire(timeout=20) for _ in range(3))

    assert blocked_well
    await job.cancel()
    await engine.stop()


async def test_a_users_condition_is_asked_on_the_users_thread(engine: Engine) -> None:
    threads: set[int] = set()

    class Mine(Condition):
        def satisfy(self, engine: object) -> bool:
            threads.add(threading.get_ident())
            return True

    job = engine.submit(SentinelJob(nothing, Mine(), "local"))
    await job.wait_until(lambda job: job.count >= 3, timeout=20)
    await job.cancel()

    assert threads == {threading.get_ident()}


async def test_the_verbs_of_jobs_submit_again_and_again(engine: Engine) -> None:
    jobs = engine.jobs
    by_period = jobs.options(group="often", backend="thread").every("0.05s", pow, 2, 5)
    by_line = jobs.options(backend="thread").cron("* * * * * *", pow, 2, 6)
    load = ThreadJob(nothing)
    by_job = jobs.options(backend="local").sentinel(AfterAnother(load), pow, 2, 7)
    jobs.submit(load)

    for each in (by_period, by_line, by_job):
        await each.wait_until(lambda job: job.count >= 1, timeout=20)
        await each.cancel()
    await jobs

    assert {run.result() for run in jobs.done if run.origin.endswith("sentinel-pow")} == {32, 64, 128}
    assert {each.name for each in jobs.group("often")} == {"cron-sentinel-pow", "pow"}
    assert jobs.cancelled.values() == [by_period, by_line, by_job]


async def test_what_a_sentinel_submits_may_need_another_jobs_value(engine: Engine) -> None:
    base = engine.submit(ThreadJob(lambda: 20))
    job = engine.submit(CronJob(pow, every("0.02s"), "thread", args=(2, base.future)))

    await job.wait_until(lambda job: job.count >= 1, timeout=20)
    await job.cancel()

    run = next(each for each in engine.jobs if each.origin == job.name)
    assert await run == 2**20


async def test_each_run_has_a_folder_of_its_own(engine: Engine) -> None:
    job = engine.submit(CronJob(_here, every("0.02s"), "process", change_dir=True, group="runs"))

    await job.wait_until(lambda job: job.count >= 2, timeout=20)
    await job.cancel()
    runs = await engine.jobs.group("runs")

    assert runs.results() == [str(run.cache_dir) for run in runs]


def _here() -> str:
    import os

    return os.getcwd()


async def test_a_cancelled_sentinel_has_no_result(engine: Engine) -> None:
    job = engine.submit(CronJob(nothing, every("1h")))

    await job.cancel()

    with pytest.raises(JobCancelled):
        job.result()


def test_a_sentinel_works_in_a_script() -> None:
    with Engine(EngineSetting(max_jobs=1, print_traceback=False, echo=False)) as engine:
        job = engine.submit(CronJob(max, every("0.02s"), ProcessJob, args=([1, 3, 2],)))
        came = engine.wait(timeout=20, select_jobs=lambda jobs: [job] if len(jobs.done) < 3 else [])

        assert came
        assert {run.result() for run in engine.jobs.done} == {3}


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: CronJob(nothing, "every day"), "every day"),
        (lambda: CronJob(nothing, 10), "10"),  # type: ignore[arg-type]
        (lambda: SentinelJob(nothing, every("1h"), "cloud"), "cloud"),
        (lambda: SentinelJob(nothing, every("1h"), dict), "dict"),  # type: ignore[arg-type]
        (lambda: SentinelJob(nothing, every("1h"), time_delta=-1), "-1"),
        (lambda: SentinelJob(7, every("1h")), "7"),  # type: ignore[arg-type]
        (lambda: CronJob(nothing, every("1h"), retries="x"), "x"),
    ],
)
def test_what_makes_no_sense_is_refused_when_the_sentinel_is_made(make: Callable[[], object], named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        make()
