"""Where work runs: the protocol that backends share, and how to find one by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.generators import GENERATORS
from ipyjobs.pickling import Packed, Payload
from ipyjobs.preview import preview
from ipyjobs.sources import LoopSource


class Forward(Protocol):
    """Takes attempts ahead of their time, so that a worker need not wait for the engine's loop between two."""

    def leaders(self) -> Iterable[Context]:
        """The attempts behind which one more could be sent."""
        ...

    def may_follow(self, packed: Packed | None, options: Mapping[str, Any], upstream: Iterable[Payload]) -> bool:
        """Whether such a call can be sent ahead."""
        ...

    def start_after(self, call: Call, context: Context, leader: Context) -> bool:
        """Send an attempt to where `leader` runs, to begin there when that has ended; whether there is room for more.

        It has no slot and its job is pending until the backend says `context.started()`, which it does when it hears
        of the leader's end. What was not begun may be given back by `context.taken_back()`.
        """
        ...

    def flush(self) -> None:
        """All has been said that can be said at present."""
        ...

    def take_back(self) -> None:
        """Give back whatever was sent ahead and has not begun."""
        ...


class Backend:
    """Where work runs.

    A backend of your own needs a `name` and `run`; one that must be quick overrides `start` and `stop` instead. The
    engine calls `open` once on its loop before the first `start`, and `close` at its end.
    """

    name: ClassVar[str]
    costly: ClassVar[bool] = False
    """Whether `open` starts processes. Such a backend is opened with its first job, if the engine has no thread of its
    own: an engine in a coroutine may come and go without ever being stopped."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        """How many attempts may run here at once; None: no limit of its own."""
        self.forward: Forward | None = None
        """Takes attempts ahead, where the backend can do that."""
        self.hold: Callable[[], None] = _nothing
        self.settle: Callable[[], None] = _nothing
        """Given by the engine. A backend that tells an outcome from a callback of its own may put it between the two:
        the next job then starts in `settle`, not one turn of the loop later."""
        self._asyncio_tasks: dict[Context, asyncio.Task[None]] = {}

    def pack(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], shared: dict[Any, Any]
    ) -> Packed | None:
        """Make function and arguments ready to travel; called once, by the thread that submits.

        `shared` lives as long as one submit call: `map` of 500 pickles its function once.

        Raises
        ------
        NotPicklable
            Something cannot travel; the job is not submitted.
        """
        return None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """The engine's loop is `loop`; make ready what takes time, without blocking."""

    def start(self, call: Call, context: Context) -> None:
        """Begin an attempt; must not block. Called on the engine's loop."""
        self._asyncio_tasks[context] = asyncio.get_running_loop().create_task(
            self._drive(call, context), context=call.variables
        )

    def stop(self, context: Context) -> bool:
        """End an attempt that was started: make its work cease, then say `context.stopped()`.

        Returns
        -------
        bool
            False if this work can't be ended from outside (a thread). Then the job is cancelled at once, and only its
            attempt goes on, and keeps its slot, until the work returns.
        """
        running = self._asyncio_tasks.get(context)
        if running is not None:
            running.cancel()
        return True

    async def run(self, call: Call, context: Context) -> Any:
        """Run `call` and return its value; say `context.started()` when the function begins.

        Being cancelled must stop the work before `CancelledError` is let through.
        """
        raise NotImplementedError(f"{type(self).__name__} needs `run`, or `start` and `stop`")

    async def close(self) -> None:
        """End whatever is left, within two seconds."""
        running = list(self._asyncio_tasks.values())
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _drive(self, call: Call, context: Context) -> None:
        try:
            value = await self.run(call, context)
            if type(value) in GENERATORS:
                source = LoopSource(value, context, "engine")
                value = await source.serve(lambda: context.yields(source))
        except asyncio.CancelledError:
            context.stopped()
        except BaseException as error:
            context.failed(Failure.of(error))
        else:
            context.done(value if isinstance(value, Payload) else Payload(value), preview(value))
        finally:
            del self._asyncio_tasks[context]


def _nothing() -> None:
    return
