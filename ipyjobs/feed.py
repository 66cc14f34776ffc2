"""The engine as a page sees it: messages out, commands in. Whatever shows jobs knows the engine only through this."""

from __future__ import annotations

import asyncio
import codecs
import inspect
import os
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from ipyjobs.conditions import job_ids
from ipyjobs.errors import IpyjobsError
from ipyjobs.log import logger
from ipyjobs.schema import (
    Answer,
    ArgumentRecord,
    AttemptRecord,
    Beat,
    Bye,
    Cancel,
    Detail,
    EngineRecord,
    Hello,
    Inspect,
    JobRecord,
    Limit,
    LinkRecord,
    LogMatches,
    LogPart,
    MessageIn,
    Patch,
    ReadLog,
    Rerun,
    SearchLog,
    SlotRecord,
    Snapshot,
    from_wire,
    to_wire,
)

if TYPE_CHECKING:
    from ipyjobs.engine import Engine
    from ipyjobs.job import Job

PATCH_S = 0.1
"""Shortest time between two patches: the server drops what exceeds 1,000 messages in three seconds, unseen."""
PATCH_RECORDS = 500
BEAT_S = 2.0
LOG_BYTES = 256 * 1024
"""Most bytes of a log in one message."""

_epoch = os.urandom(4).hex()


