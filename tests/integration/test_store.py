"""Jobs that a store remembers: saved while they run, found again by another engine."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path

import pytest

from ipyjobs import (
    Engine,
    EngineSetting,
    InvalidOption,
    InvalidStateError,
    Job,
    JobNotFoundError,
    Jobs,
    LocalJob,
    ProcessJob,
    Retry,
    Status,
    SubprocessJob,
    ThreadJob,
)
from tests.integration.conftest import Gate

MODES = ("threaded", "one loop")
Start = Callable[[], Engine]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture(params=MODES)
async def start(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Start]:
    """Starts engines that use the same store."""
    engines: list[Engine] = []

    def start() -> Engine:
        setting = EngineSetting(print_traceback=False, echo=False, store=path)
        engines.append(Engine(setting, threaded=request.param == "threaded").start())
        return engines[-1]

    yield start
    for engine in engines:
        if engine.alive:
            await engine.stop()


async def _each(job: Job) -> AsyncIterator[int]:
    stream = job.result()
    while True:
        value = await asyncio.to_thread(next, stream, None)
        if value is None:
            return
        yield value


def add(a: int, b: int) -> int:
    return a + b


def fail(text: str) -> None:
    raise ValueError(text)


@pytest.mark.row("E-27")
@pytest.mark.row("E-52")
@pytest.mark.parametrize("kind", [LocalJob, ThreadJob, ProcessJob])
async def test_a_stopped_engines_jobs_are_all_there(start: Start, path: Path, kind: type[Job]) -> None:
    engine = start()
    done = engine.submit(kind(add, (1,), {"b": 2}, name="sum", tags=("a", "b"), group="g", priority=3, queue="q"))
    failed = engine.submit(kind(fail, ("no luck",)))
    said = engine.submit(kind(print, ("hello",)))
    await engine.join()
    cancelled = engine.submit(kind(add, (done.future, failed.future)))
    await engine.join()
    assert await engine.jobs.saved()
    assert (done.saved, failed.saved, cancelled.saved) == (True, True, True)
    await engine.stop()

    jobs = Jobs(path)

    assert [(each.id, each.name, str(each.status)) for each in jobs.values()] == [
        (each.id, each.name, str(each.status)) for each in (done, failed, said, cancelled)
    ]
    there = jobs.get_job_by_id(done.id)
    assert isinstance(there, kind)
    assert there.result() == 3
    assert (there.tags, there.group, there.priority, there.queue, there.backend) == (
        ("a", "b"), "g", 3, "q", kind.backend_name,
    )  # fmt: skip
    assert (there.submitted_at, there.started_at, there.ended_at) == (done.submitted_at, done.started_at, done.ended_at)
    assert there.story() == done.story()
    assert [(each.number, each.outcome) for each in there.attempts] == [(1, "done")]
    assert there.record().arguments == done.record().arguments
    assert there.record().result == "3"
    with pytest.raises(ValueError, match="no luck") as caught:
        jobs[failed.id].result()
    assert [each.name for each in caught.traceback][-1] == "fail"
    assert jobs[failed.id].error == failed.error
    assert jobs[said.id].log.text() == "hello\n"
    assert jobs[cancelled.id].reason == cancelled.reason == "upstream"


async def test_what_a_store_remembers_is_a_view_like_any_other(start: Start, path: Path) -> None:
    engine = start()
    jobs = [engine.submit(ThreadJob(add, (n, n), name=f"job {n % 3}", group="even" if n % 2 == 0 else None))
            for n in range(10)]  # fmt: skip
    bad = engine.submit(ThreadJob(fail, ("x",)))
    await engine.join()
    await engine.stop()

    found = Jobs(path)

    assert len(found) == 11
    assert found[0].id == jobs[0].id and found[-1].id == bad.id
    assert found[2:5].keys() == [each.id for each in jobs[2:5]]
    assert found[-3:].keys() == [jobs[8].id, jobs[9].id, bad.id] and len(found[::2]) == 6
    assert found[3] is found[3]
    assert (len(found.done), len(found.failed), len(found.running)) == (10, 1, 0)
    assert found.group("even").results() == [0, 4, 8, 12, 16]
    assert found.named("job 1").id == jobs[7].id
    assert (bad.id in found, bad.id in found.done, "nobody" in found) == (True, False, False)
    assert repr(found) == "<11 jobs: 10 done, 1 failed>"
    assert [type(each) for each in found.results(errors="return")][-1] is ValueError
    with pytest.raises(JobNotFoundError):
        found["nobody"]
    with pytest.raises(JobNotFoundError):
        found.named("nobody")
    with pytest.raises(IndexError, match="there are 11"):
        found[11]


@pytest.mark.row("E-52")
@pytest.mark.parametrize("kind", [LocalJob, ThreadJob, ProcessJob])
async def test_a_restored_job_runs_again_where_an_engine_is_set(start: Start, path: Path, kind: type[Job]) -> None:
    engine = start()
    first = engine.submit(kind(add, (1, 2), retries=Retry(2, 0.5), timeout=60))
    await engine.join()
    await engine.stop()
    jobs = Jobs(path)
    with pytest.raises(InvalidStateError, match="never submitted"):
        jobs[first.id].rerun()

    other = start()
    jobs.set_engine(other)
    job = jobs[first.id]
    await job.rerun()

    assert await job == 3
    assert job in other.jobs
    assert (job.attempt, job._round, job._retry, job.timeout) == (1, 2, Retry(2, 0.5), 60)
    assert await other.saved()
    await other.stop()
    again = Jobs(path)[first.id]
    assert [str(each.verb) for each in again.story()] == ["submit", "start", "finish", "rerun", "start", "finish"]
    assert [(each.round, each.number) for each in again.attempts] == [(1, 1), (2, 1)]
    assert again.result() == 3


async def test_jobs_of_earlier_sessions_are_apart_from_those_of_this_one(start: Start) -> None:
    engine = start()
    old = engine.submit(ThreadJob(add, (1, 2)))
    await old
    await engine.stop()

    engine = start()
    new = engine.submit(ThreadJob(add, (3, 4)))
    await new
    assert await engine.saved()

    assert [each.id for each in engine.jobs.earlier.values()] == [old.id]
    assert [each.id for each in engine.jobs.values()] == [new.id]
    earlier = engine.jobs.earlier[0]
    assert await earlier == 3
    await engine.jobs.earlier.rerun()
    assert await earlier == 3
    assert await engine.saved()
    assert len(engine.jobs.earlier) == 0
    assert [each.id for each in engine.jobs.values()] == [new.id, old.id]


async def test_a_rerun_gets_the_kept_value_of_a_job_that_is_not_rerun(start: Start) -> None:
    engine = start()
    up = engine.submit(ThreadJob(lambda: [20]))
    down = engine.submit(ThreadJob(lambda value, more: value[0] + more[0], (up.future, [1])))
    assert await down == 21
    await engine.stop()

    engine = start()
    job = engine.jobs.earlier[down.id]
    await job.rerun()

    assert await job == 21
    assert [each.id for each in engine.jobs.values()] == [up.id, down.id]


async def test_a_store_keeps_nothing_of_a_removed_job(start: Start, path: Path) -> None:
    engine = start()
    keep, drop = [engine.submit(ThreadJob(print, (n,))) for n in range(2)]
    await engine.join()
    assert await engine.saved()
    engine.jobs.remove(drop)
    await engine.saved()
    await engine.stop()

    assert Jobs(path).keys() == [keep.id]
    engine = start()
    log = engine.jobs.earlier[0].log.path
    assert log.exists()
    engine.jobs.earlier.remove(engine.jobs.earlier[0])
    assert len(engine.jobs.earlier) == 0
    assert not log.exists()


@pytest.mark.row("E-52")
async def test_what_is_cleared_is_gone_and_nothing_else(start: Start, path: Path, gate: Gate) -> None:
    engine = start()
    bad = engine.submit(ThreadJob(fail, ("x",)))
    good = engine.submit(ThreadJob(add, (1, 1)))
    await engine.join()
    active = engine.submit(ThreadJob(gate.wait))
    await gate.came()
    assert await engine.saved()

    jobs = Jobs(path)
    jobs.clear(["failed"])
    assert jobs.keys() == [good.id, active.id]
    jobs.clear_non_active()
    assert jobs.keys() == [active.id]
    jobs.clear_all()
    assert jobs.keys() == []

    assert [each.id for each in engine.jobs.values()] == [bad.id, good.id, active.id]
    engine.jobs.clear_non_active()
    assert [each.id for each in engine.jobs.values()] == [active.id]
    engine.jobs.clear_all()
    assert len(engine.jobs) == 0
    gate.open()


async def test_folder_and_keywords_of_a_job_are_its_again_when_it_is_rerun(start: Start) -> None:
    engine = start()
    job = engine.submit(ProcessJob(os.getcwd, change_dir=True, redirect_out_err=True, colour="red"))
    first = await job
    assert await engine.saved()
    await engine.stop()

    engine = start()
    again = engine.jobs.earlier[job.id]
    await again.rerun()

    assert again.attrs == {"colour": "red"}
    assert again.change_dir is True and again.redirect_out_err is True
    assert await again == str(again.cache_dir) != first


async def test_the_end_of_a_generator_job_is_kept(start: Start, path: Path) -> None:
    def count() -> Generator[int]:
        yield from range(3)

    engine = start()
    job = engine.submit(ThreadJob(count))
    assert [value async for value in _each(job)] == [0, 1, 2]
    await job.join()
    await engine.saved()
    await engine.stop()

    assert Jobs(path)[0].status is Status.DONE


async def test_what_was_written_since_is_read_on_demand(start: Start, path: Path) -> None:
    engine = start()
    job = engine.submit(ThreadJob(add, (1, 2)))
    await job
    await engine.saved()
    jobs = Jobs(path)
    before = jobs[0]

    job.rerun()
    await job
    await engine.saved()

    jobs.update_from_cache()
    assert jobs[0] is not before
    assert len(jobs[0].attempts) == 2


@pytest.mark.row("F-33")
async def test_a_result_that_cannot_be_kept_says_so(start: Start, path: Path) -> None:
    engine = start()
    job = engine.submit(ThreadJob(threading.Lock))
    await job

    assert not await engine.saved()

    assert not job.saved
    assert "lock" in job.unsaved
    await engine.stop()
    there = Jobs(path)[0]
    assert there.status is Status.DONE
    with pytest.raises(Exception, match="not kept.*lock"):
        there.result()


async def test_a_call_that_cannot_be_kept_says_so_when_it_is_rerun(start: Start) -> None:
    engine = start()
    lock = asyncio.Lock()
    big = engine.submit(ThreadJob(lambda df, n: n, (bytes(17_000_000), 7)))
    odd = engine.submit(ThreadJob(lambda it: 1, ((n for n in [1]),)))
    assert (await big, await odd) == (7, 1)
    assert await engine.saved() and lock
    await engine.stop()

    engine = start()
    with pytest.raises(InvalidStateError, match=r"can't be rerun after a restart: argument 'df' is 17 MB"):
        engine.jobs.earlier[big.id].rerun()
    with pytest.raises(InvalidStateError, match="can't be rerun after a restart: .*generator"):
        engine.jobs.earlier[odd.id].rerun()
    assert await engine.jobs.earlier[big.id] == 7


@pytest.mark.row("F-33")
async def test_a_large_result_lies_in_a_file_that_goes_with_its_job(start: Start, path: Path) -> None:
    engine = start()
    job = engine.submit(ProcessJob(bytes, (5_000_000,)))
    await job
    assert await engine.saved()
    [file] = (path.parent / "jobs.files" / "results").iterdir()

    assert file.stat().st_size > 5_000_000 > path.stat().st_size
    assert Jobs(path)[0].result() == bytes(5_000_000)
    engine.jobs.remove(job)
    await engine.saved()
    assert not file.exists()


async def test_a_command_is_run_again_as_it_was(start: Start, path: Path) -> None:
    engine = start()
    job = engine.submit(SubprocessJob("echo hello; exit 3"))
    await job.join()
    await engine.stop()

    engine = start()
    again = engine.jobs.earlier[job.id]
    assert isinstance(again, SubprocessJob)
    assert (again.cmd, again.status, again.log.text()) == ("echo hello; exit 3", Status.FAILED, "hello\n")
    assert again.error == job.error and repr(again)
    again.rerun()
    await again.join()

    assert (again.status, again.error, again.log.text()) == (Status.FAILED, job.error, "hello\nhello\n")


async def test_a_periodic_job_is_kept_and_not_run_again(start: Start, path: Path) -> None:
    engine = start()
    cron = engine.jobs.every("1h", int)
    await cron.wait_until_status("running", 20)
    await engine.saved()
    await engine.stop()

    engine = start()
    job = engine.jobs.earlier[cron.id]
    assert (job.name, job.status) == (cron.name, Status.CANCELLED)
    with pytest.raises(InvalidStateError, match="submit it anew"):
        job.rerun()


async def test_progress_and_messages_of_a_running_job_are_kept(start: Start, path: Path, gate: Gate) -> None:
    from ipyjobs import report

    def work() -> None:
        report(0.25, "a quarter")
        gate.wait()

    engine = start()
    job = engine.submit(ThreadJob(work))
    await gate.came()
    await job.wait_until(lambda job: job.progress == 0.25, 10)
    await engine.saved()

    there = Jobs(path)[0]

    assert (there.status, there.progress, there.message) == (Status.RUNNING, 0.25, "a quarter")
    gate.open()
    await job


async def test_every_attempt_and_its_error_is_kept(start: Start, path: Path) -> None:
    engine = start()
    job = engine.submit(ProcessJob(fail, ("again",), retries=2))
    await job.join()
    await engine.stop()

    there = Jobs(path)[0]

    assert [(each.number, each.outcome, each.error) for each in there.attempts] == [
        (number, "failed", "ValueError: again") for number in (1, 2, 3)
    ]
    assert there.story() == job.story()


async def test_text_that_is_none_stops_no_other_job(start: Start, path: Path) -> None:
    engine = start()
    bad = engine.submit(ThreadJob(fail, ("\ud800",)))
    huge = engine.submit(ThreadJob(add, (1, 1), priority=10**30))
    good = engine.submit(ThreadJob(add, (1, 2)))
    await engine.join()

    assert not await engine.saved()

    assert good.saved and not huge.saved
    assert "OverflowError" in huge.unsaved
    assert bad.saved or "Unicode" in bad.unsaved
    assert Jobs(path)[good.id].result() == 3


async def test_without_a_store_nothing_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYJOBS_DATA_DIR", str(tmp_path))
    async with Engine(EngineSetting(echo=False)) as engine:
        job = engine.submit(ThreadJob(add, (1, 2)))
        await job

        assert not await engine.saved()
        assert not job.saved
        assert len(engine.jobs.earlier) == 0
    assert not list(tmp_path.glob("*.sqlite"))


async def test_in_memory_nothing_outlives_the_engine() -> None:
    async with Engine(EngineSetting(echo=False, store="memory")) as engine:
        job = engine.submit(ThreadJob(add, (1, 2)))
        await job

        assert not await engine.saved()
        assert (job.saved, job.unsaved) == (False, "")


@pytest.mark.row("E-52")
@pytest.mark.row("E-65")
async def test_executor_engines_words_for_a_store_mean_one(tmp_path: Path) -> None:
    setting = EngineSetting(cache_type="diskcache", cache_path=tmp_path / "cache", echo=False)
    async with Engine(setting) as engine:
        job = engine.submit(ThreadJob(add, (1, 2)))
        await job
        assert engine.cache_dir == tmp_path / "cache"
        assert job.cache_dir is not None and job.cache_dir.parent == engine.cache_dir and job.cache_dir.is_dir()

    assert Jobs(tmp_path / "cache")[0].result() == 3
    assert Jobs(tmp_path / "cache" / "jobs")[0].id == job.id
    for cache_type in ("mem", "none", None):
        assert Engine(EngineSetting(cache_type=cache_type)).recorder is None
    with pytest.raises(InvalidOption, match="cache_type='redis'"):
        EngineSetting(cache_type="redis")  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="beside store="):
        EngineSetting(cache_type="mem", store="x.sqlite")


@pytest.mark.row("E-65")
async def test_an_engine_without_a_store_has_a_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYJOBS_DATA_DIR", str(tmp_path))
    async with Engine(EngineSetting(echo=False)) as engine:
        job = engine.submit(ThreadJob(add, (1, 2)))
        await job

        assert engine.cache_dir.is_dir()
        assert engine.cache_dir.is_relative_to(tmp_path)
        assert job.cache_dir is not None and job.cache_dir.parent == engine.cache_dir


def test_a_script_that_ends_at_once_has_saved_all(path: Path) -> None:
    with Engine(EngineSetting(store=path, echo=False)) as engine:
        jobs = [engine.submit(ThreadJob(add, (n, 1))) for n in range(50)]
        engine.wait()

    assert Jobs(path).results() == list(range(1, 51))
    assert all(job.saved for job in jobs)


def test_a_thread_without_a_loop_can_wait_until_all_is_saved(path: Path) -> None:
    with Engine(EngineSetting(store=path, echo=False)) as engine:
        job = engine.submit(ThreadJob(add, (1, 2)))
        engine.wait()

        assert engine.wait_saved(20)
        assert job.saved
        assert os.stat(path).st_mode & 0o777 == 0o600
