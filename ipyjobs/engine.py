"""The engine: owns jobs, decides when they start, and answers from any thread."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from ipyjobs import storage
from ipyjobs.adoption import adopt
from ipyjobs.archive import Archive
from ipyjobs.backends import Backend
from ipyjobs.backends.command import CommandBackend
from ipyjobs.backends.dask import DaskBackend
from ipyjobs.backends.local import LocalBackend
from ipyjobs.backends.process import ProcessBackend
from ipyjobs.backends.process.guarded import SharedGuard
from ipyjobs.backends.thread import ThreadBackend
from ipyjobs.backends.webapp import WebappBackend
from ipyjobs.chronicle import Chronicle
from ipyjobs.clocks import CLOCK, Clock
from ipyjobs.engines import engines
from ipyjobs.errors import (
    DeadlockError,
    InvalidOption,
    InvalidStateError,
    JobNotFoundError,
)
from ipyjobs.failure import Failure
from ipyjobs.flow import Flow
from ipyjobs.generators import is_generator_function
from ipyjobs.home import Home
from ipyjobs.job import Job
from ipyjobs.jobs import Jobs
from ipyjobs.kinds.periodic import SentinelBackend, SentinelJob
from ipyjobs.lending import DaskSide
from ipyjobs.log import logger
from ipyjobs.output import JobLog
from ipyjobs.preparing import prepare, prepare_like
from ipyjobs.progress import hook_tqdm
from ipyjobs.recorder import Recorder
from ipyjobs.records import Records
from ipyjobs.registry import Tasks
from ipyjobs.restoration import opened
from ipyjobs.scheduling import Scheduler
from ipyjobs.settings import EngineSetting
from ipyjobs.status import Status
from ipyjobs.stores import store_at
from ipyjobs.stores.memory import MemoryStore
from ipyjobs.streams import Stream
from ipyjobs.verbs import AllJobs
from ipyjobs.waitable import Waitable
from ipyjobs.waiting import Act, see_them_start
from ipyjobs.words import waiting_text

if TYPE_CHECKING:
    from ipyjobs.hooks import Plugins

STORE_GRACE_S = 10.0
"""How long `Engine.stop` gives the store to write what is left."""


class Engine(DaskSide, Waitable):
    """Runs jobs.

    In a script ``with Engine() as engine`` gives it a thread of its own. In a coroutine it lives on the running loop
    from the first `submit` on. With ``threaded=True``, what ``%load_ext ipyjobs`` uses, it gets a thread of its own
    while coroutine jobs, callbacks and observers stay on the running loop, so jobs go on while a cell blocks.

    Parameters
    ----------
    setting
        Limits and habits.
    loop
        The loop to live on. One that does not run yet is run on a thread by `start`.
    threaded
        True: a thread of its own beside the running loop. False: on the running loop. None, the default: `start` and
        ``with`` make a thread for both, `submit` in a coroutine stays on the running loop.

    Raises
    ------
    StoreTooNew
        The store that `setting` names was made by a newer ipyjobs.
    """

    def __init__(
        self,
        setting: EngineSetting | None = None,
        *,
        threaded: bool | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(threaded, loop)
        self.setting = setting or EngineSetting()
        self.id = os.urandom(6).hex()
        self._making_log = threading.Lock()
        self.scheduler = Scheduler(self.setting.max_jobs)
        self.flow = Flow(self, self.scheduler)
        self.jobs = AllJobs(self, self.flow.jobs, self.flow.by_status)
        self.tasks = Tasks()
        """The tasks that have been used on it, by name."""
        self.records = Records(self.flow)
        """What tasks and jobs did and when: one record for each start and each end."""
        self.chronicle = Chronicle(self)
        self.busy: tuple[float | None, str] = (None, "")
        """Since when a cell runs in the notebook, and which."""
        self.notebook_listeners: list[Callable[[], None]] = []
        """Called when `busy` has changed, from the thread that changed it."""
        self.origin: Callable[[], str] = str
        """Says where a job is submitted from: the cell, in a notebook."""
        self.clock: Clock = CLOCK
        """What it takes the time from for conditions of time; may be replaced before the engine is started."""
        self._own_backends: dict[str, Backend] = {}
        self._earlier: Archive | None = None
        self._folder: Path | None = None
        for backend in ("thread", "process", "dask"):
            self.scheduler.set_limit(getattr(self.setting, f"max_{backend}_jobs"), backend=backend)
        place = self.setting.place
        self.recorder = None if place is None else Recorder(self, store_at(place))
        """Tells the store what becomes of jobs."""
        if self.recorder is not None:
            self.recorder.store.check()
            self.grace_s += STORE_GRACE_S
        engines.add(self)

    @property
    def history(self) -> Records:
        """`records`, by another name."""
        return self.records

    @property
    def plugins(self) -> Plugins:
        """Its plugins: ``engine.plugins.register(plugin)``, see `ipyjobs.hooks`."""
        return self.chronicle.plugins

    # -- backends

    @property
    def backends(self) -> dict[str, Backend]:
        """Where it can run jobs, by name."""
        return self.flow.backends

    def add_backend(self, backend: Backend) -> None:
        """Let jobs run on a backend of your own, under its name; before the engine is started.

        Raises
        ------
        InvalidStateError
            The engine is running already.
        """
        if self.alive:
            raise InvalidStateError(f"add backend {backend.name!r} before the engine is started")
        self._own_backends[backend.name] = backend
        self.scheduler.set_limit(backend.limit, backend=backend.name)

    # -- jobs in

    @overload
    def submit(self, job: Job, /) -> Job: ...
    @overload
    def submit(self, *jobs: Job) -> Any: ...
    def submit(self, *jobs: Job) -> Any:
        """Take in jobs; those that may start have started when it returns. An ended job is run again.

        Returns
        -------
        Job or Jobs
            The job; of several the group. Awaiting it waits for the end.

        Raises
        ------
        EngineNotRunning
            The engine has no loop: use ``with engine``, `start`, or submit in a coroutine.
        InvalidStateError
            A job is pending or running already, or belongs to another engine.
        CycleError
            With these, jobs would wait for each other for ever.
        NotPicklable
            A process job's function or argument cannot travel.
        """
        group = self.submit_all(jobs)
        return jobs[0] if len(jobs) == 1 else group

    def submit_all(self, jobs: Iterable[Job]) -> Jobs:
        """Take in any number of jobs with one hop; see `submit`. None is taken if one can't be."""
        home = self._here()
        given = list(jobs)
        shared: dict[Any, Any] = {}
        for job in given:
            if not isinstance(job, Job):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers are not all typed
                raise InvalidStateError(f"{job!r:.100} is not a job; wrap it: ThreadJob(function, args)")
            if job.engine is None and job._trait_values["status"] is Status.CREATED:
                prepare(job, self, shared)
                if isinstance(job, SentinelJob):
                    prepare(job.template, self, shared)
        vetoed = self.chronicle.refused("ipyjobs_submitting", given)
        self.chronicle.look()
        variables = contextvars.copy_context()
        home.call(self.flow.accept, given, self.origin(), variables, vetoed)
        if not home.here():
            see_them_start(given)
        return Jobs(self, {job.id: job for job in given})

    def submit_async(self, *jobs: Job) -> Act:
        """As `submit`; awaiting it gives the job (or group) at once, without waiting for the end."""
        return Act(value=self.submit(*jobs))

    # -- jobs stopped, run again, forgotten

    def cancel(self, *jobs: Job) -> Act:
        """Stop jobs that have not ended; awaiting it waits until they have.

        A process is killed with all it started. A coroutine is cancelled at its next ``await``. A plain function in a
        thread or on the loop can't be stopped: its job is cancelled at once, and holds its slot until it returns.

        Raises
        ------
        InvalidStateError
            A single job was given and it can't be cancelled: it runs with the engine to itself (`MainJob`), or a plugin
            refuses. Of several such jobs go on, and their `note` says why.
        """
        return self._cancel(jobs, strict=len(jobs) == 1)

    def cancel_all(self, jobs: Iterable[Job] | None = None) -> Act:
        """Stop all jobs that have not ended, or all of `jobs`; those that can't be stopped say so in their `note`."""
        return self._cancel(self.flow.active if jobs is None else list(jobs), strict=False)

    def _cancel(self, jobs: Sequence[Job], *, strict: bool) -> Act:
        self._check_engine(jobs)
        home = self._here()
        self.chronicle.look()
        refused = self.chronicle.refused("ipyjobs_cancelling", [job for job in jobs if not job.ended])
        _, kept = home.call(partial(self.flow.stopping.obey, jobs, refused, strict=strict))
        return Act(lambda: self.until_ended([job for job in jobs if job not in kept]))

    def cancel_all_async(self) -> Act:
        """As `cancel_all`, which can be awaited, too (a name kept from executor-engine)."""
        return self.cancel_all()

    def rerun(self, *jobs: Job) -> Act:
        """Run ended jobs again. One that needs another's value waits for the new one if both are given.

        Raises
        ------
        InvalidStateError
            A job has not ended.
        """
        self._check_engine(jobs)
        home = self._here()
        self.chronicle.look()
        if any(job.id not in self.flow.jobs for job in jobs):
            home.call(adopt, self.flow, [*opened(jobs, self), *jobs])
        home.call(self.flow.rerun, jobs, self.chronicle.refused("ipyjobs_submitting", jobs))
        return Act()

    def remove(self, *jobs: Job) -> Act:
        """Cancel jobs and forget them; what needs their values is cancelled too. See `cancel` for those that stay."""
        self._check_engine(jobs)
        refused = self.chronicle.refused("ipyjobs_cancelling", [job for job in jobs if not job.ended])
        kept = self._here().call(self.flow.stopping.remove, jobs, refused)
        if self.recorder is not None:
            self.recorder.forget([job.id for job in jobs if job._told < 0])
        return Act(lambda: self.until_ended([job for job in jobs if job not in kept]))

    # -- kept

    def saved(self) -> Act:
        """Wait until the store holds all that has happened so far.

        Awaiting it gives whether every job that has ended is saved: False without a store, while the store can't be
        written, and where a result can't be kept (`Job.unsaved` says why).
        """
        recorder = self.recorder
        return Act(value=False) if recorder is None else Act(recorder.saved)

    def wait_saved(self, timeout: float | None = None) -> bool:
        """As `saved`, for a thread without a loop; False too if `timeout` seconds pass first.

        Raises
        ------
        DeadlockError
            This thread runs the engine's loop; use ``await engine.saved()``.
        """
        if self._home is not None and self._home.here():
            raise DeadlockError("waiting here would stop the loop that is told of it; use `await engine.saved()`")
        return self.recorder is not None and self.recorder.wait_saved(timeout)

    @property
    def earlier(self) -> Archive:
        """Jobs of earlier sessions, as the store remembers them; empty without a store."""
        if self._earlier is None:
            self._earlier = Archive(MemoryStore() if self.recorder is None else self.recorder.readable(), self)
        if self.recorder is not None:
            self._earlier.leave_out(self.recorder.living())
        return self._earlier

    # -- limits

    @property
    def max_jobs(self) -> int | None:
        """How many jobs may run at once on all backends together; may be set at any time."""
        return self.scheduler.total.limit

    @max_jobs.setter
    def max_jobs(self, limit: int | None) -> None:
        self.set_limit(limit)

    def set_limit(self, limit: int | None, *, backend: str | None = None, queue: str | None = None) -> None:
        """Change how many jobs may run at once: overall, of a backend, or of a queue. Running ones go on.

        Raises
        ------
        InvalidOption
            `limit` is neither None nor a whole number from 1, or there is no such backend.
        """
        self._check_fork()
        known = {"local", "thread", "process", "dask", "sentinel", *self._own_backends}
        if backend is not None and backend not in known:
            raise InvalidOption("backend", backend, "one of " + ", ".join(sorted(known)))

        def change() -> None:
            self.flow.ahead.take_back()
            self.scheduler.set_limit(limit, backend=backend, queue=queue)
            self.flow.pump_soon()

        if self.alive:
            self._here().call(change)
        else:
            self.scheduler.set_limit(limit, backend=backend, queue=queue)

    # -- for conditions, views and the flow

    def status_of(self, job_id: str) -> Status | None:
        """Where a job stands; None if the engine doesn't know it."""
        job = self.flow.jobs.get(job_id)
        return None if job is None else job.status

    def ended_at(self, job_id: str) -> float | None:
        """When a job last ended, seconds since 1970; None if it has not, or the engine doesn't know it."""
        job = self.flow.jobs.get(job_id)
        return None if job is None else job.ended_at

    @overload
    def stream_of(self, job: Job, *, anyway: Literal[True]) -> Stream: ...
    @overload
    def stream_of(self, job: Job, *, anyway: bool = False) -> Stream | None: ...
    def stream_of(self, job: Job, *, anyway: bool = False) -> Stream | None:
        """The stream of a generator job's present attempt, made here; `anyway` if the function doesn't look like it."""
        home = self._here()

        def make() -> None:
            if job._stream is None and not job.ended:
                job._stream = Stream(job, home)

        if job._stream is None and (anyway or is_generator_function(job.func)):
            home.call(make)
        return job._stream

    def waiting_text(self, job: Job) -> str:
        """What a pending job waits for, in words."""
        return waiting_text(job, self.flow)

    def notebook_changed(self) -> None:
        """A cell has begun or ended: tell the pages."""
        for listener in self.notebook_listeners:
            listener()

    @property
    def folder(self) -> Path:
        """Where its jobs' logs and folders are, or will be once something is written."""
        if self._folder is None:
            self._folder = storage.session_folder(self.id, self.setting.cache_path or self._kept_logs())
        return self._folder

    @property
    def cache_dir(self) -> Path:
        """The folder of its jobs' logs and folders, made when it is asked for."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.folder

    def make_log(self, job: Job) -> JobLog:
        """The log of a job; made once, although its reader and its writer may ask for it at the same moment."""
        inbox, flow = self.inbox, self.flow
        name = f"{job.number}-{job.id}.log"
        told: list[bool] = []

        def tell() -> None:
            told.clear()
            flow.touch(job)

        def grew() -> None:
            if not told and flow.listeners:
                told.append(True)
                inbox.post(tell)

        # The name is the engine's own number, never what a user called the job.
        with self._making_log:
            if job._log is None:
                job._log = JobLog(self._kept_logs() or self.folder, name, grew)
            return job._log

    def report_failure(self, job: Job, failure: Failure) -> None:
        """Log a failure, where the setting says so."""
        if self.setting.print_traceback:
            logger.bind(engine=self.id, job=job.id).error("job {!r} failed\n{}", job.name, failure.text())

    def flow_soon(self, call: Callable[..., object], *args: Any) -> None:
        """Have a call made on the engine's loop; here and now where that has ended. From any thread."""
        home = self._home
        if home is not None and home.alive:
            home.inbox.post(call, *args)
        else:
            call(*args)

    # -- private

    def _kept_logs(self) -> Path | None:
        """Where logs stay, if they do."""
        logs = None if self.recorder is None else self.recorder.logs
        return None if logs is None else logs / self.id

    async def _closing_up(self) -> None:
        if self.recorder is not None:
            await self.recorder.close(STORE_GRACE_S)

    def _check_engine(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if not isinstance(job, Job):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers are not all typed
                raise JobNotFoundError(job)
            if job.engine is not self:
                what = "was never submitted" if job.engine is None else "belongs to another engine"
                raise InvalidStateError(f"job {job.name!r} {what}")

    def _submit_like(self, job: Job, template: Job, sentinel: Job) -> None:
        """Take in a job that a sentinel submits. On the engine's loop."""
        prepare_like(job, template, self)
        self.flow.accept([job], sentinel.name, sentinel._variables)

    def _settle(self, home: Home) -> None:
        super()._settle(home)
        guard = SharedGuard()
        process = ProcessBackend(guard=guard)
        if self.setting.max_process_jobs is None:
            self.scheduler.set_limit(process.limit, backend="process")
        self.flow.backends = {
            "local": LocalBackend(home),
            "thread": ThreadBackend(home.inbox),
            "sentinel": SentinelBackend(self.flow, self._submit_like),
            "process": process,
            "command": CommandBackend(guard=guard),
            "webapp": WebappBackend(self.flow.backend),
            "dask": DaskBackend(given=self.setting.dask),
            **self._own_backends,
        }
        hook_tqdm()
        home.call(self.flow.open, home)
        if self.recorder is not None:
            home.call(self.recorder.open)
        self.chronicle.engine_starts()
