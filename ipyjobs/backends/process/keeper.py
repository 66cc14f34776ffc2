"""A keeper: starts commands, one at a time, and ends each with all that it has started.

The guard forks it once and it is used again and again, because a command can then be started without a copy of a
Python (`posix_spawn`, a third of the time). It is a sub-reaper: what a command's descendants orphan becomes its child,
daemons in sessions of their own too, so all that descends from it belongs to its command. It outlives neither the
engine nor the guard.
"""

from __future__ import annotations

import errno
import marshal
import math
import os
import select
import signal
import socket
import time
from contextlib import suppress
from typing import Any, NoReturn

from ipyjobs.backends.process import linux, wire

LINGER_S = 0.2
"""What a command has left behind when it ends by itself may finish for so long (``tee`` in a shell's ``> >(tee log)``),
then it is asked to end, too."""
LATE_S = 5.0
"""So long after SIGKILL a command is reported dead although something of its tree can't die (it waits for a disk)."""
AGAIN_S = 0.02
"""Between two looks for what has escaped a SIGKILL, by being born meanwhile."""

# Python ignores the first two, the guard the others; no command should begin like that.
_DEFAULTS = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGTSTP,
)  # fmt: skip


def serve(engine: int, guard_pid: int) -> NoReturn:
    """In a child that the guard has just forked: serve on the socket `engine` until it or the guard is gone."""
    for each in os.listdir("/proc/self/fd"):
        if int(each) > 2 and int(each) != engine:
            with suppress(OSError):  # the listing's own is closed already
                os.close(int(each))
    linux.become_subreaper()
    keeper = Keeper(socket.socket(fileno=engine))
    try:
        guard = linux.process_descriptor(guard_pid)
        if os.getppid() == guard_pid:
            keeper.watch(guard)
    finally:
        keeper.end()
        os._exit(0)


def _wake(number: int, frame: object) -> None:
    """Only there so that the wake-up descriptor is written to."""


