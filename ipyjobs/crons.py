"""The times of a crontab line, as a condition."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Self

from ipyjobs.clocks import first_showing, shown, zone_of
from ipyjobs.combinations import NEVER, Gate, Hold, Moment, TimeCondition
from ipyjobs.errors import InvalidOption
from ipyjobs.scheduling import Wakes

_SET_BACK_S = 3 * 3600.0
"""A clock set back by less repeats no times, as with Debian's cron; one set back by more begins anew."""
_SHOWN_TWICE = timedelta(hours=3)
"""More than any change from summer time sets a clock back."""


@dataclass
class Cron(TimeCondition):
    """At the times of a crontab line.

    A time that passes while nobody can act on it (the machine sleeps, a job that is waited for has not ended) is made
    up for, once. A time at which what it is joined to by ``&`` is closed is skipped:
    ``cron("0 9 * * *") & before_weekday("fri")`` does not make up for the weekend on Monday at midnight.

    Fixed times of day (minute and hour are no ``*``) come once a day, also where the clock is changed: at the first
    of two, and, if skipped, at the end of the gap. All others come as time passes, in each of the two hours.

    Parameters
    ----------
    text
        Minute, hour, day of month, month and day of week, as in crontab(5); before them, if you like, the second.
    tz
        The zone whose clock counts: a name such as "Europe/Berlin", or a tzinfo. Default: this machine's.

    Raises
    ------
    InvalidOption
        `text` is no such line, or names a time that never comes.
    """

    text: str
    tz: str | tzinfo | None = None
    _after: float | None = field(default=None, init=False, repr=False, compare=False)
    """Times after this one count, seconds since 1970."""
    _next: float | None = field(default=None, init=False, repr=False, compare=False)
    """The first of them; None where it never comes, or `_after` is not known yet."""

    def __post_init__(self) -> None:
        zone_of(self.tz)
        # Any year will do: what does not come within fifty never does.
        first = next(_readings(self.text, datetime(2000, 1, 1)), None)  # noqa: DTZ001 - a clock on the wall
        if first is None:
            raise InvalidOption("text", self.text, 'a crontab line whose time comes, such as "*/5 * * * *"')

    def anew(self) -> Self:
        another = copy.copy(self)
        another._after = another._next = None
        return another

    def begin(self, moment: Moment, gate: Gate) -> float | None:
        if self._after is None or moment.now < self._after - _SET_BACK_S:
            self._count_from(moment.now)
        if self._next is None or moment.now < self._next:
            return None
        last = self._last(moment.now)
        return last if gate(last) else None

    def ahead(self, moment: Moment, gate: Gate) -> Wakes:
        if self._after is None:
            self._count_from(moment.now)
        known = self._next is not None and moment.now < self._next
        at = self._next if known else next(self._times(moment.now), None)
        return NEVER if at is None else Wakes(at=at)

    def take(self, moment: Moment, hold: Hold) -> None:
        self._count_from(moment.now)

    def _count_from(self, at: float) -> None:
        self._after, self._next = at, next(self._times(at), None)

    def _times(self, after: float) -> Iterator[float]:
        """The times after a moment, each once, in order."""
        zone = zone_of(self.tz)
        if not self._fixed:
            for each in _readings(self.text, datetime.fromtimestamp(after, zone)):
                yield each.timestamp()
            return
        # By the calendar, and where that has each time in this zone.
        for each in _readings(self.text, shown(after, zone)):
            at = first_showing(each, zone)
            if at > after:
                yield at
                after = at

    def _last(self, now: float) -> float:
        """The last time up to `now`, of which there is one."""
        zone = zone_of(self.tz)
        if not self._fixed:
            return next(_readings(self.text, datetime.fromtimestamp(int(now) + 1, zone), back=True)).timestamp()
        later = shown(now, zone) + _SHOWN_TWICE
        times = (first_showing(each, zone) for each in _readings(self.text, later, back=True))
        return next(at for at in times if at <= now)

    @property
    def _fixed(self) -> bool:
        fields = self.text.split()[-5:]
        return not fields[0].startswith("*") and not fields[1].startswith("*")


cron = Cron


def _readings(text: object, start: datetime, *, back: bool = False) -> Iterator[datetime]:
    """What clocks show at the times of a crontab line, after `start` or, from the last one on, before it."""
    from cronsim import CronSim, CronSimError  # most sessions have no crontab lines

    try:
        yield from CronSim(text if isinstance(text, str) else "", start, reverse=back)
    except CronSimError:
        raise InvalidOption("text", text, 'a crontab line whose time comes, such as "*/5 * * * *"') from None
