"""A generator in a worker: steps go there as frames, what it yields comes back as frames. Both ends of that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ipyjobs.backends.process import wire
from ipyjobs.failure import Failure
from ipyjobs.generators import Move, Step, advance, advance_async
from ipyjobs.pickling import Payload, dump_result, loads

if TYPE_CHECKING:
    import asyncio


class ProcessSource:
    """The engine's end. Made on the engine's loop."""

    needs: Literal["", "engine", "user"] = "engine"
    thread = 0

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int, send: Callable[[list[Any]], None]) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._number = number
        self._send = send
        self._step: Step | None = None

    def packed(self, move: Move, value: Any) -> bytes:
        if move == "throw":
            return Failure.of(value).to_bytes()
        return dump_result(value, "the value sent", "send plain data, or use a thread job")

    def advance(self, step: Step) -> None:
        if threading.get_ident() == self._loop_thread:
            self._go(step)
            return
        try:
            self._loop.call_soon_threadsafe(self._go, step)
        except RuntimeError:  # the loop has ended, and the worker with it
            return

    def yielded(self, body: bytes | memoryview) -> None:
        """The worker has answered."""
        step = self._step
        assert step is not None
        step.yielded(Payload.of_bytes(bytes(body) if len(body) <= wire.PART_BYTES else body))

    def _go(self, step: Step) -> None:
        self._step = step
        self._send(wire.frame(wire.STEP, (self._number, step.move), step.value or b""))


class Speaker(Protocol):
    """What a worker does for its generator."""

    def say(self, kind: int, data: bytes = b"") -> None:
        """Send a frame about the present call."""
        ...

    def next_step(self) -> tuple[Move, Any]:
        """Wait for the next frame of kind STEP: the move and its body."""
        ...

    def readable(self) -> int:
        """The descriptor on which steps come."""
        ...


def serve(generator: Any, worker: Speaker) -> Any:
    """The worker's end: make steps until the generator ends; what it returns, or raises."""
    worker.say(wire.YIELDING)
    if type(generator) is AsyncGeneratorType:
        import asyncio  # only coroutines need it, 30 ms

        return asyncio.run(_serve(generator, worker))
    try:
        while True:
            move, body = worker.next_step()
            going, value = advance(generator, move, _unpacked(move, body))
            if not going:
                return value
            worker.say(wire.YIELDED, dump_result(value, "the value yielded"))
            del value
    finally:
        generator.close()


async def _serve(generator: Any, worker: Speaker) -> Any:
    import asyncio  # as above

    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(worker.readable(), came.set)
    try:
        while True:
            # What the generator has started goes on meanwhile.
            came.clear()
            await came.wait()
            loop.remove_reader(worker.readable())
            move, body = worker.next_step()
            going, value = await advance_async(generator, move, _unpacked(move, body))
            if not going:
                return value
            worker.say(wire.YIELDED, dump_result(value, "the value yielded"))
            del value
            loop.add_reader(worker.readable(), came.set)
    finally:
        loop.remove_reader(worker.readable())
        await generator.aclose()


def _unpacked(move: Move, body: memoryview) -> Any:
    if move == "throw":
        return Failure.from_bytes(body).exception()
    return loads(body) if move == "send" else None
