"""A worker: calls one function after another, and says what became of each."""

from __future__ import annotations

import inspect
import io
import marshal
import mmap
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from contextvars import copy_context
from typing import Any

from ipyjobs import progress
from ipyjobs.backends.process import linux, wire
from ipyjobs.backends.process.functions import Functions
from ipyjobs.backends.process.hygiene import Hygiene, reseed
from ipyjobs.context import JobContext, running
from ipyjobs.failure import Failure
from ipyjobs.generators import GENERATORS, Move
from ipyjobs.pickling import Payload, dump_result, unpack, unpack_arguments
from ipyjobs.preview import NOTHING, preview
from ipyjobs.remote import serve

KERNEL_S = 1.0
"""How often a worker without a guard looks whether the engine's process is still there."""
REPORT_S = 0.09
"""At most one report in this time; tqdm draws every 0.1 s."""


def main(setup: dict[str, Any], *numbers: int) -> None:
    """Be a worker that was started by itself, not made by a zygote; the numbers are descriptors, slot and engine."""
    channel, claims, out, err, mark_file, slot, kernel = numbers
    os.close(int(sys.argv[1]))
    sys.argv[:] = [""]
    marks = mmap.mmap(mark_file, 0)
    os.close(mark_file)
    threading.Thread(target=_end_with, args=(kernel,), daemon=True).start()
    Worker(channel, claims, out, err, marks, slot).serve()


def _end_with(kernel: int) -> None:
    while os.getppid() == kernel:
        time.sleep(KERNEL_S)
    os.killpg(0, signal.SIGKILL)


