"""An attempt that is under way, as its backend speaks to it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ipyjobs.errors import TaskTerminationException, WorkerDied
from ipyjobs.execution import Attempt
from ipyjobs.failure import Failure
from ipyjobs.generators import Source
from ipyjobs.log import logger
from ipyjobs.output import encoded
from ipyjobs.pickling import Payload
from ipyjobs.preview import Preview
from ipyjobs.status import Reason

if TYPE_CHECKING:
    from ipyjobs.backends import Backend
    from ipyjobs.flow import Flow
    from ipyjobs.job import Job


class Running:
    """What a backend speaks to about one attempt; see `ipyjobs.execution.Context`."""

    __slots__ = (
        "ahead", "alarm", "attempt", "backend", "files_broken", "flow", "job", "job_id", "over", "parted", "plain",
        "stopping", "why",
    )  # fmt: skip

    def __init__(self, flow: Flow, job: Job, attempt: Attempt, backend: Backend) -> None:
        self.flow = flow
        self.job = job
        self.job_id: str = job._trait_values["id"]
        self.attempt = attempt
        self.backend = backend
        """What runs it."""
        self.stopping = False
        self.why: Reason | None = None
        """Why it is being stopped."""
        self.over = False
        self.parted = False
        """The job has ended or moved on without this attempt, whose work goes on."""
        self.plain = False
        """A plain function on the user's loop has begun: nothing can stop it."""
        self.alarm: asyncio.TimerHandle | None = None
        self.files_broken = False
        """The user's own files cannot be written."""
        self.ahead = False
        """It waits where another attempt runs, whose slots it takes over when it starts."""

    def asked_to_stop(self) -> bool:
        """`stopping`, as something that can be called."""
        return self.stopping

    def started(self, worker: str = "", at: float | None = None) -> None:
        attempt = self.attempt
        if worker:
            attempt.worker = worker
        if attempt.started_at is None and not self.over and not self.parted:
            self.flow.started(self, at)

    def taken_back(self) -> None:
        self.flow.ahead.taken_back(self)

    def handle(self, text: str) -> None:
        self.attempt.handle = text

    def write(self, data: bytes, *, error: bool = False) -> None:
        self.job.log.write(data)
        if self.job._files is not None:
            self._write_file(data, error)
        self.flow.echo(data, error)

    def _write_file(self, data: bytes, error: bool) -> None:
        """Also write to the files that the user has named. From the job's own thread, so what goes wrong is posted."""
        files = self.job._files
        if files is None or self.files_broken:
            return
        try:
            files.write(data, error=error)
        except OSError as trouble:
            self.files_broken = True
            self.flow.inbox.post(self._files_broke, str(trouble))

    def _files_broke(self, why: str) -> None:
        """A full disk costs the files, never the job."""
        logger.warning("the output of job {!r} is in its log only: {}", self.job.name, why)
        self.job._set({"note": f"output is in the log only: {why}"})
        self.flow.touch(self.job)

    def files_over(self, failure: Failure | None) -> None:
        """The attempt has ended: let go of the files, after the traceback if it has failed."""
        if failure is not None:
            self._write_file(encoded(failure.text() + "\n"), True)
        if self.job._files is not None:
            self.job._files.close()

    def report(self, progress: float | None, message: str | None, left_s: float | None) -> None:
        if self.over or self.parted:
            return
        changes: dict[str, Any] = {}
        if progress is not None:
            changes.update(progress=progress, progress_at=time.time(), left_s=left_s)
        if message is not None:
            changes["message"] = " ".join(message.split())[:500]
        self.job._set(changes)
        self.flow.touch(self.job)

    def memory(self, size_bytes: int) -> None:
        if not self.over:
            self.job._set({"memory_bytes": size_bytes})
            self.flow.touch(self.job)

    def note(self, text: str) -> None:
        if not self.over and not self.parted:
            self.job._set({"note": text})
            self.flow.touch(self.job)

    def yields(self, source: Source) -> None:
        if not self.over and not self.parted:
            self.started()
            self.flow.engine.stream_of(self.job, anyway=True)._attach(source)
            self.flow.touch(self.job)

    def serves(self, address: str, *, ready: bool) -> None:
        if not self.over and not self.parted:
            self.job._set({"address": address, "ready": ready})
            self.flow.touch(self.job)

    def done(self, value: Payload, preview: Preview, at: float | None = None) -> None:
        if at is not None and not self.over:
            self.attempt.ended_at = max(at, self.attempt.started_at or at)
        stream = self.job._stream
        if stream is not None and not self.parted:
            if stream._attached:
                value, preview = stream._returned(value, preview)
            else:  # a backend that takes a generator for a value like any other
                self.job._stream = None
                stream._end(None)
        self.flow.attempt_over(self, "done", value=value, preview=preview)

    def failed(self, failure: Failure) -> None:
        if failure.is_a(TaskTerminationException):
            self.stopping, self.why = True, self.why or Reason.USER
            self.flow.attempt_over(self, "cancelled")
            return
        self.attempt.crashed = failure.is_a(WorkerDied)
        self.flow.attempt_over(self, "failed", failure=failure)

    def released(self, why: str) -> None:
        self.flow.attempt_over(self, "released", text=why)

    def stopped(self) -> None:
        self.flow.attempt_over(self, "cancelled")

    def interrupted(self) -> None:
        """The stop button hit a plain function on the user's loop."""
        self.stopping, self.why = True, Reason.USER
        self.flow.attempt_over(self, "cancelled")
