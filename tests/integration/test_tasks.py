"""Functions that submit themselves."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ipyjobs
from ipyjobs import (
    AsyncTask,
    DeadlockError,
    Engine,
    EngineNotRunning,
    EngineSetting,
    InvalidOption,
    Job,
    JobCancelled,
    LocalJob,
    ProcessJob,
    Retry,
    Status,
    Task,
    ThreadJob,
    current_job,
    get_default_engine,
    launcher,
    logger,
    set_default_engine,
    task,
)
from ipyjobs.description import described_by_signature
from ipyjobs.tasks import _kind_called

from .conftest import FUSE_S, Gate


def add(a: int, b: int = 10) -> int:
    """Add two numbers."""
    return a + b


def boom() -> None:
    raise ValueError("no")


# -- calls


@pytest.mark.row("E-28")
@pytest.mark.parametrize(("job_type", "kind"), [("local", LocalJob), ("thread", ThreadJob), ("process", ProcessJob)])
def test_submit_gives_the_job_and_a_call_waits_for_the_result(job_type: Any, kind: type[Job]) -> None:
    f = launcher(job_type=job_type)(add)

    with Engine() as engine:
        job = f.submit(1, 2)
        assert engine.wait_job(job) == 3
        assert type(job) is kind
        assert job.result() == 3
        assert job.name == "add"
        assert job.task is f
        assert f(3, b=4) == 7


@pytest.mark.row("E-28")
@pytest.mark.parametrize("job_type", ["local", "thread", "process"])
def test_a_call_raises_what_the_function_raised(job_type: Any) -> None:
    f = task(boom, job_type=job_type)

    with Engine(EngineSetting(print_traceback=False)), pytest.raises(ValueError, match="no"):
        f()


@pytest.mark.row("E-28")
def test_a_call_whose_job_is_cancelled_raises_a_runtime_error(gate: Gate) -> None:
    f = task(gate.wait, job_type="thread")

    with Engine() as engine, ThreadPoolExecutor(1) as pool:
        call = pool.submit(f)
        asyncio.run(gate.came())
        engine.cancel_all()
        error = call.exception(FUSE_S)
        gate.open()

    assert isinstance(error, JobCancelled)
    assert isinstance(error, RuntimeError)


def test_without_a_running_engine_a_call_says_what_to_do() -> None:
    with pytest.raises(EngineNotRunning, match="with Engine"):
        task(add, Engine())(1, 2)


def test_arguments_that_do_not_fit_are_refused_at_once() -> None:
    f = task(add, job_type="thread")

    with Engine() as engine:
        with pytest.raises(TypeError, match=r"add\(\): missing a required argument: 'a'"):
            f.submit()
        with pytest.raises(TypeError, match=r"add\(\): got an unexpected keyword argument 'c'"):
            f(1, c=2)

    assert len(engine.jobs) == 0


async def test_a_call_that_would_stop_the_loop_it_needs_is_refused(engine: Engine) -> None:
    async def double(x: int) -> int:
        return 2 * x

    f = task(double, engine, job_type="local")

    with pytest.raises(DeadlockError, match="await"):
        f(1)

    await engine.join()
    assert not engine.jobs.running
    assert await f.submit(2) == 4


@pytest.mark.parametrize("job_type", ["local", "thread"])
async def test_a_blocking_call_in_a_cell_works_where_nothing_needs_its_thread(engine: Engine, job_type: Any) -> None:
    f = task(add, engine, job_type=job_type)

    if engine.threaded:
        assert f(1, 2) == 3
    else:
        with pytest.raises(DeadlockError, match=r"await add\.submit"):
            f(1, 2)
        assert len(engine.jobs) == 0


@pytest.mark.row("E-29")
@pytest.mark.parametrize("job_type", ["local", "thread", "process"])
def test_async_mode_needs_no_started_engine_and_no_second_thought_in_the_next_loop(job_type: Any) -> None:
    before = get_default_engine()
    set_default_engine(Engine())
    f = launcher(async_mode=True, job_type=job_type)(add)

    async def main() -> tuple[Job, int, list[int]]:
        job = await f.submit(1, 2)
        await job.join()
        result = await f(3, 4)
        several = await asyncio.gather(f(1), f(2))
        await f.engine.stop()
        return job, result, several

    try:
        for _ in range(2):
            job, result, several = asyncio.run(main())
            assert (job.result(), result, several) == (3, 7, [11, 12])
    finally:
        set_default_engine(before)


@pytest.mark.row("E-29")
async def test_in_async_mode_errors_and_cancelling_are_raised_by_the_await(engine: Engine, gate: Gate) -> None:
    failing, held = task(boom, engine, async_mode=True), task(gate.wait, engine, async_mode=True, job_type="thread")

    with pytest.raises(ValueError, match="no"):
        await failing()
    call = asyncio.create_task(held())
    await gate.came()
    engine.cancel_all()
    with pytest.raises(RuntimeError, match="was cancelled"):
        await call
    gate.open()


async def test_in_async_mode_a_submit_that_nobody_awaits_has_happened(engine: Engine) -> None:
    task(add, engine, async_mode=True, job_type="thread").submit(1, 2)

    assert [job.name for job in engine.jobs] == ["add"]


async def test_map_submits_many_calls(engine: Engine) -> None:
    f = task(add, engine, job_type="thread")

    zipped, grid = f.map([1, 2], [10, 20]), f.map(a=[1, 2], b=range(2))

    assert (await zipped).results() == [11, 22]
    assert (await grid).results() == [1, 2, 2, 3]
    assert all(job.task is f for job in grid)


# -- settings


@pytest.mark.row("E-62")
def test_to_async_and_to_sync_keep_all_settings() -> None:
    engine = Engine()
    f = task(add, engine, job_type="thread", name="sum", description="adds", tags=["x"], retries=2, timeout=9)

    there = f.to_async()
    back = there.to_sync()

    assert (f.async_mode, there.async_mode, back.async_mode) == (False, True, False)
    assert isinstance(there, AsyncTask)
    assert type(back) is Task
    for each in (there, back):
        assert (each.name, each.description, each.tags, each.job_type) == ("sum", "adds", ["x"], "thread")
        assert each.job_attrs == f.job_attrs
        assert each.engine is engine
    assert there.to_async() is there
    assert f.to_sync() is f


@pytest.mark.row("E-63")
def test_a_task_uses_the_engine_that_is_the_default_at_each_call() -> None:
    f = task(add, job_type="thread")
    before = get_default_engine()

    with Engine() as outer:
        assert f.submit(1).engine is outer
        with Engine() as inner:
            assert get_default_engine() is inner
            assert f.submit(1).engine is inner
        assert f.submit(1).engine is outer

    assert get_default_engine() is before
    assert f.engine is before


@pytest.mark.row("E-63")
def test_an_engine_can_be_given_and_set() -> None:
    with Engine() as one, Engine() as two:
        f = task(add, one, job_type="thread")
        assert f.submit(1).engine is one

        f.engine = two
        assert f.submit(1).engine is two
        assert f.engine is two
        f.engine = None
        assert f.engine is get_default_engine() is two


@pytest.mark.row("E-63")
def test_a_default_that_was_set_inside_stays() -> None:
    before, mine = get_default_engine(), Engine()

    with Engine():
        set_default_engine(mine)

    assert get_default_engine() is mine
    set_default_engine(before)


async def test_async_with_sets_the_default_engine_too() -> None:
    before = get_default_engine()

    async with Engine() as engine:
        assert get_default_engine() is engine

    assert get_default_engine() is before


@pytest.mark.row("E-70")
def test_a_task_looks_like_its_function() -> None:
    f = launcher(add, name="sum", description="adds", tags=["x", "y"], job_attrs={"priority": 3}, queue="q")
    plain = launcher(add)

    assert (f.__name__, f.__qualname__, f.__doc__, f.__module__) == ("add", "add", "Add two numbers.", __name__)
    assert f.__wrapped__ is add
    assert inspect.signature(f) == inspect.signature(add) == f.__signature__
    assert (f.name, f.description, f.tags) == ("sum", "adds", ["x", "y"])
    assert f.job_attrs == {"priority": 3, "queue": "q", "name": "sum"}
    assert (plain.name, plain.description, plain.tags) == ("add", "Add two numbers.", [])
    assert plain.job_type == "process"


@pytest.mark.row("E-70")
def test_a_task_describes_its_function() -> None:
    from funcdesc import parse_func

    found, expected = launcher(add).desc, parse_func(add)

    assert type(found) is type(expected)
    assert [(each.name, each.type, each.default) for each in found.inputs] == [
        (each.name, each.type, each.default) for each in expected.inputs
    ]


@pytest.mark.row("E-70")
def test_the_description_of_our_own_says_the_same_in_short() -> None:
    found = described_by_signature(add)

    assert [(each.name, each.default) for each in found.inputs] == [("a", inspect.Parameter.empty), ("b", 10)]
    assert (found.name, found.doc) == ("add", "Add two numbers.")
    assert described_by_signature(dict).name == "dict"


async def test_the_keywords_of_a_task_reach_its_jobs(engine: Engine) -> None:
    f = task(
        add, engine, job_type="thread", name="sum", tags=["x"], queue="slow", retries=2, timeout=5.0, priority=1,
        group="g", job_attrs={"priority": 7, "retry_time_delta": 0.5},
    )  # fmt: skip

    job = f.submit(1)
    await job

    assert (job.name, job.tags, job.queue, job.retries, job.timeout) == ("sum", ("x",), "slow", 2, 5.0)
    assert (job.priority, job.group) == (1, "g"), "a keyword wins over job_attrs"


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"job_type": "fast"}, InvalidOption, "job_type='fast'"),
        ({"job_type": "thread", "execution": "process"}, InvalidOption, "give one of the two"),
        ({"name": ""}, InvalidOption, "name=''"),
        ({"tags": "x"}, InvalidOption, "list of texts"),
        ({"retries": -1}, InvalidOption, "-1"),
        ({"timeout": "soon"}, InvalidOption, "timeout='soon'"),
        ({"queue": 3}, InvalidOption, "queue=3"),
        ({"job_attrs": [1]}, InvalidOption, "job_attrs"),
        ({"job_attrs": {"priority": "high"}}, InvalidOption, "priority='high'"),
        ({"on_failure": 3}, InvalidOption, "on_failure=3"),
        ({"multilaunch": "yes"}, InvalidOption, "multilaunch='yes'"),
        ({"func_run_id": "x"}, InvalidOption, "func_run_id='x'"),
    ],
)
def test_what_makes_no_sense_is_refused_where_the_task_is_made(options: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        task(**options)(add)


def test_only_what_can_be_called_is_a_task() -> None:
    with pytest.raises(InvalidOption, match="can be called"):
        task(3)  # type: ignore[call-overload]


async def test_the_tasks_of_an_engine_are_known_by_name(engine: Engine) -> None:
    given, used = task(add, engine), task(boom, name="fails")
    used.engine = engine

    assert dict(engine.tasks) == {"add": given, "fails": used}
    assert "fails" in repr(engine.tasks)


async def test_of_two_tasks_with_one_name_the_latest_wins_aloud(engine: Engine) -> None:
    said: list[str] = []
    number = logger.add(said.append, level="WARNING", format="{message}")
    first = task(add, engine, name="x")
    again = task(add, engine, name="x")
    assert not said, "a cell that was run again is no clash"

    other = task(boom, engine, name="x")

    logger.remove(number)
    assert engine.tasks["x"] is other
    assert len(said) == 1
    assert "two tasks have the name 'x'" in said[0]
    assert first is not again


# -- what follows


async def test_what_follows_a_success_gets_the_result(engine: Engine) -> None:
    got: list[Any] = []
    then = task(got.append, engine, job_type="local", name="then")
    first = task(add, engine, job_type="thread", on_success=then, on_failure=boom_task(engine))

    await first.submit(1, 2)
    await engine.join()

    assert got == [3]
    assert [job.name for job in engine.jobs] == ["add", "then"]


def boom_task(engine: Engine) -> Task[...]:
    return task(boom, engine, job_type="thread")


async def test_what_follows_a_failure_gets_the_reason_once_after_the_last_attempt(engine: Engine) -> None:
    got: list[Any] = []
    task(got.append, engine, job_type="local", name="notify")
    first = task(boom, engine, job_type="thread", retries=Retry(2), on_failure="notify", on_success="nobody")

    await first.submit().join()
    await engine.join()

    assert got == ["ValueError: no"]


async def test_what_takes_no_argument_follows_without(engine: Engine) -> None:
    called: list[str] = []
    then = task(lambda: called.append("then"), engine, job_type="local", name="then")

    await task(add, engine, job_type="thread", on_success=then).submit(1)
    await engine.join()

    assert called == ["then"]


async def test_a_follower_that_there_is_not_is_logged_and_harms_nobody(engine: Engine) -> None:
    said: list[str] = []
    number = logger.add(said.append, level="WARNING")

    assert await task(add, engine, job_type="thread", on_success="nobody").submit(1, 2) == 3
    await engine.join()

    logger.remove(number)
    assert any("no task has the name 'nobody'" in each for each in said)


# -- processes


async def test_a_decorated_function_travels_though_its_name_means_the_task(engine: Engine) -> None:
    @task(engine=engine)
    def inner(x: int) -> int:
        return x + 1

    @task(engine=engine)
    def outer(x: int) -> tuple[int, bool]:
        return inner(x), current_job() is not None

    @task(engine=engine)
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    assert await outer.submit(1) == (2, True), "in a worker a task is its function"
    assert await factorial.submit(5) == 120


async def test_an_async_task_inside_a_worker_is_awaited_as_here(engine: Engine) -> None:
    @task(engine=engine, async_mode=True)
    def inner(x: int) -> int:
        return x + 1

    async def outer(x: int) -> int:
        return await inner(x)

    assert await engine.submit(ProcessJob(outer, (1,))) == 2


async def test_a_value_of_one_task_goes_into_another(engine: Engine) -> None:
    f = task(add, engine, job_type="thread")

    first = f.submit(1, 2)

    assert await f.submit(first, first.future) == 6


def test_a_bound_method_can_be_a_task() -> None:
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def up(self, by: int) -> int:
            self.n += by
            return self.n

    counter = Counter()
    with Engine():
        assert task(counter.up, job_type="thread")(3) == 3

    assert counter.n == 3


# -- one run at a time


@pytest.mark.row("R-09")
@pytest.mark.parametrize("where", ["task", "engine"])
async def test_the_next_run_waits_until_the_running_one_has_ended(engine: Engine, gate: Gate, where: str) -> None:
    options = {"multilaunch": False} if where == "task" else {}
    engine.setting.multilaunch = where == "task"
    f = task(gate.wait, engine, job_type="thread", name="sole", **options)
    other = task(add, engine, job_type="thread", multilaunch=False)

    first, second = f.submit(), f.submit()
    await gate.came()
    await second.wait_until(lambda job: job.waiting_for == "slot", FUSE_S)

    assert (first.status, second.status) == (Status.RUNNING, Status.PENDING)
    assert second.record().waiting == "waits for the run of 'sole' before"
    assert await other.submit(1, 2) == 3, "other tasks go on"
    gate.open()
    await second
    assert second.started_at >= first.ended_at
    assert [each.action for each in engine.records.filter_by(task_name="sole")] == ["run", "success"] * 2


@pytest.mark.row("R-09")
async def test_a_cancelled_thread_keeps_its_task_from_starting_again_until_it_returns(
    engine: Engine, gate: Gate
) -> None:
    f = task(gate.wait, engine, job_type="thread", multilaunch=False)
    first, second = f.submit(), f.submit()
    await gate.came()

    first.cancel()

    assert second.status is Status.PENDING
    gate.open()
    await second
    assert second.started_at >= first.attempts[0].ended_at


@pytest.mark.row("R-10")
@pytest.mark.parametrize("where", ["task", "engine", "default"])
async def test_with_multilaunch_runs_overlap(engine: Engine, gate: Gate, where: str) -> None:
    engine.setting.multilaunch = where != "task"
    f = task(gate.wait, engine, job_type="thread", **({"multilaunch": True} if where == "task" else {}))

    jobs = f.submit(), f.submit()
    await gate.came(2)

    gate.open()
    for job in jobs:
        await job
    assert [each.action for each in engine.records] == ["run", "run", "success", "success"]


# -- commands


@pytest.mark.row("E-30")
@pytest.mark.parametrize("decorated", [False, True])
def test_a_command_function_runs_as_a_command_and_gives_its_return_code(decorated: bool) -> None:
    from cmd2func import cmd2func

    def lines(a: int, b: int) -> str:
        return f"python -c 'print({a} + {b})'"

    f = launcher(cmd2func(lines)) if decorated else launcher(cmd2func("python -c 'print({a} + {b})'"), name="lines")

    with Engine(EngineSetting(echo=False)) as engine:
        job = f.submit(1, 2)
        engine.wait_job(job)

    assert f.job_type == "subprocess"
    assert isinstance(job, ipyjobs.SubprocessJob)
    assert job.result() == 0
    assert job.log.text() == "3\n"


def test_a_kind_of_job_that_cannot_be_used_here_is_named() -> None:
    with pytest.raises(InvalidOption, match="NoSuchJob"):
        _kind_called("NoSuchJob")
