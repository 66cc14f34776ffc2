"""Jobs that submit jobs: each time a condition holds anew, such as every ten minutes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from ipyjobs.backends import Backend
from ipyjobs.combinations import NEVER, Condition, Held, Moment, ahead, foresee, held, is_ours
from ipyjobs.crons import Cron
from ipyjobs.errors import InvalidOption
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.job import Job, LocalJob
from ipyjobs.names import name_of
from ipyjobs.options import seconds
from ipyjobs.pickling import Payload
from ipyjobs.preview import preview
from ipyjobs.running import Running
from ipyjobs.scheduling import Wakes
from ipyjobs.verbs import kind_of

if TYPE_CHECKING:
    from ipyjobs.flow import Flow


class SentinelJob(LocalJob):
    """Submits a job each time a condition holds, until it is cancelled or the condition can never hold again.

    It holds no general slot and runs on no worker. The jobs it submits have its name as their origin; whether they end
    well is their own affair. `next_at` says when the next one is due, where time alone decides; `count` is how many
    there were, and its result in the end. What they need to travel is pickled when the sentinel is submitted.

    Conditions of ours are not polled. One that goes on holding, such as ``AfterAnother(job)`` or
    ``after_clock("12:00")``, submits once each time it begins to hold: each time the job ends, every day at noon. A
    condition of your own is asked every `time_delta` seconds and submits whenever it says yes.

    Parameters
    ----------
    func
        What the submitted jobs run.
    sentinel_condition
        When to submit one.
    job_type
        "process", "thread", "local" or another backend's name, or a subclass of `Job`.
    time_delta
        Seconds between two looks at a condition of your own; also the shortest time between two jobs.
    sentinel_attrs
        Keywords of `Job` for the sentinel itself.
    attrs
        Keywords of `Job` for the submitted jobs: args, kwargs, group, tags, retries, callback, …

    Raises
    ------
    InvalidOption
        A value makes no sense; the message says which one would.
    """

    backend_name: ClassVar[str] = "sentinel"
    general_slot: ClassVar[bool] = False
    prefix: ClassVar[str] = "sentinel"

    def __init__(
        self,
        func: Callable[..., Any],
        sentinel_condition: Condition,
        job_type: str | type[Job] = "process",
        time_delta: float = 0.01,
        sentinel_attrs: Mapping[str, Any] | None = None,
        **attrs: Any,
    ) -> None:
        if not isinstance(sentinel_condition, Condition):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption("sentinel_condition", sentinel_condition, 'a condition, such as every("10m")')
        # A queue of their own: a sentinel must not hold the only place in the one its jobs wait in.
        own: dict[str, Any] = {"name": f"{self.prefix}-{name_of(func)}", "queue": "sentinel", **(sentinel_attrs or {})}
        super().__init__(_submit_again_and_again, **own)
        self.sentinel_condition = sentinel_condition
        self.time_delta = seconds("time_delta", time_delta)
        self.count = 0
        """How many jobs it has submitted since it was last started."""
        self._kind = _kind(job_type)
        self._submitted_func, self._submitted_attrs = func, attrs
        self.template = self.another()
        """What each submitted job is like; never runs itself."""

    def another(self) -> Job:
        """A new job, as it is submitted each time."""
        return self._kind(self._submitted_func, **self._submitted_attrs)


class CronJob(SentinelJob):
    """Submits a job at certain times, until it is cancelled; see `SentinelJob`.

    Parameters
    ----------
    func
        What the submitted jobs run.
    time_condition
        When: ``every("10s")``, ``daily & after_clock("12:00")``, ``cron("*/5 * * * *")``, or that crontab line alone.
    job_type, time_delta, sentinel_attrs, attrs
        As in `SentinelJob`.

    Raises
    ------
    InvalidOption
        A value makes no sense; the message says which one would.
    """

    prefix: ClassVar[str] = "cron-sentinel"

    def __init__(
        self,
        func: Callable[..., Any],
        time_condition: Condition | str,
        job_type: str | type[Job] = "process",
        time_delta: float = 0.01,
        sentinel_attrs: Mapping[str, Any] | None = None,
        **attrs: Any,
    ) -> None:
        condition = Cron(time_condition) if isinstance(time_condition, str) else time_condition
        super().__init__(func, condition, job_type, time_delta, sentinel_attrs, **attrs)


class Submit(Protocol):
    """Takes in a job made after a template; on the engine's loop."""

    def __call__(self, job: Job, template: Job, sentinel: Job) -> None: ...


