"""Those who start and end commands, as the engine sees them: behind a guard, or plain child processes."""

from __future__ import annotations

import asyncio
import marshal
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ipyjobs.backends.process import linux, wire
from ipyjobs.backends.process.keeper import LINGER_S

if TYPE_CHECKING:
    from ipyjobs.backends.process.guarded import GuardHost

PACKET_BYTES = 48 * 1024
"""An order above this travels in a file in memory."""
WATCH_S = 0.02
"""How often a command without a guard is asked whether it is dead; there is no event for it everywhere."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be started, and how."""

    arguments: list[bytes]
    program: bytes
    """A path, or a name to be looked for."""
    cwd: bytes
    environ: Mapping[bytes, bytes]
    """The present environment of this process."""
    own: Mapping[bytes, bytes]
    """What the command's differs in; all of it if it is `alone`."""
    alone: bool
    umask: int
    """-1: as this process's."""
    grace_s: float
    """How long those that a command leaves behind may take to end when they are asked to."""


class Owner(Protocol):
    """Hears what becomes of the command that a keeper was given."""

    def running(self, pid: int, since: int) -> None:
        """It has been started; `since` is in ticks of the system, 0 if unknown."""
        ...

    def refused(self, what: str, number: int) -> None:
        """It could not be started because of its "cwd" or "command"; `number` is the system's for what is wrong."""
        ...

    def dead(self, status: int) -> None:
        """It and its whole tree are gone; `status` is that of `os.waitpid`."""
        ...

    def measured(self, size_bytes: int) -> None:
        """What its tree uses."""
        ...


class Keeper(Protocol):
    """Starts one command at a time."""

    number: int
    owner: Owner | None

    def run(self, order: Order, descriptors: tuple[int, ...]) -> None:
        """Start a command with these as its stdout, stderr and, if there are three, stdin. The caller closes them."""
        ...

    def end(self, grace_s: float) -> None:
        """Ask the tree to end, and kill what has not after `grace_s` seconds."""
        ...

    def measure(self) -> None:
        """Have `Owner.measured` called."""
        ...

    def close(self) -> None:
        """It is needed no more; a command that it still has is killed."""
        ...

    def forget(self) -> None:
        """In a forked child: close the copies of what is the parent's."""
        ...