class Feed:
    """One page's view of an engine.

    Parameters
    ----------
    engine
        What to show.
    send
        Takes a message as a dict of JSON types; called on the engine's thread only.
    focus
        Ids of the jobs to show; None shows all.
    """

    def __init__(
        self, engine: Engine, send: Callable[[dict[str, Any]], None], *, focus: Collection[str] | None = None
    ) -> None:
        self._engine = engine
        self._send_wire = send
        self._focus = None if focus is None else frozenset(focus)
        self.comm_subshell = True
        """Whether this page's clicks reach us while a cell runs."""
        self._epoch = f"{_epoch}-{engine.id}"
        self._seq = 0
        self._open = False
        self._dirty: dict[str, Job] = {}
        self._flush_due: asyncio.TimerHandle | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._engine_before: EngineRecord | None = None

    # -- for the page's side, from any thread

    def receive(self, message: object) -> None:
        """Take a command; what is none is answered and otherwise ignored."""
        try:
            command = from_wire(message)
        except ValueError as error:
            logger.warning("a page sent something that is no command: {}", error)
            request = message.get("request") if isinstance(message, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if isinstance(request, int):
                self._post(self._send, Answer("answer", request, ok=False, text=str(error)))
            return
        self._post(self._take, command)

    def close(self) -> None:
        """Send nothing any more."""
        self._post(self._leave)

    def records(self) -> list[JobRecord]:
        """The jobs as they are now, in order of submission."""
        return [job.record() for job in list(self._engine.flow.jobs.values()) if self._shows(job)]

    # -- on the engine's loop

    def _post(self, call: Callable[..., None], *args: object) -> None:
        if self._engine.alive:
            self._engine.inbox.post(call, *args)
        else:
            call(*args)

    def _take(self, command: MessageIn) -> None:
        match command:
            case Hello():
                self._hello()
            case Bye():
                self._leave()
            case Cancel() | Rerun() | Limit():
                self._obey(command)
            case Inspect():
                self._send(self._detail(command.id))
            case ReadLog():
                self._send(self._log_part(command))
            case SearchLog():
                self._search(command)

    def _hello(self) -> None:
        if not self._open:
            self._open = True
            self._engine.flow.listeners.append(self._touched)
            self._engine.notebook_listeners.append(self.engine_changed)
        self._dirty.clear()
        self._seq += 1
        self._engine_before = self._engine_record()
        records = tuple(self.records())
        self._send(Snapshot("snapshot", self._epoch, self._seq, time.time(), self._engine_before, records))
        if self._beat is None and self._engine.alive:
            self._beat = self._engine.loop.call_later(BEAT_S, self._on_beat)

    def _leave(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._touched in self._engine.flow.listeners:
            self._engine.flow.listeners.remove(self._touched)
            self._engine.notebook_listeners.remove(self.engine_changed)
        for timer in (self._flush_due, self._beat):
            if timer is not None:
                timer.cancel()
        self._flush_due = self._beat = None
        self._dirty.clear()

    def _shows(self, job: Job) -> bool:
        return self._focus is None or job.id in self._focus

    def _touched(self, job: Job) -> None:
        if not self._shows(job):
            return
        self._dirty[job.id] = job
        if self._flush_due is None and self._engine.alive:
            wait_s = max(0.0, self._flushed_at + PATCH_S - time.monotonic())
            self._flush_due = self._engine.loop.call_later(wait_s, self._flush)

    def _flush(self) -> None:
        self._flush_due = None
        self._flushed_at = time.monotonic()
        jobs: list[JobRecord] = []
        removed: list[str] = []
        for job_id in list(self._dirty)[:PATCH_RECORDS]:
            job = self._dirty.pop(job_id)
            if job_id in self._engine.flow.jobs:
                jobs.append(job.record())
            else:
                removed.append(job_id)
        self._patch(tuple(jobs), tuple(removed))
        if self._dirty and self._open:
            self._flush_due = self._engine.loop.call_later(PATCH_S, self._flush)

    def _patch(self, jobs: tuple[JobRecord, ...] = (), removed: tuple[str, ...] = ()) -> None:
        engine = self._engine_record()
        changed = engine if engine != self._engine_before else None
        if changed is None and not jobs and not removed:
            return
        self._engine_before = engine
        self._seq += 1
        self._send(Patch("patch", self._epoch, self._seq, time.time(), changed, jobs, removed))

    def _on_beat(self) -> None:
        self._beat = None
        if not self._open:
            return
        self._patch()
        self._send(Beat("beat", self._epoch, self._seq, time.time()))
        if self._open and self._engine.alive:
            self._beat = self._engine.loop.call_later(BEAT_S, self._on_beat)

    def engine_changed(self) -> None:
        """The engine's limits or the notebook's business have changed. From any thread."""
        self._post(lambda: self._patch() if self._open else None)

    def _send(self, message: object) -> None:
        try:
            self._send_wire(to_wire(message))
        except Exception as error:
            logger.debug("a page is gone: {}", error)
            self._leave()

    # -- commands

    def _obey(self, command: Cancel | Rerun | Limit) -> None:
        try:
            text = self._done(command)
        except IpyjobsError as error:
            self._send(Answer("answer", command.request, ok=False, text=str(error)))
        else:
            self._send(Answer("answer", command.request, ok=True, text=text))

    def _done(self, command: Cancel | Rerun | Limit) -> str:
        flow = self._engine.flow
        if isinstance(command, Limit):
            self._engine.set_limit(command.limit, backend=command.name or None)
            self._patch()
            return f"{command.limit} slots"
        jobs = [flow.jobs[each] for each in command.ids if each in flow.jobs]
        asked = self._engine.chronicle.refused
        if isinstance(command, Cancel):
            refused = asked("ipyjobs_cancelling", [job for job in jobs if not job.ended])
            count, kept = flow.stopping.obey(jobs, refused, strict=False)
            return f"{count} cancelled" + (f", {len(kept)} can't be: {kept[0].note}" if kept else "")
        ended = [job for job in jobs if job.ended]
        flow.rerun(ended, asked("ipyjobs_submitting", ended))
        rest = len(jobs) - len(ended)
        return f"{len(ended)} rerun" + (f", {rest} not ended yet" if rest else "")

    # -- looking closer

    def _engine_record(self) -> EngineRecord:
        scheduler = self._engine.scheduler
        slots = [SlotRecord("", scheduler.total.limit, scheduler.total.used)]
        slots += [SlotRecord(name, count.limit, count.used) for name, count in scheduler.backends.items()]
        used, total = _memory()
        since, cell = self._engine.busy
        return EngineRecord(
            tuple(slots), used, total, since, cell, self.comm_subshell, self._engine.alive, self._engine.dask_dashboard
        )

    def _detail(self, job_id: str) -> Detail:
        job = self._engine.flow.jobs.get(job_id)
        if job is None:
            return Detail("detail", job_id, False, (), "", (), (), (), "", "")
        failure = job._failure
        shown = job._preview
        return Detail(
            "detail",
            job_id,
            found=True,
            errors=failure.errors() if failure is not None else (),
            traceback=failure.text() if failure is not None else "",
            arguments=_arguments(job),
            attempts=tuple(
                AttemptRecord(
                    each.number, each.round, each.queued_at, each.started_at, each.ended_at, each.outcome, each.error,
                    each.worker,
                )
                for each in job.attempts[-200:]
            ),
            upstream=self._links(job),
            result=shown.text if shown is not None else "",
            result_type=shown.type if shown is not None else "",
        )  # fmt: skip

    def _links(self, job: Job) -> tuple[LinkRecord, ...]:
        links: list[LinkRecord] = []
        for each in job_ids(job.condition)[:200]:
            other = self._engine.flow.jobs.get(each)
            name, status = (each, None) if other is None else (other.name, other.status)
            links.append(LinkRecord(each, name, status, "value" if each in job._upstream else "order"))
        return tuple(links)

    def _log_part(self, wanted: ReadLog) -> LogPart:
        job = self._engine.flow.jobs.get(wanted.id)
        log = job._log if job is not None else None
        if log is None:
            return LogPart("log", wanted.id, 0, 0, 0, 0, 0, "")
        size = log.size
        start = max(0, size + wanted.start) if wanted.start < 0 else min(wanted.start, size)
        stop = min(size, start + LOG_BYTES if wanted.stop is None else min(wanted.stop, start + LOG_BYTES))
        gap_start, gap_stop = log.dropped
        if gap_start <= start < gap_stop:
            start = gap_stop
            stop = max(stop, min(size, start + LOG_BYTES))
        elif start < gap_start < stop:
            stop = gap_start
        data = log.read(start, stop)
        # A range may begin or end inside a character.
        while start > 0 and data and data[0] & 0xC0 == 0x80 and stop - start > len(data) - 4:
            data = data[1:]
            start += 1
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data, final=stop >= size)
        stop = start + len(data) - len(decoder.getstate()[0])
        return LogPart("log", wanted.id, start, stop, size, gap_start, gap_stop, text)

    def _search(self, wanted: SearchLog) -> None:
        job = self._engine.flow.jobs.get(wanted.id)
        log = job._log if job is not None else None
        if log is None:
            self._send(LogMatches("matches", wanted.id, wanted.query, (), 0))
            return

        def search() -> None:
            offsets, total = log.search(wanted.query)
            self._post(self._send, LogMatches("matches", wanted.id, wanted.query, tuple(offsets), total))

        # Twenty megabytes take a while; the loop has better to do.
        threading.Thread(target=search, name="ipyjobs-search", daemon=True).start()


def _arguments(job: Job) -> tuple[ArgumentRecord, ...]:
    try:
        names = list(inspect.signature(job.func).parameters)
    except (TypeError, ValueError):
        names = []
    rows: list[ArgumentRecord] = []
    for index, (name, kind, text) in enumerate(job._described):
        shown = name or (names[index] if index < len(names) else f"argument {index + 1}")
        rows.append(ArgumentRecord(shown, kind, text))
    return tuple(rows)


def _memory() -> tuple[int, int]:
    import psutil  # 20 ms, and only needed once somebody watches

    memory = psutil.virtual_memory()
    # Rounded, so that a quiet machine sends nothing.
    step = 64 * 1024 * 1024
    return (memory.total - memory.available) // step * step, memory.total
