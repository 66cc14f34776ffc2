"""Generators that live in this process: in a thread, or on a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Literal

from ipyjobs.execution import Context
from ipyjobs.generators import Move, Step, advance, advance_async, close
from ipyjobs.pickling import Payload


class ThreadSource:
    """A plain generator; the thread that serves it makes every step."""

    needs: Literal["", "engine", "user"] = ""

    def __init__(self, generator: Any, context: Context) -> None:
        self.thread = 0
        self.idle = True
        """Whether it stands between two steps."""
        self._generator = generator
        self._context = context
        self._steps: SimpleQueue[Step | None] = SimpleQueue()

    def packed(self, move: Move, value: Any) -> Any:
        return value

    def advance(self, step: Step) -> None:
        self._steps.put(step)

    def stop(self) -> None:
        """Have it closed as soon as it stands between two steps. From any thread."""
        self._steps.put(None)

    def serve(self) -> Any:
        """Make steps until the generator ends; what it returns, or raises."""
        try:
            while True:
                step = self._steps.get()
                self.idle = False
                # Only now: whoever stops us looks first whether we are idle.
                if step is None or self._context.stopping:
                    return None
                self.thread = threading.get_ident()
                going, value = advance(self._generator, step.move, step.value)
                self.thread = 0
                if not going:
                    return value
                self.idle = True
                step.yielded(Payload(value))
                # Keep nothing alive while waiting for the next.
                del step, value
        finally:
            self.thread = 0
            self._generator.close()


class LoopSource:
    """A generator of either kind on a loop; one asyncio task makes every step, so that it may hold a timeout open."""

    def __init__(self, generator: Any, context: Context, needs: Literal["", "engine", "user"]) -> None:
        self.needs: Literal["", "engine", "user"] = needs
        self.thread = 0
        self.idle = True
        """Whether it stands between two steps."""
        self._generator = generator
        self._context = context
        self._steps: asyncio.Queue[Step] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def packed(self, move: Move, value: Any) -> Any:
        return value

    def advance(self, step: Step) -> None:
        self._post(self._steps.put_nowait, step)

    def stop(self) -> None:
        """Cancel what it waits for, if it has begun; else it will see that it is to stop. From any thread."""
        if self._task is not None:
            self._post(self._task.cancel)

    async def serve(self, announce: Callable[[], None]) -> Any:
        """Make steps until the generator ends; what it returns, or raises. Being cancelled ends it.

        It calls `announce` when steps can be taken.
        """
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        assert self._task is not None
        try:
            if self._context.stopping:
                raise asyncio.CancelledError
            announce()
            # Not "until a stop is asked for": its cancellation is on the way then, and would hit the closing.
            while not self._task.cancelling():
                step = await self._steps.get()
                self.idle = False
                going, value = await advance_async(self._generator, step.move, step.value)
                if not going:
                    return value
                self.idle = True
                step.yielded(Payload(value))
                del step, value
        finally:
            await close(self._generator)

    def _post(self, call: Callable[..., object], *args: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop has ended, and so has the generator; the engine will say so
            return
