"""The store's own thread: takes what the engine's loop posts, and makes it last, many changes at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ipyjobs.envelope import own_key
from ipyjobs.errors import StoreError, StoreUnreadable
from ipyjobs.log import logger
from ipyjobs.stores import Store
from ipyjobs.stores.gathering import Change, Gathering, Pending, batch_of
from ipyjobs.stores.memory import MemoryStore
from ipyjobs.stores.rows import Session
from ipyjobs.stores.sealing import Sealer

BATCH_S = 0.05
"""How long changes are gathered before they are written together."""
OPEN_AFTER_S = 0.2
"""When the store is opened, which imports SQLAlchemy, unless somebody waits for it."""
BATCH_JOBS = 2_000
"""How many jobs are written in one transaction at most, and after how many changes it is not waited any longer."""
_AGAIN_S = (0.1, 0.5, 2.0, 5.0)
"""Pauses before a batch that could not be written is tried again; the last one from then on."""
KEPT_S = 90 * 24 * 3600.0
"""Ended jobs are forgotten after this time,"""
KEPT_JOBS = 100_000
"""and the oldest when there are more than this."""


class Verdict(NamedTuple):
    """What became of a job's end."""

    job_id: str
    round: int
    saved: bool
    why: str
    """Why it is not saved, or not wholly."""


class _Mark(NamedTuple):
    reached: Callable[[bool], None]