class GuardedKeeper:
    """A keeper that the guard has made; see `keeper`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: GuardHost, number: int) -> None:
        self.number = number
        self.owner: Owner | None = None
        self._loop = loop
        self._environ: Mapping[bytes, bytes] | None = None
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        host.keep(number, theirs.fileno())
        theirs.close()
        loop.add_reader(self._socket.fileno(), self._hear)

    def run(self, order: Order, descriptors: tuple[int, ...]) -> None:
        environ = None if order.environ == self._environ else dict(order.environ)
        if environ is not None:
            self._environ = environ
        what = (
            order.arguments, order.program, order.cwd, environ, dict(order.own), order.alone, order.umask, order.grace_s
        )  # fmt: skip
        data = marshal.dumps(what)
        if len(data) <= PACKET_BYTES:
            self._send(("run", what), descriptors)
            return
        file = linux.memory_file("ipyjobs-order", data)
        try:
            self._send(("run", None), (*descriptors, file))
        finally:
            os.close(file)

    def end(self, grace_s: float) -> None:
        self._send(("end", grace_s))

    def measure(self) -> None:
        self._send(("measure",))

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def forget(self) -> None:
        os.close(self._socket.detach())

    def _send(self, message: tuple[Any, ...], descriptors: tuple[int, ...] = ()) -> None:
        try:
            wire.send_packet(self._socket, message, descriptors)
        except OSError:
            # It is gone, and the guard will say so; or it was stopped (SIGSTOP) and has hundreds of messages to read.
            return

    def _hear(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                message = wire.receive_packet(self._socket)
            except BlockingIOError:
                return
            except OSError:
                message = None
            if message is None:  # the guard says when its tree is gone, too
                self._loop.remove_reader(self._socket.fileno())
                return
            if self.owner is None:
                continue
            verb, *rest, _ = message
            if verb == "running":
                self.owner.running(*rest)
            elif verb == "memory":
                self.owner.measured(*rest)
            elif verb == "refused":
                self.owner.refused(*rest)
            elif verb == "dead":
                self.owner.dead(*rest)


class PlainKeeper:
    """A command that is a plain child process in a session of its own, for systems that have no guard.

    What is lost: a descendant in a session of its own survives if its parent ended before the kill; and if this
    process is killed, the command goes on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        self.number = number
        self.owner: Owner | None = None
        self._loop = loop
        self._process: subprocess.Popen[bytes] | None = None
        self._kill_at: float | None = None
        self._tree: list[Any] = []
        self._grace_s = 0.0
        self._left_at: float | None = None

    def run(self, order: Order, descriptors: tuple[int, ...]) -> None:
        owner = self.owner
        assert owner is not None
        out, err, *stdin = descriptors
        environ = {**({} if order.alone else order.environ), **order.own}
        self._kill_at, self._left_at, self._tree, self._grace_s = None, None, [], order.grace_s
        try:
            self._process = subprocess.Popen(
                order.arguments,
                executable=order.program,
                cwd=order.cwd,
                env=environ,
                umask=order.umask,
                stdin=stdin[0] if stdin else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            what = "cwd" if not os.path.isdir(order.cwd) else "command"
            self._loop.call_soon(owner.refused, what, getattr(error, "errno", None) or 0)
            return
        self._loop.call_soon(owner.running, self._process.pid, 0)
        self._loop.call_later(0.001, self._watch)

    def end(self, grace_s: float) -> None:
        if self._process is None:
            return
        kill_at = self._loop.time() + grace_s
        if self._kill_at is None:
            self._list()
            for each in self._tree:
                _signal(each, signal.SIGTERM)
            _signal_group(self._process.pid, signal.SIGTERM)
            self._kill_at = kill_at
        self._kill_at = min(self._kill_at, kill_at)

    def measure(self) -> None:
        if self._process is not None and self.owner is not None:
            self._list()
            self.owner.measured(sum(map(_resident_bytes, self._tree)))

    def close(self) -> None:
        if self._process is not None:
            self._kill()
            self._process.poll()

    def forget(self) -> None:
        """It holds nothing open."""

    def _watch(self) -> None:
        process = self._process
        if process is None or self.owner is None:
            return
        dead = process.poll() is not None
        if dead:
            self._tree = _left(process.pid, self._tree)
            if not self._tree:
                self._process = None
                code = process.returncode
                self.owner.dead(-code if code < 0 else code << 8)
                return
            if self._kill_at is None and self._left_at is None:
                self._left_at = self._loop.time()
            elif self._kill_at is None and self._loop.time() > (self._left_at or 0.0) + LINGER_S:
                self.end(self._grace_s)
        if self._kill_at is not None and self._loop.time() >= self._kill_at:
            self._kill()
        self._loop.call_later(WATCH_S, self._watch)

    def _list(self) -> None:
        import psutil  # only here: a guard needs none

        assert self._process is not None
        try:
            root = psutil.Process(self._process.pid)
            found = [root, *root.children(recursive=True)]
        except psutil.Error:
            return
        known = {each.pid for each in self._tree}
        self._tree += [each for each in found if each.pid not in known]

    def _kill(self) -> None:
        assert self._process is not None
        self._list()
        for each in self._tree:
            _signal(each, signal.SIGKILL)
        _signal_group(self._process.pid, signal.SIGKILL)


def _signal(process: Any, number: int) -> None:
    import psutil  # see above

    try:
        process.send_signal(number)
    except psutil.Error:  # it has ended
        return


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; whether it has a member, which may be a zombie."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # empty, or only zombies (macOS)
        return False
    return True


def _left(group: int, known: list[Any]) -> list[Any]:
    """Those that live of the processes `known`, and of a process group whose leader is dead."""
    import psutil  # see above

    found = {each.pid: each for each in known}
    if _signal_group(group, 0):
        for pid in psutil.pids():
            with suppress(OSError, psutil.Error):
                if pid not in found and os.getpgid(pid) == group:
                    found[pid] = psutil.Process(pid)
    return [each for each in found.values() if _lives(each)]


def _lives(process: Any) -> bool:
    import psutil  # see above

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _resident_bytes(process: Any) -> int:
    import psutil  # see above

    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
