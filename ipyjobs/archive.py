"""Jobs of the past, as a store remembers them: a view that reads what is asked for, page by page."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from ipyjobs.envelope import own_key
from ipyjobs.errors import EngineNotRunning, JobNotFoundError
from ipyjobs.failure import Failure
from ipyjobs.job import Job
from ipyjobs.jobs import Jobs
from ipyjobs.output import JobLog
from ipyjobs.restoration import restored
from ipyjobs.status import Status
from ipyjobs.stores import Store, store_at
from ipyjobs.stores.rows import Birth, Choice, State
from ipyjobs.stores.sealing import Sealer
from ipyjobs.waiting import Act

if TYPE_CHECKING:
    from ipyjobs.engine import Engine

PAGE = 500
"""So many jobs are read at once."""


class Archive(Jobs):
    """Jobs that a store remembers, in order of creation: ``Jobs(path)`` makes one, and so does ``jobs.earlier``.

    Each is an ordinary `Job`, with status, log, attempts and story. Its result or exception is read, verified and
    opened when it is asked for. With an engine (`set_engine`) a job can be run again.

    Parameters
    ----------
    where
        The store, or its path; see `ipyjobs.stores.store_at`. A path is opened without changing anything.
    engine
        Which one runs jobs again.
    choice
        Which jobs.

    Raises
    ------
    StoreError
        There is no store, or it can't be read.
    """

    def __init__(self, where: str | Path | Store, engine: Engine | None = None, choice: Choice | None = None) -> None:
        super().__init__(cast("Engine", engine), {})
        if isinstance(where, (str, Path)):
            store = store_at(where)
            store.open(write=False)
        else:
            store = where
        self._reader = _Reader(store, engine)
        self._choice = choice or Choice()

    @property
    def engine(self) -> Engine:
        engine = self._reader.engine
        if engine is None:
            raise EngineNotRunning("these jobs were read from a store; `set_engine` says which engine runs them again")
        return engine

    @property
    def place(self) -> str:
        """Where the store is."""
        return self._reader.store.place

    def set_engine(self, engine: Engine) -> None:
        """Let these jobs be run again by `engine`."""
        self._reader.set_engine(engine)
        self._engine = engine

    def leave_out(self, sessions: Iterable[str]) -> None:
        """From now on the jobs of these sessions are not among them."""
        self._choice = self._choice._replace(not_of=tuple(sessions))

    def update_from_cache(self, clear_old: bool = True) -> None:
        """Read anew what the store has by now (a name kept from executor-engine).

        Parameters
        ----------
        clear_old
            Whether to forget the `Job` objects that were made so far.
        """
        if clear_old:
            self._reader.forget()

    # -- a mapping

    @overload
    def __getitem__(self, key: str | int) -> Job: ...
    @overload
    def __getitem__(self, key: slice) -> Jobs: ...
    def __getitem__(self, key: str | int | slice) -> Job | Jobs:
        store = self._reader.store
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            forward = step > 0
            ids = (
                store.ids(self._choice, start, max(0, stop - start))[::step]
                if forward
                else store.ids(self._choice)[key]
            )
            return Jobs(self._engine, {job.id: job for job in self._reader.jobs(ids)})
        if isinstance(key, int):
            at = key if key >= 0 else len(self) + key
            ids = store.ids(self._choice, at, 1) if at >= 0 else []
            if not ids:
                raise IndexError(f"there is no job number {key}: there are {len(self)}")
            return self._reader.jobs(ids)[0]
        if not store.has(key, self._choice):
            raise JobNotFoundError(key)
        return self._reader.jobs([key])[0]

    def __iter__(self) -> Iterator[Job]:
        return self._each()

    def __len__(self) -> int:
        return sum(self._reader.store.counts(self._choice).values())

    def __contains__(self, key: object) -> bool:
        job_id = key.id if isinstance(key, Job) else key
        return isinstance(job_id, str) and self._reader.store.has(job_id, self._choice)

    def get(self, job_id: str, default: Any = None) -> Any:
        return self._reader.jobs([job_id])[0] if job_id in self else default

    def keys(self) -> list[str]:
        return self._reader.store.ids(self._choice)

    def group(self, name: str) -> Jobs:
        return self._with(self._choice._replace(group=name))

    def named(self, name: str) -> Job:
        ids = self._reader.store.ids(self._choice._replace(name=name))
        if not ids:
            raise JobNotFoundError(name)
        return self._reader.jobs(ids[-1:])[0]

    def summary(self) -> str:
        counts = self._reader.store.counts(self._choice)
        parts = ", ".join(f"{counts[status]} {status}" for status in Status if counts.get(status))
        total = sum(counts.values())
        return f"<{total} {'job' if total == 1 else 'jobs'}{': ' if parts else ''}{parts}>"

    # -- forgotten

    def remove(self, *jobs: Job) -> Act:
        """Remove jobs from the store, with their results and logs; those that an engine has are cancelled first."""
        for job in jobs:
            engine = job.engine
            if engine is not None and job.id in engine.flow.jobs:
                engine.remove(job)
        self._remove([job.id for job in jobs])
        return Act()

    def clear(self, statuses: Iterable[Status | str]) -> None:
        for each in statuses:
            self._remove(self._reader.store.ids(self._choice._replace(status=str(Status(each)))))

    def rerun(self) -> Act:
        return self.engine.rerun(*(job for job in self._each() if job.ended))

    def _remove(self, ids: list[str]) -> None:
        self._reader.store.remove(ids)

    def _of(self, status: Status) -> Jobs:
        return self._with(self._choice._replace(status=str(status)))

    def _with(self, choice: Choice) -> Archive:
        part = Archive(self._reader.store, None, choice)
        part._reader, part._engine = self._reader, self._engine
        return part

    def _ordered(self) -> list[Job]:
        return list(self._each())

    def _each(self) -> Iterator[Job]:
        ids = self._reader.store.ids(self._choice)
        for start in range(0, len(ids), PAGE):
            yield from self._reader.jobs(ids[start : start + PAGE])


class _Reader:
    """Makes jobs of rows, each once for as long as somebody holds it; and the source of what is read later."""

    def __init__(self, store: Store, engine: Engine | None) -> None:
        self.store = store
        self.engine = engine
        self._made: weakref.WeakValueDictionary[str, Job] = weakref.WeakValueDictionary()

    def set_engine(self, engine: Engine) -> None:
        self.engine = engine
        for job in list(self._made.values()):
            if job.engine is None:
                job.engine = engine

    def forget(self) -> None:
        self._made.clear()

    def jobs(self, ids: list[str]) -> list[Job]:
        """Jobs in the order of `ids`; those that have gone meanwhile are missing."""
        known = {} if self.engine is None else self.engine.flow.jobs
        found = {each: job for each in ids if (job := known.get(each) or self._made.get(each)) is not None}
        for job_id, stored in self.store.jobs([each for each in ids if each not in found]).items():
            found[job_id] = self._made[job_id] = restored(stored, self, self.engine)
        return [found[each] for each in ids if each in found]

    # -- as `Source`

    def result(self, job_id: str) -> bytes:
        row = self.store.result(job_id)
        if row is None:
            raise JobNotFoundError(job_id)
        return self._sealer().opened_result(row)

    def failure(self, job_id: str) -> Failure | None:
        row = self.store.error(job_id)
        return None if row is None else self._sealer().opened_error(row)

    def call(self, birth: Birth) -> tuple[bytes, bytes]:
        hashes = birth.function_hash, birth.arguments_hash
        return self._sealer().opened_call(birth.id, hashes, birth.call_seal, self.store.payload)

    def log(self, birth: Birth, state: State) -> JobLog | None:
        return None if self.store.logs is None else JobLog.kept(self.store.logs, birth.log, state.log_bytes)

    def job(self, job_id: str) -> Job | None:
        return next(iter(self.jobs([job_id])), None)

    def _sealer(self) -> Sealer:
        return Sealer(own_key(), self.store.id)