class Writer:
    """Writes what is posted to it.

    Parameters
    ----------
    store
        Opened on the writer's thread; replaced by one in memory when that fails.
    session
        Whose jobs they are.
    tell
        Called on the writer's thread with what became of jobs' ends.
    """

    def __init__(self, store: Store, session: Session, tell: Callable[[list[Verdict]], None]) -> None:
        self.store = store
        self.sealer: Sealer | None = None
        self.opened = threading.Event()
        """Set once the store can be read."""
        self.lost = 0
        """How many jobs of dead kernels were found unfinished."""
        self.trouble = ""
        """Why nothing can be written at present."""
        self._session = session
        self._tell = tell
        self._changes: deque[Change | _Mark] = deque()
        self._touched: dict[str, Change] = {}
        self._awake = threading.Event()
        self._hurry = threading.Event()
        self._stopping = False
        self._ended: Callable[[], object] | None = None
        self._thread = threading.Thread(target=self._run, name="ipyjobs-store", daemon=True)

    # -- from the engine's loop

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def post(self, change: Change) -> None:
        """Have a move of a job written. Costs next to nothing; never blocks."""
        if self._touched:
            self._touched.pop(change.job_id, None)
        self._changes.append(change)
        if not self._awake.is_set():
            self._awake.set()
        elif len(self._changes) >= BATCH_JOBS and not self._hurry.is_set():
            self._hurry.set()

    def touch(self, change: Change) -> None:
        """Have what is no move written: only the newest of it counts."""
        self._touched[change.job_id] = change
        if not self._awake.is_set():
            self._awake.set()

    def mark(self, reached: Callable[[bool], None]) -> None:
        """Have ``reached(whether all is written)`` called on the writer's thread after all that was posted so far."""
        self._changes.append(_Mark(reached))
        self._hurry.set()
        self._awake.set()

    def wait_opened(self, within_s: float) -> bool:
        """Block until the store can be read; False if it can't be in time."""
        self._hurry.set()
        return self.opened.wait(within_s)

    def stop(self, ended: Callable[[], object] | None = None) -> None:
        """Write what was posted, then end; ``ended()`` is the last thing that the writer's thread does."""
        self._ended = ended
        self._stopping = True
        self._hurry.set()
        self._awake.set()

    def join(self, timeout_s: float) -> bool:
        """Block until the thread has ended; False if it has not."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # -- on the writer's thread

    def _run(self) -> None:
        # Whoever has just loaded the extension gets the prompt first.
        self._hurry.wait(OPEN_AFTER_S)
        self._open()
        gathering = Gathering()
        failures = 0
        while True:
            if not failures:
                self._awake.wait()
                if not self._stopping:
                    self._hurry.wait(BATCH_S)
                self._awake.clear()
                self._hurry.clear()
            marks = self._gather(gathering)
            try:
                while gathering:
                    self._write(gathering)
                    marks += self._gather(gathering)
                self.trouble, failures = "", 0
            except Exception as error:  # the store's, or a bug: neither may end the thread
                failures += 1
                self._say(error, failures, len(gathering))
            for each in marks:
                each.reached(not failures and self.store.durable)
            if self._stopping and not self._changes and (not failures or failures > 2):
                break
            if failures:
                pause_s = 0.2 if self._stopping else _AGAIN_S[min(failures, len(_AGAIN_S)) - 1]
                self._hurry.wait(pause_s)
                self._hurry.clear()
        self._close()

    def _open(self) -> None:
        try:
            self._open_store()
        except StoreUnreadable as error:
            aside = self.store.set_aside()
            try:
                if aside is None:
                    raise
                self._open_store()
                logger.warning("{}; it was moved to {} and a new one begun at {}", error, aside, self.store.place)
            except Exception as other:
                self._in_memory(other)
        except Exception as error:
            self._in_memory(error)
        self.opened.set()
        try:
            self.lost = self.store.lose()
            gone = self.store.expire(time.time() - KEPT_S, KEPT_JOBS)
            if gone:
                days = KEPT_S / 86400
                logger.info("{} ended jobs removed: older than {:.0f} days, or beyond {:,}", gone, days, KEPT_JOBS)
        except StoreError as error:
            logger.warning("jobs of earlier sessions were not looked after: {}", error)

    def _open_store(self) -> None:
        store = self.store
        store.open()
        self.sealer = Sealer(own_key(), store.id)
        store.begin(self._session._replace(owner=store.owner))

    def _in_memory(self, error: Exception) -> None:
        self.trouble = str(error)
        logger.warning("jobs of this session are kept in memory only, and go with this process: {}", error)
        self.store = MemoryStore()
        self.sealer = None

    def _gather(self, gathering: Gathering) -> list[_Mark]:
        marks: list[_Mark] = []
        for _ in range(len(self._touched)):
            try:
                _, change = self._touched.popitem()
            except KeyError:  # a move has taken it away
                break
            gathering.add(change)
        while self._changes:
            each = self._changes.popleft()
            if isinstance(each, _Mark):
                marks.append(each)
            else:
                gathering.add(each)
        return marks

    def _write(self, gathering: Gathering) -> None:
        """Write the jobs that have waited longest, in one transaction."""
        some = gathering.first(BATCH_JOBS)
        self._write_some(some)
        gathering.drop(some)

    def _write_some(self, some: dict[str, Pending]) -> None:
        try:
            self._write_batch(some)
        except StoreError:
            raise
        except Exception as error:
            # Text that is none, a number without end: what one job holds must not stop the others.
            if len(some) > 1:
                items = list(some.items())
                for half in (items[: len(items) // 2], items[len(items) // 2 :]):
                    self._write_some(dict(half))
                return
            [(job_id, pending)] = some.items()
            logger.warning("job {} can't be saved: {}", job_id, error)
            why = f"{type(error).__name__}: {error}"
            self._tell([Verdict(job_id, pending.state.round, saved=False, why=why)])

    def _write_batch(self, some: dict[str, Pending]) -> None:
        batch = batch_of(some, self.sealer)
        refused = self.store.write(batch)
        durable = self.store.durable
        notes = {each.job_id: each.note for each in batch.results if each.note}
        notes.update(dict.fromkeys(refused, "it belongs to another kernel by now"))
        verdicts = [
            Verdict(job_id, each.state.round, durable and job_id not in notes, notes.get(job_id, ""))
            for job_id, each in some.items()
            if each.end is not None
        ]
        if verdicts and (durable or notes):
            self._tell(verdicts)

    def _say(self, error: Exception, failures: int, jobs: int) -> None:
        self.trouble = str(error)
        if failures in (1, 5) or failures % 60 == 0:
            logger.warning("{} jobs are not saved yet, it is tried again: {}", jobs, error)

    def _close(self) -> None:
        try:
            self.store.end(self._session.id)
        except Exception as error:
            logger.warning("the end of this session is not saved: {}", error)
        self.store.close()
        if self._ended is not None:
            self._ended()
