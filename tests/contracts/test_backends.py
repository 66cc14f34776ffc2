"""What every backend does, whether it is ours or the user's."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from ipyjobs import (
    DaskJob,
    Engine,
    EngineSetting,
    Job,
    JobTimeout,
    LocalJob,
    ProcessJob,
    Status,
    ThreadJob,
    current_job,
    report,
)
from ipyjobs.backends import Backend
from ipyjobs.backends.process import ProcessBackend
from ipyjobs.calling import resolved
from ipyjobs.execution import Call, Context
from tests.dask_cluster import running_cluster

FUSE_S = 30.0
ASKED_ONLY = (ThreadJob, DaskJob)
"""Can't be stopped from outside: a thread, and what runs on a cluster that is somebody else's."""


class OwnBackend(Backend):
    """The least that a user's backend can be."""

    name = "own"

    async def run(self, call: Call, context: Context) -> Any:
        context.started("here")
        args, kwargs = resolved(call)
        value = call.function(*args, **kwargs)
        return await value if inspect.iscoroutine(value) else value


class OwnJob(Job):
    """Runs on it."""

    backend_name = "own"


class SpawnedBackend(ProcessBackend):
    """Worker processes without a guard, as on other systems."""

    name = "spawned"

    def __init__(self) -> None:
        super().__init__(2, guarded=False)


class SpawnedJob(Job):
    """Runs there."""

    backend_name = "spawned"


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """A cluster that all tests here share: one of an engine's own takes a second to start."""
    with running_cluster() as address:
        yield address


@pytest.fixture(params=["threaded", "one loop"])
async def engine(request: pytest.FixtureRequest, dask_address: str) -> AsyncIterator[Engine]:
    setting = EngineSetting(print_traceback=False, echo=False, dask=dask_address)
    engine = Engine(setting, threaded=request.param == "threaded")
    engine.add_backend(OwnBackend())
    engine.add_backend(SpawnedBackend())
    engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.fixture(params=[LocalJob, ThreadJob, ProcessJob, SpawnedJob, OwnJob, DaskJob])
def kind(request: pytest.FixtureRequest) -> type[Job]:
    return request.param


def add(a: int, b: int) -> int:
    return a + b


def fail(text: str) -> None:
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError(text) from error


async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


def shout() -> tuple[str, int]:
    print("out")
    print("err", file=sys.stderr)
    report(0.5, "half")
    job = current_job()
    assert job is not None
    return job.name, job.attempt


async def test_a_function_gives_its_value(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(add, (1,), {"b": 2}))

    assert await job == 3
    assert [str(event.verb) for event in job.story()] == ["submit", "start", "finish"]
    assert job.attempts[0].worker or kind is LocalJob
    assert job.record().result == "3"


async def test_a_coroutine_function_is_awaited(engine: Engine, kind: type[Job]) -> None:
    assert await engine.submit(kind(sleep, (0,))) == "slept"


async def test_values_of_other_jobs_are_put_in_place(engine: Engine, kind: type[Job]) -> None:
    first = LocalJob(add, (1, 1))
    second = kind(add, (first.future, 10))
    third = kind(sum, ([second, first.future, 100],))
    last = ThreadJob(add, (third, 1000))
    engine.submit(last, third, second, first)

    assert await last == 1114


async def test_what_was_raised_is_raised_with_its_chain_and_its_lines(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(fail, ("outer",)))
    with pytest.raises(ValueError, match="outer") as caught:
        await job

    assert isinstance(caught.value.__cause__, KeyError)
    assert job.exception() is caught.value
    assert caught.traceback[-1].name == "fail"
    assert job.record().error == "ValueError: outer"


async def test_an_exit_fails_the_job_only(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(sys.exit, (3,)))
    await job.join(FUSE_S)

    assert job.status is Status.FAILED
    assert isinstance(job.exception(), SystemExit)
    assert await engine.submit(kind(add, (1, 2))) == 3


async def test_a_coroutine_can_be_cancelled_and_run_again(engine: Engine, kind: type[Job]) -> None:
    if kind in ASKED_ONLY:
        kind = LocalJob  # test_engine.py and test_dask_backend.py have what happens to these
    job = engine.submit(kind(sleep, (3600,)))
    await job.wait_until_status("running", FUSE_S)

    await job.cancel()

    assert (job.status, job.reason) == (Status.CANCELLED, "user")
    assert engine.scheduler.total.used == 0
    job.rerun()
    await job.wait_until_status("running", FUSE_S)
    await job.cancel()
    assert [each.round for each in job.attempts] == [1, 2]


async def test_what_takes_too_long_fails_and_is_tried_again(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(sleep, (0.3 if kind in ASKED_ONLY else 3600,), timeout=0.05, retries=1))
    with pytest.raises(JobTimeout):
        await job

    assert [each.outcome for each in job.attempts] == ["timeout", "timeout"]
    await engine.stop()


async def test_a_failed_attempt_is_tried_again(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(fail, ("again",), retries=2))
    await job.join(FUSE_S)

    assert [each.outcome for each in job.attempts] == ["failed"] * 3


async def test_many_jobs_keep_within_the_limit(engine: Engine, kind: type[Job]) -> None:
    engine.set_limit(2, backend=kind.backend_name)
    seen: list[int] = []
    engine.flow.listeners.append(lambda job: seen.append(engine.scheduler.backends[kind.backend_name].used))
    jobs = engine.submit(*(kind(add, (i, 0)) for i in range(30)))
    await jobs

    assert jobs.results() == list(range(30))
    assert max(seen) == 2


async def test_output_progress_and_the_job_itself_reach_the_function(engine: Engine, kind: type[Job]) -> None:
    if kind is OwnJob:
        return  # the least backend sets no context; ours do
    job = engine.submit(kind(shout, name="loud"))

    assert await job == ("loud", 1)
    assert sorted(job.log.lines()) == ["err", "out"]
    assert (job.progress, job.message) == (1.0, "half")


async def test_stopping_the_engine_ends_the_work(engine: Engine, kind: type[Job]) -> None:
    job = engine.submit(kind(sleep, (0.2 if kind in ASKED_ONLY else 3600,)))
    await job.wait_until_status("running", FUSE_S)

    await engine.stop()

    assert (job.status, job.reason) == (Status.CANCELLED, "shutdown")


async def test_a_backend_is_added_before_the_engine_starts(engine: Engine) -> None:
    from ipyjobs import InvalidStateError

    with pytest.raises(InvalidStateError, match="before the engine is started"):
        engine.add_backend(OwnBackend())
