"""What a function or value carries inside: the variables it takes along, and the part of it that cannot travel."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, cast

from ipyjobs.errors import NotPicklable

HEAVY_BYTES = 10_000_000
"""A captured variable above this is named in a warning: it travels with every job, and is seldom meant to."""

WAY_OUT = "use `jobs.thread(…)` or `ThreadJob`, or make it inside the function"

Dump = Callable[[object], int]
"""Pickles a value and returns the length of its pickle, or raises what is wrong with it."""

_SECRET = re.compile(
    r"(^|_)(pass(word|wd|phrase)?|pwd|secret|token|credentials?|api_?key|(access|private|secret)_?key)s?(_|$|\d)",
    re.IGNORECASE,
)
_PACKAGE = os.path.dirname(__file__) + os.sep


class CaptureWarning(UserWarning):
    """A function takes something along that was probably not meant to travel: a big value, or a secret."""


def warn_of_captures(function: Callable[..., Any], size_bytes: int, dump: Dump) -> None:
    captured = [each for each in _captured(function) if not isinstance(each[2], (ModuleType, type))]
    found = [
        f"{kind} {name!r}, whose name says it is a secret"
        for kind, name, value in captured
        if _SECRET.search(name) and isinstance(value, (str, bytes))
    ]
    if size_bytes > HEAVY_BYTES:
        for kind, name, value in captured:
            size = _size(value, dump)
            if size > HEAVY_BYTES:
                found.append(f"{kind} {name!r} of {size / 1e6:,.0f} MB")
    if found:
        name = getattr(function, "__name__", type(function).__name__)
        text = f"{name} takes along {'; '.join(found)}: pass it as an argument, or read it inside the function"
        warnings.warn(text, CaptureWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  (documented; inspect is slow to import)
    level = 1
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level


def _size(value: object, dump: Dump) -> int:
    try:
        return dump(value)
    except Exception:  # the user's own pickling; a size that cannot be told is not worth a warning
        return 0


def _captured(function: Any) -> Iterator[tuple[str, str, Any]]:
    """What travels with a function by value: triples of kind, name and value."""
    if isinstance(function, MethodType):
        function = function.__func__
    if not isinstance(function, FunctionType):
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield "captured variable", name, cell.cell_contents
        except ValueError:  # not yet assigned
            continue
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield "global variable", name, function.__globals__[name]
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    yield from (("default of", *each) for each in zip(names[len(names) - len(defaults) :], defaults, strict=False))
    yield from (("default of", *each) for each in (function.__kwdefaults__ or {}).items())


def _names(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(_names(each) for each in code.co_consts if isinstance(each, CodeType)))


def argument_error(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception, dump: Dump
) -> NotPicklable:
    """The error that names the argument of a call which cannot be pickled."""
    names: tuple[str, ...] = ()
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType):
        names = code.co_varnames[: code.co_argcount]
    for number, value in enumerate(args):
        if (failed := _dump_error(value, dump)) is not None:
            name = f"argument {names[number]!r}" if number < len(names) else f"argument {number + 1}"
            return not_picklable(name, value, failed, dump)
    for key, value in kwargs.items():
        if (failed := _dump_error(value, dump)) is not None:
            return not_picklable(f"argument {key!r}", value, failed, dump)
    return not_picklable("the arguments", (args, dict(kwargs)), error, dump)


def not_picklable(what: str, value: object, error: Exception, dump: Dump, way_out: str = WAY_OUT) -> NotPicklable:
    """Name the innermost thing that cannot be pickled, and how one gets there from `value`."""
    steps: list[str] = []
    seen = {id(value)}
    at = value
    while len(steps) < 8:
        for step, part in _parts(at):
            if id(part) not in seen and (failed := _dump_error(part, dump)) is not None:
                error, at = failed, part
                seen.add(id(at))
                steps.append(step)
                break
        else:
            break
    kind = _kind(at)
    if what == "the function" and steps and isinstance(value, (FunctionType, MethodType)):
        what, steps = f"the function's {steps[0]}", steps[1:]
    culprit = f"{what} ({'a ' if steps else ''}{kind}{' inside ' if steps else ''}{', '.join(steps)})"
    why = " ".join(f"{type(error).__name__}: {text_of(error)}".split())
    return NotPicklable(culprit, why if len(why) < 200 else why[:199] + "…", way_out)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in list(cast("Mapping[Any, Any]", value).items())[:1000]:
            yield f"dict key {_short(key)}", each
    elif isinstance(value, (list, tuple, set, frozenset)):
        for number, each in enumerate(list(cast("list[Any]", value))[:1000]):
            yield f"item {number}", each
    elif isinstance(value, MethodType):
        yield "object it is bound to", value.__self__
    elif isinstance(value, FunctionType):
        for kind, name, each in _captured(value):
            yield f"{kind} {name!r}", each
    elif hasattr(value, "func") and hasattr(value, "keywords"):
        yield from (("wrapped function", value.func), ("partial's arguments", (value.args, value.keywords)))
    elif not isinstance(value, (type, ModuleType)):
        for name, each in list(getattr(value, "__dict__", {}).items())[:1000]:
            yield f"attribute {name!r}", each


def _dump_error(value: object, dump: Dump) -> Exception | None:
    try:
        dump(value)
    except Exception as error:
        return error
    return None


def _kind(value: object) -> str:
    kind = type(value)
    plain = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, (str, int, float)) else _kind(value)
    return text if len(text) <= 40 else text[:39] + "…"


def text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # the user's own __str__
        return "no text"
