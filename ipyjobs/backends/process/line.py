"""The engine's line to one worker: frames both ways, and what the worker prints, all on the engine's loop."""

from __future__ import annotations

import asyncio
import marshal
import mmap
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from ipyjobs.backends.process import wire

_SMALL = 65536


class Listener(Protocol):
    """Hears what comes over a line."""

    @property
    def heard(self) -> Callable[[int, Any, bytes | memoryview], None]:
        """To be called with kind, head and body of each frame."""
        ...

    def printing(self) -> None:
        """Output will be read."""
        ...

    def printed(self, data: bytes, error: bool) -> None:
        """Output was read."""
        ...

    def hold(self) -> None:
        """Frames will be heard."""
        ...

    def settle(self) -> None:
        """They have been, all that came at once."""
        ...


class Line:
    """A worker's socket and its two output pipes.

    Nothing here blocks: each turn of the loop moves at most a part of a big frame.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        self._loop = loop
        self._listener = listener
        self._heard = listener.heard
        self._socket, self._theirs = socket.socketpair()
        self._socket.setblocking(False)
        self._number = self._socket.fileno()
        self._outputs: dict[int, bool] = {}
        """Read ends that are still open; True for stderr."""
        self._inherited = [self._theirs.detach()]
        self._claims, self._claimed = socket.socketpair()
        self._claims.setblocking(False)
        self._claimed.setblocking(False)
        for error in (False, True):
            read, write = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
            os.set_blocking(read, False)
            self._outputs[read] = error
            self._inherited.append(write)
        self._unsent: deque[memoryview] = deque()
        self._start = b""
        self._whole: memoryview | None = None
        self._filled = 0
        self._body_at = 0
        self._kind = 0
        self.ended = False
        """The worker has closed its end, and all that it said has been heard."""

    def listen(self) -> tuple[int, int, int, int]:
        """Begin; returns the worker's descriptors (socket, claims, stdout, stderr), to be passed on, then dropped."""
        self._loop.add_reader(self._number, self._readable)
        for each in self._outputs:
            self._loop.add_reader(each, self._printing, each)
        channel, out, err = self._inherited
        return channel, self._claimed.fileno(), out, err

    def drop_theirs(self) -> None:
        """Close the worker's descriptors in this process, once the worker has them."""
        for each in self._inherited:
            os.close(each)
        self._inherited = []

    def send(self, buffers: list[Any]) -> None:
        """Send a frame, now or as fast as the worker reads."""
        if not self._unsent:
            try:
                sent = self._socket.send(buffers[0])
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # it is gone; the guard will say so
            if sent < len(buffers[0]):
                buffers[0] = memoryview(buffers[0])[sent:]
            else:
                del buffers[0]
            if not buffers:
                return
            self._loop.add_writer(self._number, self._writable)
        self._unsent.extend(memoryview(each).cast("B") for each in buffers if len(each))

    def send_ahead(self, numbers: list[int], frames: list[bytes]) -> bool:
        """Send calls that the worker may begin once it has ended what it does; False if they cannot be sent now."""
        if self._unsent:
            return False
        try:
            # First, so that a frame without is one that was taken back.
            self._claims.send(b"".join(map(wire.CLAIM.pack, numbers)))
        except OSError:
            return False
        self.send([b"".join(frames)])
        return True

    def take_back(self) -> set[int]:
        """The numbers of those calls that were sent ahead and now will never be begun.

        The worker reads one number at a time, just before it begins: the kernel decides who is first.
        """
        taken: set[int] = set()
        if self._socket.fileno() >= 0:
            with suppress(OSError):
                while data := self._claimed.recv(4096):
                    taken.update(number for (number,) in wire.CLAIM.iter_unpack(data))
        return taken

    def hear(self) -> None:
        """Hear what the worker has said up to now, not waiting for a turn of the loop."""
        while not self.ended and self._read():
            pass

    @property
    def sending(self) -> bool:
        """Whether part of a frame has not left yet."""
        return bool(self._unsent)

    def drain_output(self) -> None:
        """Hand on what has been printed up to now."""
        for each in tuple(self._outputs):
            self._read_output(each)

    def drain(self) -> None:
        """Hear all there is, after the worker's death; big frames too."""
        self.hear()
        for each in tuple(self._outputs):
            while each in self._outputs and self._read_output(each):
                pass

    def close(self) -> None:
        """Give up all descriptors. Closing twice is harmless."""
        self.drop_theirs()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._number)
            if self._unsent:
                self._loop.remove_writer(self._number)
                self._unsent.clear()
            self._socket.close()
            self._claims.close()
            self._claimed.close()
        for each in tuple(self._outputs):
            self._close_output(each)
        self._whole = None

    def forget(self) -> None:
        """Close the copies of a forked child, without touching the loop, which the parent still uses."""
        for each in (*self._inherited, *self._outputs, self._socket, self._claims, self._claimed):
            os.close(each if isinstance(each, int) else each.detach())
        self._inherited, self._outputs = [], {}

    # -- reading

    def _readable(self) -> None:
        self._listener.hold()
        self._read()
        self._listener.settle()

    def _read(self) -> bool:
        """Move what is there, at most a part; False if there is nothing more at present."""
        if self._socket.fileno() < 0:
            return False
        try:
            if self._whole is not None:
                return self._read_big()
            data = self._socket.recv(_SMALL)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        if self._start:
            data = self._start + data
            self._start = b""
        self._frames(data)
        return True

    def _frames(self, data: bytes) -> None:
        header = wire.HEADER
        if len(data) >= header.size:
            # Nearly always it is one whole frame.
            kind, head_size, body_size = header.unpack_from(data)
            body_at = header.size + head_size
            if len(data) == body_at + body_size:
                self._heard(kind, marshal.loads(data[header.size : body_at]), data[body_at:])
                return
        view = memoryview(data)
        while len(view) >= header.size:
            kind, head_size, body_size = header.unpack_from(view)
            body_at = header.size + head_size
            size = body_at + body_size
            if len(view) < size:
                if size > _SMALL:
                    self._begin_big(kind, body_at, size, view)
                    return
                break
            head = marshal.loads(view[header.size : body_at])
            self._heard(kind, head, view[body_at:size])
            view = view[size:]
        if view and self._socket.fileno() >= 0:
            self._start = bytes(view)

    def _begin_big(self, kind: int, body_at: int, size: int, view: memoryview) -> None:
        # A mapping is filled with zeros as it is written; a bytearray at once, 40 ms for 100 MB.
        self._whole = memoryview(mmap.mmap(-1, size)) if size > wire.PART_BYTES else memoryview(bytearray(size))
        self._whole[: len(view)] = view
        self._kind, self._body_at, self._filled = kind, body_at, len(view)

    def _read_big(self) -> bool:
        whole = self._whole
        assert whole is not None
        stop = min(len(whole), self._filled + wire.PART_BYTES)
        while self._filled < stop:
            try:
                count = self._socket.recv_into(whole[self._filled : stop])
            except BlockingIOError:
                return False
            if count == 0:
                self._end()
                return False
            self._filled += count
        if self._filled == len(whole):
            self._whole = None
            head = marshal.loads(whole[wire.HEADER.size : self._body_at])
            self._heard(self._kind, head, whole[self._body_at :])
        return True

    def _end(self) -> None:
        self.ended = True
        self._loop.remove_reader(self._number)

    def _printing(self, descriptor: int) -> None:
        self._listener.printing()
        if descriptor in self._outputs:
            self._read_output(descriptor)

    def _read_output(self, descriptor: int) -> bool:
        try:
            data = os.read(descriptor, _SMALL)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close_output(descriptor)
            return False
        self._listener.printed(data, self._outputs[descriptor])
        return True

    def _close_output(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        del self._outputs[descriptor]
        os.close(descriptor)

    # -- writing

    def _writable(self) -> None:
        left = wire.PART_BYTES
        while self._unsent and left > 0:
            part = self._unsent[0]
            try:
                sent = self._socket.send(part[:left])
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()
                break
            left -= sent
            if sent == len(part):
                self._unsent.popleft()
            else:
                self._unsent[0] = part[sent:]
        if not self._unsent:
            self._loop.remove_writer(self._number)
