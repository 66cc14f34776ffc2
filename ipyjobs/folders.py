"""Functions that run in a folder of their own: `change_dir` of a job."""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import chdir
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Protocol, TypeVar, cast

from ipyjobs.errors import InvalidOption
from ipyjobs.generators import Move, advance, advance_async

T = TypeVar("T")


class Apart(Protocol):
    """Makes a call where changing the folder changes nobody else's, and gives its value."""

    def __call__(self, call: Callable[[], T], /) -> T: ...


class InFolder:
    """Calls a function in a folder, and leaves the folder as it was, also after an error.

    Parameters
    ----------
    func
        What to call.
    folder
        Where; it must be there when the call is made.
    apart
        How to keep others of this process out of it: for threads. Without, the call has the process to itself.
    awaits
        Whether a coroutine may be what the function gives. Not on a loop with others, who would find themselves in the
        folder at each of its pauses.
    """

    def __init__(self, func: Callable[..., Any], folder: str, *, apart: Apart | None, awaits: bool) -> None:
        self.func = func
        self._folder = folder
        self._apart = apart
        self._awaits = awaits

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._apart is None:
            return self._call(args, kwargs)
        return self._apart(lambda: self._finished(self._call(args, kwargs)))

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with chdir(self._folder):
            value = self.func(*args, **kwargs)
        if type(value) is GeneratorType:
            return self._steps(value)
        if type(value) is AsyncGeneratorType:
            if self._awaits and self._apart is None:
                return self._steps_async(value)
            raise no_coroutine("an async generator, unless it is a process job")
        if not inspect.iscoroutine(value):
            return value
        if self._awaits:
            return self._awaited(cast("Coroutine[Any, Any, Any]", value))
        value.close()
        raise no_coroutine()

    async def _awaited(self, value: Coroutine[Any, Any, Any]) -> Any:
        with chdir(self._folder):
            return await value

    def _steps(self, generator: Any) -> Generator[Any, Any, Any]:
        """The same generator, in the folder whenever it moves."""
        move: Move = "next"
        value: Any = None
        while True:
            going, value = self._step(partial(advance, generator, move, value))
            if not going:
                return value
            try:
                move, value = "send", (yield value)
            except GeneratorExit:
                self._step(generator.close)
                raise
            except BaseException as error:
                move, value = "throw", error

    def _step(self, call: Callable[[], T]) -> T:
        def step() -> T:
            with chdir(self._folder):
                return call()

        return step() if self._apart is None else self._apart(step)

    async def _steps_async(self, generator: Any) -> AsyncGenerator[Any, Any]:
        move: Move = "next"
        value: Any = None
        while True:
            with chdir(self._folder):
                going, value = await advance_async(generator, move, value)
            if not going:
                return
            try:
                move, value = "send", (yield value)
            except GeneratorExit:
                with chdir(self._folder):
                    await generator.aclose()
                raise
            except BaseException as error:
                move, value = "throw", error

    def _finished(self, value: Any) -> Any:
        if not inspect.iscoroutine(value):
            return value
        import asyncio  # only coroutine functions need it, 30 ms in a worker

        return asyncio.run(cast("Coroutine[Any, Any, Any]", value))


def no_coroutine(what: str = "a coroutine on the loop") -> InvalidOption:
    """The error for a coroutine that wants a folder of its own and shares its thread with others."""
    return InvalidOption(
        "change_dir", True, f"False for {what}: what else runs there meanwhile would be moved along; "
        f"run it as a process or thread job, or use absolute paths below {os.path.join('job.cache_dir', '')}"
    )  # fmt: skip
