"""Jobs in the plural: one kind of view for all of an engine's jobs, for groups and for those of one status."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast, overload

from ipyjobs.conditions import AfterOthers, AllSatisfied, Condition, EveryPeriod
from ipyjobs.errors import InvalidOption, JobNotFoundError
from ipyjobs.job import Job, LocalJob, ProcessJob, ThreadJob
from ipyjobs.options import JOB_OPTIONS
from ipyjobs.status import ENDED, Status, checked_status

if TYPE_CHECKING:
    from ipyjobs.archive import Archive
    from ipyjobs.engine import Engine
    from ipyjobs.kinds.periodic import CronJob, SentinelJob
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


class Submitter:
    """The verbs that make jobs of functions, with some options given beforehand."""

    def __init__(self, engine: Engine, options: Mapping[str, Any] | None = None) -> None:
        self._engine = engine
        self._options = options

    def options(self, **options: Any) -> Submitter:
        """The same verbs, for jobs with these options: ``jobs.options(group="a", retries=2).map(train, lr=[1, 2])``.

        Parameters
        ----------
        **options
            Keywords of `Job` (name, group, tags, priority, queue, retries, timeout, condition, …); `after`: a job, an
            id or several, all of which must end first; `backend`: where `submit` and `map` run, "process" by default.

        Raises
        ------
        TypeError
            There is no such option.
        """
        known = {*JOB_OPTIONS, "after", "backend", "fresh"}
        for each in options:
            if each not in known:
                raise TypeError(f"there is no job option {each!r}; known: {', '.join(sorted(known))}")
        kind_of(options.get("backend", "process"))
        return Submitter(self._engine, {**(self._options or {}), **options})

    def submit(self, func: Callable[..., Any] | Job, *args: Any, **kwargs: Any) -> Any:
        """Run a function, by default in a process; or submit jobs that were made before.

        Returns
        -------
        Job
            The job; of several given jobs a `Jobs`.
        """
        if isinstance(func, Job):
            return self._engine.submit(func, *args)
        return self._engine.submit(self._job(None, func, args, kwargs))

    def process(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Job:
        """Run ``func(*args, **kwargs)`` in a worker process."""
        return self._engine.submit(self._job("process", func, args, kwargs))

    def thread(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Job:
        """Run ``func(*args, **kwargs)`` in a thread of this process."""
        return self._engine.submit(self._job("thread", func, args, kwargs))

    def local(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Job:
        """Run ``func(*args, **kwargs)`` on the notebook's own loop; for coroutine functions."""
        return self._engine.submit(self._job("local", func, args, kwargs))

    def cron(self, when: Condition | str, func: Callable[..., Any], *args: Any, **kwargs: Any) -> CronJob:
        """Run ``func(*args, **kwargs)`` at certain times, until the job that this returns is cancelled.

        Parameters
        ----------
        when
            A crontab line, ``"*/5 * * * *"``, or a condition of time: ``daily & after_clock("12:00")``.

        Returns
        -------
        CronJob
            The one that submits the others; options given beforehand, and ``backend=``, are for the others.
        """
        from ipyjobs.kinds.periodic import CronJob  # which is made of jobs

        job = CronJob(func, when, **self._again(func, args, kwargs))
        self._engine.submit(job)
        return job

    def every(self, period: str, func: Callable[..., Any], *args: Any, **kwargs: Any) -> CronJob:
        """Run ``func(*args, **kwargs)`` every "30s", "5m", "1.5h" or "1d"; see `cron`."""
        return self.cron(EveryPeriod(period), func, *args, **kwargs)

    def sentinel(self, condition: Condition, func: Callable[..., Any], *args: Any, **kwargs: Any) -> SentinelJob:
        """Run ``func(*args, **kwargs)`` each time a condition holds, until the job that this returns is cancelled.

        ``jobs.sentinel(AfterAnother(load), report)`` runs `report` each time `load` has ended. A condition of your own
        is asked every ``wait_time_delta`` seconds, 0.1 by default.
        """
        from ipyjobs.kinds.periodic import SentinelJob  # which is made of jobs

        given = self._again(func, args, kwargs)
        job = SentinelJob(func, condition, time_delta=given.pop("wait_time_delta", 0.1), **given)
        self._engine.submit(job)
        return job

    def map(self, func: Callable[..., Any], *iterables: Iterable[Any], **grid: Any) -> Jobs:
        """Run a function many times.

        Parameters
        ----------
        *iterables
            Zipped into positional arguments, as `concurrent.futures.Executor.map` does.
        **grid
            Lists, tuples, ranges and arrays span a grid: every combination is one call. All else, also strings,
            mappings, data frames and ``const(x)``, is given to each call as it is.

        Returns
        -------
        Jobs
            The jobs, in order: the last keyword changes fastest.
        """
        self._check_keywords(func, grid)
        return self._engine.submit_all([self._made(None, func, *row) for row in grid_rows(iterables, grid)])

    def _job(self, backend: str | None, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
        self._check_keywords(func, kwargs)
        return self._made(backend, func, args, {name: _unwrapped(value) for name, value in kwargs.items()})

    def _made(self, backend: str | None, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Job:
        kind, options = self._kind_and_options(backend)
        return kind(func, tuple(args), kwargs, **options)

    def _kind_and_options(self, backend: str | None = None) -> tuple[type[Job], dict[str, Any]]:
        options = dict(self._options or {})
        kind = kind_of(backend or options.get("backend", "process"))
        options.pop("backend", None)
        after = options.pop("after", None)
        if after is not None:
            options["condition"] = _after(after, options.get("condition"))
        return kind, options

    def _again(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What a sentinel is told of the jobs it submits; it stands in their group."""
        self._check_keywords(func, kwargs)
        kind, options = self._kind_and_options()
        given = {name: _unwrapped(value) for name, value in kwargs.items()}
        own = {"group": options["group"]} if "group" in options else {}
        return {**options, "args": args, "kwargs": given, "job_type": kind, "sentinel_attrs": own}

    def _check_keywords(self, func: Callable[..., Any], kwargs: Mapping[str, Any]) -> None:
        """A keyword that could be the function's or the job's must not be guessed at."""
        if self._options is not None or not any(each in JOB_OPTIONS or each in ("after", "fresh") for each in kwargs):
            return
        each = next(each for each in kwargs if each in JOB_OPTIONS or each in ("after", "fresh"))
        name = getattr(func, "__name__", "the function")
        try:
            parameters = inspect.signature(func).parameters
            takes = each in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        except (TypeError, ValueError):
            takes = True
        if takes:
            raise TypeError(
                f"{each}= could be meant for {name}() or for the job: write jobs.options({each}=…) for the job's, "
                f"jobs.options().…({name}, {each}=…) for the function's"
            )
        raise TypeError(f"{name}() has no parameter {each!r}; an option of the job goes into jobs.options({each}=…)")


class AllJobs(Jobs, Submitter):
    """All jobs of an engine, and the verbs to make more."""

    def __init__(
        self, engine: Engine, members: Mapping[str, Job], by_status: Mapping[Status, Mapping[str, Job]]
    ) -> None:
        Jobs.__init__(self, engine, members)
        Submitter.__init__(self, engine)
        self._by_status = by_status

    @property
    def earlier(self) -> Archive:
        """Jobs of earlier sessions, as the store remembers them; empty without a store."""
        return self._engine.earlier

    def saved(self) -> Act:
        """Wait until the store holds all that has happened so far; see `Engine.saved`."""
        return self._engine.saved()

    def _of(self, status: Status) -> Jobs:
        return Jobs(self._engine, self._by_status[status])


@dataclass(frozen=True)
class const:  # noqa: N801 - reads as a word in a call
    """Wrap what each call of `Submitter.map` is to get whole: ``map(fit, data=const([1, 2]), lr=[.1, .2])``."""

    value: Any


def grid_rows(
    iterables: Sequence[Iterable[Any]], grid: Mapping[str, Any]
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Positional and keyword arguments of each call of a `map`, in order."""
    spans = {name: list(value) if spans_grid(value) else [_unwrapped(value)] for name, value in grid.items()}
    rows = list(zip(*iterables, strict=False)) if iterables else [()]
    for row in rows:
        for values in itertools.product(*spans.values()):
            yield row, dict(zip(spans, values, strict=True))


def spans_grid(value: object) -> bool:
    """Whether a keyword of `map` is a range of values rather than one value."""
    if isinstance(value, (list, tuple, range)):
        return True
    # numpy is not imported for this: an array is known by what it is.
    return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"


def kind_of(backend: object) -> type[Job]:
    """The class of jobs that run on `backend` by default."""
    for kind in (LocalJob, ThreadJob, ProcessJob):
        if kind.backend_name == backend:
            return kind
    raise InvalidOption("backend", backend, "'process', 'thread' or 'local'")


def _unwrapped(value: object) -> object:
    return value.value if isinstance(value, const) else value


def _after(after: Any, condition: Condition | None) -> Condition:
    several: list[Any] = [after]
    if isinstance(after, Jobs):
        several = list(after.values())
    elif isinstance(after, (list, tuple, set, frozenset)):
        several = list(cast("Iterable[Any]", after))
    others = AfterOthers(several)
    return others if condition is None else AllSatisfied([condition, others])
