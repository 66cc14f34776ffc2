"""Attempts that are sent to a backend ahead of their slots, to begin there when the one in front of them has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyjobs.backends import Backend
from ipyjobs.status import WaitingFor

if TYPE_CHECKING:
    from ipyjobs.flow import Flow
    from ipyjobs.running import Running


class Ahead:
    """Sends attempts ahead, and undoes that. Until one starts, its job is pending and holds no slot."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def send(self, backend: Backend) -> None:
        """Have a backend's workers know already what they will do next."""
        flow, scheduler, forward = self._flow, self._flow.scheduler, backend.forward
        assert forward is not None
        for leader in forward.leaders():
            while (job_id := scheduler.next_after(leader.job_id)) is not None:
                job = flow.jobs[job_id]
                upstream = flow.edges.values(job)
                if (
                    upstream is None
                    or (job.runs_on or job._trait_values["backend"]) != backend.name
                    or not forward.may_follow(job._packed, job.options, upstream.values())
                ):
                    break
                scheduler.send_ahead(job_id)
                if not flow.start(job, upstream, leader):
                    break
        forward.flush()

    def take_back(self) -> None:
        """Have nothing ahead that has not begun: something has changed that those jobs should see, or wait for."""
        flow = self._flow
        flow.scheduler.overtaken = False
        for each in flow.forward:
            if each.forward is not None:
                each.forward.take_back()

    def taken_back(self, running: Running) -> None:
        """An attempt that was sent ahead has not begun, and is undone."""
        if running.over:
            return
        running.over = True
        flow, job, attempt = self._flow, running.job, running.attempt
        del flow.running[running.job_id]
        job.attempts.remove(attempt)
        job._set({"attempt": attempt.number - 1, "waiting_for": WaitingFor.SLOT})
        flow.scheduler.give_back(running.job_id)
        flow.pump_soon()

    def has(self, job_id: str) -> bool:
        """Whether the job's attempt is ahead. From any thread."""
        running = self._flow.running.get(job_id)
        return running is not None and running.ahead
