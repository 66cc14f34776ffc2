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
from contextvars import copy_context
from typing import Any

from ipyjobs import progress
from ipyjobs.backends.process import linux, wire
from ipyjobs.backends.process.hygiene import Hygiene, reseed
from ipyjobs.context import JobContext, running
from ipyjobs.failure import Failure
from ipyjobs.generators import GENERATORS, Move
from ipyjobs.pickling import Payload, dump_result, unpack
from ipyjobs.preview import preview
from ipyjobs.remote import serve

KERNEL_S = 1.0
"""How often a worker without a guard looks whether the engine's process is still there."""
REPORT_S = 0.09
"""At most one report in this time; tqdm draws every 0.1 s."""


def main(setup: dict[str, Any], *numbers: int) -> None:
    """Be a worker that was started by itself, not made by a zygote; the numbers are descriptors, slot and engine."""
    channel, out, err, mark_file, slot, kernel = numbers
    os.close(int(sys.argv[1]))
    sys.argv[:] = [""]
    marks = mmap.mmap(mark_file, 0)
    os.close(mark_file)
    threading.Thread(target=_end_with, args=(kernel,), daemon=True).start()
    Worker(channel, out, err, marks, slot).serve()


def _end_with(kernel: int) -> None:
    while os.getppid() == kernel:
        time.sleep(KERNEL_S)
    os.killpg(0, signal.SIGKILL)


class Worker:
    """One job at a time, until one leaves something behind or the engine goes."""

    def __init__(self, channel: int, out: int, err: int, marks: Any, slot: int) -> None:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        self._channel: socket.socket | None = socket.socket(fileno=channel)
        self._channel.set_inheritable(False)
        self._marks = marks
        self._at = slot * wire.MARK.size
        self._lock = threading.Lock()
        self._out, self._err = _text(1), _text(2)
        self._dress()
        progress.hook_tqdm()
        reseed()
        self._hygiene = Hygiene()
        self._buffer = memoryview(bytearray(65536))
        self._call_number = 0
        self._reported = 0.0
        self._late: _Late | None = None
        self._unsent: tuple[float | None, str | None, float | None] | None = None
        os.register_at_fork(after_in_child=self._forked)

    def serve(self) -> None:
        """Run jobs until the engine closes its end."""
        self._send(wire.READY, os.getpid())
        while True:
            frame = self._receive()
            if frame is None:
                os._exit(0)
            self._run(*frame[1:])
            del frame
            # After the answer, so that nobody waits for it: the next job must not draw what this one's seed decides.
            reseed()

    def _run(self, head: tuple[Any, ...], body: memoryview) -> None:
        number, job_id, name, attempt, fresh, acknowledge, surroundings, sizes = head
        if self._hygiene.has_files and (file := self._hygiene.stale()):
            self._send(wire.STALE, (number, file))
            os._exit(0)
        if acknowledge:
            self._send(wire.STARTED, number)
        wire.MARK.pack_into(self._marks, self._at, number)
        self._call_number = number
        self._dress()
        job = JobContext(job_id, name, attempt, self._report, _never)
        kind, head_rest, data = copy_context().run(self._outcome, job, surroundings, sizes, body)
        self._settle_reports()
        for stream in (sys.stdout, sys.stderr, self._out, self._err):
            _flush(stream)
        linux.flush_stdio()
        left = "" if kind == wire.DONE else "an exception"
        left = left or ("its own worker was asked for" if fresh else self._hygiene.left_behind())
        self._call_number = 0
        self._send(kind, (number, left, self._hygiene.has_files, linux.unread_output(), *head_rest), data)
        if left:
            os._exit(0)

    def _outcome(
        self, job: JobContext, surroundings: Any, sizes: Any, body: memoryview
    ) -> tuple[int, tuple[Any, ...], bytes]:
        running.set(job)
        try:
            if surroundings is not None:
                self._hygiene.enter(surroundings)
            function, args, kwargs = unpack(*_parts(sizes, body))
            value = function(*args, **kwargs)
            if type(value) not in _PLAIN and inspect.iscoroutine(value):
                import asyncio  # only coroutine functions need it, 30 ms

                value = asyncio.run(value)
            if type(value) in GENERATORS:
                value = serve(value, self)
            seen = preview(value)
            return wire.DONE, (seen.type, seen.short, seen.text), dump_result(value)
        except BaseException as error:
            return wire.FAILED, (), Failure.of(error).to_bytes()
        finally:
            running.set(None)

    # -- talking

    def yielding(self) -> None:
        """The present call has given a generator."""
        self._send(wire.YIELDING, self._call_number)

    def yielded(self, data: bytes) -> None:
        """Its generator has yielded this pickle."""
        self._send(wire.YIELDED, self._call_number, data)

    def next_step(self) -> tuple[Move, memoryview]:
        """Wait for what the generator of the present call is to do."""
        while (frame := self._receive()) is None or frame[0] != wire.STEP:
            if frame is None:
                os._exit(0)
        return frame[1][1], frame[2]

    async def step_comes(self) -> None:
        """Wait on the running loop until there is something to be received."""
        import asyncio  # as above

        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        assert self._channel is not None
        loop.add_reader(self._channel.fileno(), came.set)
        try:
            await came.wait()
        finally:
            loop.remove_reader(self._channel.fileno())

    def _receive(self) -> tuple[int, tuple[Any, ...], memoryview] | None:
        channel = self._channel
        assert channel is not None
        # One buffer for all calls: asking for a new one each time costs a system call or two at the end of the heap.
        view, at = self._buffer, 0
        size = wire.HEADER.size
        kind = head_size = 0
        while at < size:
            count = channel.recv_into(view[at:])
            if count == 0:
                return None
            at += count
            if not head_size and at >= wire.HEADER.size:
                kind, head_size, body_size = wire.HEADER.unpack_from(view)
                size += head_size + body_size
                if size > len(view):
                    whole = memoryview(bytearray(size))
                    whole[:at] = view[:at]
                    view = whole
        body = wire.HEADER.size + head_size
        return kind, marshal.loads(view[wire.HEADER.size : body]), view[body:size]

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


def _parts(
    sizes: tuple[int, int, tuple[tuple[str, int], ...]], body: memoryview
) -> tuple[Any, Any, dict[str, Payload]]:
    function_size, arguments_size, upstream_sizes = sizes
    at = function_size + arguments_size
    upstream: dict[str, Payload] = {}
    for job_id, size in upstream_sizes:
        upstream[job_id] = Payload.of_bytes(body[at : at + size])
        at += size
    return body[:function_size], body[function_size : function_size + arguments_size], upstream


def _text(descriptor: int) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw, 65536), "utf-8", "backslashreplace", line_buffering=True)


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except Exception:  # whatever a job has put there
        return
