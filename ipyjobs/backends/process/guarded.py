"""The engine's side of the guard: starts it, speaks with it, and cleans up if it dies."""

from __future__ import annotations

import asyncio
import marshal
import mmap
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections import deque
from contextlib import suppress
from typing import Any

from ipyjobs.backends.process import linux, wire
from ipyjobs.backends.process.host import KeeperListener, Listener

TAIL_BYTES = 4000
CLOSE_S = 1.8
_SWEEP_S = 0.01


class SharedGuard:
    """The guard that the backends of an engine share: made for the first that asks."""

    def __init__(self) -> None:
        self._host: GuardHost | None = None

    def host(
        self, loop: asyncio.AbstractEventLoop, workers: Listener | None = None, preload: tuple[str, ...] = ()
    ) -> GuardHost:
        """The guard, which is not started before `GuardHost.open`; everyone who asked must close it in the end."""
        if self._host is None or self._host.closed.is_set():
            self._host = GuardHost(loop)
        self._host.users += 1
        if workers is not None:
            self._host.workers, self._host.preload = workers, preload
        return self._host


class GuardHost:
    """Workers and keepers made by a guard of their own; see `guard`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.users = 0
        self.workers: Listener | None = None
        self.keepers: KeeperListener | None = None
        self.preload: tuple[str, ...] = ()
        self._preloaded: tuple[str, ...] = ()
        self._mark_file = linux.memory_file("ipyjobs-marks", bytes(wire.SLOTS * wire.MARK.size))
        self.marks = mmap.mmap(self._mark_file, 0)
        self._tail = bytearray()
        self._unsent: deque[tuple[tuple[Any, ...], tuple[int, ...]]] = deque()
        self._socket: socket.socket | None = None
        self._said = self._process = -1
        self.pid = 0
        self._token = ""
        self._gone: asyncio.Event | None = None
        self._closing = False
        self.closed = asyncio.Event()
        """Nothing is left, or two seconds have passed."""

    def open(self) -> None:
        if self._process >= 0 or self._closing:
            if self._process >= 0 and self.preload != self._preloaded:
                self.renew()
            return  # another backend has opened it already
        self._token = uuid.uuid4().hex
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        setup = self._setup()
        said, say = os.pipe2(os.O_CLOEXEC) if sys.platform == "linux" else os.pipe()
        os.set_blocking(said, False)
        marks, tokens = wire.environ(), wire.TOKEN.encode()
        token = b":".join(each for each in (marks.get(tokens), self._token.encode()) if each)
        numbers = (setup, theirs.fileno(), setup, self._mark_file, os.getpid())
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", wire.boot("guard", "pass"), *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=say,
            env={**marks, tokens: token},
            pass_fds=(theirs.fileno(), setup, self._mark_file),
            start_new_session=True,
        )
        # We wait for it ourselves; this object would warn that it has not been waited for.
        process.returncode = 0
        for each in (setup, say, theirs.detach()):
            os.close(each)
        self.pid, self._socket, self._said = process.pid, ours, said
        self._process = linux.process_descriptor(self.pid)
        self._gone = asyncio.Event()
        self._loop.add_reader(ours.fileno(), self._hear)
        self._loop.add_reader(said, self._hear_stderr)
        self._loop.add_reader(self._process, self._guard_gone)

    def _setup(self) -> int:
        self._preloaded = self.preload
        return linux.memory_file("ipyjobs-setup", marshal.dumps(wire.setup_of_this_process(self.preload)))

    # -- asking

    def spawn(self, number: int, slot: int, descriptors: tuple[int, int, int, int]) -> None:
        if self._unsent or not self._send(("spawn", number, slot), descriptors):
            self._later(("spawn", number, slot), descriptors)

    def keep(self, number: int, descriptor: int) -> None:
        """Start a keeper that serves on `descriptor`; the caller closes its copy afterwards."""
        if self._unsent or not self._send(("keep", number), (descriptor,)):
            self._later(("keep", number), (descriptor,))

    def kill(self, number: int) -> None:
        if self._unsent or not self._send(("kill", number)):
            self._later(("kill", number))

    def measure(self, numbers: list[int]) -> None:
        if not self._unsent:
            self._send(("measure", numbers))

    def renew(self) -> None:
        setup = self._setup()
        if self._unsent or not self._send(("renew",), (setup,)):
            self._later(("renew",), (setup,))
        os.close(setup)

    def _send(self, message: tuple[Any, ...], descriptors: tuple[int, ...] = ()) -> bool:
        if self._socket is None:
            return True  # it has died; who waits will be told
        try:
            wire.send_packet(self._socket, message, descriptors)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _later(self, message: tuple[Any, ...], descriptors: tuple[int, ...] = ()) -> None:
        if not self._unsent and self._socket is not None:
            self._loop.add_writer(self._socket.fileno(), self._writable)
        self._unsent.append((message, tuple(os.dup(each) for each in descriptors)))

    def _writable(self) -> None:
        while self._unsent:
            message, descriptors = self._unsent[0]
            if not self._send(message, descriptors):
                return
            self._unsent.popleft()
            for each in descriptors:
                os.close(each)
        if self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())

    # -- hearing

    def _hear(self) -> None:
        while self._socket is not None:
            try:
                message = wire.receive_packet(self._socket)
            except BlockingIOError:
                return
            except OSError:
                message = None
            if message is None:
                self._loop.remove_reader(self._socket.fileno())
                return
            verb, *rest, _ = message
            if verb == "unkept" and self.keepers is not None:
                self.keepers.keeper_gone(rest[0])
            if self.workers is None:
                continue
            if verb == "dead":
                self.workers.worker_dead(rest[0], rest[1])
            elif verb == "memory":
                for number, size_bytes in rest[0]:
                    self.workers.memory_measured(number, size_bytes)
            elif verb == "note":
                self.workers.host_note(rest[0])

    def _hear_stderr(self) -> None:
        try:
            data = os.read(self._said, 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._said)
        self._tail += data
        del self._tail[:-TAIL_BYTES]

    def tail(self) -> str:
        if self._said >= 0:
            self._hear_stderr()
        return self._tail.decode(errors="replace").strip()

    # -- the end

    def _guard_gone(self) -> None:
        self._loop.remove_reader(self._process)
        with suppress(ChildProcessError):  # somebody else in this process may wait for all children
            os.waitpid(self.pid, os.WNOHANG)
        if self._closing and self._gone is not None:
            self._gone.set()
        else:
            self._sweep(200)

    def _sweep(self, tries: int) -> None:
        """Kill what the guard has left, then say so. Workers die with it; what they started may not."""
        left = linux.marked(self._token)
        for pid in linux.freeze(left) if left else ():
            linux.send(pid, signal.SIGKILL)
        if left and tries and not self._closing:
            self._loop.call_later(_SWEEP_S, self._sweep, tries - 1)
            return
        if not self._closing:
            self._hear()
            self._drop()
            for each in (self.keepers, self.workers):
                if each is not None:
                    each.host_lost()

    def _drop(self) -> None:
        if self._socket is not None:
            for remove in (self._loop.remove_reader, self._loop.remove_writer):
                remove(self._socket.fileno())
            self._socket.close()
            self._socket = None
        for _, descriptors in self._unsent:
            for each in descriptors:
                os.close(each)
        self._unsent.clear()
        for each in (self._said, self._process):
            if each >= 0:
                self._loop.remove_reader(each)
                os.close(each)
        self._said = self._process = -1

    def forget(self) -> None:
        if self._socket is not None:
            os.close(self._socket.detach())
            self._socket = None
        for each in (self._said, self._process, self._mark_file):
            if each >= 0:
                os.close(each)
        self._said = self._process = self._mark_file = -1

    async def close(self) -> None:
        self.users -= 1
        if self.users:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.closed.wait(), CLOSE_S)
            return
        self._closing = True
        if self._socket is not None and self._gone is not None:
            # The guard takes that for the end, and takes all of its own with it.
            self._socket.shutdown(socket.SHUT_RDWR)
            try:
                await asyncio.wait_for(self._gone.wait(), CLOSE_S)
            except TimeoutError:
                linux.send(self.pid, signal.SIGKILL)
                with suppress(ChildProcessError):  # it is dying by SIGKILL: a millisecond
                    os.waitpid(self.pid, 0)  # noqa: ASYNC222
            for pid in linux.marked(self._token):
                linux.send(pid, signal.SIGKILL)
        self._drop()
        if self._mark_file >= 0:
            os.close(self._mark_file)
            self._mark_file = -1
        self.marks.close()
        self.closed.set()
