"""What jobs print: a bounded log for each job, and the dispatcher that tells the jobs of this process apart."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from ipyjobs.context import running
from ipyjobs.loggers import follow

HEAD_BYTES = TAIL_BYTES = 10 * 1024 * 1024
_BUFFER_BYTES = 32 * 1024


class JobLog:
    """All that one job has printed, stdout and stderr together, as bytes in a file.

    The first 10 MB and the last 10 MB are kept; what lies between is dropped, and said to be. Offsets count every byte
    that was ever written, so they stay valid when the middle goes. The file exists from the first byte on.
    """

    def __init__(
        self, folder: Path, name: str, grew: Callable[[], None], head: int = HEAD_BYTES, tail: int = TAIL_BYTES
    ) -> None:
        self._folder, self._name = folder, name
        self.size = 0
        """Bytes written since the job's first attempt."""
        self._grew = grew
        self._head, self._tail = head, tail
        self._buffer = bytearray()
        self._stored = 0
        self._file = -1
        self._lock = threading.Lock()

    @classmethod
    def kept(cls, folder: Path, place: str, size: int) -> JobLog | None:
        """The log of an earlier process: its file below `folder`, where about `size` bytes were written.

        None if there is no such file there.
        """
        path = (folder / place).resolve()
        if not place or not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
        log = cls(path.parent, path.name, _nothing)
        there = path.stat().st_size
        # What was written may be less than what was said (its process was killed) or more; only in a file that is full
        # it can't be seen, for its tail is a ring.
        log.size = log._stored = there if there < HEAD_BYTES + TAIL_BYTES else max(size, there)
        return log

    @property
    def path(self) -> Path:
        """The file, which exists once something was written."""
        return self._folder / self._name

    @property
    def dropped(self) -> tuple[int, int]:
        """The range of offsets that is no longer kept; (0, 0) when all is."""
        end = self.size - self._tail
        return (self._head, end) if end > self._head else (0, 0)

    def write(self, data: bytes) -> None:
        """Append. May be called from any thread."""
        with self._lock:
            self._buffer += data
            self.size += len(data)
            if len(self._buffer) >= _BUFFER_BYTES:
                self._flush()
        self._grew()

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from `start` to `stop` that are still kept, all by default; negative offsets count from the end."""
        with self._lock:
            start = max(0, self.size + start if start < 0 else start)
            stop = self.size if stop is None else min(self.size, self.size + stop if stop < 0 else stop)
            self._flush()
            if self.size == 0 or not self.path.exists():
                return b""
            gap_start, gap_stop = self.dropped
            with self.path.open("rb") as file:
                parts = (
                    (start, min(stop, gap_start or stop)),
                    (max(start, gap_stop), stop),
                )
                if gap_stop == 0:
                    parts = parts[:1]
                return b"".join(self._read(file, *part) for part in parts if part[0] < part[1])

    def text(self) -> str:
        """All that is kept, decoded as UTF-8; a line says where the middle was dropped."""
        gap_start, gap_stop = self.dropped
        if gap_stop == 0:
            return self.read().decode("utf-8", "replace")
        head, tail = self.read(0, gap_start), self.read(gap_stop)
        gap = f"\n… {gap_stop - gap_start:,} bytes dropped …\n"
        return head.decode("utf-8", "replace") + gap + tail.decode("utf-8", "replace")

    def lines(self) -> list[str]:
        """The lines of `text`."""
        return self.text().splitlines()

    def search(self, query: str, limit: int = 1000) -> tuple[list[int], int]:
        """Offsets of the first `limit` lines that contain `query`, in either case, and how many there are."""
        wanted = query.lower().encode()
        if not wanted:
            return [], 0
        offsets: list[int] = []
        total = 0
        gap_start, gap_stop = self.dropped
        for begin, end in ((0, gap_start), (gap_stop, self.size)) if gap_stop else ((0, self.size),):
            offset = begin
            for line in io.BytesIO(self.read(begin, end)):
                if wanted in line.lower():
                    total += 1
                    if len(offsets) < limit:
                        offsets.append(offset)
                offset += len(line)
        return offsets, total

    def close(self) -> None:
        """Write what is buffered and let go of the file; a later `write` opens it again."""
        with self._lock:
            self._flush()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<log of {self.size:,} bytes, {self.path}>"

    def _flush(self) -> None:
        if not self._buffer:
            return
        if self._file < 0:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        data = memoryview(bytes(self._buffer))
        self._buffer.clear()
        while data:
            place, room = self._place(self._stored)
            written = os.pwrite(self._file, data[:room], place)
            self._stored += written
            data = data[written:]

    def _place(self, offset: int) -> tuple[int, int]:
        """Where `offset` lies in the file, and how many bytes fit from there on: the tail is a ring behind the head."""
        if offset < self._head:
            return offset, self._head - offset
        turn = (offset - self._head) % self._tail
        return self._head + turn, self._tail - turn

    def _read(self, file: io.BufferedReader, start: int, stop: int) -> bytes:
        parts: list[bytes] = []
        while start < stop:
            place, room = self._place(start)
            file.seek(place)
            part = file.read(min(room, stop - start))
            if not part:
                break
            parts.append(part)
            start += len(part)
        return b"".join(parts)


def _nothing() -> None:
    return


class OutputFiles:
    """Files of the user's that get all that a job prints, as it comes: never cut, and appended to.

    Parameters
    ----------
    out, err
        Where stdout and stderr go; may be the same file. Folders are made with the first byte.
    """

    def __init__(self, out: Path, err: Path) -> None:
        self.out, self.err = out, err
        self._descriptors: dict[Path, int] = {}
        self._lock = threading.Lock()

    def write(self, data: bytes, *, error: bool) -> None:
        """Append. May be called from any thread.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        path = self.err if error else self.out
        with self._lock:
            descriptor = self._descriptors.get(path)
            if descriptor is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
                self._descriptors[path] = descriptor
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]

    def close(self) -> None:
        """Let go of the files; a later `write` opens them again."""
        with self._lock:
            while self._descriptors:
                os.close(self._descriptors.popitem()[1])


