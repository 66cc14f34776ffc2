"""Results that are too large for a table: a file each, complete before any row names it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from pathlib import Path

from ipyjobs.errors import StoreError

_NAME = re.compile(r"[0-9a-f]{32}\.result")
_ORPHAN_S = 24 * 3600.0
"""A file that no row names is removed when it is older than this: a younger one may be about to be named."""


class ResultFiles:
    """The files below one folder. Their names are drawn by lot, never taken from a job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, data: bytes | memoryview) -> str:
        """Write a file that has reached the disk when this returns; its name."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{os.urandom(16).hex()}.result"
        new = self._folder / f".{name}.new"
        number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                left = memoryview(data).cast("B")
                while left:
                    left = left[os.write(number, left) :]
                os.fsync(number)
            finally:
                os.close(number)
            new.rename(self._folder / name)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return name

    def read(self, name: str) -> bytes:
        """What `keep` was given.

        Raises
        ------
        StoreError
            It is gone, or the name is none of ours.
        """
        if not _NAME.fullmatch(name):
            raise StoreError(f"{name[:80]!r} is not the name of a result's file")
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise StoreError(f"the file of a result can't be read: {error}") from error

    def remove(self, names: Collection[str]) -> None:
        """Remove files; those that are gone already don't matter."""
        for name in names:
            if _NAME.fullmatch(name):
                (self._folder / name).unlink(missing_ok=True)

    def sweep(self, named: Collection[str]) -> None:
        """Remove what no row names: a process was killed between the file and its row."""
        if not self._folder.is_dir():
            return
        old = time.time() - _ORPHAN_S
        for each in self._folder.iterdir():
            ours = each.name if _NAME.fullmatch(each.name) else each.name[1:-4]
            if _NAME.fullmatch(ours) and ours not in named and each.stat().st_mtime < old:
                each.unlink(missing_ok=True)
