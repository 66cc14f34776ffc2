"""Commands, each a process tree of its own, started and ended through the engine's guard."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from ipyjobs.backends import Backend
from ipyjobs.backends.process import linux, wire
from ipyjobs.backends.process.guarded import GuardHost, SharedGuard
from ipyjobs.backends.process.keepers import GuardedKeeper, Keeper, Order, PlainKeeper
from ipyjobs.errors import JobLost
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.kinds.command import TAIL_BYTES, Command, error_of, place_of, record, refusal_of
from ipyjobs.pickling import Packed, Payload
from ipyjobs.preview import preview

SPARE = 4
"""So many keepers stay when they have nothing to do; each takes about 1 MB."""
MEASURE_S = 1.0
CLOSE_S = 1.0
"""How long commands may take to end when the engine ends, before they are killed."""

_READ_BYTES = 65536
_DRAINS = 64
"""So often a pipe is read after the end: more than any pipe holds. Somebody outside of the tree may still write."""
_ZERO = preview(0)


class CommandBackend(Backend):
    """Runs the commands of `SubprocessJob`, on the engine's loop and without a thread for each.

    Parameters
    ----------
    guarded
        Whether a guard keeps the commands; by default where the system allows it. Without, daemons of a command
        survive it, and commands survive a killed kernel.
    guard
        Where to get the guard from, if it is to be shared with other backends.
    """

    name: ClassVar[str] = "command"
    costly: ClassVar[bool] = True

    def __init__(self, *, guarded: bool | None = None, guard: SharedGuard | None = None) -> None:
        super().__init__(None)
        self._guarded = linux.available() if guarded is None else guarded
        self._guard = guard or SharedGuard()
        self._host: GuardHost | None = None
        self._works: dict[Context, _Work] = {}
        self._idle: list[Keeper] = []
        self._keepers: dict[int, Keeper] = {}
        self._numbers = itertools.count(1)
        self._closing = False
        self._measuring = False
        self._ended: asyncio.Event | None = None
        self._oom_kills = 0

    def pack(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], shared: dict[Any, Any]
    ) -> Packed | None:
        return None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._closing = False
        self._oom_kills = linux.oom_kills()
        if self._guarded:
            self._host = self._guard.host(loop)
            self._host.keepers = self
            self._host.open()
            self._idle.append(self._new_keeper())
        _opened.add(self)

    def start(self, call: Call, context: Context) -> None:
        command: Command = call.args[0]
        if self._host is not None:
            self._host.open()  # it may have died
        work = self._works[context] = _Work(self, self._loop, command, context)
        keeper = self._idle.pop() if self._idle else self._new_keeper()
        try:
            work.begin(keeper)
        except OSError as error:  # no descriptors left, or the job's folder cannot be made
            self._over(work).failed(Failure.of(error))
        if not self._measuring:
            self._measuring = True
            self._loop.call_later(MEASURE_S, self._measure)

    def stop(self, context: Context) -> bool:
        work = self._works.get(context)
        if work is not None and not work.stopping:
            work.stopping = True
            work.end(work.command.grace_s)
        return True

    async def close(self) -> None:
        self._closing = True
        _opened.discard(self)
        if self._works:
            self._ended = asyncio.Event()
            for work in list(self._works.values()):
                work.stopping = True
                work.end(min(work.command.grace_s, CLOSE_S))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), CLOSE_S + 0.5)
        for each in self._keepers.values():
            each.close()
        self._keepers.clear()
        self._idle.clear()
        host, self._host = self._host, None
        if host is not None:
            await host.close()
        for work in list(self._works.values()):
            self.stopped(work)

    # -- keepers

    def _new_keeper(self) -> Keeper:
        number = next(self._numbers)
        if self._host is None:
            keeper: Keeper = PlainKeeper(self._loop, number)
        else:
            keeper = GuardedKeeper(self._loop, self._host, number)
        self._keepers[number] = keeper
        return keeper

    def _rest(self, keeper: Keeper) -> None:
        keeper.owner = None
        if len(self._idle) < SPARE and keeper.number in self._keepers:
            self._idle.append(keeper)
        else:
            self._drop(keeper)

    def _drop(self, keeper: Keeper) -> None:
        self._keepers.pop(keeper.number, None)
        keeper.close()

    def keeper_gone(self, number: int) -> None:
        """A keeper has died and its tree with it, or it was needed no more."""
        keeper = self._keepers.get(number)
        if keeper is not None:
            self._lost(keeper, "what kept its process was killed")

    def host_lost(self) -> None:
        """The guard has died, and all commands with it; the next job makes a new one."""
        said = self._host.tail() if self._host is not None else ""
        why = "the guard of this engine was killed" + (f"; it said:\n{said}" if said else "")
        for keeper in list(self._keepers.values()):
            self._lost(keeper, why)

    def _lost(self, keeper: Keeper, why: str) -> None:
        work = keeper.owner
        self._drop(keeper)
        if keeper in self._idle:
            self._idle.remove(keeper)
        if isinstance(work, _Work):
            work.close()
            if work.stopping:
                self.stopped(work)
            else:
                text = f"command {work.command.text[:200]!r} was killed, as {why}"
                self._over(work).failed(Failure.died(text, JobLost))

    # -- ends

    def refused(self, work: _Work, what: str, number: int) -> None:
        """A command could not be started."""
        if work.stopping:
            self.stopped(work)
        else:
            self._over(work).failed(Failure.of(refusal_of(work.command, what, number)))

    def dead(self, work: _Work, status: int) -> None:
        """A command has ended, and nothing of it is left."""
        if work.stopping:
            self.stopped(work)
            return
        code = os.waitstatus_to_exitcode(status)
        context = self._over(work)
        self.hold()
        if code == 0:
            context.done(Payload(0), _ZERO)
        else:
            memory = code == -signal.SIGKILL and self._out_of_memory()
            context.failed(Failure.of(error_of(work.command, code, *work.tails, memory=memory)))
        self.settle()

    def stopped(self, work: _Work) -> None:
        """A command was stopped, and nothing of it is left."""
        if self._works.get(work.context) is work:
            self._over(work).stopped()

    def _over(self, work: _Work) -> Context:
        del self._works[work.context]
        work.close()
        if work.keeper is not None:
            keeper, work.keeper = work.keeper, None
            self._rest(keeper)
        if not self._works and self._ended is not None:
            self._ended.set()
        return work.context

    def _out_of_memory(self) -> bool:
        before, self._oom_kills = self._oom_kills, linux.oom_kills()
        return self._oom_kills > before

    def _measure(self) -> None:
        self._measuring = bool(self._works) and not self._closing
        if self._measuring:
            for work in self._works.values():
                if work.keeper is not None:
                    work.keeper.measure()
            self._loop.call_later(MEASURE_S, self._measure)

    def forget(self) -> None:
        """In a forked child: close the copies of what is the parent's."""
        if self._host is not None:
            self._host.forget()
        for keeper in self._keepers.values():
            keeper.forget()
        for work in self._works.values():
            work.forget()
        self._host, self._closing = None, True


