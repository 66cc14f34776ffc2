"""The guard: starts and ends all processes of one engine, and outlives none of them.

It runs in a session of its own, where no stop button reaches it, is the sub-reaper of all it starts, imports nothing
of the user's, and ends everything when the engine's process is gone, however it went.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from ipyjobs.backends.process import keeper, linux, wire

IMPORT_S = 60.0
"""A zygote that is not ready by then hangs in an import."""
END_S = 1.5
"""How long the guard tries to see its processes die before it leaves itself."""
LATE_S = 5.0
"""After that a dead worker is reported although something of its tree cannot be killed (it waits for a broken disk)."""


def main(setup: dict[str, Any], engine: int, setup_file: int, mark_file: int, kernel_pid: int) -> None:
    """Run until the engine goes; the arguments are descriptors and the engine's process."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    linux.become_subreaper()
    os.chdir("/")
    kernel = linux.process_descriptor(kernel_pid)
    if os.getppid() != kernel_pid:
        return
    guard = Guard(socket.socket(fileno=engine), setup_file, mark_file)
    try:
        guard.watch(kernel)
    finally:
        guard.end()
        os._exit(0)


def _wake(number: int, frame: object) -> None:
    """Only there so that the wake-up descriptor is written to."""


class _Engine(Exception):
    """The engine is gone, or wants the end."""


