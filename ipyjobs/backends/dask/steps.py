"""How a generator on a Dask worker hears what it is to do: the scheduler passes it on."""

from __future__ import annotations

import asyncio
from queue import SimpleQueue
from typing import Protocol

from ipyjobs.generators import Move


class Desk(Protocol):
    """What a worker has to speak with the scheduler."""

    stopping: set[str]
    """Keys of jobs that have been asked to stop."""

    def yielding(self, key: str, client: str) -> None:
        """Have it told that the job with this key has begun and given a generator."""
        ...

    def say(self, key: str, client: str, kind: str, what: object) -> None:
        """Have something told to the engine."""
        ...


class Steps:
    """The steps of one job; see `ipyjobs.remote.Port`."""

    def __init__(self, desk: Desk, key: str, client: str) -> None:
        self._desk, self._key, self._client = desk, key, client
        self._steps: SimpleQueue[tuple[Move, bytes] | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._came = asyncio.Event()

    def put(self, step: tuple[Move, bytes] | None) -> None:
        """A step has come; None: the job is asked to stop. On the worker's loop."""
        self._steps.put(step)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._came.set)

    def yielding(self) -> None:
        if self._key in self._desk.stopping:  # before there was a generator
            self.put(None)
        self._desk.yielding(self._key, self._client)

    def yielded(self, data: bytes) -> None:
        self._desk.say(self._key, self._client, "yielded", data)

    def next_step(self) -> tuple[Move, bytes]:
        step = self._steps.get()
        if step is None:
            raise asyncio.CancelledError
        return step

    async def step_comes(self) -> None:
        self._loop = asyncio.get_running_loop()
        while self._steps.empty():
            self._came.clear()
            # Look again: it may have come between the look and the clearing.
            if self._steps.empty():
                await self._came.wait()