class Worker:
    """One job at a time, until one leaves something behind or the engine goes."""

    def __init__(self, channel: int, claims: int, out: int, err: int, marks: Any, slot: int) -> None:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        self._channel: socket.socket | None = socket.socket(fileno=channel)
        self._channel.set_inheritable(False)
        self._claims = socket.socket(fileno=claims)
        self._claims.set_inheritable(False)
        self._marks = marks
        self._at = slot * wire.MARK.size
        self._lock = threading.Lock()
        self._out, self._err = _text(1), _text(2)
        self._dress()
        progress.hook_tqdm()
        reseed()
        self._hygiene = Hygiene()
        self._functions = Functions()
        self._buffer = memoryview(bytearray(65536))
        self._filled = 0
        """Bytes of a frame that has not come as a whole, at the start of the buffer."""
        self._calls: deque[tuple[tuple[Any, ...], memoryview]] = deque()
        """What has come and was not looked at yet."""
        self._steps: deque[tuple[Move, memoryview]] = deque()
        """What the generator of the present call is to do."""
        self._claim = 0
        """The last call that was claimed."""
        self._paused = False
        """The engine has yet to read what the last job has printed."""
        self._call_number = 0
        self._reported = 0.0
        self._late: _Late | None = None
        self._unsent: tuple[float | None, str | None, float | None] | None = None
        os.register_at_fork(after_in_child=self._forked)

    def serve(self) -> None:
        """Run jobs until the engine closes its end."""
        self._send(wire.READY, os.getpid())
        while (call := self._next()) is not None:
            self._run(*call)
            del call
            # After the answer, so that nobody waits for it: the next job must not draw what this one's seed decides.
            reseed()
        os._exit(0)

    def _run(self, head: tuple[Any, ...], body: memoryview) -> None:
        number, job_id, name, attempt, fresh, acknowledge, _, surroundings, sizes = head
        if self._hygiene.has_files and (file := self._hygiene.stale()):
            self._send(wire.STALE, (number, file))
            os._exit(0)
        if acknowledge:
            self._send(wire.STARTED, number)
        wire.MARK.pack_into(self._marks, self._at, number)
        self._call_number = number
        self._dress()
        began_at = time.time()
        job = JobContext(job_id, name, attempt, self._report, _never)
        kind, head_rest, data = copy_context().run(self._outcome, job, surroundings, sizes, body)
        ended_at = time.time()
        self._settle_reports()
        if sys.stdout is not self._out or sys.stderr is not self._err:
            _flush(sys.stdout)
            _flush(sys.stderr)
        _flush(self._out)
        _flush(self._err)
        linux.flush_stdio()
        left = "" if kind == wire.DONE else "an exception"
        left = left or ("its own worker was asked for" if fresh else self._hygiene.left_behind())
        self._call_number = 0
        self._paused = linux.unread_output()
        said = (number, left, self._hygiene.has_files, self._paused, ended_at, ended_at - began_at)
        self._send(kind, (*said, *head_rest), data)
        if left:
            os._exit(0)

    def _outcome(
        self, job: JobContext, surroundings: Any, sizes: Any, body: memoryview
    ) -> tuple[int, tuple[Any, ...], bytes]:
        running.set(job)
        try:
            if surroundings is not None:
                self._hygiene.enter(surroundings)
            function, args, kwargs = self._unpack(sizes, body)
            value = function(*args, **kwargs)
            if type(value) not in _PLAIN and inspect.iscoroutine(value):
                import asyncio  # only coroutine functions need it, 30 ms

                value = asyncio.run(value)
            if type(value) in GENERATORS:
                value = serve(value, self)
            seen = preview(value)
            return wire.DONE, () if seen is NOTHING else seen, dump_result(value)
        except BaseException as error:
            return wire.FAILED, (), Failure.of(error).to_bytes()
        finally:
            running.set(None)

    def _unpack(self, sizes: tuple[int, int, Any], body: memoryview) -> tuple[Any, Any, Any]:
        function_size, arguments_size, upstream_sizes = sizes
        at = function_size + arguments_size
        function, arguments = body[:function_size], body[function_size:at]
        if not upstream_sizes:
            return self._functions.load(bytes(function)), *unpack_arguments(arguments, {})
        upstream: dict[str, Payload] = {}
        for job_id, size in upstream_sizes:
            upstream[job_id] = Payload.of_bytes(body[at : at + size])
            at += size
        return unpack(function, arguments, upstream)

    # -- talking

    def yielding(self) -> None:
        """The present call has given a generator."""
        self._send(wire.YIELDING, self._call_number)

    def yielded(self, data: bytes) -> None:
        """Its generator has yielded this pickle."""
        self._send(wire.YIELDED, self._call_number, data)

    def next_step(self) -> tuple[Move, memoryview]:
        """Wait for what the generator of the present call is to do."""
        while not self._steps:
            if not self._receive():
                os._exit(0)
        return self._steps.popleft()

    async def step_comes(self) -> None:
        """Wait on the running loop until there is a step."""
        import asyncio  # as above

        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        assert self._channel is not None
        loop.add_reader(self._channel.fileno(), came.set)
        try:
            while not self._steps:
                await came.wait()
                came.clear()
                if not self._receive():
                    os._exit(0)
        finally:
            loop.remove_reader(self._channel.fileno())

    def _next(self) -> tuple[tuple[Any, ...], memoryview] | None:
        """The next call that is meant to be run; None at the end."""
        while True:
            while self._paused or not self._calls:
                if not self._receive():
                    return None
            head, body = self._calls.popleft()
            if not head[6] or self._claimed(head[0]):
                return head, body

    def _claimed(self, number: int) -> bool:
        """Claim a call that was sent ahead; False if the engine has taken it back."""
        while self._claim < number:
            try:
                data = self._claims.recv(wire.CLAIM.size, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            if not data:
                return False
            (self._claim,) = wire.CLAIM.unpack(data)
        return self._claim == number

    def _receive(self) -> bool:
        """Wait for more to come; False at the end."""
        channel, view = self._channel, self._buffer
        assert channel is not None
        # One buffer for all calls: asking for a new one each time costs a system call or two at the end of the heap.
        count = channel.recv_into(view[self._filled :])
        if count == 0:
            return False
        at, end = 0, self._filled + count
        while end - at >= wire.HEADER.size:
            kind, head_size, body_size = wire.HEADER.unpack_from(view, at)
            head_at = at + wire.HEADER.size
            body_at = head_at + head_size
            frame_end = body_at + body_size
            if frame_end > end:
                if frame_end - at <= len(view):
                    break
                big = memoryview(bytearray(body_at - head_at + body_size))
                big[: end - head_at] = view[head_at:end]
                if not self._fill(channel, big, end - head_at):
                    return False
                self._frame(kind, big[:head_size], big[head_size:])
                at = end
                break
            # A copy, as what comes next may come before this is looked at.
            self._frame(kind, view[head_at:body_at], memoryview(bytes(view[body_at:frame_end])))
            at = frame_end
        self._filled = end - at
        if at and self._filled:
            view[: self._filled] = bytes(view[at:end])
        return True

    @staticmethod
    def _fill(channel: socket.socket, view: memoryview, filled: int) -> bool:
        while filled < len(view):
            count = channel.recv_into(view[filled:])
            if count == 0:
                return False
            filled += count
        return True

    def _frame(self, kind: int, head: memoryview, body: memoryview) -> None:
        if kind == wire.GO_ON:
            self._paused = False
            return
        call = marshal.loads(head)
        if kind == wire.STEP:
            if call[0] == self._call_number:
                self._steps.append((call[1], body))
            return
        if not call[6]:  # not sent ahead: whatever was is void
            self._paused = False
        self._calls.append((call, body))

    def _send(self, kind: int, head: Any, data: bytes = b"") -> None:
        with self._lock:
            if self._channel is None:
                return
            try:
                for part in wire.frame(kind, head, data):
                    self._channel.sendall(part)
            except OSError:
                # Nobody is there any more; the guard ends what is left of us.
                os._exit(0)

    def _report(self, progress: float | None, message: str | None, left_s: float | None) -> None:
        """Send now, or, if that was done just before, a little later unless there is something newer by then."""
        now = time.monotonic()
        if self._channel is None or not self._call_number:
            return
        if self._unsent is not None:
            before = self._unsent
            progress, left_s = (progress, left_s) if progress is not None else (before[0], before[2])
            message = message if message is not None else before[1]
        if now - self._reported >= REPORT_S:
            self._reported, self._unsent = now, None
            self._send(wire.REPORT, (self._call_number, progress, message, left_s))
            return
        self._unsent = (progress, message, left_s)
        if self._late is None:
            self._late = _Late(self._reported + REPORT_S - now, self._send_late)
            self._late.start()

    def _send_late(self) -> None:
        self._late = None
        unsent = self._unsent
        if unsent is not None and self._call_number:
            self._unsent = None
            self._reported = time.monotonic()
            self._send(wire.REPORT, (self._call_number, *unsent))

    def _settle_reports(self) -> None:
        late = self._late
        if late is not None:
            late.cancel()
            late.join()
            self._late = None
        self._send_late()
        self._reported = 0.0

    def _forked(self) -> None:
        """In a child of the job's: it must neither speak for the worker nor keep its line open."""
        channel, self._channel = self._channel, None
        self._late = None
        self._lock = threading.Lock()
        if channel is not None:
            os.close(channel.detach())
            os.close(self._claims.detach())

    def _dress(self) -> None:
        """Put the standard streams back; an earlier job may have replaced them."""
        sys.stdout = sys.__stdout__ = self._out  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self._err  # type: ignore[misc]


class _Late(threading.Timer):
    daemon = True


_PLAIN = frozenset({type(None), int, float, str, bytes, bool, list, dict, tuple, set})


def _never() -> bool:
    # A job that is cancelled here is killed, and so is never in a position to ask.
    return False


def _text(descriptor: int) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw, 65536), "utf-8", "backslashreplace", line_buffering=True)


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except Exception:  # whatever a job has put there
        return