class Guard:
    """Keeps the books: who was asked for, who lives, who is dying."""

    def __init__(self, engine: socket.socket, setup_file: int, mark_file: int) -> None:
        self._engine = engine
        self._setup_file = setup_file
        self._mark_file = mark_file
        self._zygote_pid = 0
        self._zygote: socket.socket | None = None
        self._ready = False
        self._since = 0.0
        self._importing = ""
        self._dropped: list[str] = []
        self._asked: dict[int, tuple[int, tuple[int, ...]]] = {}
        """Workers that the zygote was asked for: slot and descriptors by number."""
        self._condemned: set[int] = set()
        """Those to be killed as soon as they are born."""
        self._workers: dict[int, int] = {}
        """Living workers: number by process."""
        self._keepers: dict[int, int] = {}
        """Those who keep commands: number by process."""
        self._dying: list[tuple[float, tuple[Any, ...]]] = []
        """Dead workers and keepers whose trees may not yet be empty: since when, and what to say of them then."""

    def watch(self, kernel: int) -> None:
        """Serve until the engine's process is gone or has closed its end."""
        wake, waker = socket.socketpair()
        waker.setblocking(False)
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, _wake)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._engine.setblocking(False)
        self._say("hello", os.getpid())
        while True:
            poll = select.poll()
            for each in (kernel, wake, self._engine, self._zygote):
                if each is not None:
                    poll.register(each, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(self._patience_ms())}
            if kernel in ready:
                return
            if wake.fileno() in ready:
                wake.recv(4096)
            try:
                self._hear_zygote()
                if self._engine.fileno() in ready:
                    self._hear_engine()
                self._reap()
                self._check_zygote()
            except _Engine:
                return

    def end(self) -> None:
        """Kill everything, the sooner stopped the better, and wait for it."""
        until = time.monotonic() + END_S
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
        if self._dying:
            return 20
        return None if self._ready or self._zygote is None else 1000

    # -- the engine

    def _hear_engine(self) -> None:
        while True:
            try:
                message = wire.receive_packet(self._engine)
            except BlockingIOError:
                return
            except OSError:
                raise _Engine from None
            if message is None:
                raise _Engine
            verb, *rest = message
            if verb == "spawn":
                worker, slot, descriptors = rest
                self._asked[worker] = (slot, descriptors)
                self._ask(worker)
            elif verb == "kill":
                self._kill(rest[0])
            elif verb == "measure":
                self._measure(rest[0])
            elif verb == "keep":
                self._keep(rest[0], *rest[1])
            elif verb == "renew":
                os.close(self._setup_file)
                self._setup_file = rest[0][0]
                if self._zygote_pid:
                    self._renew_zygote()

    def _say(self, *message: Any) -> None:
        try:
            self._engine.setblocking(True)
            wire.send_packet(self._engine, message)
        except OSError:
            raise _Engine from None
        finally:
            self._engine.setblocking(False)

    def _keep(self, number: int, engine: int) -> None:
        """Make a keeper, which serves on the socket `engine`."""
        guard = os.getpid()
        pid = os.fork()
        if pid == 0:
            keeper.serve(engine, guard)
        os.close(engine)
        self._keepers[pid] = number

    def _kill(self, worker: int) -> None:
        pid = next((pid for pid, number in self._workers.items() if number == worker), None)
        if pid is not None:
            for each in linux.freeze([pid]):
                linux.send(each, signal.SIGKILL)
        elif worker in self._asked:
            self._condemned.add(worker)

    def _measure(self, workers: list[int]) -> None:
        wanted = set(workers)
        pids = {pid: number for pid, number in self._workers.items() if number in wanted}
        by_parent: dict[int, list[int]] = {}
        for pid, parent in linux.parents().items():
            by_parent.setdefault(parent, []).append(pid)
        sizes: list[tuple[int, int]] = []
        for root, number in pids.items():
            tree = [root]
            for each in tree:  # grows while it is walked
                tree.extend(by_parent.get(each, ()))
            sizes.append((number, linux.resident_bytes(tree)))
        self._say("memory", sizes)

    # -- the dead

    def _reap(self) -> None:
        changed = bool(self._dying)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            changed = True
            if pid == self._zygote_pid:
                self._zygote_gone()
            elif (number := self._workers.pop(pid, None)) is not None:
                self._dying.append((time.monotonic(), ("dead", number, status)))
            elif (number := self._keepers.pop(pid, None)) is not None:
                self._dying.append((time.monotonic(), ("unkept", number)))
        if changed:
            self._sweep()

    def _sweep(self) -> None:
        """Kill what the dead have left behind; when nothing is left, say that they are dead."""
        mine = linux.children(os.getpid())
        # Who was born in between has been announced before it became a child of ours.
        self._hear_zygote()
        ours = {self._zygote_pid, *self._workers, *self._keepers}
        strays = [pid for pid in mine if pid not in ours]
        for pid in linux.freeze(strays) if strays else ():
            linux.send(pid, signal.SIGKILL)
        late = time.monotonic() - LATE_S
        for each in list(self._dying):
            at, message = each
            if not strays or at < late:
                self._dying.remove(each)
                self._say(*message)

    # -- the zygote

    def _start_zygote(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        setup = marshal.loads(os.pread(self._setup_file, 1 << 30, 0))
        environ = setup["environ"] | {wire.TOKEN.encode(): os.environb[wire.TOKEN.encode()]}
        code = wire.boot("zygote")
        arguments = [setup["executable"], *setup["flags"], "-c", code]
        for descriptor in (theirs.fileno(), self._setup_file, self._mark_file):
            os.set_inheritable(descriptor, True)
        numbers = (self._setup_file, theirs.fileno(), self._mark_file, os.getpid())
        skipped = ",".join(self._dropped)
        environ[b"IPYJOBS_SKIP"] = skipped.encode()
        # Python ignores SIGPIPE and we ignore more; no child of ours should begin like that.
        defaults = [signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGTSTP]
        self._zygote_pid = os.posix_spawn(
            setup["executable"], [*arguments, *map(str, numbers)], environ, setsigmask=(), setsigdef=defaults
        )
        theirs.close()
        self._zygote, self._ready, self._since, self._importing = ours, False, time.monotonic(), ""

    def _hear_zygote(self) -> None:
        while self._zygote is not None:
            try:
                message = wire.receive_packet(self._zygote)
            except BlockingIOError:
                return
            except OSError:
                message = None
            if message is None:
                self._zygote.close()
                self._zygote = None
                return
            verb, *rest = message
            if verb == "born":
                self._born(rest[0], rest[1])
            elif verb == "unborn":
                self._unborn(rest[0])
            elif verb == "importing":
                self._importing, self._since = rest[0], time.monotonic()
            elif verb == "ready":
                self._ready, self._importing = True, ""
            elif verb == "note":
                self._say("note", rest[0])

    def _born(self, worker: int, pid: int) -> None:
        _, descriptors = self._asked.pop(worker, (0, ()))
        for each in descriptors:
            os.close(each)
        self._workers[pid] = worker
        self._say("born", worker, pid)
        if worker in self._condemned:
            self._condemned.discard(worker)
            self._kill(worker)

    def _unborn(self, worker: int) -> None:
        if worker in self._asked:
            for each in self._asked.pop(worker)[1]:
                os.close(each)
            self._condemned.discard(worker)
            self._dying.append((time.monotonic(), ("dead", worker, -1)))

    def _ask(self, worker: int) -> None:
        if self._zygote is None:
            if self._zygote_pid:
                return  # it is dying; who waits will be told
            self._start_zygote()
        slot, descriptors = self._asked[worker]
        assert self._zygote is not None
        try:
            wire.send_packet(self._zygote, (worker, slot), descriptors)
        except BlockingIOError:
            self._zygote.setblocking(True)
            wire.send_packet(self._zygote, (worker, slot), descriptors)
            self._zygote.setblocking(False)
        except OSError:
            return  # it has died; who waits will be told

    def _renew_zygote(self) -> None:
        """Replace the zygote by one with the present setup; those who wait, wait for the new one."""
        self._hear_zygote()
        if self._zygote_pid:
            linux.send(self._zygote_pid, signal.SIGKILL)
            os.waitpid(self._zygote_pid, 0)
            self._hear_zygote()
        if self._zygote is not None:
            self._zygote.close()
        self._start_zygote()
        for worker in self._asked:
            self._ask(worker)

    def _zygote_gone(self) -> None:
        self._hear_zygote()
        self._zygote_pid = 0
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
        if self._importing:
            # Not the fault of those who wait: they wait for a zygote without it.
            self._dropped.append(self._importing)
            self._say("note", f"{self._importing} is no longer preloaded: the process that imported it ended")
            self._start_zygote()
            for worker in self._asked:
                self._ask(worker)
            return
        for worker, (_, descriptors) in self._asked.items():
            for each in descriptors:
                os.close(each)
            self._dying.append((time.monotonic(), ("dead", worker, -1)))
        self._asked.clear()
        self._condemned.clear()

    def _check_zygote(self) -> None:
        if self._zygote_pid and not self._ready and time.monotonic() - self._since > IMPORT_S:
            sys.stderr.write(f"the import of {self._importing or 'cloudpickle'} takes more than {IMPORT_S:g} s\n")
            sys.stderr.flush()
            self._since = time.monotonic()
            linux.send(self._zygote_pid, signal.SIGKILL)
