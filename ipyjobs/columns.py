"""What a page shows of a job: the record of its traits, and of what is computed from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from ipyjobs.preview import in_short
from ipyjobs.status import Status

if TYPE_CHECKING:
    from ipyjobs.job import Job
    from ipyjobs.schema import JobRecord


def record_of(job: Job) -> JobRecord:
    """The job as a page sees it."""
    values = job._trait_values
    kind, columns = _record_columns()
    return kind(*(values[name] if read is None else read(job) for name, read in columns))


@cache
def _record_columns() -> tuple[type[JobRecord], list[tuple[str, Callable[[Job], Any] | None]]]:
    """What a record is made of: its class, and for each field the function to compute it with, if it is no trait."""
    from ipyjobs.schema import JobRecord  # a third of the time the package takes to load, and only pages need it

    return JobRecord, [(name, _COMPUTED.get(name)) for name in JobRecord.__dataclass_fields__]


def _waiting(job: Job) -> str:
    return "" if job.engine is None or job.status is not Status.PENDING else job.engine.waiting_text(job)


_COMPUTED: dict[str, Callable[[Job], Any]] = {
    "waiting": _waiting,
    "arguments": lambda job: in_short(job._described),
    "result": lambda job: job._preview.short if job._preview is not None else "",
    "log_bytes": lambda job: job._log.size if job._log is not None else 0,
}
