"""The engine's client of Dask, and the cluster behind it where that is the engine's own."""

# distributed has hardly any types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

from ipyjobs.backends.dask.cluster import OwnCluster
from ipyjobs.backends.dask.given import CONNECT_S, address_of
from ipyjobs.backends.process import linux
from ipyjobs.errors import JobLost, WorkersBroken
from ipyjobs.log import logger

CLOSE_S = 0.7
"""How long a client may take to say goodbye."""

_RUN = "lambda *job: __import__('ipyjobs.backends.dask.worker', fromlist=['run']).run(*job)"


class Run:
    """What a worker is to call. A function sent by its name would end a worker that has no ipyjobs as it reads it."""

    __name__ = "ipyjobs"

    def __call__(self, *job: Any) -> None:
        """Only where it arrives."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (_RUN,)


class Connection:
    """Open from the first job to the engine's end, or until the scheduler is gone. On the engine's loop."""

    def __init__(self, client: Any, own: OwnCluster | None, modules: Modules) -> None:
        self.client = client
        self.own = own
        self.killed_worker: type[Exception] = modules.distributed.KilledWorker
        self._name: str = modules.register.NAME

    @property
    def alive(self) -> bool:
        """Whether the scheduler still answers."""
        return self.client.status == "running"

    @property
    def dashboard(self) -> str:
        """Where the cluster's own page is; empty if it has none."""
        return self.own.dashboard if self.own is not None else self.client.dashboard_link or ""

    async def withdraw(self, key: str) -> str:
        """The worker where a job runs, which is then asked to stop; "" if it has ended or will never begin.

        For clusters that are not the engine's own.
        """
        ask = getattr(self.client.scheduler, f"{self._name}-withdraw")
        return await ask(key=key)

    async def step(self, key: str, move: str, data: bytes) -> None:
        """Have the generator of a job go on."""
        try:
            await getattr(self.client.scheduler, f"{self._name}-step")(key=key, move=move, data=data)
        except OSError:  # the scheduler is gone, as is soon to be heard
            return

    async def close(self) -> None:
        """Say goodbye, and end the cluster that is the engine's own."""
        try:
            await self.client.close(CLOSE_S)
        except Exception as error:  # whatever becomes of a client whose scheduler may be gone
            logger.debug("a Dask client did not close: {!r}", error)
        if self.own is not None:
            await self.own.close()


class Modules:
    """What is only imported when the first Dask job is started.

    Raises
    ------
    WorkersBroken
        dask.distributed is not installed.
    """

    def __init__(self) -> None:
        try:
            self.distributed: Any = importlib.import_module("distributed")
            self.register: Any = importlib.import_module("ipyjobs.backends.dask.register")
            self.worker: Any = importlib.import_module("ipyjobs.backends.dask.worker")
        except ImportError as error:
            raise WorkersBroken(f"Dask jobs need dask.distributed: `pip install ipyjobs[dask]` ({error})") from error


async def connect(given: object, heard: Callable[[Any], None], lost: Callable[[], None]) -> Connection:
    """Find or make a cluster, and have what its jobs say told to `heard`.

    Raises
    ------
    WorkersBroken
        There is no dask.distributed here, no ipyjobs there, or the own cluster cannot start.
    JobLost
        No scheduler answers.
    """
    loop = asyncio.get_running_loop()
    modules = await loop.run_in_executor(None, Modules)
    own: OwnCluster | None = None
    security: Any = None
    if given is None:
        own = OwnCluster(loop, linux.usable_cpus(), lost)
        await own.start()
        address = own.address
    else:
        address, security = await address_of(given)
    try:
        client = modules.distributed.Client(
            address, security=security, asynchronous=True, set_as_default=False, timeout=CONNECT_S, name="ipyjobs"
        )
        try:
            await client
        except (OSError, TimeoutError, ValueError) as error:
            raise JobLost(f"no Dask scheduler answers at {address}: {type(error).__name__}: {error}") from error
        await _register(client, modules)
    except BaseException:
        if own is not None:
            await own.close()
        raise
    client.subscribe_topic(modules.register.NAME, heard)
    return Connection(client, own, modules)


async def _register(client: Any, modules: Modules) -> None:
    try:
        await client.register_plugin(modules.register.Register())
    except Exception as error:
        address = client.scheduler.address
        await client.close(CLOSE_S)
        why = f"the Dask scheduler at {address} cannot load what ipyjobs needs there ({type(error).__name__}: {error})"
        raise WorkersBroken(f"{why}: install ipyjobs where the scheduler and its workers run") from error
