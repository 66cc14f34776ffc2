"""A store that speaks SQL, by way of SQLAlchemy, which is imported when the store is opened."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ipyjobs.errors import StoreError, StoreTooNew
from ipyjobs.stores.files import ResultFiles
from ipyjobs.stores.owners import Owners
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
from ipyjobs.stores.versions import HEAD, KNOWN

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

FILE_BYTES = 1 << 20
"""A result above this goes into a file of its own."""


class Driver(Protocol):
    """What is peculiar to one kind of database."""

    dialect: str
    folder: Path
    """For what does not fit into the database."""

    @property
    def place(self) -> str: ...
    def check(self) -> None: ...
    def prepare(self, *, write: bool) -> None: ...
    def connect_to_read(self) -> Any: ...
    def connect_to_write(self) -> Any: ...
    def begin_write(self, connection: Any) -> None: ...
    def begin_read(self, connection: Any) -> None: ...
    def settle(self, connection: Any, *, full: bool) -> None: ...
    def translated(self, error: BaseException) -> StoreError: ...
    def set_aside(self) -> str | None: ...


class SqlStore:
    """Remembers jobs in a database, and results that are too large for it in files."""

    durable = True

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.id = ""
        self.logs: Path | None = driver.folder / "logs"
        self._owners = Owners(driver.folder / "locks")
        self._files = ResultFiles(driver.folder / "results")
        self._host = socket.gethostname()
        self._writer: Connection | None = None
        self._writing_engine: Engine | None = None
        self._reading_engine: Engine | None = None
        self._write_lock = threading.Lock()

    @property
    def place(self) -> str:
        return self._driver.place

    @property
    def owner(self) -> str:
        return self._owners.mine

    # -- opened and closed

    def check(self) -> None:
        self._driver.check()

    def open(self, *, write: bool = True) -> None:
        from sqlalchemy import NullPool, create_engine, event  # slow to load

        self._driver.prepare(write=write)
        driver = self._driver
        with self._translating():
            if write:
                _ = self.owner  # before the first row names it
            engines: list[Engine] = []
            for begin, connect in (
                (driver.begin_read, driver.connect_to_read), (driver.begin_write, driver.connect_to_write),
            ):  # fmt: skip
                engine = create_engine(f"{driver.dialect}://", creator=connect, poolclass=NullPool)
                event.listen(engine, "begin", begin)
                engines.append(engine)
            self._reading_engine, self._writing_engine = engines
            if write:
                self._migrate()
            else:
                self._check_version()
            self.id = self._read_id(write=write)

    def set_aside(self) -> str | None:
        self.close()
        return self._driver.set_aside()

    def close(self) -> None:
        with self._write_lock, contextlib.suppress(Exception):
            if self._writer is not None:
                self._writer.close()
            self._writer = None

    # -- written

    def begin(self, session: Session) -> None:
        from ipyjobs.stores import writing  # SQLAlchemy's, slow to load

        with self._writing(full=False) as connection:
            writing.begin(connection, session)

    def end(self, session_id: str) -> None:
        from ipyjobs.stores import writing  # SQLAlchemy's, slow to load

        with self._writing(full=True) as connection:
            writing.end(connection, session_id)

    def write(self, batch: Batch) -> frozenset[str]:
        from ipyjobs.stores import writing  # SQLAlchemy's, slow to load

        kept: list[str] = []
        try:
            results = [self._filed(each, kept) for each in batch.results]
            with self._writing(full=batch.holds_end) as connection:
                refused, useless = writing.write(connection, batch, results, self.owner, self._host)
        except BaseException:
            self._files.remove(kept)
            raise
        self._files.remove(useless)
        return refused

    def lose(self) -> int:
        from ipyjobs.stores import writing  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            owners = writing.owners_of_unfinished(connection)
        dead = [(owner, host) for owner, host in owners if not self.alive(owner)]
        lost = 0
        for owner, host in dead:
            with self._writing(full=True) as connection:
                lost += writing.lose(connection, owner, _gone(owner, host))
            self._owners.bury(owner)
        return lost

    def expire(self, before: float, most: int) -> int:
        from ipyjobs.stores import writing  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            ids = writing.expired(connection, before, most)
            named = writing.files(connection)
        self.remove(ids)
        self._files.sweep(named)
        return len(ids)

    def remove(self, ids: Iterable[str]) -> None:
        from ipyjobs.stores import writing  # SQLAlchemy's, slow to load

        left = list(ids)
        while left:
            part, left = left[:500], left[500:]
            with self._writing(full=False) as connection:
                logs = writing.logs(connection, part)
                files = writing.remove(connection, part)
            self._files.remove(files)
            for each in logs:
                self._remove_log(each)

    # -- read

    def sessions(self) -> list[Session]:
        from ipyjobs.stores import reading  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            return reading.sessions(connection)

    def alive(self, owner: str) -> bool:
        return self._owners.alive(owner)

    def counts(self, choice: Choice) -> dict[str, int]:
        from ipyjobs.stores import reading  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            return reading.counts(connection, choice)

    def ids(self, choice: Choice, start: int = 0, count: int | None = None) -> list[str]:
        from ipyjobs.stores import reading  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            return reading.ids(connection, choice, start, count)

    def has(self, job_id: str, choice: Choice) -> bool:
        from ipyjobs.stores import reading  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            return reading.has(connection, job_id, choice)

    def jobs(self, ids: Sequence[str]) -> Mapping[str, StoredJob | Unreadable]:
        from ipyjobs.stores import reading  # SQLAlchemy's, slow to load

        try:
            with self._reading() as connection:
                return reading.jobs(connection, ids)
        except StoreError as error:
            # One page of the file may be damaged: what lies on others is still there.
            if len(ids) == 1:
                return {ids[0]: Unreadable(ids[0], str(error))}
            return {job_id: each for one in ids for job_id, each in self.jobs([one]).items()}

    def result(self, job_id: str) -> ResultRow | None:
        from ipyjobs.stores import reading  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            row = reading.result(connection, job_id)
        if row is None or not row.file:
            return row
        return row._replace(data=self._files.read(row.file))

    def error(self, job_id: str) -> ErrorRow | None:
        from ipyjobs.stores import reading  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            return reading.error(connection, job_id)

    def payload(self, hash: str) -> PayloadRow | None:
        from ipyjobs.stores import reading  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            return reading.payload(connection, hash)

    # -- private

    def _filed(self, row: ResultRow, kept: list[str]) -> ResultRow:
        if row.data is None or len(row.data) <= FILE_BYTES:
            return row
        with self._translating():
            name = self._files.keep(row.data)
        kept.append(name)
        return row._replace(data=None, file=name)

    def _remove_log(self, place: str) -> None:
        if place and self.logs is not None:
            path = (self.logs / place).resolve()
            if path.is_relative_to(self.logs.resolve()):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self, *, full: bool) -> Generator[Connection]:
        with self._write_lock, self._translating():
            connection = self._writer
            if connection is None:
                if self._writing_engine is None:
                    raise StoreError(f"the store {self.place} is not open")
                connection = self._writer = self._writing_engine.connect()
            self._driver.settle(connection.connection.dbapi_connection, full=full)
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def _reading(self) -> Generator[Connection]:
        if self._reading_engine is None:
            raise StoreError(f"the store {self.place} is not open")
        with self._translating(), self._reading_engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _translating(self) -> Generator[None]:
        from sqlalchemy.exc import SQLAlchemyError  # slow to load

        try:
            yield
        except SQLAlchemyError as error:
            raise self._driver.translated(error) from error
        except OSError as error:
            raise StoreError(f"the store {self.place} can't be used now: {error}") from error

    def _version(self) -> str | None:
        from ipyjobs.stores import reading  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            found = reading.version(connection)
        if found is not None and found not in KNOWN:
            raise StoreTooNew(self.place, found, HEAD)
        return found

    def _check_version(self) -> None:
        if self._version() != HEAD:
            # An older one, or one that was being made when its process was killed.
            self._driver.prepare(write=True)
            self._migrate()

    def _migrate(self) -> None:
        if self._version() == HEAD:
            return
        from ipyjobs.stores.migration import migrate  # Alembic is loaded only where there is something to do

        with self._writing(full=True) as connection:
            migrate(connection)

    def _read_id(self, *, write: bool) -> str:
        from ipyjobs.stores import reading, writing  # SQLAlchemy's, slow to load

        with self._reading() as connection:
            found = reading.about(connection, "id")
        if found is None and write:
            with self._writing(full=True) as connection:
                writing.tell(connection, "id", os.urandom(8).hex())
            return self._read_id(write=False)
        return found or ""


def _gone(owner: str, host: str) -> str:
    return f"its kernel (pid {owner.partition('-')[0]} on {host}) is gone"
