"""What plugins hear of, and what they can refuse."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ipyjobs import (
    Engine,
    EngineSetting,
    InvalidOption,
    InvalidStateError,
    JobCancelled,
    LocalJob,
    MainJob,
    Reason,
    Status,
    ThreadJob,
    hookimpl,
    logger,
)  # fmt: skip
from ipyjobs.chronicle import Chronicle
from ipyjobs.feed import Feed

from .conftest import FUSE_S, Gate


def add(a: int, b: int) -> int:
    return a + b


class Heard:
    """Notes every event, and on which thread."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, int]] = []

    def ipyjobs_event(self, engine: Engine, job: Any, event: Any) -> None:
        self.events.append((job.name, str(event.verb), threading.get_ident()))

    def verbs(self, name: str) -> list[str]:
        return [verb for each, verb, _ in self.events if each == name]


class Refuses:
    """Refuses jobs by name."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def _answer(self, job: Any) -> bool | None:
        return False if job.name in self.names else None


class RefusesSubmit(Refuses):
    def ipyjobs_submitting(self, job: Any) -> bool | None:
        return self._answer(job)


class RefusesCancel(Refuses):
    def ipyjobs_cancelling(self, job: Any) -> bool | None:
        return self._answer(job)


async def test_a_plugin_hears_of_every_move_on_the_users_loop(engine: Engine) -> None:
    heard = Heard()
    engine.plugins.register(heard)

    job = engine.submit(ThreadJob(add, (1, 2), name="x"))
    await job
    await engine.rerun(job)
    await engine.join()

    assert heard.verbs("x") == ["submit", "start", "finish", "rerun", "start", "finish"]
    assert {thread for _, _, thread in heard.events} == {threading.get_ident()}


async def test_what_was_before_a_plugin_came_is_not_told(engine: Engine) -> None:
    job = engine.submit(ThreadJob(add, (1, 2), name="early"))
    await job
    heard = Heard()

    engine.plugins.register(heard)
    engine.remove(job)
    await engine.submit(ThreadJob(add, (1, 2), name="late"))
    await engine.submit(ThreadJob(add, (1, 2), name="last"))
    await engine.join()

    assert not heard.verbs("early")
    assert heard.verbs("late") == ["submit", "start", "finish"]


async def test_an_unregistered_plugin_hears_nothing(engine: Engine) -> None:
    heard = Heard()
    engine.plugins.register(heard)
    await engine.submit(ThreadJob(add, (1, 2), name="x"))

    engine.plugins.unregister(heard)
    await engine.submit(ThreadJob(add, (1, 2), name="y"))

    assert not heard.verbs("y")


async def test_while_no_plugin_listens_nothing_listens(engine: Engine) -> None:
    class Other:
        def ipyjobs_closing(self, engine: Engine) -> None:
            """Only this."""

    engine.plugins.register(Other())
    await engine.submit(ThreadJob(add, (1, 2)))

    assert engine.flow.listeners == []


async def test_an_event_hook_may_be_a_coroutine_function(engine: Engine) -> None:
    told = asyncio.Event()

    class Slow:
        async def ipyjobs_event(self, event: Any) -> None:
            await asyncio.sleep(0)
            if event.verb == "finish":
                told.set()

    engine.plugins.register(Slow())
    await engine.submit(ThreadJob(add, (1, 2)))

    await asyncio.wait_for(told.wait(), FUSE_S)


# -- refusing


async def test_a_vetoed_job_is_cancelled_and_so_is_what_needs_it(engine: Engine) -> None:
    engine.plugins.register(RefusesSubmit("bad"))

    bad, good = ThreadJob(add, (1, 2), name="bad"), ThreadJob(add, (1, 2), name="good")
    needs = ThreadJob(add, (bad, 1), name="needs")
    engine.submit(bad, good, needs)

    assert (bad.status, bad.reason) == (Status.CANCELLED, Reason.VETO)
    assert (needs.status, needs.reason) == (Status.CANCELLED, Reason.UPSTREAM)
    assert await good == 3
    with pytest.raises(JobCancelled, match="a plugin refused it"):
        await bad
    assert bad.attempts == []


async def test_a_rerun_is_asked_about_too(engine: Engine) -> None:
    job, again = engine.submit(*(ThreadJob(add, (1, 2), name="x") for _ in range(2))).values()
    await engine.join()
    engine.plugins.register(RefusesSubmit("x"))

    engine.rerun(job)
    engine.submit(again)

    for each in (job, again):
        assert (each.status, each.reason) == (Status.CANCELLED, Reason.VETO)


async def test_a_refused_cancel_leaves_the_job_alone(engine: Engine, gate: Gate) -> None:
    engine.plugins.register(RefusesCancel("kept"))
    kept, other = engine.submit(ThreadJob(gate.wait, name="kept"), ThreadJob(gate.wait, name="other")).values()
    await gate.came(2)

    for act in (kept.cancel, lambda: engine.cancel(kept), lambda: engine.remove(kept)):
        with pytest.raises(InvalidStateError, match="a plugin refused to have it cancelled"):
            act()
    engine.remove(kept, other)
    await engine.cancel_all()

    assert kept.status is Status.RUNNING
    assert list(engine.jobs) == [kept]
    assert "a plugin refused" in kept.note
    assert other.status is Status.CANCELLED
    gate.open()
    await kept.join()
    assert kept.status is Status.DONE


async def test_timeouts_upstreams_and_the_engines_end_ask_nobody(engine: Engine) -> None:
    asked: list[str] = []

    class Asked:
        def ipyjobs_cancelling(self, job: Any) -> bool:
            asked.append(job.name)
            return False

    async def held() -> None:
        await asyncio.Event().wait()

    engine.plugins.register(Asked())
    late = engine.submit(LocalJob(held, timeout=0.01, name="late"))
    needs = engine.submit(LocalJob(add, (late, 1), name="needs"))
    await engine.submit(ThreadJob(add, (1, 2))), await late.join(), await needs.join()
    last = engine.submit(LocalJob(held, name="last"))
    await last.wait_until_status("running", FUSE_S)

    await asyncio.to_thread(engine.stop)

    assert (late.status, needs.status, last.status) == (Status.FAILED, Status.CANCELLED, Status.CANCELLED)
    assert asked == []


async def test_what_a_page_asks_is_asked_about_as_well(engine: Engine, gate: Gate) -> None:
    sent: list[dict[str, Any]] = []
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def send(message: dict[str, Any]) -> None:
        if message["type"] == "answer":
            sent.append(message)
            loop.call_soon_threadsafe(answered.set)

    async def answer(**command: Any) -> str:
        answered.clear()
        feed.receive({"request": 1, **command})
        await asyncio.wait_for(answered.wait(), FUSE_S)
        return sent[-1]["text"]

    engine.plugins.register(RefusesCancel("kept"))
    feed = Feed(engine, send)
    kept, done = engine.submit(ThreadJob(gate.wait, name="kept"), ThreadJob(add, (1, 2), name="done")).values()
    await done

    said = await answer(type="cancel", ids=[kept.id])
    engine.plugins.register(RefusesSubmit("done"))
    await answer(type="rerun", ids=[done.id])

    assert said == "0 cancelled, 1 can't be: a plugin refused to have it cancelled"
    assert (done.status, done.reason) == (Status.CANCELLED, Reason.VETO)
    gate.open()
    await kept


async def test_a_page_is_told_that_a_main_job_goes_on(engine: Engine) -> None:
    held = asyncio.Event()
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        await held.wait()

    said: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    feed = Feed(engine, lambda message: loop.call_soon_threadsafe(said.put_nowait, message.get("text", "")))
    job = engine.submit(MainJob(work))
    await began.wait()

    feed.receive({"type": "cancel", "request": 1, "ids": [job.id]})

    assert 'execution="main"' in await asyncio.wait_for(said.get(), FUSE_S)
    held.set()
    await job


# -- plugins that do harm


async def test_a_hook_that_raises_is_logged_and_stops_neither_job_nor_plugin(engine: Engine) -> None:
    class Broken:
        def ipyjobs_submitting(self, job: Any) -> None:
            raise ValueError("broken submitting")

        def ipyjobs_event(self, event: Any) -> None:
            raise ValueError("broken event")

    said: list[str] = []
    number = logger.add(said.append, level="ERROR")
    heard = Heard()
    engine.plugins.register(RefusesSubmit("bad"))
    engine.plugins.register(heard)
    engine.plugins.register(Broken(), "the broken one")

    good, bad = engine.submit(ThreadJob(add, (1, 2), name="good"), ThreadJob(add, (1, 2), name="bad")).values()

    assert await good == 3
    await engine.join()
    assert bad.reason is Reason.VETO
    assert heard.verbs("good") == ["submit", "start", "finish"]
    logger.remove(number)
    assert any("'the broken one'" in each and "broken submitting" in each for each in said)
    assert any("broken event" in each for each in said)


class Misspelt:
    def ipyjobs_submited(self, job: Any) -> None:
        """A hook that there is not."""


class Async:
    async def ipyjobs_submitting(self, job: Any) -> None:
        """Nobody could wait for it."""


class Wrapper:
    @hookimpl(wrapper=True)
    def ipyjobs_event(self, event: Any) -> Any:
        return (yield)


@pytest.mark.parametrize(
    ("plugin", "match"),
    [(Misspelt(), "one of ipyjobs_submitting"), (Async(), "plain function"), (Wrapper(), "wrappers")],
)
def test_a_plugin_that_cannot_work_is_refused(plugin: Any, match: str) -> None:
    with pytest.raises(InvalidOption, match=match):
        Engine().plugins.register(plugin)


# -- the engine's life


class Life:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def ipyjobs_starting(self, engine: Engine) -> None:
        self.seen.append(("starting", engine.submit(ThreadJob(add, (1, 2), name="first")).name))

    def ipyjobs_closing(self, engine: Engine) -> None:
        self.seen.append(("closing", engine.alive))


def test_a_plugin_hears_that_the_engine_starts_and_closes() -> None:
    engine, life = Engine(EngineSetting(echo=False)), Life()
    engine.plugins.register(life)

    for _ in range(2):
        with engine:
            assert engine.jobs.named("first").name == "first"

    assert life.seen == [("starting", "first"), ("closing", True)] * 2


PLUGIN = """
seen = []

def ipyjobs_event(job, event):
    seen.append((job.name, str(event.verb)))
"""


def test_an_installed_plugin_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ipyjobs_example_plugin.py").write_text(PLUGIN)
    info = tmp_path / "ipyjobs_example-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ipyjobs-example\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ipyjobs]\nexample = ipyjobs_example_plugin\nbroken = no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Chronicle, "installed", None)

    with Engine() as engine:
        engine.wait_job(engine.submit(ThreadJob(add, (1, 2), name="x")))
        names = [name for name, _ in engine.plugins.list_name_plugin()]

    assert names == ["example"], "a plugin that can't be loaded keeps nobody from working"
    assert sys.modules["ipyjobs_example_plugin"].seen == [("x", "submit"), ("x", "start"), ("x", "finish")]
