"""Run records: what each run did, and when."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sys
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from ipyjobs import Condition, Engine, InvalidOption, LocalJob, Retry, RunRecord, Status, Task, ThreadJob, task

from .conftest import FUSE_S, Gate


def add(a: int, b: int = 10) -> int:
    return a + b


def boom() -> None:
    raise ValueError("no")


def actions(engine: Engine, **wanted: Any) -> list[str]:
    return [each.action for each in engine.records.filter_by(**wanted)]


def as_json(task: Any, params: Mapping[str, Any]) -> str:
    return json.dumps(dict(params), default=str)


@pytest.mark.row("R-13")
@pytest.mark.row("R-20")
async def test_a_record_says_when_what_which_run_and_how(engine: Engine) -> None:
    job = task(add, engine, job_type="thread", name="sum").submit(1)
    await job

    run, success = engine.records

    assert [field.name for field in dataclasses.fields(RunRecord)] == ["created", "task_name", "run_id", "action"]
    assert (run.created, run.task_name, run.action) == (job.started_at, "sum", "run")
    assert (success.created, success.task_name, success.action) == (job.attempts[0].ended_at, "sum", "success")
    assert engine.history is engine.records
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.action = "fail"  # type: ignore[misc]


@pytest.mark.row("R-14")
async def test_records_are_in_order_of_time_and_run_comes_before_the_end(engine: Engine, gate: Gate) -> None:
    held = task(gate.wait, engine, job_type="thread", name="held").submit()
    await gate.came()
    await task(add, engine, job_type="thread", name="quick").submit(1)
    gate.open()
    await held

    assert [(each.task_name, each.action) for each in engine.records] == [
        ("held", "run"), ("quick", "run"), ("quick", "success"), ("held", "success"),
    ]  # fmt: skip
    times = [each.created for each in engine.records]
    assert times == sorted(times)


@pytest.mark.row("R-11")
async def test_run_and_end_share_an_id_and_runs_differ_in_it(engine: Engine) -> None:
    f = task(boom, engine, job_type="thread", retries=Retry(1), name="f")
    job = f.submit()
    await job.join()
    await engine.rerun(job)
    await job.join()
    await f.submit().join()

    ids = [each.run_id for each in engine.records]

    assert ids[0::2] == ids[1::2]
    assert len(set(ids)) == 6, "two attempts of two rounds, and two of another job"
    assert all(str(uuid.UUID(each)) == each for each in ids)
    assert ids == [each.run_id for each in engine.records], "the same at each look"


@pytest.mark.row("R-12")
@pytest.mark.parametrize("where", ["task", "engine"])
async def test_a_rule_of_ones_own_names_the_runs(engine: Engine, where: str) -> None:
    if where == "engine":
        engine.setting.func_run_id = as_json
    f = task(add, engine, job_type="thread", **({"func_run_id": as_json} if where == "task" else {}))

    await f.submit(1, b=2)
    await f.submit(3)
    await f.map(a=[4])

    assert [each.run_id for each in engine.records][::2] == ['{"a": 1, "b": 2}', '{"a": 3}', '{"a": 4}']
    assert [each.run_id for each in engine.records][1::2] == ['{"a": 1, "b": 2}', '{"a": 3}', '{"a": 4}']


@pytest.mark.row("R-12")
async def test_the_rule_of_a_task_gets_the_task_and_wins_over_the_engines(engine: Engine) -> None:
    engine.setting.func_run_id = as_json
    got: list[Any] = []

    def rule(task: Task[...], params: Mapping[str, Any]) -> int:
        got.append((task, dict(params)))
        return 7

    f = task(add, engine, job_type="thread", func_run_id=rule)
    await f.submit(1)

    assert {each.run_id for each in engine.records} == {"7"}
    assert got == [(f, {"a": 1})]


@pytest.mark.row("R-20")
async def test_each_way_to_end_has_its_action_once_for_each_run(engine: Engine, gate: Gate) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def held() -> None:
        await asyncio.Event().wait()

    await task(boom, engine, job_type="thread", retries=1, name="fails").submit().join()
    await task(held, engine, job_type="local", timeout=0.01, name="late").submit().join()
    cancelled = task(held, engine, job_type="local", name="cancelled").submit()
    await cancelled.wait_until_status("running", FUSE_S)
    await cancelled.cancel()
    await task(die, engine, job_type="process", name="dies").submit().join()
    never = task(add, engine, job_type="thread", name="never", condition=Never()).submit(1)
    never.cancel()

    assert actions(engine, task_name="fails") == ["run", "fail", "run", "fail"]
    assert actions(engine, task_name="late") == ["run", "terminate"]
    assert actions(engine, task_name="cancelled") == ["run", "terminate"]
    assert actions(engine, task_name="dies") == ["run", "crash"]
    assert actions(engine, task_name="never") == [], "it never ran"


class Never(Condition):
    def satisfy(self, engine: Engine) -> bool:
        return False


async def test_jobs_made_by_hand_have_records_too(engine: Engine) -> None:
    await engine.submit(LocalJob(add, (1,), name="by hand"), ThreadJob(add, (1,)))

    assert {each.task_name for each in engine.records} == {"by hand", "add"}


async def test_the_records_of_removed_jobs_are_kept(engine: Engine, gate: Gate) -> None:
    done = engine.submit(ThreadJob(add, (1,), name="done"))
    await done
    held = engine.submit(ThreadJob(gate.wait, name="held"))
    await gate.came()
    before = list(engine.records)

    engine.remove(done, held)

    assert len(engine.jobs) == 0
    assert list(engine.records) == before
    gate.open()
    await held.wait_until(lambda job: job.attempts[0].ended_at is not None, FUSE_S)
    assert actions(engine, task_name="held") == ["run", "success"], "a thread may end after its job is gone"


async def test_records_can_be_picked_and_cut(engine: Engine) -> None:
    for _ in range(3):
        await task(add, engine, job_type="thread", name="a").submit(1)
    await task(boom, engine, job_type="thread", name="b").submit().join()

    assert len(engine.records) == 8
    assert actions(engine, action="fail") == ["fail"]
    assert actions(engine, action=["run", "fail"], task_name="b") == ["run", "fail"]
    first = engine.records[0]
    assert list(engine.records.filter_by(run_id=first.run_id)) == [first, engine.records[1]]
    assert list(engine.records[-2:]) == [engine.records[6], engine.records[7]]
    with pytest.raises(InvalidOption, match="one of run, success, fail, terminate, crash"):
        engine.records.filter_by(action="succes")  # type: ignore[arg-type]


async def test_records_read_as_a_table(engine: Engine) -> None:
    await task(add, engine, job_type="thread", name="<b>sum</b>").submit(1)

    text, page = repr(engine.records), engine.records._repr_html_()

    assert text.splitlines()[0].split() == ["created", "task_name", "run_id", "action"]
    assert text.splitlines()[2].split()[-1] == "success"
    assert "<td>&lt;b&gt;sum&lt;/b&gt;</td>" in page
    assert "<b>" not in page


async def test_a_long_table_shows_both_ends(engine: Engine) -> None:
    await task(add, engine, job_type="thread").map(a=range(50))

    lines = repr(engine.records).splitlines()

    assert len(lines) == 42
    assert "60 more" in lines[21]


async def test_without_pandas_the_way_out_is_said(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        engine.records.to_pandas()


async def test_records_become_a_data_frame(engine: Engine) -> None:
    await task(add, engine, job_type="thread").submit(1)

    frame = engine.records.to_pandas()

    assert list(frame.columns) == ["created", "task_name", "run_id", "action"]
    assert list(frame["action"]) == ["run", "success"]
    assert str(frame["created"].dt.tz) == "UTC"
    assert abs(frame["created"][0].timestamp() - engine.records[0].created) < 1e-3


async def test_a_job_that_is_running_has_begun_and_not_ended(engine: Engine, gate: Gate) -> None:
    job = task(gate.wait, engine, job_type="thread").submit()
    await gate.came()

    assert actions(engine) == ["run"]
    gate.open()
    await job
    assert job.status is Status.DONE
    assert actions(engine) == ["run", "success"]