class _Work:
    """One attempt, from `start` to its end: the command's pipes, and what its keeper says."""

    __slots__ = ("_backend", "_feed", "_loop", "_outputs", "command", "context", "keeper", "stopping", "tails")

    def __init__(
        self, backend: CommandBackend, loop: asyncio.AbstractEventLoop, command: Command, context: Context
    ) -> None:
        self._backend = backend
        self._loop = loop
        self.command = command
        self.context = context
        self.keeper: Keeper | None = None
        self.stopping = False
        self.tails = (b"", b"")
        """The end of what it printed to stdout and stderr."""
        self._outputs: dict[int, bool] = {}
        """Read ends that are still open; True for stderr."""
        self._feed: tuple[int, memoryview] | None = None
        """The write end of its stdin, and what has not been written yet."""

    def begin(self, keeper: Keeper) -> None:
        """Have the command started."""
        self.keeper, keeper.owner = keeper, self
        command = self.command
        cwd = place_of(command)
        if command.record:
            record(command)
        theirs: list[int] = []
        try:
            for error in (False, True):
                ours, end = _pipe()
                os.set_blocking(ours, False)
                self._outputs[ours] = error
                theirs.append(end)
            if command.stdin is not None:
                end, ours = _pipe()
                os.set_blocking(ours, False)
                self._feed = ours, memoryview(command.stdin)
                theirs.append(end)
            keeper.run(_order(command, cwd), tuple(theirs))
        finally:
            for each in theirs:
                os.close(each)
        for each in self._outputs:
            self._loop.add_reader(each, self._read, each)
        if self._feed is not None:
            self._loop.add_writer(self._feed[0], self._write)

    def end(self, grace_s: float) -> None:
        """Have the command's tree ended."""
        if self.keeper is not None:
            self.keeper.end(grace_s)

    # -- what the keeper says

    def running(self, pid: int, since: int) -> None:
        self.context.handle(f"pid {pid} since {since}" if since else f"pid {pid}")
        self.context.started(f"pid {pid}")

    def refused(self, what: str, number: int) -> None:
        self._backend.refused(self, what, number)

    def dead(self, status: int) -> None:
        for each in tuple(self._outputs):
            for _ in range(_DRAINS):
                if not self._read(each):
                    break
        self._backend.dead(self, status)

    def measured(self, size_bytes: int) -> None:
        self.context.memory(size_bytes)

    # -- pipes

    def _read(self, descriptor: int) -> bool:
        """Hand on a part of what was printed; whether there may be more."""
        if descriptor not in self._outputs:
            return False
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        error = self._outputs[descriptor]
        if not data:
            self._close_output(descriptor)
            return False
        out, err = self.tails
        self.tails = (out, _end_of(err, data)) if error else (_end_of(out, data), err)
        self.context.write(data, error=error)
        return True

    def _write(self) -> None:
        """Feed a part of stdin."""
        if self._feed is None:
            return
        descriptor, data = self._feed
        try:
            data = data[os.write(descriptor, data[:_READ_BYTES]) :]
        except BlockingIOError:
            return
        except OSError:  # it reads no more
            data = data[:0]
        self._feed = descriptor, data
        if not data:
            self._close_feed()

    def _close_output(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        del self._outputs[descriptor]
        os.close(descriptor)

    def _close_feed(self) -> None:
        if self._feed is not None:
            descriptor, _ = self._feed
            self._feed = None
            self._loop.remove_writer(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Give up the pipes."""
        for each in tuple(self._outputs):
            self._close_output(each)
        self._close_feed()

    def forget(self) -> None:
        """In a forked child: close the copies of what is the parent's."""
        for each in (*self._outputs, *(self._feed or ())[:1]):
            os.close(each)
        self._outputs, self._feed = {}, None


def _order(command: Command, cwd: str) -> Order:
    encode = os.fsencode
    return Order(
        arguments=[encode(each) for each in command.arguments],
        program=encode(command.program),
        cwd=encode(cwd),
        environ=wire.environ(),
        own={encode(name): encode(value) for name, value in command.env.items()},
        alone=command.alone,
        umask=command.umask,
        grace_s=command.grace_s,
    )


def _pipe() -> tuple[int, int]:
    return os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()


def _end_of(before: bytes, data: bytes) -> bytes:
    return data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (before + data)[-TAIL_BYTES:]


_opened: weakref.WeakSet[CommandBackend] = weakref.WeakSet()


def _forked() -> None:
    for each in list(_opened):
        each.forget()
    _opened.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
