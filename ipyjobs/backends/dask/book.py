"""Which jobs have begun on an engine's own cluster: a file that engine and workers have mapped, with a line for each.

Dask runs a task again when its worker dies; a job may begin once only. Asking the scheduler, as workers of other
clusters do, costs a third of all that Dask does for a task; a look into memory costs nothing, and what stands there
outlives whoever wrote it.
"""

from __future__ import annotations

import mmap
import os
import struct

FOLDER = "IPYJOBS_DASK_BOOK"
"""In the environment of the workers."""
LINES = 1 << 20
"""A line is used again after so many jobs. The file is as large as what has been written into it: 24 bytes a job."""

_LINE = struct.Struct("<QQQ")
"""Number of the job that has begun, its process, and number of the job that was withdrawn."""
_NUMBER = struct.Struct("<Q")
_WITHDRAWN = 16


class Book:
    """Jobs are known by their numbers, from 1. One for the engine and one for each worker, on the same file."""

    def __init__(self, folder: str) -> None:
        self._map = _mapped(os.path.join(folder, "book"), LINES * _LINE.size)

    def begin(self, number: int, page: Page) -> bool:
        """Whether the job may begin on this worker, which it may once."""
        at = number % LINES * _LINE.size
        if _LINE.unpack_from(self._map, at)[0] == number:
            return False
        # First: whoever finds that the job has begun, finds out where.
        page.write(number)
        _NUMBER.pack_into(self._map, at + 8, os.getpid())
        _NUMBER.pack_into(self._map, at, number)
        # Here one writes and then looks at what the other writes, there likewise: at least one sees the other.
        if _LINE.unpack_from(self._map, at)[2] != number:
            return True
        page.write(0)
        return False

    def withdraw(self, number: int) -> int:
        """0 if the job has not begun, and now never will; else the process that has begun it."""
        at = number % LINES * _LINE.size
        _NUMBER.pack_into(self._map, at + _WITHDRAWN, number)
        begun, pid, _ = _LINE.unpack_from(self._map, at)
        return pid if begun == number else 0

    def close(self) -> None:
        """Unmap it."""
        self._map.close()


class Page:
    """What one worker runs, so that it can be killed for that and for nothing else."""

    def __init__(self, folder: str, pid: int) -> None:
        self._map = _mapped(os.path.join(folder, f"worker-{pid}"), _NUMBER.size)

    def write(self, number: int) -> None:
        """It runs the job with this number; 0: none."""
        _NUMBER.pack_into(self._map, 0, number)

    def read(self) -> int:
        """The number of the job that it runs; 0: none."""
        return _NUMBER.unpack_from(self._map)[0]


def _mapped(path: str, size: int) -> mmap.mmap:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(file).st_size < size:
            os.truncate(file, size)
        return mmap.mmap(file, size)
    finally:
        os.close(file)
