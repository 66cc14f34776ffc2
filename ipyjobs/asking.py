"""Asking conditions: ours on the engine's loop, the user's own on the user's loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from ipyjobs.combinations import NEVER, Moment, foresee
from ipyjobs.conditions import job_ids
from ipyjobs.failure import Failure
from ipyjobs.log import logger
from ipyjobs.scheduling import Line, Wakes
from ipyjobs.status import Status, Verb, WaitingFor

if TYPE_CHECKING:
    from ipyjobs.flow import Flow
    from ipyjobs.job import Job

UNKNOWN_S = 10.0
"""After how many seconds a job that waits for an unknown one is warned about."""


class Watch(Protocol):
    """What a running job wants to be told of, again and again."""

    opaque: bool
    """Asking it runs the user's code."""
    every_s: float
    """Seconds between two looks, where it cannot say when to look."""

    def look(self, engine: Any) -> tuple[bool, Wakes | None]:
        """Whether it has happened anew, and when to look again. On the user's loop if it is `opaque`."""
        ...

    def told(self, happened: bool, wakes: Wakes) -> None:
        """What `look` said, on the engine's loop."""
        ...

    def raised(self, failure: Failure) -> None:
        """The user's code raised instead."""
        ...


class Asking:
    """Which jobs are being asked whether they may start, and which watch for something while they run."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._tokens: dict[str, object] = {}
        self.became_ready: list[Job] = []
        self._watches: dict[str, Watch] = {}
        self._end_clock_watch: Callable[[], None] | None = None

    def forget(self, job_id: str) -> None:
        """Whatever the user's loop still answers about this job is void."""
        if self._tokens:
            self._tokens.pop(job_id, None)

    def watch(self, job: Job, watch: Watch) -> None:
        """Look for something on behalf of a running job, from now until `unwatch`."""
        self._watches[job.id] = watch
        self._flow.scheduler.add(job.id, Line(job.backend, job.queue))
        self.ask(job)

    def unwatch(self, job: Job) -> None:
        """Look no more. Doing it twice is harmless."""
        if self._watches.pop(job.id, None) is not None:
            self.forget(job.id)
            self._flow.scheduler.remove(job.id)

    def rest(self) -> None:
        """Nobody waits for a time at present: the clock need not be watched."""
        if self._end_clock_watch is not None:
            self._end_clock_watch()
            self._end_clock_watch = None

    def ask(self, job: Job) -> None:
        """Find out whether a pending job may start, and park it or make it ready accordingly."""
        flow = self._flow
        watch = self._watches.get(job.id)
        if watch is None and flow.edges.spoiled(job):
            return
        if watch is None and job.condition is None:
            self._answered(job, True, None)
        elif not (job._opaque if watch is None else watch.opaque):
            self._answered(job, *self._look(job))
        else:
            token = self._tokens[job.id] = object()
            flow.outbox.post(self._ask_user, job, token)

    def _look(self, job: Job) -> tuple[bool, Wakes | None]:
        watch = self._watches.get(job.id)
        if watch is not None:
            return watch.look(self._flow.engine)
        assert job.condition is not None
        satisfied = bool(job.condition.satisfy(self._flow.engine))
        return satisfied, None if satisfied else job.condition.wakes(self._flow.engine)

    def name_what_is_missing(self) -> None:
        """Of the jobs that have become ready, those that still wait now do so for a slot."""
        flow, scheduler = self._flow, self._flow.scheduler
        if scheduler.counted_down:
            self.became_ready += [flow.jobs[each] for each in scheduler.counted_down]
            scheduler.counted_down.clear()
        if not self.became_ready:
            return
        fresh, self.became_ready = self.became_ready, []
        for job in fresh:
            values = job._trait_values
            if values["waiting_for"] is not WaitingFor.SLOT and scheduler.waits_for_slot(values["id"]):
                job._set({"waiting_for": WaitingFor.SLOT})
                flow.touch(job)

    def _ask_user(self, job: Job, token: object) -> None:
        """On the user's loop: the condition is the user's code."""
        flow = self._flow
        if self._tokens.get(job.id) is not token:
            return
        try:
            satisfied, wakes = self._look(job)
        except BaseException as error:
            flow.inbox.post(self._condition_raised, job, token, Failure.of(error))
        else:
            flow.inbox.post(self._answered_by_user, job, token, satisfied, wakes)

    def _answered_by_user(self, job: Job, token: object, satisfied: bool, wakes: Wakes | None) -> None:
        if self._awaits(job, token):
            self._answered(job, satisfied, wakes)
            self._flow.pump_soon()

    def _condition_raised(self, job: Job, token: object, failure: Failure) -> None:
        flow = self._flow
        if self._awaits(job, token):
            watch = self._watches.get(job.id)
            if watch is not None:
                watch.raised(failure)
                return
            flow.scheduler.remove(job.id)
            flow.fail(job, failure, Verb.FAIL, None)

    def _awaits(self, job: Job, token: object) -> bool:
        """Whether the user's answer still counts; it does once."""
        if self._tokens.get(job.id) is not token or (job.status is not Status.PENDING and job.id not in self._watches):
            return False
        del self._tokens[job.id]
        return True

    def _answered(self, job: Job, satisfied: bool, wakes: Wakes | None) -> None:
        flow = self._flow
        watch = self._watches.get(job.id)
        if watch is not None:
            wakes = wakes or Wakes(every=watch.every_s)
            self._park(job, wakes)
            watch.told(satisfied, wakes)
            return
        if job._trait_values["next_at"] is not None:
            job._set({"next_at": None})
        if satisfied:
            flow.scheduler.ready(job.id)
            self.became_ready.append(job)
            return
        wakes = wakes or Wakes(every=job.wait_time_delta)
        self._park(job, wakes)
        self.parked(job, wakes.jobs)
        if wakes.at is not None and not job._opaque:
            self._show_time(job)
        if wakes == NEVER:
            logger.warning("job {!r} will never start: its time has passed; cancel it", job.name)

    def parked(self, job: Job, awaited: Iterable[str]) -> None:
        """A job waits for a condition: say so, and what may be wrong with it."""
        flow = self._flow
        if job._trait_values["waiting_for"] is not WaitingFor.CONDITION:
            job._set({"waiting_for": WaitingFor.CONDITION})
            flow.touch(job)
        if any(each not in flow.jobs for each in awaited):
            flow.loop.call_later(UNKNOWN_S, self._warn_unknown, job, job._round)

    def _park(self, job: Job, wakes: Wakes) -> None:
        flow = self._flow
        if wakes.at is None:
            flow.scheduler.park(job.id, wakes, flow.loop.time())
            return
        clock = flow.engine.clock
        flow.scheduler.park(job.id, wakes, flow.loop.time(), clock.now())
        if self._end_clock_watch is None:
            self._end_clock_watch = clock.watch(flow.loop, self._clock_set)

    def _clock_set(self) -> None:
        """Somebody has set the clock, or the machine has slept."""
        self._flow.scheduler.clock_set()
        self._flow.pump()

    def _show_time(self, job: Job) -> None:
        assert job.condition is not None
        at = foresee(job.condition, Moment.of(self._flow.engine))
        if at is not None:
            job._set({"next_at": at})
            self._flow.touch(job)

    def _warn_unknown(self, job: Job, round: int) -> None:
        flow = self._flow
        unknown = [each for each in job_ids(job.condition) if each not in flow.jobs]
        if unknown and job.status is Status.PENDING and job._round == round:
            logger.warning("job {!r} waits for unknown job {!r}: submit that, or cancel this", job.name, unknown[0])
