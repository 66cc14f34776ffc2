"""Jobs of earlier sessions become an engine's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ipyjobs.job import Job

if TYPE_CHECKING:
    from ipyjobs.flow import Flow


def adopt(flow: Flow, jobs: Sequence[Job]) -> None:
    """Take in ended jobs that the engine doesn't have yet, with their values. Only on the engine's loop."""
    for job in jobs:
        if job.id in flow.jobs or job._removed:
            continue
        job.engine = flow.engine
        job._set({"number": next(flow._numbers)})
        flow.jobs[job.id] = job
        flow.by_status[job.status][job.id] = job
        flow.edges.add(job)
        name = job.runs_on or job.backend
        if name in flow.backends and name not in flow.opened:
            flow._open(name)
