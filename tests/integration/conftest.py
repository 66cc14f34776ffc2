"""An engine in each of its two modes, and a gate that jobs wait at."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from ipyjobs import Engine, EngineSetting

FUSE_S = 20.0


class Gate:
    """Jobs wait here, on any thread, until the test opens it; and say that they have come."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._came = threading.Semaphore(0)

    def wait(self) -> None:
        """Called by a job in a thread."""
        self._came.release()
        if not self._open.wait(FUSE_S):
            raise TimeoutError("the gate was never opened")

    def open(self) -> None:
        self._open.set()

    async def came(self, count: int = 1) -> None:
        """Wait until `count` jobs stand at the gate."""
        for _ in range(count):
            assert await asyncio.to_thread(self._came.acquire, timeout=FUSE_S), "nobody came"


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture(params=["threaded", "one loop"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    setting = EngineSetting(print_traceback=False, echo=False)
    engine = Engine(setting, threaded=request.param == "threaded").start()
    try:
        yield engine
    finally:
        await engine.stop()
