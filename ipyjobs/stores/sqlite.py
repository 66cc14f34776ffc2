"""What is peculiar to SQLite: its file, its pragmas, its way to begin, and its words for what went wrong."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

from ipyjobs.errors import StoreError, StoreTooNew, StoreUnreadable
from ipyjobs.stores.owners import Owners
from ipyjobs.stores.versions import HEAD, KNOWN

BUSY_S = 5.0
"""How long a write waits for another process that writes."""
_ENDINGS = ("", "-wal", "-shm")


class Sqlite:
    """One database file; what does not fit into it lies in a folder beside it.

    Parameters
    ----------
    path
        The file, or a folder that has it or gets it.
    """

    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        path = path.expanduser().absolute()
        self.path = _found(path)
        self.folder = files_of(self.path)

    @property
    def place(self) -> str:
        return str(self.path)

    def check(self) -> None:
        """Look at the version that the tables have, with nothing but the standard library."""
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_connection(self.path, "ro", 0.05)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if row is not None and row[0] not in KNOWN:
                raise StoreTooNew(self.place, str(row[0]), HEAD)

    def prepare(self, *, write: bool) -> None:
        """Make folders and file where they are missing, for this user only."""
        try:
            if not write:
                if not self.path.is_file():
                    raise StoreError(f"there is no store at {self.place}")
                return
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.mkdir(exist_ok=True, mode=0o700)
            # Only a file that is not there yet: to close a descriptor of one that is in use, here, frees its locks.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise StoreError(f"the store {self.place} can't be made: {error}") from error

    def connect_to_write(self) -> sqlite3.Connection:
        """A connection that begins nothing by itself."""
        try:
            connection = _connection(self.path, "rw", BUSY_S)
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.Error as error:
            raise self.translated(error) from error
        return connection

    def connect_to_read(self) -> sqlite3.Connection:
        """The same, which changes nothing."""
        try:
            connection = _connection(self.path, "ro", BUSY_S)
            try:
                connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            except sqlite3.OperationalError:
                # A folder that nothing can be written into, where no other process can be writing either.
                connection.close()
                return _connection(self.path, "ro&immutable=1", BUSY_S)
        except sqlite3.Error as error:
            raise self.translated(error) from error
        return connection

    def begin_write(self, connection: Any) -> None:
        """Take the right to write at once: to ask for it later, after having read, can fail for good."""
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def begin_read(self, connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    def settle(self, connection: sqlite3.Connection, *, full: bool) -> None:
        """Between transactions: whether the next one must have reached the disk when it has been committed."""
        connection.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")

    def translated(self, error: BaseException) -> StoreError:
        """What went wrong, in our words."""
        inner: BaseException = getattr(error, "orig", None) or error
        text = str(inner)
        # "disk I/O error" is a disk that is broken, full or read-only; the file may be well.
        if isinstance(inner, sqlite3.DatabaseError) and not isinstance(inner, sqlite3.OperationalError):
            return StoreUnreadable(self.place, text)
        if "malformed" in text or "not a database" in text or "no such table" in text or "no such column" in text:
            return StoreUnreadable(self.place, text)
        return StoreError(f"the store {self.place} can't be used now: {text}")

    def set_aside(self) -> str | None:
        """Move the file and its companions out of the way."""
        to = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        try:
            for ending in _ENDINGS:
                each = self.path.with_name(self.path.name + ending)
                if each.exists():
                    each.rename(to.with_name(to.name + ending))
        except OSError:
            return None
        return str(to)


class Glance(NamedTuple):
    """What a quick look finds of earlier sessions."""

    jobs: int | None
    """None if they could not be counted in time."""
    lost: int


def glance(path: Path, within_s: float = 0.05) -> Glance | None:
    """Count the jobs of earlier sessions, without SQLAlchemy, before the store itself is opened.

    None if there is no store, or none that can be read now; `within_s` is how many seconds it may take.
    """
    until = time.monotonic() + within_s
    path = _found(path)
    owners = Owners(files_of(path) / "locks")
    try:
        with contextlib.closing(_connection(path, "ro", within_s)) as connection:
            # A statement that takes too long is broken off.
            connection.set_progress_handler(lambda: time.monotonic() > until, 2000)
            going_on = connection.execute("SELECT id, owner FROM sessions WHERE ended_at IS NULL").fetchall()
            living = {session for session, owner in going_on if owners.alive(owner)}
            jobs = lost = 0
            # In the order of the index, so that nothing has to be sorted.
            for session, status, reason, count in connection.execute(
                "SELECT session, status, reason, count(*) FROM jobs GROUP BY session, status, reason"
            ):
                if session in living:
                    continue
                jobs += count
                # Who was not running any more when its kernel died is lost too, and will be called so in a moment.
                lost += count if reason == "lost" or status in ("created", "pending", "running") else 0
            return Glance(jobs, lost)
    except sqlite3.Error as error:
        return Glance(None, 0) if "interrupted" in str(error) else None


def files_of(path: Path) -> Path:
    """The folder beside a database file for what does not fit into it."""
    return path.with_name(path.stem + ".files")


def _connection(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    # Text that is none must not stop the rows beside it.
    connection.text_factory = lambda data: data.decode("utf-8", "replace")  # pyright: ignore[reportUnknownLambdaType,reportUnknownMemberType]
    return connection


def _found(path: Path) -> Path:
    """The file that is meant: itself, or the one in a folder, also where executor-engine has it."""
    if not path.is_dir():
        return path / "jobs.sqlite" if not path.suffix and not path.is_file() else path
    for each in (path / "jobs.sqlite", path / "jobs" / "jobs.sqlite"):
        if each.is_file():
            return each
    return path / "jobs.sqlite"
