"""The collection `jobs`: its verbs, its options, and what `map` makes of its arguments."""

from __future__ import annotations

import pytest

from ipyjobs import AfterOthers, Engine, InvalidOption, Jobs, LocalJob, ThreadJob, const

from .conftest import Gate


def train(lr: float, seed: int = 0) -> tuple[float, int]:
    return lr, seed


def named(name: str, timeout: int = 1) -> tuple[str, int]:
    return name, timeout


async def test_each_verb_runs_where_it_says(engine: Engine) -> None:
    jobs = engine.jobs
    local, thread = jobs.local(train, 0.1), jobs.thread(train, 0.2, seed=3)
    await jobs

    assert (local.backend, thread.backend) == ("local", "thread")
    assert (local.result(), thread.result()) == ((0.1, 0), (0.2, 3))


async def test_submit_takes_a_function_or_jobs_made_before(engine: Engine) -> None:
    jobs = engine.jobs
    one = jobs.options(backend="thread").submit(train, 0.1)
    group = jobs.submit(ThreadJob(train, (1,)), LocalJob(train, (2,)))
    await jobs

    assert one.result() == (0.1, 0)
    assert isinstance(group, Jobs)
    assert group.results() == [(1, 0), (2, 0)]


async def test_map_spans_a_grid_of_keywords(engine: Engine) -> None:
    runs = engine.jobs.options(backend="thread", group="sweep").map(train, lr=[0.1, 0.03], seed=range(2))
    await runs

    assert runs.results() == [(0.1, 0), (0.1, 1), (0.03, 0), (0.03, 1)]
    assert {job.group for job in runs.values()} == {"sweep"}
    assert len(engine.jobs.group("sweep")) == 4


async def test_map_zips_positional_iterables_like_an_executor(engine: Engine) -> None:
    runs = engine.jobs.options(backend="thread").map(train, [1, 2, 3], (4, 5, 6))

    assert (await runs).results() == [(1, 4), (2, 5), (3, 6)]


async def test_what_is_one_value_is_given_to_each_call(engine: Engine) -> None:
    def call(a: str, b: dict[str, int], c: list[int], d: int) -> tuple[object, ...]:
        return a, b, c, d

    runs = engine.jobs.options(backend="thread").map(call, a="text", b={"x": 1}, c=const([1, 2]), d=(7, 8))

    assert (await runs).results() == [("text", {"x": 1}, [1, 2], 7), ("text", {"x": 1}, [1, 2], 8)]


async def test_an_array_spans_and_a_frame_does_not(engine: Engine) -> None:
    import numpy as np  # the demo extra brings it

    runs = engine.jobs.options(backend="thread").map(train, lr=np.array([0.5, 0.25]))

    assert [float(lr) for lr, _ in (await runs).results()] == [0.5, 0.25]


async def test_options_hold_for_every_job_made_with_them(engine: Engine, gate: Gate) -> None:
    first = engine.jobs.thread(gate.wait)
    made = engine.jobs.options(group="g", tags=["a"], priority=2, retries=3, timeout=60, after=first, name="n")
    job = made.thread(train, 1)

    assert (job.group, job.tags, job.priority, job.retries, job.timeout, job.name) == ("g", ("a",), 2, 3, 60, "n")
    assert isinstance(job.condition, AfterOthers)
    assert job.status == "pending"
    gate.open()
    assert await job == (1, 0)


async def test_after_takes_jobs_ids_and_groups(engine: Engine) -> None:
    group = engine.jobs.options(backend="thread").map(train, [1, 2])
    down = engine.jobs.options(after=[*group.values(), group[0].id]).thread(
        lambda: [job.status for job in group.values()]
    )

    assert await down == ["done", "done"]


async def test_a_keyword_that_could_be_meant_for_either_is_not_guessed_at(engine: Engine) -> None:
    with pytest.raises(TypeError, match=r"jobs\.options\(timeout=…\).*jobs\.options\(\)"):
        engine.jobs.thread(named, "x", timeout=5)
    with pytest.raises(TypeError, match=r"no parameter 'retries'.*jobs\.options\(retries=…\)"):
        engine.jobs.thread(named, "x", retries=5)

    assert await engine.jobs.options().thread(named, "x", timeout=5) == ("x", 5)
    assert len(engine.jobs) == 1


@pytest.mark.parametrize(
    "options", [{"retires": 1}, {"backend": "cloud"}, {"priority": "high"}, {"timeout": -1}, {"tags": "x"}]
)
async def test_options_that_make_no_sense_are_refused(engine: Engine, options: dict[str, object]) -> None:
    with pytest.raises((TypeError, InvalidOption), match=str(next(iter(options)))):
        engine.jobs.options(**options).thread(train, 1)
    assert len(engine.jobs) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retrys": 1}, "did you mean 'retries'"),
        ({"fresh": True}, "no option 'fresh'"),
        ({"args": "abc"}, "tuple of arguments"),
        ({"args": 7}, "tuple of arguments"),
        ({"condition": "later"}, "a condition"),
        ({"retries": -1}, "whole number from 0"),
        ({"timeout": float("inf")}, "seconds from 0"),
        ({"wait_time_delta": "1"}, "seconds from 0"),
    ],
)
def test_a_job_refuses_what_makes_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises((TypeError, InvalidOption), match=message):
        ThreadJob(train, **options)  # type: ignore[arg-type]


def test_a_job_needs_something_that_can_be_called() -> None:
    with pytest.raises(InvalidOption, match="can be called"):
        ThreadJob("train")  # type: ignore[arg-type]


async def test_jobs_say_what_they_are(engine: Engine) -> None:
    assert repr(engine.jobs) == "<0 jobs>"
    job = engine.jobs.thread(train, 1)
    await job
    bad = engine.jobs.thread(int, "x")
    await bad.join()

    assert repr(engine.jobs) == "<2 jobs: 1 done, 1 failed>"
    assert job.id in repr(job)
    assert "ValueError" in repr(bad)
