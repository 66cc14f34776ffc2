"""Jobs made of what was kept of them: ordinary `Job` objects, whose results are opened when they are asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from ipyjobs.errors import InvalidStateError, JobFailed, JobLost, ResultUnreadable
from ipyjobs.execution import Attempt
from ipyjobs.failure import Failure
from ipyjobs.future import JobFuture
from ipyjobs.job import Job, LocalJob, ProcessJob, ThreadJob
from ipyjobs.kinds import command, webapp
from ipyjobs.output import JobLog
from ipyjobs.pickling import Buffer, Payload, loads
from ipyjobs.preparing import prepare
from ipyjobs.preview import Preview
from ipyjobs.retry import Retry
from ipyjobs.status import Reason, Status, Verb, WaitingFor
from ipyjobs.stores.rows import AttemptRow, Birth, EventRow, State, StoredJob, Unreadable

if TYPE_CHECKING:
    from ipyjobs.engine import Engine


_PERIODIC = frozenset({"CronJob", "SentinelJob"})
"""Kinds of jobs that live only as long as their kernel."""


class Source(Protocol):
    """Where the parts of a job lie that are opened only when somebody asks."""

    def result(self, job_id: str) -> bytes:
        """The pickle of its result; raises `ResultUnreadable`."""
        ...

    def failure(self, job_id: str) -> Failure | None:
        """Why it failed, if that was kept."""
        ...

    def call(self, birth: Birth) -> tuple[bytes, bytes]:
        """Pickles of its function and arguments; raises `ResultUnreadable`."""
        ...

    def log(self, birth: Birth, state: State) -> JobLog | None:
        """What it has printed."""
        ...

    def job(self, job_id: str) -> Job | None:
        """Another job of the same source."""
        ...


class StoredCall:
    """Stands for the function of a restored job until the job is run again."""

    def __init__(self, birth: Birth, source: Source) -> None:
        self._birth = birth
        self._source = source
        self.__name__ = birth.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise InvalidStateError(f"job {self._birth.name!r} was restored; `job.rerun()` runs it again")

    def __repr__(self) -> str:
        return f"<the function of {self._birth.name!r}, not opened yet>"

    def open_for(self, job: Job) -> list[Job]:
        """Give `job` its function and arguments back; the restored jobs whose values it needs.

        Raises
        ------
        InvalidStateError
            They were not kept, or can't be opened, or a job whose value it needs is gone.
        """
        birth = self._birth
        if birth.kind in _PERIODIC:
            raise InvalidStateError(
                f"job {job.name!r} ended with its kernel; submit it anew: what it submits is not kept"
            )
        if birth.call_note:
            raise InvalidStateError(f"job {job.name!r} can't be rerun after a restart: {birth.call_note}")
        upstream = {each: self._upstream(job, each) for each in job._upstream}
        futures = _Futures(upstream)
        try:
            function, arguments = self._source.call(birth)
            job.func = loads(function, upstream=futures)
            job.args, job.kwargs = loads(arguments, upstream=futures)
            job._function = job.func
        except Exception as error:  # foreign pickles, which raise what they like
            raise InvalidStateError(f"job {job.name!r} can't be rerun: {error}") from error
        job._upstream = ()
        return list(upstream.values())

    def _upstream(self, job: Job, job_id: str) -> Job:
        found = self._source.job(job_id)
        if found is None:
            raise InvalidStateError(f"job {job.name!r} can't be rerun: job {job_id}, whose value it needs, is not kept")
        return found


class StoredPayload(Payload):
    """A result that is fetched, verified and opened when somebody asks."""

    __slots__ = ("_fetch", "_fetching")

    def __init__(self, fetch: Callable[[], bytes]) -> None:
        super().__init__(None)
        self._error = None
        self._lock = threading.Lock()
        self._fetch = fetch
        self._fetching = threading.Lock()

    def load(self) -> object:
        self._fetched()
        return super().load()

    def view(self) -> Buffer:
        self._fetched()
        return super().view()

    @property
    def size_bytes(self) -> int | None:
        self._fetched()
        return super().size_bytes

    def _fetched(self) -> None:
        with self._fetching:
            if self._data is None:
                self._data = self._fetch()


class StoredFailure(Failure):
    """A failure that is fetched when somebody looks."""

    __slots__ = ("_fetch", "_found", "_kind", "_shown")

    def __init__(self, fetch: Callable[[], Failure | None], summary: str, kind: type[JobFailed]) -> None:
        super().__init__([])
        self._fetch = fetch
        self._found: Failure | None = None
        self._shown, self._kind = summary, kind

    @property
    def summary(self) -> str:
        return self._shown

    def exception(self) -> BaseException:
        return self._real().exception()

    def errors(self) -> Any:
        return self._real().errors()

    def text(self) -> str:
        return self._real().text()

    def to_bytes(self) -> bytes:
        return self._real().to_bytes()

    def _real(self) -> Failure:
        if self._found is None:
            text = self._shown.removeprefix(f"{self._kind.__name__}: ")
            self._found = self._fetch() or Failure.died(text, self._kind)
        return self._found


def restored(stored: StoredJob | Unreadable, source: Source, engine: Engine | None) -> Job:
    """A job as it was; one that can't be read is a failed one that says so. Never raises."""
    try:
        if isinstance(stored, Unreadable):
            raise ResultUnreadable(stored.why)
        return _job(stored, source, engine)
    except Exception as error:  # rows that were damaged or made up; they must not hide those beside them
        return _unreadable(stored.id if isinstance(stored, Unreadable) else stored.birth.id, error)


