"""Where an engine lives: its start and its end, and the way to its loops from any thread."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Self, cast

from ipyjobs.chronicle import Chronicle
from ipyjobs.engines import swap_default_engine
from ipyjobs.errors import EngineForked, EngineNotRunning, InvalidStateError
from ipyjobs.flow import Flow
from ipyjobs.home import Home
from ipyjobs.log import logger
from ipyjobs.mailbox import Mailbox
from ipyjobs.waiting import Act

if TYPE_CHECKING:
    from ipyjobs.engine import Engine

GRACE_S = 2.0
"""How long `Residence.stop` gives what runs to end."""


class Residence:
    """The half of an engine that has to do with loops: it can be started, stopped and started again."""

    flow: Flow
    chronicle: Chronicle

    def __init__(self, threaded: bool | None, loop: asyncio.AbstractEventLoop | None) -> None:
        self.threaded = threaded
        self._given_loop = loop
        self.pid = os.getpid()
        self.grace_s: float = 2 * GRACE_S
        """How long `stop` waits at most."""
        self._home: Home | None = None
        self._outbox_before: Mailbox | None = None
        self._starting = threading.RLock()
        self._defaults_before: list[Engine | None] = []
        self._closing: asyncio.Task[None] | None = None

    def start(self) -> Self:
        """Begin to run jobs. Starting a running engine only warns.

        Raises
        ------
        EngineNotRunning
            ``threaded=False`` or ``True`` and there is no running loop to live on or beside.
        """
        self._check_fork()
        with self._starting:
            if self._home is not None and self._home.alive:
                logger.warning("the engine is running already")
                return self
            loop = _running_loop()
            if self._given_loop is not None:
                self._settle(Home.on_given(self._given_loop, loop))
            elif self.threaded is None:
                self._settle(Home.on_own_thread())
            elif loop is None:
                raise EngineNotRunning(
                    f"Engine(threaded={self.threaded}) lives on or beside a running loop and there is none here; "
                    "start it in a coroutine, or leave `threaded` out"
                )
            else:
                self._settle(Home.beside(loop) if self.threaded else Home.on_running_loop())
        return self

    def stop(self) -> Act:
        """Cancel what has not ended, end workers and threads, and rest. `start` wakes the engine up again.

        Blocks for at most a few seconds, except on the engine's own loop, where it must be awaited. What can't be
        ended, such as a thread, goes on and is named in a warning.
        """
        self._check_fork()
        home = self._home
        if home is None:
            logger.warning("the engine is not running")
            return Act()
        if not home.alive:
            self._home = None
            return Act()
        self.chronicle.engine_closes()
        if home.here():
            closing = self._closing = home.loop.create_task(self._close(home))
            return Act(lambda: asyncio.shield(closing))
        ended = threading.Event()

        def close() -> None:
            task = self._closing = home.loop.create_task(self._close(home))
            task.add_done_callback(lambda _: (ended.set(), home.outbox.nudge()))

        home.inbox.post(close)
        if home.on_user_thread():
            home.outbox.wait(ended.is_set, time.monotonic() + self.grace_s)
        else:
            ended.wait(self.grace_s)
        home.leave(GRACE_S)
        return Act()

    def __enter__(self) -> Self:
        self.start()
        self._defaults_before.append(swap_default_engine(cast("Engine", self)))
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._restore_default()

    async def __aenter__(self) -> Self:
        self._here()
        self._defaults_before.append(swap_default_engine(cast("Engine", self)))
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()
        self._restore_default()

    def _restore_default(self) -> None:
        now = swap_default_engine(self._defaults_before.pop())
        if now is not None and now is not self:  # somebody has set another one meanwhile
            swap_default_engine(now)

    @property
    def alive(self) -> bool:
        """Whether it runs jobs at present."""
        return self._home is not None and self._home.alive

    def blocked_by_waiting(self) -> bool:
        """Whether this is the thread of the engine's loop, where nobody must wait for a job without ``await``."""
        return self._here().here()

    @property
    def has_thread(self) -> bool:
        """Whether it runs jobs at present, on a thread of its own."""
        return self._home is not None and self._home.has_thread and self._home.alive

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop it moves jobs on; may be set while the engine does not run.

        Raises
        ------
        InvalidStateError
            It is set while the engine runs.
        """
        if self._given_loop is not None and not self.alive:
            return self._given_loop
        return self._here().loop

    @loop.setter
    def loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.alive:
            raise InvalidStateError("the engine lives on a loop already; stop it before you give it another one")
        self._given_loop = loop

    @property
    def outbox(self) -> Mailbox:
        """Calls for the user's loop."""
        box = self._home.outbox if self._home is not None else self._outbox_before
        assert box is not None
        return box

    @property
    def inbox(self) -> Mailbox:
        """Calls for the engine's loop."""
        return self._here().inbox

    def _check_fork(self) -> None:
        if self.pid != os.getpid():
            raise EngineForked(self.pid)

    def _here(self) -> Home:
        """The engine's home; made on the running loop if there is none yet."""
        self._check_fork()
        home = self._home
        if home is not None and home.alive:
            return home
        loop = _running_loop()
        if loop is None or self._given_loop not in (None, loop):
            raise EngineNotRunning(
                "the engine is not running: use `with Engine() as engine`, `engine.start()`, or submit in a coroutine"
            )
        with self._starting:
            self._settle(Home.beside(loop) if self.threaded else Home.on_running_loop())
        assert self._home is not None
        return self._home

    def _settle(self, home: Home) -> None:
        """Begin to live at `home`."""
        self._home = home
        self._outbox_before = home.outbox

    async def _closing_up(self) -> None:
        """What else there is to end, once all jobs have."""

    async def _close(self, home: Home) -> None:
        await self.flow.stopping.close(GRACE_S)
        await self._closing_up()
        if self._home is home:
            self._home = None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
