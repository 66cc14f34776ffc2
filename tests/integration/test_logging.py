"""What is logged: by ipyjobs about jobs, and by jobs themselves."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipyjobs import (
    Engine,
    EngineSetting,
    InvalidOption,
    Job,
    LocalJob,
    ProcessJob,
    ThreadJob,
    current_job,
    logger,
)  # fmt: skip

from .conftest import FUSE_S


def add(a: int, b: int) -> int:
    return a + b


def boom() -> None:
    raise ValueError("no")


Add = Callable[..., list[Any]]


@pytest.fixture
def sink() -> Iterator[Add]:
    """Adds a sink to the logger and gives the list of its messages."""
    numbers: list[int] = []

    def added(level: str = "DEBUG") -> list[Any]:
        said: list[Any] = []
        numbers.append(logger.add(said.append, level=level, format="{level} {message}", filter="ipyjobs"))
        return said

    yield added
    for each in numbers:
        logger.remove(each)


@pytest.mark.row("E-31")
async def test_an_added_sink_gets_the_messages_of_a_jobs_life(engine: Engine, sink: Add) -> None:
    said = sink()

    job = engine.submit(ThreadJob(add, (1, 2), name="x"))
    await engine.join()

    assert [str(each).strip() for each in said] == [
        "DEBUG job 'x' was submitted", "INFO job 'x' started, attempt 1", "INFO job 'x' is done, attempt 1",
    ]  # fmt: skip
    for each, event in zip(said, job.story(), strict=True):
        extra = each.record["extra"]
        assert (extra["engine"], extra["job"], extra["verb"]) == (engine.id, job.id, event.verb)
        assert extra["at"] == event.at


@pytest.mark.row("E-31")
async def test_a_sink_gets_only_its_level(engine: Engine, sink: Add) -> None:
    said = sink("INFO")

    engine.submit(ThreadJob(boom, name="x"))
    await engine.join()

    assert [str(each).strip() for each in said] == [
        "INFO job 'x' started, attempt 1", "INFO job 'x' failed, attempt 1: ValueError: no",
    ]  # fmt: skip


@pytest.mark.row("E-31")
async def test_sinks_get_their_messages_on_the_users_thread(engine: Engine) -> None:
    threads: set[int] = set()
    number = logger.add(lambda _: threads.add(threading.get_ident()), level="DEBUG")

    engine.submit(ThreadJob(add, (1, 2)))
    await engine.join()

    logger.remove(number)
    assert threads == {threading.get_ident()}


async def test_nobody_listens_until_a_sink_is_added_and_when_it_is_gone(engine: Engine, sink: Add) -> None:
    await engine.submit(ThreadJob(add, (1, 2)))
    assert engine.flow.listeners == []

    number = logger.add(lambda _: None, level="DEBUG")
    await engine.submit(ThreadJob(add, (1, 2)))
    assert len(engine.flow.listeners) == 1

    logger.remove(number)
    await engine.submit(ThreadJob(add, (1, 2)))
    assert engine.flow.listeners == []


async def test_a_sink_for_warnings_costs_no_messages_of_jobs_lives(engine: Engine, sink: Add) -> None:
    said = sink("WARNING")

    await engine.submit(ThreadJob(add, (1, 2)))

    assert engine.flow.listeners == []
    assert said == []


async def test_the_engine_can_be_told_to_log_no_lives_of_jobs(engine: Engine, sink: Add) -> None:
    engine.setting.log_level = "WARNING"
    said = sink()

    await engine.submit(ThreadJob(add, (1, 2)))
    await engine.join()
    assert said == []

    engine.setting.log_level = "INFO"
    await engine.submit(ThreadJob(add, (1, 2)))
    await engine.join()
    assert len(said) == 2


SCRIPT = """
import sys
from ipyjobs import Engine, EngineSetting, ThreadJob
level = sys.argv[1] if len(sys.argv) > 1 else None
with Engine(EngineSetting(log_level=level)) as engine:
    engine.wait_job(engine.submit(ThreadJob(int, name="x")))
"""


@pytest.mark.parametrize(("level", "lines"), [(None, 0), ("WARNING", 0), ("INFO", 2), ("DEBUG", 3)])
def test_a_script_is_quiet_unless_it_wants_a_level(tmp_path: Path, level: str | None, lines: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    ended = subprocess.run(
        [sys.executable, script, *([level] if level else [])], capture_output=True, text=True, timeout=60, check=True
    )

    assert ended.stderr.count("job 'x'") == lines
    assert len(ended.stderr.splitlines()) == lines


def test_a_level_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidOption, match="log_level='LOUD'"):
        EngineSetting(log_level="LOUD")


# -- what jobs log


@pytest.mark.parametrize("kind", [LocalJob, ThreadJob])
async def test_a_handler_that_took_hold_of_stderr_before_writes_to_the_jobs_log(
    engine: Engine, kind: type[Job]
) -> None:
    stderr = io.StringIO()
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s:%(message)s"))
    mine = logging.getLogger("test_logging.mine")
    mine.addHandler(handler)
    mine.propagate = False
    number = logger.add(stderr, level="WARNING", format="{level}:{message}")

    def work() -> None:
        mine.warning("by logging")
        logger.warning("by loguru")

    try:
        with contextlib.redirect_stderr(stderr):
            job = engine.submit(kind(work))
            await job
        mine.warning("outside")
        logger.warning("outside, too")
    finally:
        mine.removeHandler(handler)
        logger.remove(number)

    # The sink that loguru begins with may have a dispatcher under it from an earlier test.
    lines = [line for line in job.log.lines() if line.startswith("WARNING:")]
    assert lines == ["WARNING:by logging", "WARNING:by loguru"]
    assert stderr.getvalue() == "WARNING:outside\nWARNING:outside, too\n"


async def test_the_users_logging_stays_as_it_was(engine: Engine, tmp_path: Path) -> None:
    root = logging.getLogger()
    elsewhere = io.StringIO()
    handlers = [logging.StreamHandler(elsewhere), logging.FileHandler(tmp_path / "x.log")]
    before = list(root.handlers)
    for each in handlers:
        root.addHandler(each)

    try:
        await engine.submit(ThreadJob(lambda: logging.getLogger("a").warning("hello")))
        assert root.handlers == before + handlers, "none was added, so `basicConfig` works as before"
    finally:
        for each in handlers:
            root.removeHandler(each)
            each.close()

    assert elsewhere.getvalue() == "hello\n"
    assert (tmp_path / "x.log").read_text() == "hello\n"
    assert handlers[0].stream is elsewhere


async def test_a_logger_that_a_function_takes_along_writes_to_the_jobs_log_in_a_worker(engine: Engine) -> None:
    await engine.submit(ThreadJob(add, (1, 2)))  # lays the dispatchers

    def work() -> None:
        print("to the captured stderr", file=captured)

    captured = sys.stderr
    job = engine.submit(ProcessJob(work))
    await job

    assert job.log.text() == "to the captured stderr\n"


async def test_what_is_posted_from_a_job_does_not_speak_as_that_job(engine: Engine) -> None:
    seen: list[Any] = []
    came = threading.Event()

    def asks() -> None:
        engine.inbox.post(lambda: seen.append(current_job()))
        engine.outbox.post(lambda: (seen.append(current_job()), came.set()))

    await engine.submit(ThreadJob(asks))
    await asyncio.to_thread(came.wait, FUSE_S)

    assert seen == [None, None]