class Dispatcher:
    """Lies over `sys.stdout` or `sys.stderr`: what a job writes goes to its log, all else passes through.

    It stays where it is and asks the context which job is speaking, so nothing is swapped when jobs begin or end.
    """

    def __init__(self, stream: TextIO, *, error: bool) -> None:
        self._stream = stream
        self._error = error

    def write(self, text: str) -> int:
        job = running.get()
        if job is not None and job.write(encoded(text), error=self._error):
            return len(text)
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        return running.get() is None and self._stream.isatty()

    def close(self) -> None:
        """Never closes what lies below."""

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *exception: object) -> None:
        """Never closes what lies below."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __reduce__(self) -> Any:
        # Captured by a function that goes to a worker, also inside a logger: it is the worker's own stream there.
        return getattr, (sys, "stderr" if self._error else "stdout")


def encoded(text: str) -> bytes:
    """The bytes that `text` stands for; half a character, which has none, is written out."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def dispatch_output() -> None:
    """Lay a `Dispatcher` over whatever `sys.stdout` and `sys.stderr` are now. Doing it twice is harmless."""
    if sys.stdout is not None and type(sys.stdout) is not Dispatcher:
        sys.stdout = _laid_over(sys.stdout, error=False)
    if sys.stderr is not None and type(sys.stderr) is not Dispatcher:
        sys.stderr = _laid_over(sys.stderr, error=True)


def _laid_over(stream: TextIO, *, error: bool) -> TextIO:
    dispatcher = _kept(Dispatcher(stream, error=error))
    follow(stream, dispatcher)
    return dispatcher


# `print` of Python 3.11 borrows `sys.stdout` without keeping it: were a dispatcher freed because somebody replaced it,
# a thread that is just printing through it would crash the interpreter. No single print takes a minute.
_laid: deque[tuple[float, Dispatcher]] = deque()
_KEEP_S = 60.0


def _kept(dispatcher: Dispatcher) -> TextIO:
    now = time.monotonic()
    _laid.append((now, dispatcher))
    while _laid[0][0] < now - _KEEP_S:
        _laid.popleft()
    return cast("TextIO", dispatcher)


def pass_on(data: bytes, error: bool) -> None:
    """Write what a job has printed to this process's own stdout or stderr, below any dispatcher."""
    stream: Any = sys.stderr if error else sys.stdout
    stream = stream._stream if type(stream) is Dispatcher else stream
    try:
        stream.write(data.decode("utf-8", "replace"))
        stream.flush()
    except (OSError, ValueError, AttributeError):  # nobody listens any more
        return
