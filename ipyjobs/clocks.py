"""What time it is, in which zone, and whether somebody has set the clock."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from ipyjobs.errors import InvalidOption

RELOOK_S = 30.0
"""Where the system does not tell that its clock was set: seconds between two looks, while a job waits for a time."""

_JUMP_S = 0.5
_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Clock:
    """The clocks an engine goes by. ``engine.clock = another`` lets time pass as that one says."""

    def now(self) -> float:
        """Seconds since 1970. Somebody may set this clock, forward and back."""
        return time.time()

    def elapsed(self) -> float:
        """Seconds on a clock that nobody can set, and that goes on while the machine sleeps if the system has one."""
        return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)

    def watch(self, loop: asyncio.AbstractEventLoop, jumped: Callable[[], None]) -> Callable[[], None]:
        """Have ``jumped()`` called on `loop` whenever the wall clock is set or the machine wakes up.

        Returns
        -------
        callable
            Ends the watch.
        """
        if sys.platform == "linux":
            try:
                return _watch_by_event(loop, jumped)
            except (OSError, AttributeError, NotImplementedError):  # a kernel, C library or loop without it
                pass
        return _watch_by_looking(self, loop, jumped)


CLOCK = Clock()
"""The system's own."""


class LocalZone(tzinfo):
    """The zone of this machine, with its changes to and from summer time."""

    def utcoffset(self, dt: datetime | None, /) -> timedelta | None:
        if dt is None:
            return None
        naive = dt.replace(tzinfo=None)
        # The system's own rules answer; twice-shown and skipped times are told apart by `fold` (PEP 495).
        return timedelta(seconds=round(naive.replace(tzinfo=UTC).timestamp() - naive.timestamp()))

    def fromutc(self, dt: datetime, /) -> datetime:
        local = datetime.fromtimestamp(dt.replace(tzinfo=UTC).timestamp())  # noqa: DTZ006 - the local time is wanted
        return local.replace(tzinfo=self)

    def dst(self, dt: datetime | None, /) -> timedelta | None:
        return None

    def tzname(self, dt: datetime | None, /) -> str | None:
        return "local"

    def __repr__(self) -> str:
        return "local time"


LOCAL = LocalZone()


def zone_of(tz: str | tzinfo | None) -> tzinfo:
    """The zone that a name stands for; None is this machine's.

    Raises
    ------
    InvalidOption
        There is no such zone.
    """
    if tz is None:
        return LOCAL
    if isinstance(tz, tzinfo):
        return tz
    from zoneinfo import ZoneInfo  # takes a tenth of the time that the package takes to load, and few name a zone

    try:
        return ZoneInfo(tz)
    except (KeyError, ValueError, OSError, TypeError):
        raise InvalidOption("tz", tz, 'the name of a time zone, such as "Europe/Berlin", or a tzinfo') from None


def shown(at: float, zone: tzinfo) -> datetime:
    """What a clock on the wall of `zone` shows at this moment, seconds since 1970."""
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)


def first_showing(wall: datetime, zone: tzinfo) -> float:
    """The first moment at which a clock on the wall of `zone` shows `wall` (without a zone) or later.

    A time that is shown twice counts when it is shown first; one that is skipped has come when the clock skips it.

    Returns
    -------
    float
        Seconds since 1970.
    """
    # Windows ask for the same few moments again and again, and the machine's zone may be changed under way.
    return _first_showing(wall, zone, time.tzname if zone is LOCAL else None)


@lru_cache(maxsize=512)
def _first_showing(wall: datetime, zone: tzinfo, _names: tuple[str, str] | None) -> float:
    at = wall.replace(tzinfo=zone, fold=0).timestamp()
    if abs(shown(at, zone) - wall) < timedelta(milliseconds=1):
        return at
    # Skipped. By PEP 495 the two readings lie on either side of the change.
    before, after = int(wall.replace(tzinfo=zone, fold=1).timestamp()) - 1, int(at) + 1
    while after - before > 1:
        middle = (before + after) // 2
        if shown(middle, zone) >= wall:
            after = middle
        else:
            before = middle
    return float(after)


def _watch_by_event(loop: asyncio.AbstractEventLoop, jumped: Callable[[], None]) -> Callable[[], None]:
    """Linux: a timer far away that is called off when the clock is set; see timerfd_create(2)."""
    descriptor = _far_timer()

    def read() -> None:
        try:
            os.read(descriptor, 8)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
        jumped()

    def end() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)

    try:
        loop.add_reader(descriptor, read)
    except BaseException:
        os.close(descriptor)
        raise
    return end


_TFD_ABSOLUTE, _TFD_CANCEL_ON_SET = 1, 2


def _far_timer() -> int:
    import ctypes  # Python's own `os.timerfd_create` came with 3.13

    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    # Interval and value, each seconds and nanoseconds. In a hundred years, where a long has the room.
    years = 100 if ctypes.sizeof(ctypes.c_long) > 4 else 1
    when = (ctypes.c_long * 4)(0, 0, int(time.time()) + years * 31_536_000, 0)
    if libc.timerfd_settime(descriptor, _TFD_ABSOLUTE | _TFD_CANCEL_ON_SET, when, None) != 0:
        number = ctypes.get_errno()
        os.close(descriptor)
        raise OSError(number, "timerfd_settime")
    return descriptor


def _watch_by_looking(clock: Clock, loop: asyncio.AbstractEventLoop, jumped: Callable[[], None]) -> Callable[[], None]:
    timer: asyncio.TimerHandle

    def look(ahead_s: float) -> None:
        nonlocal timer
        now_ahead_s = clock.now() - loop.time()
        timer = loop.call_later(RELOOK_S, look, now_ahead_s)
        if abs(now_ahead_s - ahead_s) > _JUMP_S:
            jumped()

    timer = loop.call_later(RELOOK_S, look, clock.now() - loop.time())

    def end() -> None:
        timer.cancel()

    return end
