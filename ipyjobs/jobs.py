"""Jobs in the plural: one kind of view for all of an engine's jobs, for groups and for those of one status."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast, overload

from ipyjobs.errors import InvalidOption, JobNotFoundError
from ipyjobs.job import Job
from ipyjobs.status import ENDED, Status, checked_status

if TYPE_CHECKING:
    from ipyjobs.engine import Engine
    from ipyjobs.waiting import Act


class Jobs:
    """Some jobs, in order of submission, found by id, number or slice.

    ``for job in jobs`` goes through the jobs, ``jobs[0]`` is the first one submitted and ``jobs[-3:]`` are the last
    three. ``len(jobs)``, ``jobs[id]``, ``jobs.get(id)``, ``jobs.keys()``, ``jobs.values()`` and ``jobs.items()`` work
    as on a mapping by id. ``jobs.failed`` and the other statuses are views too, and stay up to date.
    ``Jobs(path)`` reads those that a store remembers, without an engine.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if args and isinstance(args[0], (str, Path)) and cls is Jobs:
            from ipyjobs.archive import Archive  # which is above: ``Jobs(path)`` is executor-engine's name for it

            return cast(Self, object.__new__(Archive))
        return object.__new__(cls)

    @overload
    def __init__(self, engine: str | Path, /) -> None: ...
    @overload
    def __init__(self, engine: Engine, members: Mapping[str, Job], status: Status | None = None) -> None: ...
    def __init__(self, engine: Any, members: Mapping[str, Job] | None = None, status: Status | None = None) -> None:
        assert members is not None
        self._engine = engine
        self._members = members
        self._status = status

    @property
    def engine(self) -> Engine:
        """The engine that runs them."""
        return self._engine

    # -- by id, by number, one after another

    @overload
    def __getitem__(self, key: str | int) -> Job: ...
    @overload
    def __getitem__(self, key: slice) -> Jobs: ...
    def __getitem__(self, key: str | int | slice) -> Job | Jobs:
        if isinstance(key, int):
            return list(self.values())[key]
        if isinstance(key, slice):
            return Jobs(self._engine, {job.id: job for job in list(self.values())[key]})
        job = self._members.get(key)
        if job is None or not self._has(job):
            raise JobNotFoundError(key)
        return job

    def __iter__(self) -> Iterator[Job]:
        return iter(self._ordered())

    def __len__(self) -> int:
        if self._status is None:
            return len(self._members)
        return sum(1 for job in list(self._members.values()) if self._has(job))

    def __contains__(self, key: object) -> bool:
        if isinstance(key, Job):
            key = key.id
        return isinstance(key, str) and (job := self._members.get(key)) is not None and self._has(job)

    def get(self, job_id: str, default: Any = None) -> Any:
        """The job with this id, or `default`."""
        job = self._members.get(job_id)
        return job if job is not None and self._has(job) else default

    def keys(self) -> list[str]:
        """The ids of the jobs, in order of submission."""
        return [job.id for job in self._ordered()]

    def values(self) -> list[Job]:
        """The jobs, in order of submission."""
        return self._ordered()

    def items(self) -> list[tuple[str, Job]]:
        """Pairs of id and job, in order of submission."""
        return [(job.id, job) for job in self._ordered()]

    def all_jobs(self) -> list[Job]:
        """The jobs, in order of submission (a name kept from executor-engine; ``list(jobs)`` does the same)."""
        return self._ordered()

    def __bool__(self) -> bool:
        return len(self) > 0

    # -- some of them

    @property
    def created(self) -> Jobs:
        """Not submitted yet."""
        return self._of(Status.CREATED)

    @property
    def pending(self) -> Jobs:
        """Waiting."""
        return self._of(Status.PENDING)

    @property
    def running(self) -> Jobs:
        """Running."""
        return self._of(Status.RUNNING)

    @property
    def done(self) -> Jobs:
        """Ended well."""
        return self._of(Status.DONE)

    @property
    def failed(self) -> Jobs:
        """Ended badly."""
        return self._of(Status.FAILED)

    @property
    def cancelled(self) -> Jobs:
        """Stopped before they could end."""
        return self._of(Status.CANCELLED)

    def get_job_by_id(self, job_id: str) -> Job:
        """The job with this id (a name kept from executor-engine; ``jobs[job_id]`` does the same).

        Raises
        ------
        JobNotFoundError
            There is none.
        """
        return self[job_id]

    def named(self, name: str) -> Job:
        """The last job submitted under this name.

        Raises
        ------
        JobNotFoundError
            There is none.
        """
        for job in reversed(self._ordered()):
            if job.name == name:
                return job
        raise JobNotFoundError(name)

    def group(self, name: str) -> Jobs:
        """The jobs of a group."""
        return Jobs(self._engine, {job.id: job for job in self._ordered() if job.group == name})

    # -- forgotten

    def remove(self, *jobs: Job) -> Act:
        """Cancel jobs and forget them; see `Engine.remove`."""
        return self._engine.remove(*jobs)

    def clear(self, statuses: Iterable[Status | str]) -> None:
        """Forget the jobs that have one of these statuses."""
        wanted = {checked_status(each) for each in statuses}
        self._engine.remove(*(job for job in self._ordered() if job.status in wanted))

    def clear_non_active(self) -> None:
        """Forget the jobs that have ended."""
        self.clear(ENDED)

    def clear_all(self) -> None:
        """Cancel and forget all jobs."""
        self.clear(Status)

    # -- all of them

    def results(self, *, errors: Literal["raise", "return"] = "raise") -> list[Any]:
        """The results, in order of submission.

        Parameters
        ----------
        errors
            "raise" the first error, or "return" errors in place of the results.

        Raises
        ------
        BaseException
            What `Job.result` raises, unless `errors` is "return".
        """
        __tracebackhide__ = True
        if errors not in ("raise", "return"):
            raise InvalidOption("errors", errors, "'raise' or 'return'")
        found: list[Any] = []
        for job in self._ordered():
            try:
                found.append(job.result())
            except Exception as error:
                if errors == "raise":
                    raise
                found.append(error)
        return found

    def cancel(self) -> Act:
        """Cancel those that have not ended."""
        return self._engine.cancel_all(self._ordered())

    def rerun(self) -> Act:
        """Run those that have ended again."""
        return self._engine.rerun(*(job for job in self._ordered() if job.ended))

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all have ended; False if `timeout` seconds passed first. In a cell prefer ``await``."""
        __tracebackhide__ = True
        return self._engine.wait_for(self._ordered(), timeout)

    async def join(self, timeout: float | None = None) -> None:
        """Wait until all have ended.

        Raises
        ------
        TimeoutError
            They have not within `timeout` seconds; they go on.
        """
        __tracebackhide__ = True
        await self._engine.join(self._ordered(), timeout)

    def __await__(self) -> Generator[Any, None, Jobs]:
        """Wait until all have ended, however they end, and give the jobs; `results` raises what one raised."""
        __tracebackhide__ = True
        yield from self._engine.until_ended(self._ordered()).__await__()
        return self

    def __repr__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """How many jobs there are in each status, on one line."""
        counts = dict.fromkeys(Status, 0)
        for job in self._ordered():
            counts[job.status] += 1
        parts = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        total = sum(counts.values())
        return f"<{total} {'job' if total == 1 else 'jobs'}{': ' if parts else ''}{parts}>"

    def _of(self, status: Status) -> Jobs:
        return Jobs(self._engine, self._members, status)

    def _has(self, job: Job) -> bool:
        return self._status is None or job.status is self._status

    def _ordered(self) -> list[Job]:
        jobs = [job for job in list(self._members.values()) if self._has(job)]
        jobs.sort(key=lambda job: job.number)
        return jobs
