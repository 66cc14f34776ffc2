"""The life of jobs: every move they make. Only the engine's loop comes in here, so nothing needs a lock."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ipyjobs.ahead import Ahead
from ipyjobs.asking import Asking
from ipyjobs.backends import Backend
from ipyjobs.callbacks import call_back
from ipyjobs.conditions import is_ours
from ipyjobs.cycles import refuse_cycles
from ipyjobs.edges import Edges
from ipyjobs.errors import InvalidOption, InvalidStateError, JobTimeout
from ipyjobs.execution import Attempt, AttemptOutcome, Call, Context
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
        self.forward: list[Backend] = []
        """Those that take attempts ahead."""
        self.listeners: list[Callable[[Job], None]] = []
        """Called on the engine's loop with each job that has changed."""
        self.running: dict[str, Running] = {}
        """The attempts whose work goes on, by job id."""
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
        self.ahead = Ahead(self)
        self.edges = Edges(self)
        self.closing = False

    def open(self, home: Home) -> None:
        """Begin to live on `home`'s loop."""
        self.home = home
        self.closing = False
        self.opened.clear()
        self.forward.clear()
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
        if backend.forward is not None:
            self.forward.append(backend)

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
        refuse_cycles(self, new)
        now = time.time()
        for job in new:
            job_id = job._trait_values["id"]
            job.engine = self.engine
            job._variables = variables
            self.jobs[job_id] = job
            self.by_status[Status.CREATED][job_id] = job
            waiting_for = WaitingFor.SLOT
            if job._condition is not None:
                job._condition = job._condition.anew()
                job._opaque = not is_ours(job._condition)
                waiting_for = None
            if job._upstream:
                self.edges.add(job)
                waiting_for = None
            if (name := job.runs_on or job._trait_values["backend"]) not in self.opened:
                self._open(name)
            self._move(
                job, Verb.SUBMIT, number=next(self._numbers), submitted_at=now, origin=origin, waiting_for=waiting_for
            )
        for job in again:
            self._anew(job)
        self._take_in(jobs, vetoed)

    def _take_in(self, jobs: Sequence[Job], vetoed: Sequence[Job]) -> None:
        for job in vetoed:
            self.end(job, Verb.CANCEL, Reason.VETO, "a plugin refused it")
        for job in jobs:
            self.enqueue(job)
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
        if self.scheduler.ahead:
            self.ahead.take_back()  # some may hold the value that there was up to now
        job._round += 1
        job._payload = job._preview = job._failure = job._stream = None
        if job._condition is not None:
            job._condition = job._condition.anew()
        job._set({"started_at": None, "ended_at": None, "message": "", "error": "", "address": "", **_AGAIN})
        self._move(job, Verb.RERUN, attempt=0, submitted_at=time.time(), memory_bytes=None)

    def enqueue(self, job: Job) -> None:
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
        if job._condition is not None:
            self._asking.ask(job)
        elif job._upstream:
            self.edges.wait(job)
        else:
            self.scheduler.ready(job_id)
            if values["waiting_for"] is not WaitingFor.SLOT:
                job._set({"waiting_for": WaitingFor.SLOT})

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
        if self.scheduler.overtaken:
            self.ahead.take_back()
        now = self.loop.time()
        while due := self.scheduler.due(now):
            for job_id in due:
                self._asking.ask(self.jobs[job_id])
        for job_id in self.scheduler.take():
            self._begin(self.jobs[job_id])
        if self.scheduler.overtaken:  # by one that wants to be alone
            self.ahead.take_back()
        if self.forward and self.scheduler.crowded:
            for each in self.forward:
                self.ahead.send(each)
        self._asking.name_what_is_missing()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        at = self.scheduler.next_at()
        if at is not None:
            self.timer = self.loop.call_later(max(0.0, at - now), self.pump)
        else:
            self._asking.rest()

    def _begin(self, job: Job) -> None:
        upstream = self.edges.values(job)
        if upstream is None:
            self.scheduler.release(job.id)
            self.enqueue(job)
            self.pump_soon()
        else:
            self.start(job, upstream)

    def start(self, job: Job, upstream: dict[str, Payload], leader: Context | None = None) -> bool:
        """Give an attempt to its backend; whether another may follow `leader`, behind which it is sent ahead."""
        values = job._trait_values
        job_id, number = values["id"], values["attempt"] + 1
        attempt = Attempt(number, job._round, job._queued_at)
        if job._log is not None:
            attempt.log_start = job._log.size
        job.attempts.append(attempt)
        backend = self.backend(job.runs_on or values["backend"])
        running = self.running[job_id] = Running(self, job, attempt, backend)
        running.ahead = leader is not None
        job._set({"attempt": number, "waiting_for": WaitingFor.BACKEND} | (_AGAIN if len(job.attempts) > 1 else {}))
        kwargs = job.kwargs
        if job._wants_engine:
            kwargs = {**kwargs, self.engine.setting.kwargs_inject_key: self.engine}
        call = Call(
            job_id, values["name"], number, job._function, job.args, kwargs, upstream,
            running.asked_to_stop, job._packed, job._variables.copy(), job.options,
        )  # fmt: skip
        try:
            if leader is not None:
                assert backend.forward is not None
                return backend.forward.start_after(call, running, leader)
            backend.start(call, running)
        except Exception as error:
            running.failed(Failure.of(error))
        return False

    def started(self, running: Running, at: float | None = None) -> None:
        """The function of an attempt begins."""
        job = running.job
        if running.ahead:
            running.ahead = False
            self.scheduler.follow(running.job_id)
        attempt = running.attempt
        attempt.started_at = now = time.time() if at is None else max(at, attempt.queued_at)
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
        job_id = running.job_id
        del self.running[job_id]
        self.scheduler.release(job_id)
        running.ahead = False
        if attempt.ended_at is None:
            attempt.ended_at = time.time()
        if not attempt.outcome:  # one that had run out of its time stays so, whenever its thread returns
            attempt.outcome = outcome
        if outcome != "done":
            attempt.error = failure.summary if failure is not None else text
        if job._files is not None:
            running.files_over(failure)
        if running.parted:
            self.stopping.returned(running)
        elif running.why is Reason.TIMEOUT:
            attempt.outcome = "timeout"
            self.tried(job, Failure.of(JobTimeout(job.name, job.timeout or 0)), Reason.TIMEOUT)
        elif running.stopping:
            # Who asked for a stop gets one, even if the function was quicker.
            self.end(job, Verb.CANCEL, running.why or Reason.USER)
        elif outcome == "done":
            job._payload, job._preview = value, preview
            self._finish(running)
        elif outcome == "released":
            self._move(job, Verb.RELEASE, text=text, attempt=attempt.number - 1, started_at=None)
            self.enqueue(job)
        else:
            self.tried(job, failure or Failure.died("the work was stopped from outside"), None)
        self.pump_soon()

    def _finish(self, running: Running) -> None:
        job, attempt = running.job, running.attempt
        if attempt.started_at is None:
            self.started(running, attempt.ended_at)
        if job._trait_values["progress"] is None:
            self.end(job, Verb.FINISH, ended_at=attempt.ended_at)
        else:
            self.end(job, Verb.FINISH, ended_at=attempt.ended_at, progress=1.0)

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
            self.enqueue(job)
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
        if job._trait_notifiers:
            job._set(changes)
        else:
            values.update(changes)
        if self.listeners or job._onlookers:
            self.touch(job)

    def end(self, job: Job, verb: Verb, reason: Reason | None = None, text: str = "", **changes: Any) -> None:
        """Move a job to its end, and tell everybody who waits for that."""
        values = job._trait_values
        job_id = values["id"]
        self._asking.forget(job_id)
        for name, empty in _OVER:
            if values[name]:
                changes[name] = empty  # noqa: PERF403  (hardly ever)
        if "ended_at" not in changes:
            changes["ended_at"] = time.time()
        if job._stream is not None:
            changes.update(job._stream._words())
        self._move(job, verb, reason, text, **changes)
        if job._log is not None and job_id not in self.running:
            job._log.close()
        if job._callbacks and job.status is not Status.CANCELLED:
            self.outbox.post(call_back, job, job.status, self.outbox.loop, job._callbacks)
        self.scheduler.ended(job_id)
        if job._stream is not None:
            job._stream._end_with_job()
        if verb is not Verb.FINISH:
            self.edges.ended_badly(job_id)
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
