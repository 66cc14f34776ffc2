"""Tells a store what becomes of an engine's jobs. Without a store there is no recorder, and nothing costs anything."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ipyjobs.errors import StoreError
from ipyjobs.job import Job
from ipyjobs.log import logger
from ipyjobs.particulars import attempt_row, birth_of, call_of, state_of
from ipyjobs.status import ENDED
from ipyjobs.stores import Store
from ipyjobs.stores.gathering import Change, End
from ipyjobs.stores.rows import Session
from ipyjobs.stores.writer import Verdict, Writer

if TYPE_CHECKING:
    from ipyjobs.engine import Engine

_PATIENCE_S = 10.0
"""How long a reader waits until the store has been opened."""


class Recorder:
    """Listens to an engine's flow and posts what changes to the store's own thread.

    Parameters
    ----------
    engine
        Whose jobs are kept.
    store
        Where.
    name
        What the session is called: the notebook's or script's name.
    """

    def __init__(self, engine: Engine, store: Store, name: str = "") -> None:
        self._engine = engine
        self._store = store
        self.session = engine.id
        self._name = name or _script()
        self._numbers = itertools.count(1)
        self._quiet = False
        self._writer: Writer | None = None
        self._unsaved: set[str] = set()

    # -- on the engine's loop

    def open(self) -> None:
        """Begin to listen."""
        if self._writer is not None:
            return
        session = Session(self.session, "", socket.gethostname(), os.getpid(), self._name, time.time(), None)
        self._writer = Writer(self._store, session, self._told)
        self._writer.start()
        self._engine.flow.listeners.append(self._changed)

    async def close(self, within_s: float) -> None:
        """Write what is left, and stop to listen."""
        writer = self._writer
        if writer is None:
            return
        self._engine.flow.listeners.remove(self._changed)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        writer.stop(lambda: loop.call_soon_threadsafe(ended.set))
        try:
            async with asyncio.timeout(within_s):
                await ended.wait()
        except TimeoutError:
            logger.warning("the store {} does not answer; what it has not written is lost", self.place)
        self._store = writer.store
        self._writer = None

    def finish(self, within_s: float) -> None:
        """As `close`, from a thread without a loop, when the process ends and nobody has closed it."""
        writer = self._writer
        if writer is not None:
            writer.stop()
            writer.join(within_s)

    def _changed(self, job: Job) -> None:
        writer = self._writer
        if self._quiet or writer is None:
            return
        values = job._trait_values
        job_id: str = values["id"]
        story = job._story
        told = job._told
        state = state_of(job)
        attempt = attempt_row(job_id, job.attempts[-1]) if job.attempts else None
        if told == len(story) and not job._removed:
            writer.touch(Change(next(self._numbers), job_id, state, told, (), attempt, None, None))
            return
        birth = None
        if told < 0:
            told = ~told
            birth = (
                birth_of(job, self.session, self._log_place(job)),
                call_of(job),
            )
        end = None
        if values["status"] in ENDED:
            end = End(job._payload, job._preview, job._failure)
            self._unsaved.add(job_id)
        elif values["saved"]:
            job._set({"saved": False})
        job._told = len(story)
        events = tuple(story[told:])
        writer.post(Change(next(self._numbers), job_id, state, told, events, attempt, birth, end, job._removed))

    def _log_place(self, job: Job) -> str:
        logs = self._store.logs
        if logs is None:
            return ""
        if job._log is None:
            return f"{self.session}/{job._trait_values['number']}-{job._trait_values['id']}.log"
        return str(job._log.path.relative_to(logs)) if job._log.path.is_relative_to(logs) else ""

    # -- what the writer says

    def _told(self, verdicts: list[Verdict]) -> None:
        self._engine.flow_soon(self._note, verdicts)

    def _note(self, verdicts: list[Verdict]) -> None:
        """On the engine's loop, or wherever it was when that has ended."""
        flow = self._engine.flow
        for each in verdicts:
            job = flow.jobs.get(each.job_id)
            if job is None or job._round != each.round or not job.ended:
                continue
            if each.saved:
                self._unsaved.discard(each.job_id)
            job._set({"saved": each.saved, "unsaved": each.why})
            if flow.home is None:
                continue
            self._quiet = True
            try:
                flow.touch(job)
            finally:
                self._quiet = False

    # -- from any thread

    @property
    def place(self) -> str:
        """Where the store is."""
        return self.store.place

    @property
    def store(self) -> Store:
        """The store that is written to; one in memory where the one that was asked for can't be used."""
        return self._store if self._writer is None else self._writer.store

    @property
    def logs(self) -> Path | None:
        """Where logs stay."""
        return self._store.logs

    def readable(self) -> Store:
        """The store, once it can be read.

        Raises
        ------
        StoreError
            It can't.
        """
        if self._writer is None:
            if not self.store.id:
                self.store.open(write=False)
        elif not self._writer.wait_opened(_PATIENCE_S):
            raise StoreError(f"the store {self.place} can't be read yet")
        return self.store

    def living(self) -> list[str]:
        """Sessions that go on, this one among them."""
        store = self.readable()
        return [self.session, *(s.id for s in store.sessions() if s.ended_at is None and store.alive(s.owner))]

    def forget(self, ids: Iterable[str]) -> None:
        """Remove jobs of earlier sessions."""
        self.store.remove(ids)

    async def saved(self) -> bool:
        """Wait until all that has happened so far is written; whether every ended job is saved."""
        loop = asyncio.get_running_loop()
        reached: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not reached.done():
                reached.set_result(None)

        self._mark(lambda: loop.call_soon_threadsafe(wake))
        await reached
        return self._all_saved()

    def wait_saved(self, timeout_s: float | None) -> bool:
        """As `saved`, for a thread without a loop; False too if `timeout_s` seconds pass first."""
        reached = threading.Event()
        self._mark(reached.set)
        return reached.wait(timeout_s) and self._all_saved()

    def _mark(self, reached: Callable[[], object]) -> None:
        writer = self._writer
        if writer is None:
            reached()
        else:
            # By way of the engine's loop, which then has been told of all that was saved.
            writer.mark(lambda _: self._engine.flow_soon(reached))

    def _all_saved(self) -> bool:
        jobs = self._engine.flow.jobs
        return not any(each in jobs and jobs[each].ended for each in list(self._unsaved))


def _script() -> str:
    name = os.environ.get("JPY_SESSION_NAME") or (sys.argv[0] if sys.argv else "")
    return os.path.basename(name)
