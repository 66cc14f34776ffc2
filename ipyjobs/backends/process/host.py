"""What makes workers and keepers and ends them, and what it tells the backends; all on the engine's loop."""

from __future__ import annotations

import asyncio
import mmap
from typing import Protocol


class Host(Protocol):
    """Starts worker processes and kills their trees."""

    marks: mmap.mmap
    """Shared with all workers: in its slot, each writes the number of the call that it has begun."""

    def open(self) -> None:
        """Make ready in the background; also after `Listener.host_lost`."""
        ...

    def spawn(self, number: int, slot: int, descriptors: tuple[int, int, int, int]) -> None:
        """Start a worker with these as its socket, claims, stdout and stderr; the caller closes its copies then."""
        ...

    def kill(self, number: int) -> None:
        """End a worker with all that descends from it; `Listener.worker_dead` says when nothing is left."""
        ...

    def measure(self, numbers: list[int]) -> None:
        """Have `Listener.memory_measured` called for these workers."""
        ...

    def renew(self) -> None:
        """Workers made from now on see this process as it is now, in what they import early too."""
        ...

    def tail(self) -> str:
        """The end of what starting workers have said."""
        ...

    def forget(self) -> None:
        """In a forked child: close the copies of what is the parent's."""
        ...

    async def close(self) -> None:
        """End everything, within two seconds."""
        ...


class Listener(Protocol):
    """Hears what becomes of workers."""

    def worker_dead(self, number: int, status: int) -> None:
        """A worker and its whole tree are gone. `status` is that of `os.waitpid`; -1 if it never came to be."""
        ...

    def memory_measured(self, number: int, size_bytes: int) -> None:
        """What a worker's tree uses."""
        ...

    def host_lost(self) -> None:
        """All workers are gone, and the host with them."""
        ...

    def host_note(self, text: str) -> None:
        """Something the user should know."""
        ...


class Guards(Protocol):
    """Gives a host, which may be others' too."""

    def host(self, loop: asyncio.AbstractEventLoop, workers: Listener, preload: tuple[str, ...]) -> Host:
        """A host that is to be opened, and closed in the end."""
        ...


class KeeperListener(Protocol):
    """Hears what becomes of those who keep commands."""

    def keeper_gone(self, number: int) -> None:
        """A keeper has died, and its whole tree is gone."""
        ...

    def host_lost(self) -> None:
        """All keepers and commands are gone, and the host with them."""
        ...