class SentinelBackend(Backend):
    """Where sentinels run: on the engine's loop, which looks at their conditions as at those of pending jobs."""

    name = "sentinel"

    def __init__(self, flow: Flow, submit: Submit) -> None:
        super().__init__(None)
        self._flow = flow
        self._submit = submit

    def start(self, call: Call, context: Context) -> None:
        running = cast("Running", context)
        running.started()
        # Its job may have been stopped by whoever was told that it started.
        if not running.over:
            self._flow._asking.watch(running.job, _Lookout(running, self._submit))

    def stop(self, context: Context) -> bool:
        self._flow._asking.unwatch(cast("Running", context).job)
        context.stopped()
        return True


class _Lookout:
    """One sentinel that is running; what it remembers is its own, so that two may share a condition."""

    def __init__(self, running: Running, submit: Submit) -> None:
        self._running = running
        self._job = cast("SentinelJob", running.job)
        self._submit = submit
        self._job.count = 0
        self._condition = self._job.sentinel_condition.anew()
        self._taken: dict[int, float] = {}
        self.opaque = not is_ours(self._condition)
        self.every_s = self._job.time_delta

    def look(self, engine: Any) -> tuple[bool, Wakes | None]:
        moment = Moment.of(engine)
        now = held(self._condition, moment)
        happened = now is not None and self._fresh(now)
        if happened and now is not None:
            for hold in now.parts:
                hold.condition.take(moment, hold)
                self._taken[id(hold.condition)] = hold.begin
        wakes = ahead(self._condition, moment)
        if happened and wakes is not None and wakes.at is not None:
            # However short a period is, the engine does other things as well.
            wakes = Wakes(wakes.jobs, wakes.need, max(wakes.at, moment.now + self.every_s), wakes.every)
        return happened, wakes

    def told(self, happened: bool, wakes: Wakes) -> None:
        loop = self._running.flow.loop
        if happened:
            # Not at once: the scheduler is in the middle of asking.
            loop.call_soon(self._submit_one)
        if wakes == NEVER:
            loop.call_soon(self._finish)
        elif not self.opaque:
            at = foresee(self._condition, Moment.of(self._running.flow.engine), self._fresh)
            self._job._set({"next_at": at})
            self._running.flow.touch(self._job)

    def raised(self, failure: Failure) -> None:
        self._running.flow._asking.unwatch(self._job)
        self._running.failed(failure)

    def _fresh(self, now: Held) -> bool:
        """Whether something of it has begun to hold since it was last taken."""
        return any(self._taken.get(id(hold.condition)) != hold.begin for hold in now.parts)

    def _submit_one(self) -> None:
        if self._running.over:
            return
        try:
            self._submit(self._job.another(), self._job.template, self._job)
        except Exception as error:
            self.raised(Failure.of(error))
            return
        self._job.count += 1
        self._running.report(None, f"{self._job.count} {'run' if self._job.count == 1 else 'runs'}", None)

    def _finish(self) -> None:
        """The condition can never hold again."""
        if not self._running.over:
            self._running.flow._asking.unwatch(self._job)
            self._running.done(Payload(self._job.count), preview(self._job.count))


def _kind(job_type: Any) -> type[Job]:
    if isinstance(job_type, str):
        return kind_of(job_type)
    if inspect.isclass(job_type) and issubclass(job_type, Job):
        return job_type
    raise InvalidOption("job_type", job_type, "a backend's name, such as 'process', or a subclass of Job")


def _submit_again_and_again() -> None:
    """Stands for what a sentinel does; its backend does it."""
