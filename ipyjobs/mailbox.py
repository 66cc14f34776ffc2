"""Hops from any thread to a loop, many in one wake-up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from ipyjobs.log import logger

SLICE_S = 0.005
"""How long one drain may hold the loop before others get a turn."""


class Mailbox:
    """Calls to be made on a loop's thread, in the order in which they were posted.

    A loop that stands still (a cell blocks it) can be stood in for by its own thread: `wait` makes the calls while it
    waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int | None = None) -> None:
        self.loop = loop
        self.thread = threading.get_ident() if thread is None else thread
        """Identity of the thread that runs the loop."""
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._scheduled = False
        self._waiting = 0
        self._wake = threading.Event()

    def post(self, call: Callable[..., object], *args: Any) -> None:
        """Have ``call(*args)`` made on the loop's thread. May be called from any thread."""
        self._calls.append((call, args))
        if not self._scheduled:
            self._scheduled = True
            try:
                # In a context of its own: in that of the job that happens to post, all that is called would speak as
                # that job.
                if threading.get_ident() == self.thread:
                    self.loop.call_soon(self._drain, context=Context())
                else:
                    self.loop.call_soon_threadsafe(self._drain, context=Context())
            except RuntimeError:  # the loop is closed; `wait` may still drain
                self._scheduled = False
        if self._waiting:
            self._wake.set()

    @property
    def full(self) -> bool:
        """Whether there are calls to be made."""
        return bool(self._calls)

    @property
    def waiting(self) -> bool:
        """Whether the loop's thread stands in `wait` at present."""
        return self._waiting > 0

    def drain(self) -> None:
        """Make all calls that are there. Only for the loop's own thread."""
        while self._calls:
            self._call()

    def wait(self, finished: Callable[[], bool], deadline: float | None) -> bool:
        """Make calls until `finished()`, on the loop's own thread, which stands still meanwhile.

        Returns
        -------
        bool
            False if `deadline` (`time.monotonic`) passed first.
        """
        __tracebackhide__ = True
        self._waiting += 1
        try:
            while True:
                self._wake.clear()
                self.drain()
                if finished():
                    return True
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return False
                self._wake.wait(left_s)
        finally:
            self._waiting -= 1

    def nudge(self) -> None:
        """Have a `wait` look again whether it has finished. May be called from any thread."""
        self._wake.set()

    def _drain(self) -> None:
        self._scheduled = False
        until = time.perf_counter() + SLICE_S
        while self._calls:
            self._call()
            if time.perf_counter() > until:
                break
        if self._calls and not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._drain, context=Context())

    def _call(self) -> None:
        try:
            call, args = self._calls.popleft()
        except IndexError:
            return
        try:
            call(*args)
        except Exception:
            # Nothing that is posted may stop what was posted after it.
            logger.exception("ipyjobs: a posted call raised")
