"""Calling a job's function in this process: its context, and its upstreams' values in place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

from ipyjobs.context import JobContext, running
from ipyjobs.execution import Call, Context
from ipyjobs.output import Dispatcher, dispatch_output
from ipyjobs.pickling import FutureLike


def context_of(call: Call, context: Context, post: Callable[..., None]) -> None:
    """Make `call`'s job the running one in the present context; what it says is posted to the engine's loop."""
    if type(sys.stdout) is not Dispatcher or type(sys.stderr) is not Dispatcher:
        dispatch_output()
    voice = _Voice(context, post)
    running.set(JobContext(call.job_id, call.name, call.attempt, voice.report, call.stopped, voice.write))


class _Voice:
    """What a job says, on its way to the engine."""

    __slots__ = ("_context", "_post")

    def __init__(self, context: Context, post: Callable[..., None]) -> None:
        self._context, self._post = context, post

    def report(self, progress: float | None, message: str | None, left_s: float | None) -> None:
        self._post(self._context.report, progress, message, left_s)

    def write(self, data: bytes, error: bool) -> None:
        self._context.write(data, error=error)


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
    """`given` with `change` applied inside its lists, tuples and dicts; the same object if nothing changed."""
    kind = cast("object", type(given))
    if kind is list or kind is tuple:
        parts = [replaced(each, change) for each in given]
        same = all(new is old for new, old in zip(parts, given, strict=True))
        return given if same else (parts if kind is list else tuple(parts))
    if kind is dict:
        pairs = {key: replaced(each, change) for key, each in given.items()}
        return given if all(pairs[key] is given[key] for key in given) else pairs
    return change(given)
