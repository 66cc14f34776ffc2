"""Tasks: functions that submit themselves as jobs."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Protocol, cast, get_args, overload

from ipyjobs.description import described_function
from ipyjobs.engines import get_default_engine
from ipyjobs.errors import DeadlockError, InvalidOption
from ipyjobs.execution import Launch
from ipyjobs.frozen import AwaitedFunction, plain_function
from ipyjobs.names import checked_name, checked_tags, name_of
from ipyjobs.settings import Execution, checked_execution
from ipyjobs.verbs import grid_rows
from ipyjobs.waiting import Act

if TYPE_CHECKING:
    from ipyjobs.engine import Engine
    from ipyjobs.job import Job
    from ipyjobs.jobs import Jobs
    from ipyjobs.retry import Retry

P = ParamSpec("P")
JobType = Literal["local", "thread", "process", "dask", "subprocess", "webapp"]

_KINDS = {
    "local": "LocalJob", "thread": "ThreadJob", "process": "ProcessJob", "dask": "DaskJob",
    "subprocess": "SubprocessJob", "webapp": "WebappJob",
}  # fmt: skip
_BY_EXECUTION = {"main": "MainJob", "async": "LocalJob", "thread": "ThreadJob", "process": "ProcessJob"}
_ELSEWHERE = ("dask", "subprocess", "webapp")
"""Kinds of jobs that are not made to check their options: they need what may not be installed, or a command."""


@dataclass(frozen=True)
class TaskSetting:
    """What makes one task differ from another, beside its function; see `task`."""

    name: str
    job_type: JobType | None = None
    execution: Execution | None = None
    description: str | None = None
    tags: list[str] = field(default_factory=list[str])
    job_attrs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    multilaunch: bool | None = None
    func_run_id: Callable[[Any, Mapping[str, Any]], object] | None = None
    on_success: Task[...] | str | None = None
    on_failure: Task[...] | str | None = None


class Task(Generic[P]):
    """A function that submits itself: ``f.submit(…)`` gives the job, ``f(…)`` waits and gives the result.

    Made by `task`. It keeps the function's name, text and signature; the function itself is `function`. Where another
    job's function takes it along to a worker, it arrives as that function.
    """

    async_mode = False
    """Whether ``f(…)`` is awaited."""

    def __init__(self, function: Callable[P, Any], setting: TaskSetting, engine: Engine | None = None) -> None:
        self.function: Callable[..., Any] = function
        """What its jobs call."""
        self.setting = setting
        self._engine = engine
        self._command = any(each.__name__ == "Cmd2Func" for each in inspect.getmro(type(function)))
        functools.update_wrapper(self, function, updated=())
        self.__name__: str = getattr(function, "__name__", setting.name)
        try:
            self.__signature__: inspect.Signature | None = inspect.signature(function)
        except (TypeError, ValueError):  # some builtins have none
            self.__signature__ = None
        if engine is not None:
            engine.tasks.register(self)

    # -- running it

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Submit ``function(*args, **kwargs)`` as a job.

        Returns
        -------
        Job
            In async mode something to await that gives the job, which is submitted either way.

        Raises
        ------
        TypeError
            The function does not take these arguments.
        EngineNotRunning, NotPicklable
            See `Engine.submit`.
        """
        return self._submitted(self.engine, args, kwargs)

    def map(self, *iterables: Iterable[Any], **grid: Any) -> Jobs:
        """Submit many calls at once; see `Submitter.map` of `ipyjobs.jobs`."""
        engine = self.engine
        return engine.submit_all([self._job(engine, *row) for row in grid_rows(iterables, grid)])

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run it as a job, wait, and give the result.

        Raises
        ------
        BaseException
            What the function raised.
        JobCancelled
            The job was cancelled. It is a `RuntimeError`.
        DeadlockError
            Waiting would block the very loop that the job needs.
        """
        __tracebackhide__ = True
        engine = self.engine
        if engine.blocked_by_waiting():
            raise DeadlockError(
                f"waiting here for {self.name}() would stop the loop that runs it; use `await {self.name}.submit(…)`, "
                f"or `{self.name}.to_async()`, whose calls are awaited"
            )
        job = self._submitted(engine, args, kwargs)
        try:
            engine.wait_for([job])
        except DeadlockError:
            engine.cancel_all([job])
            raise
        return job.result()

    def to_sync(self) -> Task[P]:
        """The same task, with calls that block."""
        return self if not self.async_mode else Task(self.function, self.setting, self._engine)

    def to_async(self) -> AsyncTask[P]:
        """The same task, with calls to be awaited."""
        return self if isinstance(self, AsyncTask) else AsyncTask(self.function, self.setting, self._engine)

    # -- what it is

    @property
    def engine(self) -> Engine:
        """Where it runs; where it was given none, the default engine at this moment. May be set."""
        return get_default_engine() if self._engine is None else self._engine

    @engine.setter
    def engine(self, engine: Engine | None) -> None:
        self._engine = engine
        if engine is not None:
            engine.tasks.register(self)

    @property
    def name(self) -> str:
        """What its jobs are called."""
        return self.setting.name

    @property
    def description(self) -> str | None:
        """What it does: what it was given, else the function's docstring."""
        return self.function.__doc__ if self.setting.description is None else self.setting.description

    @property
    def tags(self) -> list[str]:
        """The tags of its jobs."""
        return list(self.setting.tags)

    @property
    def job_attrs(self) -> dict[str, Any]:
        """The keywords that its jobs are made with."""
        return {**self.setting.job_attrs, "name": self.name}

    @property
    def job_type(self) -> JobType:
        """The kind of its jobs."""
        setting = self.setting
        if self._command:
            return "webapp" if setting.job_type == "webapp" else "subprocess"
        if setting.job_type is not None:
            return setting.job_type
        execution = self.execution
        return "local" if execution in ("main", "async") else cast("JobType", execution or "process")

    @property
    def execution(self) -> Execution | None:
        """Where it runs, in Rocketry's words; None for kinds that these have no word for."""
        setting = self.setting
        if self._command:
            return None
        if setting.execution is not None:
            return setting.execution
        if setting.job_type is not None:
            return next((each for each, kind in _BY_EXECUTION.items() if kind == _KINDS[setting.job_type]), None)  # type: ignore[return-value]
        return self.engine.setting.execution or "process"

    @functools.cached_property
    def desc(self) -> Any:
        """Inputs, outputs and text of the function: funcdesc's `Description` if that is installed, else one like it."""
        return described_function(self.function)

    def __reduce__(self) -> Any:
        return plain_function, (self.function,)

    def __repr__(self) -> str:
        return f"<task {self.name!r}, {self.job_type}{', async' if self.async_mode else ''}>"

    # -- private

    def _submitted(self, engine: Engine, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
        return engine.submit(self._job(engine, args, kwargs))

    def _job(self, engine: Engine, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
        setting = self.setting
        params = self._bound(args, kwargs)
        engine.tasks.register(self)
        kind = self._kind()
        attrs: dict[str, Any] = {"tags": setting.tags, **self.job_attrs}
        if self._command:
            job = kind(self._rendered(args, kwargs), **attrs)
        elif self.job_type == "webapp":
            job = kind(self.function, *args, **{**kwargs, **attrs})
        else:
            job = kind(self.function, args, kwargs, **attrs)
        rule = setting.func_run_id or engine.setting.func_run_id
        several = engine.setting.multilaunch if setting.multilaunch is None else setting.multilaunch
        job._launch = Launch(self, self.name, not several, None if rule is None else str(rule(self, params)))
        for then, on_success in ((setting.on_success, True), (setting.on_failure, False)):
            if then is not None:
                job._callbacks += ((functools.partial(_follow, engine, then), on_success),)
        return job

    def _kind(self) -> Any:
        execution = None if self._command else self.execution
        name = _KINDS[self.job_type] if execution is None else _BY_EXECUTION[execution]
        return _kind_called(name)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        if self.__signature__ is None or self.job_type == "webapp":  # which is given address and port later
            return kwargs
        try:
            return self.__signature__.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None

    def _rendered(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The command line that a `cmd2func` makes of these arguments; of several the first."""
        function: Any = self.function
        command = function.get_cmd_str(*args, **kwargs)
        return function.process_cmd_str(command if isinstance(command, str) else next(command))


class AsyncTask(Task[P]):
    """A `Task` whose calls are awaited: ``await f(…)`` gives the result, ``await f.submit(…)`` the job."""

    async_mode = True

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        return Act(value=self._submitted(self.engine, args, kwargs))

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        __tracebackhide__ = True
        return await self._submitted(self.engine, args, kwargs)

    def __reduce__(self) -> Any:
        return AwaitedFunction, (self.function,)


class Decorator(Protocol):
    """Makes a task of a function."""

    def __call__(self, func: Callable[P, Any], /) -> Task[P]: ...


class AsyncDecorator(Protocol):
    """Makes a task of a function whose calls are awaited."""

    def __call__(self, func: Callable[P, Any], /) -> AsyncTask[P]: ...


@overload
def task(func: Callable[P, Any], engine: Engine | None = None, async_mode: Literal[False] = False,
         **settings: Any) -> Task[P]: ...  # fmt: skip
@overload
def task(func: Callable[P, Any], engine: Engine | None = None, *, async_mode: Literal[True],
         **settings: Any) -> AsyncTask[P]: ...  # fmt: skip
@overload
def task(func: None = None, engine: Engine | None = None, async_mode: Literal[False] = False,
         **settings: Any) -> Decorator: ...  # fmt: skip
@overload
def task(func: None = None, engine: Engine | None = None, *, async_mode: Literal[True],
         **settings: Any) -> AsyncDecorator: ...  # fmt: skip
def task(
    func: Callable[..., Any] | None = None,
    engine: Engine | None = None,
    async_mode: bool = False,
    job_type: JobType | None = None,
    name: str | None = None,
    description: str | None = None,
    tags: Iterable[str] | None = None,
    job_attrs: Mapping[str, Any] | None = None,
    *,
    execution: Execution | None = None,
    queue: str | None = None,
    retries: int | Retry | None = None,
    timeout: float | None = None,
    multilaunch: bool | None = None,
    func_run_id: Callable[[Any, Mapping[str, Any]], object] | None = None,
    on_success: Task[...] | str | None = None,
    on_failure: Task[...] | str | None = None,
    **options: Any,
) -> Any:
    """Make a task of a function: ``@task``, ``@task(retries=2)`` or ``task(function)``; `launcher` is the same.

    Parameters
    ----------
    func
        Any callable. One made by `cmd2func` runs its command, and its result is the return code.
    engine
        Where it runs; by default `get_default_engine()` at each call, which is the notebook's, or that of the innermost
        ``with Engine()``.
    async_mode
        Its calls are awaited rather than block.
    job_type
        The kind of its jobs: 'local', 'thread', 'process' (the default), 'dask', 'subprocess' or 'webapp'.
    name, description, tags
        What it is called, for people and in `Engine.tasks`; by default the function's name and docstring.
    job_attrs
        Keywords for its jobs, in one mapping.
    execution
        Instead of `job_type`: "process", "thread", "async" (on the user's loop) or "main" (there too, and nothing else
        starts until it has ended; see `MainJob`). Where neither is given, `EngineSetting.execution`.
    queue, retries, timeout, options
        Keywords of `Job` for its jobs.
    multilaunch
        False: the next run waits until the running one has ended. By default `EngineSetting.multilaunch`.
    func_run_id
        ``func_run_id(task, params)`` gives the id of a run; `params` maps argument names to values.
    on_success
        A task, or the name of one of the engine's, that follows each job that is done, and gets its result.
    on_failure
        The same for each that has failed for good; it gets the reason, a line of text.

    Raises
    ------
    InvalidOption
        A value makes no sense.
    TypeError
        An option is nearly, but not quite, one that there is.

    Examples
    --------
    >>> from ipyjobs import Engine, task
    >>> @task(job_type="thread")
    ... def add(a, b):
    ...     return a + b
    >>> with Engine():
    ...     job = add.submit(1, 2)
    ...     add(3, 4), job.name
    (7, 'add')
    """
    given = {"queue": queue, "retries": retries, "timeout": timeout, **options}

    def make(function: Callable[..., Any]) -> Task[...]:
        if not callable(function):
            raise InvalidOption("func", function, "something that can be called")
        if job_attrs is not None and not isinstance(job_attrs, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption("job_attrs", job_attrs, "a mapping of job options to values")
        attrs = {**(job_attrs or {}), **{key: value for key, value in given.items() if value is not None}}
        own_name = attrs.pop("name", None)
        called = own_name if name is None else name
        setting = TaskSetting(
            name_of(function) if called is None else checked_name("name", called), job_type, execution, description,
            list(checked_tags(attrs.pop("tags", ()) if tags is None else tags)), attrs, multilaunch, func_run_id,
            on_success, on_failure,
        )  # fmt: skip
        _check(setting, function)
        return (AsyncTask if async_mode else Task)(function, setting, engine)

    return make if func is None else make(func)


launcher = task


def _check(setting: TaskSetting, function: Callable[..., Any]) -> None:
    kind, execution = setting.job_type, checked_execution(setting.execution)
    if kind is not None and kind not in get_args(JobType):
        raise InvalidOption("job_type", kind, "one of " + ", ".join(get_args(JobType)))
    if kind is not None and execution is not None and _KINDS[kind] != _BY_EXECUTION[execution]:
        raise InvalidOption("execution", execution, f"none beside job_type={kind!r}: give one of the two")
    for option in ("on_success", "on_failure"):
        follower = getattr(setting, option)
        if follower is not None and not isinstance(follower, (Task, str)):
            raise InvalidOption(option, follower, "a task or the name of one")
    if setting.multilaunch not in (None, True, False):
        raise InvalidOption("multilaunch", setting.multilaunch, "True or False")
    if setting.func_run_id is not None and not callable(setting.func_run_id):
        raise InvalidOption("func_run_id", setting.func_run_id, "a function of task and params")
    if kind not in _ELSEWHERE and not hasattr(function, "get_cmd_str"):
        # Its options are wrong now or never.
        name = _KINDS[kind or "process"] if execution is None else _BY_EXECUTION[execution]
        _kind_called(name)(function, **setting.job_attrs)


def _kind_called(name: str) -> Any:
    """A class of jobs by its public name; some need what is not installed everywhere, so only now."""
    try:
        return getattr(importlib.import_module("ipyjobs"), name)
    except (AttributeError, ImportError) as error:
        raise InvalidOption("job_type", name, f"a kind of job that can be used here ({error})") from error


def _follow(engine: Engine, then: Task[...] | str, outcome: object) -> None:
    """Submit what follows a job, with its result or its failure's reason if it takes an argument."""
    if isinstance(then, str):
        if then not in engine.tasks:
            known = ", ".join(engine.tasks) or "none"
            raise LookupError(f"no task has the name {then!r} on this engine (`engine.tasks` has: {known})")
        then = engine.tasks[then]
    if isinstance(outcome, BaseException):
        outcome = " ".join(f"{type(outcome).__name__}: {outcome}".split())
    takes = then.__signature__ is None or any(
        each.kind is not each.KEYWORD_ONLY and each.kind is not each.VAR_KEYWORD
        for each in then.__signature__.parameters.values()
    )
    where = engine if then._engine is None else then._engine
    then._submitted(where, (outcome,) if takes else (), {})
