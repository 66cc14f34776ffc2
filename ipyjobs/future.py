"""What stands for a job in the arguments of another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ipyjobs.pickling import FutureLike
from ipyjobs.preview import BRIEF

if TYPE_CHECKING:
    from ipyjobs.job import Job


class JobFuture(FutureLike):
    """Stands for a job's result inside the arguments of another job."""

    __slots__ = ("job", "job_id")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.job_id = job.id

    def result(self) -> Any:
        """The job's result; see `Job.result`."""
        return self.job.result()

    def exception(self) -> BaseException | None:
        """Why the job failed; see `Job.exception`."""
        return self.job.exception()

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Have ``callback(result)`` called on the user's loop when the job is done, or soon if it is already."""
        self.job._add_callback(callback, wants_result=True)

    def add_error_callback(self, callback: Callable[[BaseException], object]) -> None:
        """Have ``callback(exception)`` called on the user's loop when the job has failed, or soon if it has already."""
        self.job._add_callback(callback, wants_result=False)

    def __repr__(self) -> str:
        return f"<{self.job.name}>"


BRIEF.add(JobFuture)
