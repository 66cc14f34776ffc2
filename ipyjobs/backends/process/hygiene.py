"""What makes a used worker look like a new one, and what it cannot hide."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from _thread import _count as _threads  # pyright: ignore[reportPrivateUsage]  (all threads of Python, in 50 ns)
from typing import Any

from ipyjobs.backends.process import wire

_HARMLESS_THREADS = ("TMonitor", "_Late")
"""Classes of threads that may stay: tqdm's monitor, and our own that sends the last report."""


class Hygiene:
    """The surroundings a job should find, and what the last one has changed."""

    def __init__(self) -> None:
        self._environ = dict(wire.environ())
        self._cwd = wire.cwd()
        self._path = list(sys.path)
        self._threads = _threads()
        self._modules = len(sys.modules)
        self._seen = set(sys.modules)
        self._stdlib = tuple(
            {os.path.join(each, "") for each in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))}
        )
        self._files: dict[str, tuple[int, int]] = {}
        """Files outside of site-packages that were imported: time and size."""

    @property
    def has_files(self) -> bool:
        """Whether a job of this worker has imported files that the user may edit."""
        return bool(self._files)

    def enter(self, surroundings: tuple[dict[bytes, bytes], str, list[str]]) -> None:
        """Make these the surroundings of jobs from now on: environment, folder and search path.

        Raises
        ------
        OSError
            The folder is not there.
        """
        environ, cwd, path = surroundings
        mine = wire.environ()
        token = wire.TOKEN.encode()
        for name in [each for each in mine if each not in environ and each != token]:
            del os.environb[name]
        for name, value in environ.items():
            if mine.get(name) != value and name != token:
                os.environb[name] = value
        if path != self._path:
            sys.path[:] = path
        if cwd and cwd != self._cwd:
            os.chdir(cwd)
        self._environ, self._cwd, self._path = dict(mine), wire.cwd(), path

    def stale(self) -> str:
        """A file that was imported by an earlier job and has changed since, or nothing."""
        for file, known in self._files.items():
            if _stamp(file) != known:
                return file
        return ""

    def left_behind(self) -> str:
        """What a job that has just ended has left, in words; empty if this worker can pass for a new one."""
        if _threads() > self._threads and (name := self._thread_left()):
            return f"thread {name}"
        if _has_children():
            return "child processes"
        if wire.environ() != self._environ:
            return "a changed environment"
        if wire.cwd() != self._cwd:
            return "another working directory"
        if sys.path != self._path:
            return "a changed sys.path"
        if len(sys.modules) != self._modules:
            self._look_at_modules()
        return ""

    def _thread_left(self) -> str:
        known = [each for each in threading.enumerate() if each is not threading.main_thread()]
        for each in known:
            if type(each).__name__ not in _HARMLESS_THREADS:
                return each.name
        return "" if _threads() <= self._threads + len(known) else "of a library"

    def _look_at_modules(self) -> None:
        self._modules = len(sys.modules)
        for name, module in list(sys.modules.items()):
            if name not in self._seen:
                self._seen.add(name)
                file: Any = getattr(module, "__file__", None)
                if isinstance(file, str) and not self._is_installed(file):
                    self._files[file] = _stamp(file)

    def _is_installed(self, file: str) -> bool:
        parts = f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}"
        return file.startswith(self._stdlib) or any(part in file for part in parts)


def reseed() -> None:
    """Give the generators of random numbers that are loaded a new start from the system."""
    random = sys.modules.get("random")
    if random is not None:
        # Of all the 20,000 bits that it would take by default these are enough, in half the time.
        number = int.from_bytes(os.urandom(16), "little")
        hidden: Any = getattr(random.seed, "__self__", None)
        if type(hidden) is random.Random:
            # What `seed` does with a number, without looking for what else it could be given.
            super(random.Random, hidden).seed(number)  # pyright: ignore[reportUnknownMemberType]
            hidden.gauss_next = None
        else:  # somebody has replaced it
            random.seed(number)
    # Touching numpy.random would import it, 15 ms.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None and hasattr(numpy_random, "seed"):
        numpy_random.seed()
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "seed"):
        torch.seed()


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _stamp(file: str) -> tuple[int, int]:
    try:
        status = os.stat(file)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
