"""Exceptions taken apart and put together again without a call of their `__init__`, and tracebacks made of places."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, cast

from ipyjobs.pickling import dump_result, loads


@dataclass(frozen=True, slots=True)
class Shape:
    """What an exception is made of, each part a pickle."""

    made_by_pickle: bool
    """Its class says itself how to pickle it: `values` is the pickle of the exception."""
    kind: bytes
    values: bytes
    """Its `args`."""
    base_values: bytes
    """What the builtin exception that it is based on was made of: for an `OSError`, number, text and file."""
    state: dict[str, bytes]
    """Attributes; those that cannot be pickled are missing."""


class Place(Protocol):
    """Where in the source something happened; columns count bytes of UTF-8."""

    @property
    def file(self) -> str: ...
    @property
    def module(self) -> str: ...
    @property
    def function(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def first_line(self) -> int: ...
    @property
    def end_line(self) -> int | None: ...
    @property
    def column(self) -> int | None: ...
    @property
    def end_column(self) -> int | None: ...


def dismantle(error: BaseException) -> Shape | None:
    """The parts of `error`, or None if its class or arguments cannot be pickled. Never raises."""
    try:
        kind = dump_result(type(error))
        if _reduces_itself(type(error)):
            return Shape(True, kind, dump_result(error), b"", {})
        base_values = _base_values(error)
        values = base_values if issubclass(type(error), BaseExceptionGroup) else error.args
        return Shape(False, kind, dump_result(values), dump_result(base_values), _state(error))
    except Exception:  # foreign classes; what cannot be taken apart is told by its text
        return None


def revive(shape: Shape, message: str, members: list[BaseException]) -> BaseException:
    """The exception that `dismantle` took apart; a group gets `members`. Raises whatever its class raises."""
    if shape.made_by_pickle:
        return cast(BaseException, loads(shape.values))
    kind = loads(shape.kind)
    base = _builtin_base(kind)
    if issubclass(kind, BaseExceptionGroup):
        made = cast(Any, base).__new__(kind, loads(shape.base_values)[0], members)
    else:
        values = loads(shape.base_values)
        made = cast(Any, base).__new__(kind, *values)
        base.__init__(made, *values)
        made.args = loads(shape.values)
    for name, data in shape.state.items():
        try:
            setattr(made, name, loads(data))
        except Exception:  # a property without a setter, or a value unknown here: the rest is still worth having
            continue
    return made


def traceback_of(places: Sequence[Place]) -> TracebackType | None:
    """A traceback that leads through `places`, outermost first, as if the code there had run in this process.

    Each frame is one of a tiny piece of code that says it stands in that file, at that line and those columns; so
    whatever prints tracebacks finds the source and marks the faulty expression.
    """
    last: TracebackType | None = None
    for place in reversed(places):
        level = _level(place)
        last = TracebackType(last, level.tb_frame, level.tb_lasti, level.tb_lineno)
    return last


class _Raised(Exception):
    pass


def _level(place: Place) -> TracebackType:
    start = place.column if place.column is not None else 0
    end_line = place.end_line if place.column is not None and place.end_line is not None else place.line
    end = place.end_column if place.column is not None and place.end_column is not None else start
    # IPython reads a cell's source from where the code says that it begins, so it must begin where the function does;
    # the lines of code that is moved there move as well.
    before = max(0, min(place.first_line, place.line) - 1)
    at = {"lineno": place.line - before, "col_offset": start, "end_lineno": end_line - before, "end_col_offset": end}
    tree = ast.Module([ast.Raise(ast.Name("__raised__", ast.Load(), **at), None, **at)], [])
    code = compile(tree, place.file, "exec").replace(
        co_name=place.function.rpartition(".")[2], co_qualname=place.function, co_firstlineno=before + 1
    )
    try:
        exec(code, {"__raised__": _Raised, "__name__": place.module, "__file__": place.file})
    except _Raised:
        level = sys.exc_info()[2]
        assert level is not None
        assert level.tb_next is not None
        return level.tb_next
    raise AssertionError("unreachable")


def _builtin_base(kind: type[BaseException]) -> type[BaseException]:
    return next(each for each in kind.__mro__ if each.__module__ == "builtins" and issubclass(each, BaseException))


def _reduces_itself(kind: type[BaseException]) -> bool:
    names = {"__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__"}
    before = kind.__mro__[: kind.__mro__.index(_builtin_base(kind))]
    return any(names & vars(each).keys() for each in before)


def _base_values(error: BaseException) -> tuple[Any, ...]:
    if isinstance(error, BaseExceptionGroup):
        return (cast("BaseExceptionGroup[BaseException]", error).message,)
    if isinstance(error, OSError):
        return cast("tuple[Any, ...]", OSError.__reduce__(error)[1])
    return error.args


def _state(error: BaseException) -> dict[str, bytes]:
    found = dict(error.__dict__)
    for each in type(error).__mro__:
        slots = vars(each).get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else tuple(slots)
        found.update((name, getattr(error, name)) for name in names if hasattr(error, name))
    if isinstance(error, (ImportError, AttributeError, NameError)):
        found.update(
            (name, getattr(error, name)) for name in ("name", "path") if isinstance(getattr(error, name, None), str)
        )
    state: dict[str, bytes] = {}
    for name, value in found.items():
        try:
            state[name] = dump_result(value)
        except Exception:  # foreign objects; the exception travels without this one
            continue
    return state