class Keeper:
    """One command at most, and its tree."""

    def __init__(self, engine: socket.socket) -> None:
        self._engine = engine
        engine.setblocking(False)
        self._environ: dict[bytes, bytes] = {}
        self._token = os.environb.get(wire.TOKEN.encode(), b"")
        self._busy = False
        self._command = 0
        """Its process; 0 when that is dead, though others of its tree may live."""
        self._status = 0
        self._grace_s = 0.0
        self._term_at = self._kill_at = math.inf
        self._asked = False

    def watch(self, guard: int) -> None:
        """Serve until the engine has closed its end, or the guard is gone."""
        wake, waker = socket.socketpair()
        wake.setblocking(False)
        waker.setblocking(False)
        signal.signal(signal.SIGCHLD, _wake)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        poll = select.poll()
        for each in (guard, wake.fileno(), self._engine.fileno()):
            poll.register(each, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(self._patience_ms())}
            if guard in ready:
                return
            if wake.fileno() in ready:
                wake.recv(4096)
            if self._engine.fileno() in ready and not self._hear():
                return
            if self._busy and not self._look():
                return

    def end(self) -> None:
        """Kill everything and wait for it."""
        until = time.monotonic() + LATE_S
        while time.monotonic() < until:
            tree = linux.freeze(linux.children(os.getpid()))
            for pid in tree:
                linux.send(pid, signal.SIGKILL)
            try:
                while os.waitpid(-1, 0 if tree else os.WNOHANG)[0]:
                    tree.clear()
            except ChildProcessError:
                return

    def _patience_ms(self) -> float | None:
        next_at = min(self._term_at, self._kill_at)
        if not self._busy or next_at == math.inf:
            return None
        left_s = next_at - time.monotonic()
        return 1e3 * (left_s if left_s > 0 else AGAIN_S)

    # -- the engine

    def _hear(self) -> bool:
        """Do what the engine asks; False if it is gone."""
        while True:
            try:
                message = wire.receive_packet(self._engine)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if message is None:
                return False
            verb, *rest, descriptors = message
            if verb == "run":
                self._run(rest[0], descriptors)
            elif verb == "end" and self._busy:
                self._end_within(0.0, rest[0])
            elif verb == "measure" and self._busy:
                self._say("memory", linux.resident_bytes(linux.descendants([os.getpid()])))

    def _end_within(self, linger_s: float, grace_s: float) -> None:
        term_at = time.monotonic() + linger_s
        self._kill_at = min(self._kill_at, term_at + grace_s)
        if not self._asked:
            self._term_at = min(self._term_at, term_at)

    def _say(self, *message: Any) -> None:
        try:
            self._engine.setblocking(True)
            wire.send_packet(self._engine, message)
        except OSError:
            return  # it is gone, which is heard next
        finally:
            self._engine.setblocking(False)

    # -- a command's life

    def _run(self, order: tuple[Any, ...] | None, descriptors: tuple[int, ...]) -> None:
        if order is None:  # too big for a packet
            *rest, file = descriptors
            order = marshal.loads(os.pread(file, 1 << 31, 0))
            os.close(file)
            descriptors = tuple(rest)
        assert order is not None
        arguments, program, cwd, environ, own, alone, umask, self._grace_s = order
        if environ is not None:
            self._environ = environ
        variables = {**({} if alone else self._environ), **own, wire.TOKEN.encode(): self._token}
        try:
            self._command = self._spawn(arguments, program, cwd, variables, umask, descriptors)
        except _Refused as error:
            self._say("refused", *error.args)
        else:
            self._busy, self._asked = True, False
            self._term_at = self._kill_at = math.inf
            self._say("running", self._command, linux.started_at(self._command))
        finally:
            for each in descriptors:
                os.close(each)

    def _spawn(
        self,
        arguments: list[bytes],
        name: bytes,
        cwd: bytes,
        environ: dict[bytes, bytes],
        umask: int,
        descriptors: tuple[int, ...],
    ) -> int:
        out, err, *stdin = descriptors
        feed = (os.POSIX_SPAWN_DUP2, stdin[0], 0) if stdin else (os.POSIX_SPAWN_OPEN, 0, b"/dev/null", os.O_RDONLY, 0)
        actions = [feed, (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
        try:
            os.chdir(cwd)
        except OSError as error:
            raise _Refused("cwd", error.errno) from None
        before = os.umask(umask) if umask >= 0 else -1
        try:
            program = _found(name, environ)
            return os.posix_spawn(
                program, arguments, environ, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_DEFAULTS
            )
        except OSError as error:
            raise _Refused("command", error.errno) from None
        finally:
            if before >= 0:
                os.umask(before)
            os.chdir(b"/")

    def _look(self) -> bool:
        """See who has died, and do what is due; False if something cannot be killed: no place for others."""
        self._reap()
        now = time.monotonic()
        mine = os.getpid()
        left = linux.children(mine)
        if not self._command:
            late = now > self._kill_at + LATE_S
            if not left or late:
                self._busy = False
                self._say("dead", self._status)
                return not late
            if self._kill_at == math.inf:
                self._end_within(LINGER_S, self._grace_s)
        if now >= self._kill_at:
            for pid in linux.freeze(left):
                linux.send(pid, signal.SIGKILL)
        elif now >= self._term_at and not self._asked:
            self._asked, self._term_at = True, math.inf
            for pid in linux.descendants([mine]):
                linux.send(pid, signal.SIGTERM)
        return True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._command:
                self._command, self._status = 0, status


class _Refused(Exception):
    """The command could not be started: because of what, and the system's error number."""


def _found(name: bytes, environ: dict[bytes, bytes]) -> bytes:
    """The file that `name` means. Looked for here, as trying to execute it in each folder would take 0.2 ms a folder.

    Raises
    ------
    OSError
        There is none, or none that may be executed.
    """
    if b"/" in name:
        return name
    there = False
    for folder in environ.get(b"PATH", os.fsencode(os.defpath)).split(b":"):
        file = os.path.join(folder or b".", name)
        if os.path.isfile(file):
            if os.access(file, os.X_OK):
                return file
            there = True
    number = errno.EACCES if there else errno.ENOENT
    raise OSError(number, os.strerror(number))
