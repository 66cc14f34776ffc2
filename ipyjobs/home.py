"""Where an engine lives: the loop it moves jobs on, and the loop that belongs to the user."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ipyjobs.errors import EngineNotRunning
from ipyjobs.mailbox import Mailbox

T = TypeVar("T")


class Home:
    """Two loops, which may be the same one.

    ==================  ======================  =======================
    made by             the engine's loop       the user's loop
    ==================  ======================  =======================
    `on_own_thread`     a thread of its own     the same
    `beside`            a thread of its own     the running one
    `on_running_loop`   the running one         the same
    `on_given`          the given one           the same
    ==================  ======================  =======================
    """

    def __init__(self, inbox: Mailbox, outbox: Mailbox, thread: threading.Thread | None) -> None:
        self.inbox = inbox
        """Calls for the engine's loop."""
        self.outbox = outbox
        """Calls for the user's loop."""
        self._thread = thread

    @classmethod
    def on_running_loop(cls) -> Home:
        """Both loops are the running one."""
        mailbox = Mailbox(asyncio.get_running_loop())
        return cls(mailbox, mailbox, None)

    @classmethod
    def on_own_thread(cls) -> Home:
        """Both loops are one on a thread of its own."""
        inbox, thread = _loop_on_thread(None)
        return cls(inbox, inbox, thread)

    @classmethod
    def on_given(cls, loop: asyncio.AbstractEventLoop, running: asyncio.AbstractEventLoop | None) -> Home:
        """Both loops are `loop`, which is `running` here, runs on another thread, or gets one now.

        Raises
        ------
        EngineNotRunning
            The loop is closed.
        """
        if loop.is_closed():
            raise EngineNotRunning("the loop that the engine was given is closed; give it another one")
        if loop is running:
            return cls.on_running_loop()
        if loop.is_running():
            asked: concurrent.futures.Future[int] = concurrent.futures.Future()
            loop.call_soon_threadsafe(lambda: asked.set_result(threading.get_ident()))
            mailbox = Mailbox(loop, asked.result())
            return cls(mailbox, mailbox, None)
        inbox, thread = _loop_on_thread(loop)
        return cls(inbox, inbox, thread)

    @classmethod
    def beside(cls, user_loop: asyncio.AbstractEventLoop) -> Home:
        """The engine's loop gets a thread of its own; the user's is `user_loop`, which runs on this thread."""
        inbox, thread = _loop_on_thread(None)
        return cls(inbox, Mailbox(user_loop), thread)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The engine's loop."""
        return self.inbox.loop

    @property
    def one_loop(self) -> bool:
        """Whether the engine's loop and the user's are the same."""
        return self.inbox is self.outbox

    @property
    def has_thread(self) -> bool:
        """Whether the engine's loop is on a thread of its own."""
        return self._thread is not None

    @property
    def alive(self) -> bool:
        """Whether the engine's loop can still run anything."""
        return not self.loop.is_closed() and (self._thread is None or self._thread.is_alive())

    def here(self) -> bool:
        """Whether this is the engine's thread."""
        return threading.get_ident() == self.inbox.thread

    def on_user_thread(self) -> bool:
        """Whether this is the thread of the user's loop."""
        return threading.get_ident() == self.outbox.thread

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call on the engine's loop and wait for the answer. From any thread.

        Raises
        ------
        EngineNotRunning
            The loop ended before it could answer.
        """
        if self.here():
            return function(*args)
        answer: list[T] = []
        errors: list[BaseException] = []
        # A bare lock costs a tenth of what `concurrent.futures.Future` does.
        ready = threading.Lock()
        ready.acquire()

        def answer_and_wake() -> None:
            try:
                answer.append(function(*args))
            except BaseException as error:
                errors.append(error)
            finally:
                ready.release()

        self.inbox.post(answer_and_wake)
        while not ready.acquire(timeout=1):
            if not self.alive:
                raise EngineNotRunning("the engine's loop has ended; `engine.start()` starts it again")
        if errors:
            raise errors[0]
        return answer[0]

    def leave(self, timeout: float) -> None:
        """End the engine's own thread, if it has one."""
        if self._thread is None:
            return
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            if not self.here():
                self._thread.join(timeout)


def _loop_on_thread(given: asyncio.AbstractEventLoop | None) -> tuple[Mailbox, threading.Thread]:
    ready = threading.Event()
    made: list[Mailbox] = []

    def live() -> None:
        # Whatever arrives for the process is the main thread's business.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        loop = given or asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        made.append(Mailbox(loop))
        loop.call_soon(ready.set)
        try:
            loop.run_forever()
        finally:
            if given is None:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()

    thread = threading.Thread(target=live, name="ipyjobs-engine", daemon=True)
    thread.start()
    ready.wait()
    return made[0], thread
