"""The life of jobs: every move they make. Only the engine's loop comes in here, so nothing needs a lock."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ipyjobs.asking import Asking
from ipyjobs.backends import Backend
from ipyjobs.callbacks import call_back
from ipyjobs.conditions import is_ours, needed_ids
from ipyjobs.cycles import find_cycle
from ipyjobs.errors import CycleError, InvalidOption, InvalidStateError, JobTimeout
from ipyjobs.execution import Attempt, AttemptOutcome, Call
from ipyjobs.failure import Failure
from ipyjobs.home import Home
from ipyjobs.job import Job
from ipyjobs.mailbox import Mailbox
from ipyjobs.output import pass_on
from ipyjobs.pickling import Payload
from ipyjobs.preview import Preview
from ipyjobs.records import Past
from ipyjobs.running import Running
from ipyjobs.scheduling import Line, Scheduler
from ipyjobs.status import TRANSITIONS, Reason, Status, Verb, WaitingFor, step
from ipyjobs.stopping import Stopping

if TYPE_CHECKING:
    from ipyjobs.engine import Engine

_AGAIN = {"retry_at": None, "note": "", "progress": None, "progress_at": None, "left_s": None}
"""What an attempt that is not the first begins with."""
_OVER = (
    ("waiting_for", None), ("cancel_requested", False), ("retry_at", None), ("memory_bytes", None), ("next_at", None),
    ("ready", False),
)  # fmt: skip
"""What says something of a job only until it has ended."""


class Flow:
    """The jobs of an engine, their scheduler and backends, and the one function that changes a status."""

    def __init__(self, engine: Engine, scheduler: Scheduler) -> None:
        self.engine = engine
        self.scheduler = scheduler
        self.jobs: dict[str, Job] = {}
        """All jobs by id, in order of submission."""
        self.by_status: dict[Status, dict[str, Job]] = {status: {} for status in Status}
        self.backends: dict[str, Backend] = {}
        self.opened: set[str] = set()
        self.listeners: list[Callable[[Job], None]] = []
        """Called on the engine's loop with each job that has changed."""
        self.running: dict[str, Running] = {}
        """The attempts whose work goes on, by job id."""
        self.dependents: dict[str, list[Job]] = {}
        self.past: list[Past] = []
        """What the run records need of the jobs that were removed."""
        self._lines: dict[tuple[str, str, str], Line] = {}
        self._numbers = itertools.count(1)
        self._events = itertools.count(1)
        self.home: Home | None = None
        self._pump_due = self._held = False
        self.timer: asyncio.TimerHandle | None = None
        self._asking = Asking(self)
        self.stopping = Stopping(self)
        self.became_ready: list[Job] = []
        self.closing = False

    def open(self, home: Home) -> None:
        """Begin to live on `home`'s loop."""
        self.home = home
        self.closing = False
        self.opened.clear()
        self._asking.rest()
        for name, backend in self.backends.items():
            if home.has_thread or not backend.costly:
                self._open(name)
        self.pump_soon()

    def backend(self, name: str) -> Backend:
        if name not in self.opened:
            self._open(name)
        return self.backends[name]

    def _open(self, name: str) -> None:
        self.opened.add(name)
        backend = self.backends[name]
        backend.hold, backend.settle = self.hold, self.settle
        backend.open(self.loop)

    # -- into the engine

    def accept(
        self, jobs: Sequence[Job], origin: str, variables: contextvars.Context, vetoed: Sequence[Job] = ()
    ) -> None:
        """Take in new jobs, and ended ones for another round: all of them, or none and an error."""
        new: list[Job] = []
        again: list[Job] = []
        for job in jobs:
            (new if self._check(job) is Status.CREATED else again).append(job)
        if len({id(job) for job in jobs}) < len(jobs):
            twice = next(job for index, job in enumerate(jobs) if job in jobs[:index])
            raise InvalidStateError(f"job {twice.name!r} was given twice; it can run once at a time")
        self._refuse_cycles(new)
        now = time.time()
        for job in new:
            job_id = job._trait_values["id"]
            job.engine = self.engine
            job._variables = variables
            self.jobs[job_id] = job
            self.by_status[Status.CREATED][job_id] = job
            if job.condition is not None:
                job.condition = job.condition.anew()
                job._opaque = not is_ours(job.condition)
                for each in job._upstream:
                    self.dependents.setdefault(each, []).append(job)
            if (name := job.runs_on or job._trait_values["backend"]) not in self.opened:
                self._open(name)
            self._move(job, Verb.SUBMIT, number=next(self._numbers), submitted_at=now, origin=origin)
        for job in again:
            self._anew(job)
        self._take_in(jobs, vetoed)

    def _take_in(self, jobs: Sequence[Job], vetoed: Sequence[Job]) -> None:
        for job in vetoed:
            self.end(job, Verb.CANCEL, Reason.VETO, "a plugin refused it")
        for job in jobs:
            self._enqueue(job)
        self.pump()

    def rerun(self, jobs: Sequence[Job], vetoed: Sequence[Job] = ()) -> None:
        """Run ended jobs again: all become pending first, so that one that needs another's value waits for the new."""
        for job in jobs:
            if not job.ended:
                raise InvalidStateError(f"cannot rerun job {job.name!r}: it is {job.status}; cancel it first")
            self._check(job)
        for job in jobs:
            self._anew(job)
        self._take_in(jobs, vetoed)

    def _check(self, job: Job) -> Status:
        """The job's status, if it may run now."""
        status: Status = job._trait_values["status"]
        if job.engine is not None and job.engine is not self.engine:
            raise InvalidStateError(f"job {job.name!r} belongs to another engine; make a new job for this one")
        if status is Status.PENDING or status is Status.RUNNING:
            raise InvalidStateError(f"job {job.name!r} is already {status}; make a new job to run it twice at once")
        if job._trait_values["backend"] not in self.backends:
            raise InvalidOption("backend", job.backend, "one of " + ", ".join(self.backends))
        return status

    def _anew(self, job: Job) -> None:
        job._round += 1
        job._payload = job._preview = job._failure = job._stream = None
        if job.condition is not None:
            job.condition = job.condition.anew()
        job._set({"started_at": None, "ended_at": None, "message": "", "error": "", "address": "", **_AGAIN})
        self._move(job, Verb.RERUN, attempt=0, submitted_at=time.time(), memory_bytes=None)

    def _refuse_cycles(self, new: Sequence[Job]) -> None:
        needs = {job.id: (*job._upstream, *needed_ids(job.condition)) for job in new if job.condition is not None}
        if not needs:
            return
        # A cycle can only be closed by a job that somebody waits for already.
        waited_for = {each for ids in needs.values() for each in ids}
        starts = [each for each in needs if each in waited_for or next(iter(self.scheduler.watched(each)), None)]
        for cycle in find_cycle(starts, lambda each: self._needs(each, needs)):
            known = {job.id: job.name for job in new}
            raise CycleError(cycle, [known.get(each) or self.jobs[each].name for each in cycle])

    def _needs(self, job_id: str, new: dict[str, tuple[str, ...]]) -> Iterable[str]:
        if job_id in new:
            return new[job_id]
        job = self.jobs.get(job_id)
        return () if job is None or job.status is not Status.PENDING else (*job._upstream, *needed_ids(job.condition))

    def _enqueue(self, job: Job) -> None:
        """A pending job starts to wait."""
        values = job._trait_values
        if values["status"] is not Status.PENDING:  # what it needs was cancelled while its batch was taken in
            return
        job_id = values["id"]
        job._queued_at = time.time()
        job._held_back = job_id in self.running
        if job._held_back:  # its last attempt's thread has not returned yet
            job._set({"waiting_for": WaitingFor.BACKEND, "note": "waits for the previous attempt to return"})
            return
        launch = job._launch
        task = launch.name if launch is not None and launch.one_at_a_time else ""
        names = values["backend"], values["queue"], task
        line = self._lines.get(names)
        if line is None:
            line = self._lines[names] = Line(*names)
            if task:
                self.scheduler.set_limit(1, task=task)
        self.scheduler.add(
            job_id, line, priority=values["priority"], order=values["number"], general=job.general_slot,
            exclusive=job.exclusive,
        )  # fmt: skip
        if job.condition is None:
            self.scheduler.ready(job_id)
            self.became_ready.append(job)
        else:
            self._asking.ask(job)

    # -- conditions

    def spoiled(self, job: Job) -> bool:
        """Cancel a pending job one of whose values will never come; whether that was so."""
        for each in job._upstream:
            upstream = self.jobs.get(each)
            if upstream is not None and upstream.status in (Status.FAILED, Status.CANCELLED):
                self.scheduler.remove(job.id)
                self.end(
                    job, Verb.CANCEL, Reason.UPSTREAM, f"needs the result of {upstream.name!r}, which {_was(upstream)}"
                )
                return True
        return False

    # -- starts

    def pump_soon(self) -> None:
        """Look soon who may start: at the end of what is being told, or in the next turn of the loop."""
        if not self._pump_due and self.home is not None:
            self._pump_due = True
            if not self._held:
                self.loop.call_soon(self._pump_if_due)

    def hold(self) -> None:
        """Something is about to be told; `settle` follows."""
        self._held = True

    def settle(self) -> None:
        """All has been told: start what may start now."""
        self._held = False
        self._pump_if_due()

    def _pump_if_due(self) -> None:
        if self._pump_due:
            self.pump()

    def pump(self) -> None:
        """Ask what is due, start who may, and set the timer for the next look."""
        self._pump_due = self._held = False
        if self.home is None or self.closing:
            return
        now = self.loop.time()
        while due := self.scheduler.due(now):
            for job_id in due:
                self._asking.ask(self.jobs[job_id])
        for job_id in self.scheduler.take():
            self._begin(self.jobs[job_id])
        if self.became_ready:
            fresh, self.became_ready = self.became_ready, []
            for job in fresh:
                values = job._trait_values
                if values["waiting_for"] is not WaitingFor.SLOT and self.scheduler.waits_for_slot(values["id"]):
                    job._set({"waiting_for": WaitingFor.SLOT})
                    self.touch(job)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        at = self.scheduler.next_at()
        if at is not None:
            self.timer = self.loop.call_later(max(0.0, at - now), self.pump)
        else:
            self._asking.rest()

    def _begin(self, job: Job) -> None:
        upstream: dict[str, Payload] = {}
        for each in job._upstream:
            # Look again: it may have been rerun since this job became ready.
            payload = self.jobs[each]._payload if each in self.jobs else None
            if payload is None:
                self.scheduler.release(job.id)
                self._enqueue(job)
                self.pump_soon()
                return
            upstream[each] = payload
        values = job._trait_values
        job_id, number = values["id"], values["attempt"] + 1
        attempt = Attempt(number, job._round, job._queued_at, log_start=0 if job._log is None else job._log.size)
        job.attempts.append(attempt)
        backend = self.backend(job.runs_on or values["backend"])
        running = self.running[job_id] = Running(self, job, attempt, backend)
        job._set({"attempt": number, "waiting_for": WaitingFor.BACKEND} | (_AGAIN if len(job.attempts) > 1 else {}))
        kwargs = job.kwargs
        if job._wants_engine:
            kwargs = {**kwargs, self.engine.setting.kwargs_inject_key: self.engine}
        call = Call(
            job_id, values["name"], number, job._function, job.args, kwargs, upstream,
            running.asked_to_stop, job._packed, job._variables.copy(), job.options,
        )  # fmt: skip
        try:
            backend.start(call, running)
        except Exception as error:
            running.failed(Failure.of(error))

    def started(self, running: Running) -> None:
        """The function of an attempt begins."""
        job = running.job
        running.attempt.started_at = now = time.time()
        self._move(job, Verb.START, started_at=now, waiting_for=None)
        if job.timeout is not None:
            running.alarm = self.loop.call_later(job.timeout, self.stopping.timed_out, running)

    # -- ends

    def attempt_over(
        self,
        running: Running,
        outcome: AttemptOutcome,
        *,
        value: Payload | None = None,
        preview: Preview | None = None,
        failure: Failure | None = None,
        text: str = "",
    ) -> None:
        """An attempt's work is over: give its slot back, and move the job unless it has moved on without."""
        if running.over:
            return
        running.over = True
        job, attempt = running.job, running.attempt
        if running.alarm is not None:
            running.alarm.cancel()
        job_id = job._trait_values["id"]
        del self.running[job_id]
        self.scheduler.release(job_id)
        attempt.ended_at = time.time()
        if not attempt.outcome:  # one that had run out of its time stays so, whenever its thread returns
            attempt.outcome = outcome
        attempt.error = failure.summary if failure is not None else text
        if job._files is not None:
            running.files_over(failure)
        if running.parted:
            self._parted_over(running)
        elif running.why is Reason.TIMEOUT:
            attempt.outcome = "timeout"
            self.tried(job, Failure.of(JobTimeout(job.name, job.timeout or 0)), Reason.TIMEOUT)
        elif running.stopping:
            # Who asked for a stop gets one, even if the function was quicker.
            self.end(job, Verb.CANCEL, running.why or Reason.USER)
        elif outcome == "done":
            if attempt.started_at is None:
                attempt.started_at = attempt.ended_at
                self.started(running)
            job._payload, job._preview = value, preview
            if job._trait_values["progress"] is None:
                self.end(job, Verb.FINISH)
            else:
                self.end(job, Verb.FINISH, progress=1.0)
        elif outcome == "released":
            self._move(job, Verb.RELEASE, text=text, attempt=attempt.number - 1, started_at=None)
            self._enqueue(job)
        else:
            self.tried(job, failure or Failure.died("the work was stopped from outside"), None)
        self.pump_soon()

    def _parted_over(self, running: Running) -> None:
        job = running.job
        job._set({"note": ""})
        self.touch(job)
        if job.ended and job._log is not None:
            job._log.close()
        if job._held_back and job.status is Status.PENDING:
            self._enqueue(job)

    def tried(self, job: Job, failure: Failure, reason: Reason | None) -> None:
        """An attempt failed: try again if there is a retry left."""
        if job.status is Status.RUNNING and job.attempt <= job._retry.times and not self.closing:
            delay_s = job._retry.delay(job.attempt)
            self._move(job, Verb.RETRY, text=failure.summary, error=failure.summary, waiting_for=WaitingFor.RETRY,
                       retry_at=time.time() + delay_s)  # fmt: skip
            job._queued_at = time.time()
            if job._stream is not None:
                job._set({"message": ""})
                stream, job._stream = job._stream, None
                stream._end(failure.exception)
            self.loop.call_later(delay_s, self._retry_now, job, job._round, job.attempt)
        else:
            self.fail(job, failure, Verb.FAIL, reason)

    def _retry_now(self, job: Job, round: int, attempt: int) -> None:
        if job.status is Status.PENDING and (job._round, job.attempt) == (round, attempt) and not self.closing:
            job._set({"retry_at": None})
            self._enqueue(job)
            self.pump_soon()

    def fail(self, job: Job, failure: Failure, verb: Verb, reason: Reason | None) -> None:
        job._failure = failure
        self.end(job, verb, reason, failure.summary, error=failure.summary)
        self.engine.report_failure(job, failure)

    # -- the one function that moves

    def _move(self, job: Job, verb: Verb, reason: Reason | None = None, text: str = "", **changes: Any) -> None:
        """Make one legal move of `job`; nothing else in the program changes a status.

        Raises
        ------
        IllegalMove
            `verb` is not possible from the status that `job` has.
        """
        values = job._trait_values
        before: Status = values["status"]
        after = TRANSITIONS.get((before, verb)) or step(before, verb)
        changes["status"] = after
        changes["reason"] = reason
        attempt = changes.get("attempt") or values["attempt"]
        # A plain tuple, of which `Job.story` makes an `Event`: hardly anybody reads them, and each move makes one.
        job._story.append((next(self._events), time.time(), verb, before, after, attempt, reason, text))
        if not job._removed:
            job_id = values["id"]
            del self.by_status[before][job_id]
            self.by_status[after][job_id] = job
        job._set(changes)
        if self.listeners or job._onlookers:
            self.touch(job)

    def end(self, job: Job, verb: Verb, reason: Reason | None = None, text: str = "", **changes: Any) -> None:
        """Move a job to its end, and tell everybody who waits for that."""
        job_id = job._trait_values["id"]
        self._asking.forget(job_id)
        values = job._trait_values
        changes.update({name: empty for name, empty in _OVER if values[name]})
        if job._stream is not None:
            changes.update(job._stream._words())
        self._move(job, verb, reason, text, ended_at=time.time(), **changes)
        if job._log is not None and job_id not in self.running:
            job._log.close()
        if job._callbacks and job.status is not Status.CANCELLED:
            self.outbox.post(call_back, job, job.status, self.outbox.loop, job._callbacks)
        self.scheduler.ended(job_id)
        if job._stream is not None:
            job._stream._end_with_job()
        if verb is not Verb.FINISH:
            for dependent in list(self.dependents.get(job_id, ())):
                if dependent.status is Status.PENDING and dependent.id not in self.running:
                    self.spoiled(dependent)
        if job._waiters:
            waiters, job._waiters = job._waiters, None
            for waiter in waiters:
                waiter.ended(job)
        self.pump_soon()

    def touch(self, job: Job) -> None:
        """Something about `job` has changed."""
        for listener in self.listeners:
            listener(job)
        if job._onlookers:
            onlookers, job._onlookers = job._onlookers, None
            for each in onlookers:
                if each.loop is self.outbox.loop:
                    self.outbox.post(each.wake)
                elif not each.loop.is_closed():
                    each.loop.call_soon_threadsafe(each.wake)

    def echo(self, data: bytes, error: bool) -> None:
        """Pass on what a job has printed, where the engine is told to."""
        if self.engine.setting.echo:
            pass_on(data, error)

    def add_callback(self, job: Job, callback: Callable[[Any], object], wants_result: bool) -> None:
        """Have a callback called at the end of a job, or now if that has come."""
        job._callbacks += ((callback, wants_result),)
        if job.ended and job.status is not Status.CANCELLED:
            self.outbox.post(call_back, job, job.status, self.outbox.loop, ((callback, wants_result),))

    @property
    def active(self) -> list[Job]:
        """The jobs that have not ended, in order of submission."""
        jobs = [*self.by_status[Status.PENDING].values(), *self.by_status[Status.RUNNING].values()]
        return sorted(jobs, key=lambda job: job.number)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        assert self.home is not None
        return self.home.loop

    @property
    def inbox(self) -> Mailbox:
        assert self.home is not None
        return self.home.inbox

    @property
    def outbox(self) -> Mailbox:
        assert self.home is not None
        return self.home.outbox


def _was(job: Job) -> str:
    return "failed" if job.status is Status.FAILED else "was cancelled"
