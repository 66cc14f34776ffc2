"""Calling a job's function in this process: its context, and its upstreams' values in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ipyjobs.context import JobContext, running
from ipyjobs.execution import Call, Context
from ipyjobs.output import dispatch_output
from ipyjobs.pickling import FutureLike


def context_of(call: Call, context: Context, post: Callable[..., None]) -> JobContext:
    """Make `call`'s job the running one in the present context; what it says is posted to the engine's loop."""

    def tell(progress: float | None, message: str | None, left_s: float | None) -> None:
        post(context.report, progress, message, left_s)

    def write(data: bytes, error: bool) -> None:
        context.write(data, error=error)

    job = JobContext(call.job_id, call.name, call.attempt, tell, call.stopped, write)
    dispatch_output()
    running.set(job)
    return job


def resolved(call: Call) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """The arguments of `call` with the upstreams' values in place.

    Raises
    ------
    ResultUnreadable
        An upstream's value came from another process and cannot be loaded in this one.
    """
    if not call.upstream:
        return call.args, call.kwargs

    def value(each: object) -> object:
        return call.upstream[each.job_id].load() if isinstance(each, FutureLike) else each

    args: Any = replaced(call.args, value)
    return args, replaced(call.kwargs, value)


def replaced(given: Any, change: Callable[[object], object]) -> Any:
    """`given` with `change` applied to everything inside its lists, tuples and dicts; the same object if none changed."""
    kind = type(given)
    if kind in (list, tuple):
        parts = [replaced(each, change) for each in given]
        same = all(new is old for new, old in zip(parts, given, strict=True))
        return given if same else kind(parts)
    if kind is dict:
        pairs = {key: replaced(each, change) for key, each in given.items()}
        return given if all(pairs[key] is given[key] for key in given) else pairs
    return change(given)