def opened(jobs: Sequence[Job], engine: Engine) -> list[Job]:
    """Give restored jobs that are to run again what they call; the ended jobs whose values they need.

    Raises
    ------
    InvalidStateError
        What one of them calls was not kept, or can't be opened.
    """
    needed: dict[str, Job] = {}
    shared: dict[Any, Any] = {}
    for job in jobs:
        if isinstance(job.func, StoredCall):
            needed.update((each.id, each) for each in job.func.open_for(job))
            for each in needed.values():
                each.engine = engine
            prepare(job, engine, shared)
    return [each for job_id, each in needed.items() if job_id not in engine.flow.jobs and each not in jobs]


def _job(stored: StoredJob, source: Source, engine: Engine | None) -> Job:
    birth, state = stored.birth, stored.state
    options = cast("dict[str, Any]", json.loads(birth.options))
    job = _made(birth, options, StoredCall(birth, source))
    job._trait_values.update(
        id=str(birth.id),
        number=int(birth.number),
        status=Status(state.status),
        reason=None if state.reason is None else Reason(state.reason),
        waiting_for=None if state.waiting_for is None else WaitingFor(state.waiting_for),
        origin=str(birth.origin),
        attempt=int(state.attempt),
        **{each: _number(getattr(state, each)) for each in ("submitted_at", "started_at", "ended_at", "progress")},
        **{each: str(getattr(state, each)) for each in ("message", "error", "note")},
        saved=Status(state.status).ended,
    )
    job.created_at = float(birth.created_at)
    job.engine = engine
    job._round = int(state.round)
    job._described = tuple(
        (str(name), str(kind), str(text)) for name, kind, text in cast("list[list[str]]", json.loads(birth.described))
    )
    job._upstream = tuple(map(str, cast("list[str]", json.loads(birth.upstream))))
    job._story = [_event(each) for each in stored.events]
    job.attempts = [_attempt(each) for each in stored.attempts]
    job._told = ~len(job._story)
    job._log = source.log(birth, state)
    if stored.preview is not None:
        job._preview = Preview(*map(str, stored.preview))
    if job.status is Status.DONE:
        job._payload = StoredPayload(lambda: source.result(birth.id))
    elif job.status is Status.FAILED:
        job._failure = StoredFailure(
            lambda: source.failure(birth.id), job.error, JobLost if job.reason is Reason.LOST else JobFailed
        )
    return job


def _made(birth: Birth, options: dict[str, Any], call: StoredCall) -> Job:
    times, more = int(birth.retries), options.get("retry")
    retries = Retry(times, *more) if more else Retry(times)
    # `Job.__init__`, whatever the class's own takes: its function and arguments are those that were kept.
    kind = _kind(birth)
    job = kind.__new__(kind)
    places = {each: options[each] for each in ("change_dir", "redirect_out_err") if each in options}
    Job.__init__(job, call, retries=retries, timeout=options.get("timeout"), **places)
    job.options, job._attrs = dict(options.get("options", {})), dict(options.get("attrs", {})) or None
    job._trait_values.update(
        name=str(birth.name),
        backend=str(birth.backend),
        queue=str(birth.queue),
        group=None if birth.group is None else str(birth.group),
        tags=tuple(map(str, cast("list[str]", json.loads(birth.tags)))),
        priority=int(birth.priority),
    )
    return job


def _kind(birth: Birth) -> type[Job]:
    """The class with that name, of ours and of those that are loaded; else the one for its backend."""
    for kind in (*_kinds(command.SubprocessJob), *_kinds(webapp.WebappJob), *_kinds(Job)):
        if kind.__name__ == birth.kind and birth.kind not in _PERIODIC:
            return kind
    for kind in (LocalJob, ThreadJob, ProcessJob):
        if kind.backend_name == birth.backend:
            return kind
    return Job


def _kinds(kind: type[Job]) -> Iterator[type[Job]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


def _unreadable(job_id: object, error: Exception) -> Job:
    text = " ".join(str(error).split())[:300]
    job = ThreadJob(_nothing, name="unreadable")
    failure = Failure.of(ResultUnreadable(f"what was kept of this job can't be read: {text}"))
    job._trait_values.update(id=str(job_id), status=Status.FAILED, error=f"unreadable: {text}")
    job._failure = failure
    return job


def _nothing() -> None:
    raise InvalidStateError("what was kept of this job can't be read; it can't be rerun")


def _number(value: object) -> float | None:
    return None if value is None else float(cast(float, value))


def _event(row: EventRow) -> tuple[Any, ...]:
    reason = None if row.reason is None else Reason(row.reason)
    before, after = Status(row.before), Status(row.after)
    return row.number, float(row.at), Verb(row.verb), before, after, int(row.attempt), reason, str(row.text)


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        row.number, row.round, row.queued_at, row.started_at, row.ended_at, row.outcome, row.error,  # type: ignore[arg-type]  # one of its words
        row.worker, row.log_start, row.handle,
    )  # fmt: skip


class _Futures(Mapping[str, Payload]):
    """Puts the futures of restored jobs where their values stood in a pickle."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self._futures = {each: Payload(JobFuture(job)) for each, job in jobs.items()}

    def __getitem__(self, job_id: str) -> Payload:
        return self._futures[job_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._futures)

    def __len__(self) -> int:
        return len(self._futures)
