"""Web apps: run by another backend, given a port, and looked after until they answer there."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, cast

from ipyjobs import ports
from ipyjobs.backends import Backend
from ipyjobs.backends.process import linux
from ipyjobs.errors import WebappFailed
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.generators import Source
from ipyjobs.kinds.command import TAIL_BYTES, last_lines, run_command
from ipyjobs.kinds.webapp import LOOPBACK, Webapp
from ipyjobs.pickling import Payload
from ipyjobs.preview import Preview

TRIES = 5
"""So many ports are tried if others take them while the app starts."""
FIRST_S, LOOK_S, WATCH_S = 0.02, 0.25, 1.0
"""Between two looks for the listener: at first, then up to, and once it was there. No event tells of it."""
CONNECT_S = 1.0

_TAKEN = re.compile(
    rb"address already in use|EADDRINUSE|only one usage of each socket|port \d+ is (already )?(in use|taken|used)",
    re.IGNORECASE,
)


class WebappBackend(Backend):
    """Gives each web app a port, has it run elsewhere, and says when it answers.

    Parameters
    ----------
    inner
        Gives the backend of a name, open.
    """

    name: ClassVar[str] = "webapp"

    def __init__(self, inner: Callable[[str], Backend]) -> None:
        super().__init__(None)
        self._inner = inner
        self._apps: dict[Context, _App] = {}

    def start(self, call: Call, context: Context) -> None:
        webapp: Webapp = call.args[0]
        app = self._apps[context] = _App(call, context, webapp, self._inner(webapp.inner), self._over)
        app.begin()

    def stop(self, context: Context) -> bool:
        app = self._apps.get(context)
        return True if app is None else app.stop()

    async def close(self) -> None:
        for each in list(self._apps.values()):
            each.rest()

    def _over(self, context: Context) -> None:
        self._apps.pop(context, None)


class _App:
    """One attempt at a web app: the context that the backend which runs it speaks to."""

    def __init__(
        self, call: Call, context: Context, webapp: Webapp, inner: Backend, over: Callable[[Context], None]
    ) -> None:
        self._call = call
        self._context = context
        self._webapp = webapp
        self._inner = inner
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._port = 0
        self._tries = 0
        self._tail = b""
        self._root = 0
        """The process that its tree descends from; 0 where that cannot be known."""
        self._sockets: set[str] = set()
        """Numbers of its listeners, once they were found."""
        self._was_ready = False
        self._verdict: Failure | None = None
        """Why it is being stopped, if not because somebody asked for it."""
        self._looking: asyncio.Task[None] | None = None

    @property
    def stopping(self) -> bool:
        """Whether the engine has asked for a stop, or the app has failed."""
        return self._context.stopping or self._verdict is not None

    def begin(self) -> None:
        """Start it on a port."""
        webapp, call = self._webapp, self._call
        self._tries += 1
        self._tail = b""
        try:
            self._port = ports.promise(webapp.ip, webapp.port)
        except OSError as error:
            self._end()
            self._context.failed(Failure.of(WebappFailed(f"web app {call.name!r} cannot listen: {error.strerror}")))
            return
        self._context.serves(self._address, ready=False)
        if webapp.command is not None:
            inner = replace(call, function=run_command, args=(webapp.at(self._port),), packed=None)
        else:
            arguments = (webapp.ip, self._port)
            packed = call.packed and call.packed._replace(arguments=pickle.dumps((arguments, {})))
            inner = replace(call, args=arguments, packed=packed)
        try:
            self._inner.start(inner, cast("Context", self))
        except BaseException:
            self._end()
            raise

    def stop(self) -> bool:
        """Have it ended."""
        self.rest()
        return self._inner.stop(cast("Context", self))

    def rest(self) -> None:
        """Look for it no more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    @property
    def _address(self) -> str:
        ip = LOOPBACK if self._webapp.ip == ports.EVERYWHERE else self._webapp.ip
        return f"http://{ip}:{self._port}"

    # -- what the backend says

    @property
    def job_id(self) -> str:
        return self._context.job_id

    def started(self, worker: str = "", at: float | None = None) -> None:
        self._context.started(worker, at)
        pid = worker.removeprefix("pid ")
        if pid.isdigit():
            self._root = int(pid)
        if self._looking is None and not self.stopping:
            self._looking = self._loop.create_task(self._look())

    def handle(self, text: str) -> None:
        self._context.handle(text)

    def write(self, data: bytes, *, error: bool = False) -> None:
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        self._context.write(data, error=error)

    def report(self, progress: float | None, message: str | None, left_s: float | None) -> None:
        self._context.report(progress, message, left_s)

    def memory(self, size_bytes: int) -> None:
        self._context.memory(size_bytes)

    def note(self, text: str) -> None:
        self._context.note(text)

    def serves(self, address: str, *, ready: bool) -> None:
        self._context.serves(address, ready=ready)

    def yields(self, source: Source) -> None:
        self._context.yields(source)

    def done(self, value: Payload, preview: Preview, at: float | None = None) -> None:
        if self._ended():
            return
        if self._was_ready:
            self._context.done(value, preview, at)
        else:
            self._fail(f"ended before it listened on {self._webapp.ip}:{self._port}")

    def failed(self, failure: Failure) -> None:
        if not self._ended():
            self._context.failed(failure)

    def released(self, why: str) -> None:
        self._end()
        self._context.released(why)

    def stopped(self) -> None:
        if not self._ended():
            self._context.stopped()

    def interrupted(self) -> None:
        self._end()
        self._context.interrupted()

    # -- ends

    def _ended(self) -> bool:
        """Nothing of it is left; whether the engine needs to be told no more."""
        port = self._port
        if self._may_try_again(port):
            self.rest()
            ports.give_back(port)
            self._context.write(f"port {port} was taken by another program: trying another\n".encode(), error=True)
            self.begin()
            return True
        self._end()
        if self._verdict is not None:
            self._context.failed(self._verdict)
        return self._verdict is not None

    def _may_try_again(self, port: int) -> bool:
        if self._was_ready or self.stopping or self._webapp.port is not None or self._tries >= TRIES:
            return False
        if _TAKEN.search(self._tail):
            return True
        ports.give_back(port)  # it asks whether others have it
        return bool(ports.trouble(self._webapp.ip, port))

    def _end(self) -> None:
        self.rest()
        ports.give_back(self._port)
        self._over(self._context)

    def _fail(self, why: str) -> None:
        said = last_lines(self._tail)
        text = f"web app {self._call.name!r} {why}" + (f"; it said:\n{said}" if said else "")
        self._context.failed(Failure.of(WebappFailed(text)))

    # -- looking

    async def _look(self) -> None:
        """Wait until it listens, then watch that it goes on."""
        deadline = self._loop.time() + self._webapp.within_s
        pause_s = FIRST_S
        while not await self._listens():
            if self._loop.time() >= deadline:
                self._too_late()
                return
            await asyncio.sleep(min(pause_s, max(0.0, deadline - self._loop.time())))
            pause_s = min(LOOK_S, pause_s * 1.3)
        self._was_ready = ready = True
        self._context.serves(self._address, ready=True)
        self._look_at_address()
        while True:
            await asyncio.sleep(WATCH_S)
            if (now := self._is_listener_ours()) is not ready:
                ready = now
                self._context.serves(self._address, ready=ready)

    async def _listens(self) -> bool:
        """Whether the listener is there, is the app's own, and takes a connection."""
        if not self._is_listener_ours():
            return False
        return await self._connects(socket.AF_INET, LOOPBACK) or (
            self._webapp.ip == "localhost" and await self._connects(socket.AF_INET6, "::1")
        )

    async def _connects(self, family: int, ip: str) -> bool:
        try:
            with socket.socket(family) as probe:
                probe.setblocking(False)
                await asyncio.wait_for(self._loop.sock_connect(probe, (ip, self._port)), CONNECT_S)
        except (OSError, TimeoutError):
            return False
        return True

    def _is_listener_ours(self) -> bool:
        if not ports.can_listen_be_seen():
            return True
        found = ports.listeners(self._port).keys()
        if not found or found & self._sockets:
            return bool(found)
        pids = self._pids()
        self._sockets = ports.owned(found, pids) if pids else set(found)
        return bool(self._sockets)

    def _pids(self) -> set[int]:
        """The processes that may listen for it; none where they are not known."""
        match self._webapp.inner:
            case "command" if self._root:
                # What the command has orphaned hangs on its keeper.
                parent = linux.parent(self._root)
                root = self._root if parent in (0, 1, os.getpid()) else parent
            case "process" if self._root:
                root = self._root
            case "thread" | "local":
                root = os.getpid()
            case _:
                return set()
        return {root, *linux.descendants([root])}

    def _look_at_address(self) -> None:
        if self._webapp.ip != ports.EVERYWHERE and any(map(ports.everywhere, ports.listeners(self._port).values())):
            self._context.note(f"listens on every address of this machine, though it was told {self._webapp.ip}")

    def _too_late(self) -> None:
        where = f"{self._webapp.ip}:{self._port}"
        why = f"does not listen on {where} {self._webapp.within_s:g} s after it was started"
        if ports.can_listen_be_seen() and ports.listeners(self._port):
            why += ", but another program does"
        said = last_lines(self._tail)
        text = f"web app {self._call.name!r} {why}" + (f"; it said:\n{said}" if said else "")
        self._verdict = Failure.of(WebappFailed(text))
        self._looking = None
        if not self._inner.stop(cast("Context", self)):
            self._ended()
