"""The engine as a page sees it: messages out, commands in."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ipyjobs import AfterAnother, Engine, LocalJob, ThreadJob, report
from ipyjobs.feed import Feed

from .conftest import FUSE_S, Gate


class Page:
    """Keeps what it is sent, as a page does."""

    def __init__(self, engine: Engine, **options: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self.messages: list[dict[str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.engine: dict[str, Any] = {}
        self.feed = Feed(engine, self._take, **options)

    def _take(self, message: dict[str, Any]) -> None:
        message = json.loads(json.dumps(message))
        self._loop.call_soon_threadsafe(self._keep, message)

    def _keep(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if message["type"] == "snapshot":
            self.jobs.clear()
        for job in message.get("jobs", ()):
            self.jobs[job["id"]] = job
        for job_id in message.get("removed", ()):
            self.jobs.pop(job_id, None)
        self.engine = message.get("engine") or self.engine
        self._news.set()

    def say(self, kind: str, **fields: Any) -> None:
        self.feed.receive({"type": kind, **fields})

    async def until(self, check: Any) -> Any:
        """Wait until ``check()`` gives something, and give it."""
        async with asyncio.timeout(FUSE_S):
            while not (found := check()):
                self._news.clear()
                await self._news.wait()
        return found

    async def message(self, kind: str) -> dict[str, Any]:
        """The next message of a kind; it is taken off the list."""
        found = await self.until(lambda: next((each for each in self.messages if each["type"] == kind), None))
        self.messages.remove(found)
        return found


@pytest.fixture
async def page(engine: Engine) -> AsyncIterator[Page]:
    page = Page(engine)
    yield page
    page.feed.close()


async def test_hello_is_answered_with_all_there_is(engine: Engine, page: Page) -> None:
    job = engine.submit(ThreadJob(max, (1, 2), name="one", group="g", tags=["t"], priority=3))
    await job
    page.say("hello")

    snapshot = await page.message("snapshot")

    (record,) = snapshot["jobs"]
    assert (record["id"], record["name"], record["status"], record["group"]) == (job.id, "one", "done", "g")
    assert (record["tags"], record["priority"], record["result"], record["arguments"]) == (["t"], 3, "2", "1 2")
    assert {slot["name"] for slot in snapshot["engine"]["slots"]} >= {"", "thread", "process"}


async def test_changes_arrive_as_patches_in_order(engine: Engine, page: Page, gate: Gate) -> None:
    page.say("hello")
    await page.message("snapshot")
    job = engine.submit(ThreadJob(gate.wait))
    await page.until(lambda: page.jobs.get(job.id, {}).get("status") == "running")
    gate.open()
    await page.until(lambda: page.jobs.get(job.id, {}).get("status") == "done")

    numbers = [message["seq"] for message in page.messages if message["type"] == "patch"]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_many_changes_become_few_messages(engine: Engine, page: Page) -> None:
    page.say("hello")
    jobs = engine.submit(*(LocalJob(int) for _ in range(2000)))
    await page.until(lambda: sum(job["status"] == "done" for job in page.jobs.values()) == len(jobs))

    patches = [message for message in page.messages if message["type"] == "patch"]
    assert len(patches) < 40
    assert all(len(message["jobs"]) <= 500 for message in patches)


async def test_nothing_is_sent_before_hello_or_after_bye(engine: Engine, page: Page) -> None:
    await engine.submit(ThreadJob(int))
    assert page.messages == []
    page.say("hello")
    await page.message("snapshot")
    page.say("bye")
    await engine.submit(ThreadJob(int))
    await asyncio.to_thread(engine.inbox.loop.is_running)

    assert engine.flow.listeners == []


async def test_a_beat_tells_that_the_engine_lives(engine: Engine, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipyjobs.feed.BEAT_S", 0.01)
    page.say("hello")

    beat = await page.message("beat")

    assert beat["epoch"] == page.feed._epoch


async def test_cancel_and_rerun_are_obeyed_and_answered(engine: Engine, page: Page) -> None:
    job = engine.submit(LocalJob(asyncio.sleep, (3600,)))
    await job.wait_until_status("running", FUSE_S)
    page.say("hello")
    page.say("cancel", request=1, ids=[job.id, "unknown"])
    assert (await page.message("answer")) == {"type": "answer", "request": 1, "ok": True, "text": "1 cancelled"}
    await job.join(FUSE_S)

    page.say("rerun", request=2, ids=[job.id])

    assert (await page.message("answer"))["text"] == "1 rerun"
    await job.wait_until_status("running", FUSE_S)


async def test_limits_can_be_changed_from_the_page(engine: Engine, page: Page) -> None:
    page.say("hello")
    page.say("limit", request=1, name="", limit=7)
    await page.until(lambda: page.engine.get("slots", [{}])[0].get("limit") == 7)
    page.say("limit", request=2, name="thread", limit=0)

    await page.message("answer")
    answer = await page.message("answer")
    assert not answer["ok"]
    assert "whole number from 1" in answer["text"]
    assert engine.max_jobs == 7


@pytest.mark.parametrize(
    "message",
    [
        None, 7, [], "hello", {}, {"type": None}, {"type": "explode"}, {"type": "cancel"},
        {"type": "cancel", "request": 1},
        {"type": "cancel", "request": 1, "ids": "all"}, {"type": "cancel", "request": 1, "ids": [1]},
        {"type": "cancel", "request": True, "ids": []}, {"type": "hello", "extra": 1}, {"type": ["hello"]},
        {"type": "read_log", "id": "x", "start": 1e308, "stop": None},
    ],
)  # fmt: skip
async def test_what_is_no_command_does_no_harm(engine: Engine, page: Page, message: object) -> None:
    page.feed.receive(message)
    page.say("hello")

    assert await page.message("snapshot")


async def test_a_failed_job_shows_its_traceback_arguments_and_attempts(engine: Engine, page: Page) -> None:
    def fail(x: int, *, y: str) -> None:
        raise ValueError(f"bad {x}")

    job = engine.submit(ThreadJob(fail, (1,), {"y": "two"}, retries=1))
    await job.join()
    page.say("inspect", id=job.id)

    detail = await page.message("detail")

    assert detail["errors"][0]["type"] == "ValueError"
    assert detail["errors"][0]["frames"][-1]["function"] == "fail"
    assert any('raise ValueError(f"bad {x}")' in line["text"] for line in detail["errors"][0]["frames"][-1]["lines"])
    assert "ValueError: bad 1" in detail["traceback"]
    assert [(each["name"], each["type"], each["text"]) for each in detail["arguments"]] == [
        ("x", "int", "1"), ("y", "str", "'two'"),
    ]  # fmt: skip
    assert [each["outcome"] for each in detail["attempts"]] == ["failed", "failed"]


async def test_a_job_that_is_unknown_is_said_to_be(page: Page) -> None:
    page.say("inspect", id="nobody")
    assert (await page.message("detail"))["found"] is False
    page.say("read_log", id="nobody", start=0, stop=None)
    assert (await page.message("log"))["size"] == 0
    page.say("search_log", id="nobody", query="x")
    assert (await page.message("matches"))["total"] == 0


async def test_what_a_job_waits_for_is_said_in_words(engine: Engine, page: Page, gate: Gate) -> None:
    first = engine.submit(ThreadJob(gate.wait, name="first"))
    await first.wait_until_status("running", FUSE_S)
    second = engine.submit(ThreadJob(print, (first.future,), name="second"))
    third = engine.submit(ThreadJob(int, condition=AfterAnother("nobody"), name="third"))
    page.say("hello")
    await page.message("snapshot")
    await page.until(lambda: page.jobs.get(second.id, {}).get("waiting"))

    assert page.jobs[second.id]["waiting"] == "after first"
    assert page.jobs[third.id]["waiting"] == "waits for unknown job nobody"
    page.say("inspect", id=second.id)
    (link,) = (await page.message("detail"))["upstream"]
    assert (link["name"], link["via"], link["status"]) == ("first", "value", "running")
    gate.open()
    third.cancel()


async def test_progress_and_log_size_arrive_while_the_job_runs(engine: Engine, page: Page, gate: Gate) -> None:
    def work() -> None:
        report(0.25, "a quarter")
        print("hello from the job")
        gate.wait()

    page.say("hello")
    job = engine.submit(ThreadJob(work))
    await page.until(lambda: page.jobs.get(job.id, {}).get("progress") == 0.25)
    await page.until(lambda: page.jobs[job.id]["log_bytes"] == 19)
    page.say("read_log", id=job.id, start=-100, stop=None)

    assert (await page.message("log"))["text"] == "hello from the job\n"
    gate.open()
    await job


async def test_a_log_is_read_in_ranges_that_cut_no_character(engine: Engine, page: Page) -> None:
    job = engine.submit(ThreadJob(sys.stdout.write, ("",)))
    await job
    job.log.write("a€b€c".encode() + b"\xff\x00z")
    pieces = []
    start = 0
    while start < job.log.size:
        page.say("read_log", id=job.id, start=start, stop=start + 3)
        part = await page.message("log")
        if part["stop"] == start:
            page.say("read_log", id=job.id, start=start, stop=start + 4)
            part = await page.message("log")
        pieces.append(part["text"])
        start = part["stop"]

    assert "".join(pieces) == "a€b€c\ufffd\x00z"


async def test_a_log_is_searched_in_the_kernel(engine: Engine, page: Page) -> None:
    job = engine.submit(ThreadJob(print, ("one\nTwo\nthree two",)))
    await job
    page.say("search_log", id=job.id, query="two")

    matches = await page.message("matches")

    assert (matches["offsets"], matches["total"]) == ([4, 8], 2)


async def test_a_page_that_is_gone_is_forgotten(engine: Engine) -> None:
    def gone(message: object) -> None:
        raise OSError("closed")

    feed = Feed(engine, gone)
    feed.receive({"type": "hello"})
    await engine.submit(ThreadJob(int))
    await asyncio.to_thread(lambda: engine._here().call(int))

    assert engine.flow.listeners == []


async def test_removed_jobs_leave_the_page(engine: Engine, page: Page) -> None:
    job = engine.submit(ThreadJob(int))
    await job
    page.say("hello")
    await page.until(lambda: job.id in page.jobs)
    await engine.remove(job)

    await page.until(lambda: job.id not in page.jobs)


async def test_a_page_may_look_at_some_jobs_only(engine: Engine) -> None:
    one, two = engine.submit(ThreadJob(int), ThreadJob(int)).values()
    page = Page(engine, focus=[two.id])
    page.say("hello")
    await engine.join()
    one.rerun()
    two.rerun()
    await engine.join()

    await page.until(lambda: page.jobs)
    assert list(page.jobs) == [two.id]
    page.feed.close()


async def test_the_page_is_told_when_a_cell_runs(engine: Engine, page: Page) -> None:
    page.say("hello")
    await page.message("snapshot")
    engine.busy = (12.0, "In[6]")
    engine.notebook_changed()

    await page.until(lambda: page.engine.get("busy_with") == "In[6]")
