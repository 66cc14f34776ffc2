"""Making a new job ready to be taken in, on the thread that submits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyjobs.calling import replaced
from ipyjobs.conditions import AfterOthers, AllSatisfied
from ipyjobs.errors import InvalidStateError
from ipyjobs.job import Job, JobFuture
from ipyjobs.jobs import Jobs
from ipyjobs.preview import described

if TYPE_CHECKING:
    from ipyjobs.engine import Engine


def prepare(job: Job, engine: Engine, shared: dict[Any, Any]) -> None:
    """Find the upstreams of a new job, and make ready what travels. On the thread that submits."""
    if job.args or job.kwargs:
        _find_upstreams(job, engine)
        # Here and not where a page asks: it runs the arguments' own `__repr__`.
        job._described = described(job.args, job.kwargs)
    backend = engine.backends.get(job._trait_values["backend"])
    if backend is not None:
        job._packed = backend.pack(job.func, job.args, job.kwargs, shared)


def _find_upstreams(job: Job, engine: Engine) -> None:
    upstream: dict[str, None] = {}

    def found(value: object) -> object:
        if isinstance(value, Job):
            value = JobFuture(value)
        elif isinstance(value, Jobs):
            return [found(each) for each in value.values()]
        if isinstance(value, JobFuture):
            if value.job.engine not in (None, engine):
                raise InvalidStateError(f"job {value.job.name!r}, an argument of {job.name!r}, is another engine's")
            upstream[value.job_id] = None
        return value

    job.args, job.kwargs = replaced(job.args, found), replaced(job.kwargs, found)
    if upstream and not job._upstream:
        job._upstream = tuple(upstream)
        others = AfterOthers(job._upstream)
        job.condition = AllSatisfied([others] if job.condition is None else [job.condition, others])
