"""A generator in another process: the engine's end, and the end where it lives. Imports nothing that takes time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ipyjobs.failure import Failure
from ipyjobs.generators import Move, Step, advance, advance_async
from ipyjobs.pickling import Buffer, Payload, dump_result, loads

if TYPE_CHECKING:
    import asyncio


class RemoteSource:
    """The engine's end. Made on the engine's loop, where `send` is called with each move and a pickle."""

    needs: Literal["", "engine", "user"] = "engine"
    thread = 0

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[Move, bytes], object]) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident()
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
        except RuntimeError:  # the loop has ended, and so has the generator; the engine will say so
            return

    def yielded(self, data: Buffer) -> None:
        """The generator has answered with this pickle."""
        step = self._step
        if step is not None:
            step.yielded(Payload.of_bytes(data))

    def _go(self, step: Step) -> None:
        self._step = step
        self._send(step.move, step.value or b"")


class Port(Protocol):
    """How the end where the generator lives speaks with the engine."""

    def yielding(self) -> None:
        """There is a generator, and steps can be taken."""
        ...

    def yielded(self, data: bytes) -> None:
        """It has yielded this pickle."""
        ...

    def next_step(self) -> tuple[Move, Buffer]:
        """Wait for a step: what `RemoteSource` was given to send."""
        ...

    async def step_comes(self) -> None:
        """Wait until `next_step` need not."""
        ...


def serve(generator: Any, port: Port) -> Any:
    """Make steps until the generator ends; what it returns, or raises."""
    port.yielding()
    if type(generator) is AsyncGeneratorType:
        import asyncio  # only coroutines need it, 30 ms

        return asyncio.run(_serve(generator, port))
    try:
        while True:
            move, data = port.next_step()
            going, value = advance(generator, move, _unpacked(move, data))
            if not going:
                return value
            port.yielded(dump_result(value, "the value yielded"))
            del value
    finally:
        generator.close()


async def _serve(generator: Any, port: Port) -> Any:
    try:
        while True:
            # What the generator has started goes on meanwhile.
            await port.step_comes()
            move, data = port.next_step()
            going, value = await advance_async(generator, move, _unpacked(move, data))
            if not going:
                return value
            port.yielded(dump_result(value, "the value yielded"))
            del value
    finally:
        await generator.aclose()


def _unpacked(move: Move, data: Buffer) -> Any:
    if move == "throw":
        return Failure.from_bytes(data).exception()
    return loads(data) if move == "send" else None
