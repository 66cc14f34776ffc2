"""The scheduler that a user means, and clients that the user is lent."""

# distributed has hardly any types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from ipyjobs.cluster import is_client
from ipyjobs.errors import JobLost

CONNECT_S = 10.0


async def address_of(given: Any) -> tuple[str, Any]:
    """The scheduler's address and the security settings to reach it with.

    Raises
    ------
    JobLost
        A client that was given is not connected.
    """
    if isinstance(given, str):
        return given, None
    if not is_client(given):
        return given.scheduler_address, getattr(given, "security", None)
    if given.asynchronous and given.status in ("newly-created", "connecting"):
        # It connects on its own loop, which need not be this one.
        connected = asyncio.run_coroutine_threadsafe(_connected(given), given.loop.asyncio_loop)
        await asyncio.wait_for(asyncio.wrap_future(connected), CONNECT_S)
    if given.scheduler is None:
        raise JobLost(f"the Dask client of the engine is {given.status}: set `engine.dask_client` to one that is open")
    return given.scheduler.address, given.security


async def _connected(client: Any) -> None:
    await client


class Lent:
    """What a client of the user's takes for a cluster: whoever awaits it waits until there is a scheduler."""

    status = "running"

    def __init__(
        self, find: Callable[[], Coroutine[Any, Any, tuple[str, Any]]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._find = find
        self._loop = loop
        self.scheduler_address = ""
        self.security: Any = None

    def __await__(self) -> Generator[Any, None, Lent]:
        """Wait, on any loop; the cluster is made on the engine's."""
        found = asyncio.run_coroutine_threadsafe(self._find(), self._loop)
        self.scheduler_address, self.security = yield from asyncio.wrap_future(found).__await__()
        return self
