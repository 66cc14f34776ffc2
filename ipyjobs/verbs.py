"""The verbs that make jobs of functions and submit them; with a view of all jobs they are what `engine.jobs` is."""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ipyjobs.conditions import AfterOthers, AllSatisfied, Condition, EveryPeriod
from ipyjobs.daskjob import DaskJob
from ipyjobs.errors import InvalidOption
from ipyjobs.job import Job, LocalJob, ProcessJob, ThreadJob
from ipyjobs.jobs import Jobs
from ipyjobs.options import JOB_OPTIONS
from ipyjobs.status import Status

if TYPE_CHECKING:
    from ipyjobs.archive import Archive
    from ipyjobs.engine import Engine
    from ipyjobs.kinds.periodic import CronJob, SentinelJob
    from ipyjobs.kinds.webapp import WebappJob
    from ipyjobs.waiting import Act


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

    def dask(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Job:
        """Run ``func(*args, **kwargs)`` on a Dask cluster; see `DaskJob`."""
        return self._engine.submit(self._job("dask", func, args, kwargs))

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

    def sh(self, cmd: str | os.PathLike[str] | Sequence[Any], **options: Any) -> Job:
        """Run a shell command, or a program with arguments if it is a list: ``jobs.sh("make data | tee log")``.

        Parameters
        ----------
        **options
            Keywords of `SubprocessJob`: cwd, env, stdin, timeout, name, …
        """
        from ipyjobs.kinds.command import SubprocessJob  # which is made of jobs

        return self._engine.submit(SubprocessJob(cmd, **self._merged(options, ThreadJob)))

    def webapp(
        self, web_launcher: Callable[[str, int], Any] | str | Sequence[Any], *args: Any, **options: Any
    ) -> WebappJob:
        """Serve a web app: ``jobs.webapp("python -m http.server -b {ip} {port}")``, or a function of (ip, port).

        Parameters
        ----------
        *args, **options
            Those of `WebappJob`: ip, port, check_times, name, … A command counts as a thread job by default, a
            function runs as a process job.
        """
        from ipyjobs.kinds.webapp import WebappJob  # which is made of jobs

        base = ProcessJob if callable(web_launcher) else ThreadJob
        job = WebappJob(web_launcher, *args, **self._merged(options, base))
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

    def _merged(self, options: dict[str, Any], base: type[Job]) -> dict[str, Any]:
        """Options of this call and those given before, in the words of a job's class that has a `base_class`."""
        merged = {**(self._options or {}), **options}
        merged.setdefault("base_class", kind_of(merged.pop("backend", base.backend_name)))
        after = merged.pop("after", None)
        if after is not None:
            merged["condition"] = _after(after, merged.get("condition"))
        return merged

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
    for kind in (LocalJob, ThreadJob, ProcessJob, DaskJob):
        if kind.backend_name == backend:
            return kind
    raise InvalidOption("backend", backend, "'process', 'thread', 'local' or 'dask'")


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
