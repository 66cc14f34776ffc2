"""Asking conditions: ours on the engine's loop, the user's own on the user's loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyjobs.conditions import job_ids
from ipyjobs.failure import Failure
from ipyjobs.log import logger
from ipyjobs.scheduling import Wakes
from ipyjobs.status import Status, Verb, WaitingFor

if TYPE_CHECKING:
    from ipyjobs.flow import Flow
    from ipyjobs.job import Job

UNKNOWN_S = 10.0
"""After how many seconds a job that waits for an unknown one is warned about."""


class Asking:
    """Which jobs are being asked whether they may start."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._tokens: dict[str, object] = {}

    def forget(self, job_id: str) -> None:
        """Whatever the user's loop still answers about this job is void."""
        if self._tokens:
            self._tokens.pop(job_id, None)

    def ask(self, job: Job) -> None:
        """Find out whether a pending job may start, and park it or make it ready accordingly."""
        flow = self._flow
        if flow.spoiled(job):
            return
        if job.condition is None:
            self._answered(job, True, None)
        elif not job._opaque:
            satisfied = job.condition.satisfy(flow.engine)
            self._answered(job, satisfied, None if satisfied else job.condition.wakes(flow.engine))
        else:
            token = self._tokens[job.id] = object()
            flow.outbox.post(self._ask_user, job, token)

    def _ask_user(self, job: Job, token: object) -> None:
        """On the user's loop: the condition is the user's code."""
        flow = self._flow
        assert job.condition is not None
        try:
            satisfied = bool(job.condition.satisfy(flow.engine))
            wakes = None if satisfied else job.condition.wakes(flow.engine)
        except BaseException as error:
            flow.inbox.post(self._condition_raised, job, token, Failure.of(error))
        else:
            flow.inbox.post(self._answered_by_user, job, token, satisfied, wakes)

    def _answered_by_user(self, job: Job, token: object, satisfied: bool, wakes: Wakes | None) -> None:
        flow = self._flow
        if self._tokens.get(job.id) is token and job.status is Status.PENDING:
            del self._tokens[job.id]
            self._answered(job, satisfied, wakes)
            flow.pump_soon()

    def _condition_raised(self, job: Job, token: object, failure: Failure) -> None:
        flow = self._flow
        if self._tokens.get(job.id) is token and job.status is Status.PENDING:
            del self._tokens[job.id]
            flow.scheduler.remove(job.id)
            flow.fail(job, failure, Verb.FAIL, None)

    def _answered(self, job: Job, satisfied: bool, wakes: Wakes | None) -> None:
        flow = self._flow
        if satisfied:
            flow.scheduler.ready(job.id)
            flow.became_ready.append(job)
            return
        wakes = wakes or Wakes(every=job.wait_time_delta)
        flow.scheduler.park(job.id, wakes, flow.loop.time())
        if job.waiting_for is not WaitingFor.CONDITION:
            job._set({"waiting_for": WaitingFor.CONDITION})
            flow.touch(job)
        if any(each not in flow.jobs for each in wakes.jobs):
            flow.loop.call_later(UNKNOWN_S, self._warn_unknown, job, job._round)

    def _warn_unknown(self, job: Job, round: int) -> None:
        flow = self._flow
        unknown = [each for each in job_ids(job.condition) if each not in flow.jobs]
        if unknown and job.status is Status.PENDING and job._round == round:
            logger.warning("job {!r} waits for unknown job {!r}: submit that, or cancel this", job.name, unknown[0])
