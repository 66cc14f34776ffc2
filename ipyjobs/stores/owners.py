"""Who is still alive: one locked file for each process that owns jobs.

A lock of `fcntl.lockf` goes with its process, however that ends, stays while the process is stopped, and is not
inherited by forked children. It has one trap: closing any descriptor of the file, in the process that holds the lock,
frees it. So a process opens its own file once, and never looks at it again by opening it.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"[0-9]{1,10}-[0-9a-f]{16}")


class _Held(NamedTuple):
    owner: str
    path: Path
    number: int
    """The descriptor, open for as long as the process lives."""


_held: dict[Path, _Held] = {}
_holding = threading.Lock()


class Owners:
    """The owners that use one folder of lock files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def mine(self) -> str:
        """What this process calls itself, under which its lock is held from the first time on.

        Raises
        ------
        OSError
            The lock file can't be made.
        """
        with _holding:
            held = _held.get(self._folder)
            # The user's code may have closed every descriptor there was, and the lock is gone with it.
            if held is None or not _is_open(held):
                held = _held[self._folder] = self._hold(held)
            return held.owner

    def alive(self, owner: str) -> bool:
        """Whether the process with this name still lives."""
        with _holding:
            held = _held.get(self._folder)
            if held is not None and held.owner == owner:
                return True
            if not _NAME.fullmatch(owner):
                return False
            try:
                number = os.open(self._folder / owner, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
            finally:
                os.close(number)
            return False

    def bury(self, owner: str) -> None:
        """Remove the file of an owner that is gone."""
        if _NAME.fullmatch(owner):
            (self._folder / owner).unlink(missing_ok=True)

    def _hold(self, before: _Held | None) -> _Held:
        owner = before.owner if before is not None else f"{os.getpid()}-{os.urandom(8).hex()}"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / owner
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _Held(owner, path, number)


def _is_open(held: _Held) -> bool:
    try:
        there, here = held.path.stat(), os.fstat(held.number)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _forked() -> None:
    global _holding
    # The child is nobody yet. Whether the parent's lock is held it must ask, like everybody else.
    _holding = threading.Lock()
    _held.clear()


os.register_at_fork(after_in_child=_forked)
