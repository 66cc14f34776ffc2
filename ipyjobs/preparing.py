"""Making a new job ready to be taken in, on the thread that submits it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyjobs.backends.process.linux import apart
from ipyjobs.calling import replaced
from ipyjobs.conditions import AfterOthers, AllSatisfied
from ipyjobs.errors import InvalidStateError, NotPicklable
from ipyjobs.folders import InFolder, no_coroutine
from ipyjobs.future import JobFuture
from ipyjobs.generators import is_async_generator_function, is_generator_function
from ipyjobs.job import Job
from ipyjobs.jobs import Jobs
from ipyjobs.output import OutputFiles
from ipyjobs.preview import described
from ipyjobs.streams import unusable

if TYPE_CHECKING:
    from ipyjobs.engine import Engine


_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})


def prepare(job: Job, engine: Engine, shared: dict[Any, Any]) -> None:
    """Find the upstreams of a new job, and make ready what travels. On the thread that submits."""
    job._settle_in(engine)
    if job.args or job.kwargs:
        _find_upstreams(job, engine)
        # Here and not where a page asks: it runs the arguments' own `__repr__`.
        job._described = described(job.args, job.kwargs)
    name: str = job._called_on
    _give_places(job, engine, name)
    _look_for_engine(job, engine, name)
    backend = engine.backends.get(name)
    if backend is not None:
        job._packed = backend.pack(job._function, job.args, job.kwargs, shared)


def prepare_like(job: Job, template: Job, engine: Engine) -> None:
    """Make a job ready that is a copy of one that was: what travels is pickled already. On the engine's loop."""
    job.args, job.kwargs, job._condition = template.args, template.kwargs, template._condition
    job._upstream, job._described, job._wants_engine = template._upstream, template._described, template._wants_engine
    name: str = job._called_on
    _give_places(job, engine, name)
    job._packed = template._packed
    backend = engine.backends.get(name)
    if job.change_dir and backend is not None:  # its folder is part of what travels
        job._packed = backend.pack(job._function, job.args, job.kwargs, {})


def _give_places(job: Job, engine: Engine, backend: str) -> None:
    """Folder and files of the job's own, where it wants them."""
    if job.change_dir:
        job._function = _in_own_folder(job, engine, backend)
    if job.redirect_out_err:
        job._files = _files(job, engine)


def _in_own_folder(job: Job, engine: Engine, backend: str) -> InFolder:
    if backend == "local" and inspect.iscoroutinefunction(job.func):
        raise no_coroutine()
    if backend in ("local", "thread") and is_async_generator_function(job.func):
        raise no_coroutine("an async generator, unless it is a process job")
    folder = engine.cache_dir / job.id
    folder.mkdir(exist_ok=True)
    return InFolder(
        job.func, str(folder), apart=None if backend in ("local", "process") else apart, awaits=backend != "local"
    )


def _files(job: Job, engine: Engine) -> OutputFiles:
    if isinstance(job.redirect_out_err, bool):
        folder = engine.folder / job.id
        return OutputFiles(folder / "stdout.txt", folder / "stderr.txt")
    path = Path(job.redirect_out_err)
    return OutputFiles(path, path)


def _look_for_engine(job: Job, engine: Engine, backend: str) -> None:
    """A parameter called like `EngineSetting.kwargs_inject_key` gets the engine."""
    code = getattr(job.func, "__code__", None)
    key = engine.setting.kwargs_inject_key
    if code is None or key not in code.co_varnames or key in job.kwargs:
        return
    parameters: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if key not in parameters or parameters.index(key) < min(len(job.args), code.co_argcount):
        return
    if backend not in ("local", "thread"):
        way_out = "run it as a thread or local job, or give the parameter another name"
        raise NotPicklable(f"the engine, for parameter {key!r} of {job.name!r},", "it lives in this process", way_out)
    job._wants_engine = True


def _find_upstreams(job: Job, engine: Engine) -> None:
    if not job.kwargs and _PLAIN.issuperset(map(type, job.args)):
        return
    upstream: dict[str, None] = {}

    def found(value: object) -> object:
        if isinstance(value, Job):
            value = JobFuture(value)
        elif isinstance(value, Jobs):
            return [found(each) for each in value.values()]
        if isinstance(value, JobFuture):
            if value.job.engine not in (None, engine):
                raise InvalidStateError(f"job {value.job.name!r}, an argument of {job.name!r}, is another engine's")
            if is_generator_function(value.job.func):
                raise unusable(value.job.name)
            upstream[value.job_id] = None
        return value

    job.args, job.kwargs = replaced(job.args, found), replaced(job.kwargs, found)
    if upstream and not job._upstream:
        job._upstream = tuple(upstream)
        if job._condition is not None:
            job._condition = AllSatisfied([job._condition, AfterOthers(job._upstream)])
