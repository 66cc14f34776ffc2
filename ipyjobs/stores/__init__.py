"""What remembers jobs beyond the process that ran them: the protocol that stores share, and how to find one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ipyjobs.errors import InvalidOption
from ipyjobs.stores.rows import (
    Batch,
    Choice,
    ErrorRow,
    PayloadRow,
    ResultRow,
    Session,
    StoredJob,
    Unreadable,
)


class Store(Protocol):
    """Remembers jobs, attempts, events, results, errors and what is needed to run a job again.

    All methods block. `write`, `lose` and `expire` are called on one thread, the reading ones on any, once `open` has
    returned. What goes wrong is a `StoreError`.
    """

    @property
    def durable(self) -> bool:
        """Whether what `write` has returned from survives this process."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for the reader."""
        ...

    @property
    def id(self) -> str:
        """Told apart from every other store by this; part of every signature."""
        ...

    @property
    def owner(self) -> str:
        """What this process calls itself towards others that use the same store."""
        ...

    @property
    def logs(self) -> Path | None:
        """Folder in which logs stay; None where they go with the process."""
        ...

    def check(self) -> None:
        """Look, quickly and before anything is imported, whether this ipyjobs can use the store at all.

        Raises
        ------
        StoreTooNew
            A newer ipyjobs made it.
        """
        ...

    def open(self, *, write: bool = True) -> None:
        """Make ready, bring the tables up to date. Without `write` nothing is changed.

        Raises
        ------
        StoreUnreadable
            What is there is no store, or is damaged.
        StoreTooNew
            A newer ipyjobs made it.
        StoreError
            It is not there, or can't be written.
        """
        ...

    def set_aside(self) -> str | None:
        """Move what can't be read out of the way, so that `open` makes a new one; where to, None if impossible."""
        ...

    def begin(self, session: Session) -> None:
        """An engine starts to use the store."""
        ...

    def end(self, session_id: str) -> None:
        """An engine has stopped."""
        ...

    def write(self, batch: Batch) -> frozenset[str]:
        """Make all of `batch` true, or nothing of it and raise.

        Returns
        -------
        frozenset
            Ids of jobs that belong to another owner by now, or have moved on: nothing about them was written.
        """
        ...

    def lose(self) -> int:
        """Say of all unfinished jobs whose owner is gone that they are lost; how many there were."""
        ...

    def expire(self, before: float, most: int) -> int:
        """Forget ended jobs that ended before a time, and the oldest beyond a number; how many there were."""
        ...

    def remove(self, ids: Iterable[str]) -> None:
        """Forget jobs, with their results and logs."""
        ...

    def sessions(self) -> list[Session]:
        """All sessions, oldest first."""
        ...

    def alive(self, owner: str) -> bool:
        """Whether the process with this name still lives."""
        ...

    def counts(self, choice: Choice) -> dict[str, int]:
        """How many jobs there are, by status."""
        ...

    def ids(self, choice: Choice, start: int = 0, count: int | None = None) -> list[str]:
        """Ids of jobs in order of creation, from the one at `start` on."""
        ...

    def has(self, job_id: str, choice: Choice) -> bool:
        """Whether a job is there and among those asked for."""
        ...

    def jobs(self, ids: Sequence[str]) -> Mapping[str, StoredJob | Unreadable]:
        """What is known of jobs; one that can't be read stops no other."""
        ...

    def result(self, job_id: str) -> ResultRow | None:
        """A job's result, its bytes included wherever they lie."""
        ...

    def error(self, job_id: str) -> ErrorRow | None:
        """Why a job failed."""
        ...

    def payload(self, hash: str) -> PayloadRow | None:
        """A function or arguments."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def store_at(where: str | Path) -> Store:
    """The store at a path, a folder or an address; "memory" is one that goes with the process.

    Parameters
    ----------
    where
        "memory", a file ("jobs.sqlite", made when it is missing), a folder (then ``jobs.sqlite`` in it), or an address
        such as ``sqlite:///jobs.sqlite``.

    Raises
    ------
    InvalidOption
        It is none of these.
    """
    if where == "memory":
        from ipyjobs.stores.memory import MemoryStore  # only where one is asked for

        return MemoryStore()
    from ipyjobs.stores.sql import SqlStore  # the same; it imports SQLAlchemy when it is opened
    from ipyjobs.stores.sqlite import Sqlite  # the same

    text = str(where)
    scheme, colon, rest = text.partition("://")
    if not text:
        raise InvalidOption("store", where, "a path, an address such as sqlite:///jobs.sqlite, or 'memory'")
    if not colon:
        return SqlStore(Sqlite(Path(where)))
    if scheme in ("sqlite", "sqlite+pysqlite") and rest.startswith("/") and len(rest) > 1:
        return SqlStore(Sqlite(Path(rest[1:])))
    raise InvalidOption("store", where, "a path, an address such as sqlite:///jobs.sqlite, or 'memory'")
