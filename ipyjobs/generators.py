"""Generators and how one is taken a step further, in whatever process it lives. Imports nothing that takes time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, CodeType, GeneratorType
from typing import Any, Literal, Protocol, cast

GENERATORS = frozenset({GeneratorType, AsyncGeneratorType})
"""What a function must return, of exactly this type, for its job to yield."""

_PLAIN, _ASYNC = 0x20, 0x200  # CO_GENERATOR, CO_ASYNC_GENERATOR; `inspect` takes 10 ms to load

Move = Literal["next", "send", "throw", "close"]


class Step(Protocol):
    """Something that a reader asks of a generator, on its way there."""

    @property
    def move(self) -> Move: ...

    @property
    def value(self) -> Any:
        """What is sent or thrown, as `Source.packed` made it."""
        ...

    def yielded(self, value: Any) -> None:
        """The generator has yielded this `Payload` in answer. From any thread."""
        ...


class Source(Protocol):
    """The generator of one attempt, as its backend gives it to the engine (`Context.yields`).

    That it has ended is said as of any attempt: `Context.done` with what it returned, `failed` or `stopped`.
    """

    needs: Literal["", "engine", "user"]
    """The loop without which it makes no step; who blocks that loop's thread for one would wait for ever."""
    thread: int
    """Identity of the thread of this process that is inside of the generator, else 0."""

    def packed(self, move: Move, value: Any) -> Any:
        """What is sent or thrown, ready to go there. Called on the thread of whoever asks; may raise."""
        ...

    def advance(self, step: Step) -> None:
        """Begin a step; the one before has been answered. From any thread."""
        ...


def is_generator_function(function: Callable[..., Any]) -> bool:
    """Whether a call of this function, method, partial or callable object is known to give a generator."""
    return bool(_flags(function) & (_PLAIN | _ASYNC))


def is_async_generator_function(function: Callable[..., Any]) -> bool:
    """Whether it is known to give an async one."""
    return bool(_flags(function) & _ASYNC)


def _flags(function: Any) -> int:
    while isinstance(function, partial):
        function = cast("Any", function).func
    code = getattr(function, "__code__", None)
    if code is None and callable(function):
        code = getattr(cast("Any", type(function)).__call__, "__code__", None)
    return code.co_flags if isinstance(code, CodeType) else 0


def advance(generator: Any, move: Move, value: Any) -> tuple[bool, Any]:
    """Take a generator one step further: True and what it yields, or False and what it returns."""
    try:
        match move:
            case "next":
                return True, next(generator)
            case "send":
                return True, generator.send(value)
            case "throw":
                return True, generator.throw(value)
            case "close":
                return False, generator.close()
    except StopIteration as stop:
        return False, stop.value


async def advance_async(generator: Any, move: Move, value: Any) -> tuple[bool, Any]:
    """As `advance`, for an async generator; a plain one will do too."""
    if type(generator) is GeneratorType:
        return advance(generator, move, value)
    try:
        match move:
            case "next":
                return True, await anext(generator)
            case "send":
                return True, await generator.asend(value)
            case "throw":
                return True, await generator.athrow(value)
            case "close":
                return False, await generator.aclose()
    except StopAsyncIteration:
        return False, None


async def close(generator: Any) -> None:
    """Have either kind run its ``finally`` blocks; nothing happens if it has ended."""
    if type(generator) is GeneratorType:
        generator.close()
    else:
        await generator.aclose()
