"""How long jobs hold the user's loop: one that does so for over a second says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from ipyjobs.execution import Context

TOLERATED_S = 1.0
"""A job that holds the loop for longer than this is said to block it."""
LOOK_S = 0.5
"""How often the engine's loop looks what holds the user's, while there is any local job."""


class Stopwatch:
    """Measures each stretch that a job spends on the user's loop without letting others have a turn.

    The stretch is measured where it ends. One that goes on is seen from the engine's loop, if that has a thread of its
    own.

    Parameters
    ----------
    say
        Makes a call on the engine's loop.
    busy
        Says from any thread whether there may be anything to look at.
    """

    def __init__(self, say: Callable[..., None], busy: Callable[[], bool]) -> None:
        self._say = say
        self._busy = busy
        self.held: tuple[Context, float] | None = None
        """Which attempt holds the loop, and since when."""
        self.looking = False
        """Whether the engine's loop looks at it."""

    # -- on the engine's loop

    def look_soon(self) -> None:
        """Look every now and then until nothing is left to look at."""
        self.looking = True
        asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        held = self.held
        if held is not None:
            context, since = held
            held_s = time.monotonic() - since
            if held_s > TOLERATED_S:
                context.note(_text(held_s))
        if held is not None or self._busy():
            self.look_soon()
        else:
            self.looking = False

    # -- on the user's loop

    def enter(self, context: Context) -> tuple[Context, float] | None:
        """An attempt holds the loop from now on; what did so before is given back to `leave`."""
        before, self.held = self.held, (context, time.monotonic())
        return before

    def leave(self, before: tuple[Context, float] | None) -> None:
        """It lets go."""
        held, self.held = self.held, before
        if held is not None:
            held_s = time.monotonic() - held[1]
            if held_s > TOLERATED_S:
                self._say(held[0].note, _text(held_s))

    def stepped(self, work: Coroutine[Any, Any, Any], context: Context) -> Coroutine[Any, Any, Any]:
        """`work`, with each of its steps measured."""
        return _Stepped(work, context, self)


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine around another one.

    An object rather than an `async def` with a generator in it: thousands of those, which the garbage collector must go
    through, made coroutine jobs half as expensive again.
    """

    __slots__ = ("_context", "_watch", "_work")

    def __init__(self, work: Coroutine[Any, Any, Any], context: Context, watch: Stopwatch) -> None:
        self._work, self._context, self._watch = work, context, watch

    def send(self, value: Any) -> Any:
        before = self._watch.enter(self._context)
        try:
            return self._work.send(value)
        finally:
            self._watch.leave(before)

    def throw(self, *error: Any) -> Any:
        before = self._watch.enter(self._context)
        try:
            return self._work.throw(*error)
        finally:
            self._watch.leave(before)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()

    def __getattr__(self, name: str) -> Any:
        # Frame, code and name, by which asyncio and debuggers show a task.
        return getattr(self._work, name)


def _text(held_s: float) -> str:
    return f"blocks the notebook's loop for {held_s:.0f} s"
