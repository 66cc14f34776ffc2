"""Conditions of time: clocks, days of the week, points in time, and periods."""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from typing import ClassVar, Self

from ipyjobs.clocks import LOCAL, first_showing, shown, zone_of
from ipyjobs.combinations import NEVER, AllSatisfied, Gate, Hold, Moment, TimeCondition, always
from ipyjobs.errors import InvalidOption
from ipyjobs.scheduling import Wakes

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK = re.compile(r"([0-9]{1,2})(?::([0-9]{1,2}))?(?::([0-9]{1,2}))?", re.ASCII)
_ROUNDING_S = 2e-6
"""Seconds since 1970, as a float, are exact to a quarter of a microsecond; sums of some are a bit less so."""
_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}


class Window(TimeCondition):
    """Holds from an opening to a closing, every day or every week."""

    every_days: ClassVar[int] = 1
    tz: str | tzinfo | None

    def _span(self, day: date) -> tuple[datetime, datetime]:
        """When it opens and closes, by the clock on the wall, on this day or in the week from this Monday on."""
        raise NotImplementedError

    def begin(self, moment: Moment, gate: Gate) -> float | None:
        opens, _ = next(self._spans(moment.now))
        return opens if opens <= moment.now else None

    def ahead(self, moment: Moment, gate: Gate) -> Wakes:
        return Wakes(at=next(opens for opens, _ in self._spans(moment.now) if opens > moment.now))

    def open_at(self, at: float) -> bool:
        return next(self._spans(at))[0] <= at

    def _spans(self, now: float) -> Iterator[tuple[float, float]]:
        """The openings and closings, seconds since 1970, from the first that has not closed yet."""
        zone = zone_of(self.tz)
        day = shown(now, zone).date()
        if self.every_days == 7:
            day -= timedelta(days=day.weekday())
        for number in itertools.count(-1):
            opens, closes = (first_showing(each, zone) for each in self._span(day + number * self._step))
            if opens < closes and closes > now:
                yield opens, closes

    @property
    def _step(self) -> timedelta:
        return timedelta(days=self.every_days)


@dataclass
class AfterClock(Window):
    """From a time of day until midnight.

    Parameters
    ----------
    time_str
        "12", "12:00" or "12:00:00".
    tz
        The zone whose clock counts: a name such as "Europe/Berlin", or a tzinfo. Default: this machine's.

    Raises
    ------
    InvalidOption
        There is no such time of day, or it is midnight at the end of the day, after which there is nothing.
    """

    time_str: str
    tz: str | tzinfo | None = None

    def __post_init__(self) -> None:
        zone_of(self.tz)
        if _time_of_day("time_str", self.time_str) == timedelta(days=1):
            raise InvalidOption("time_str", self.time_str, "a time of day before 24:00, or it would never hold")

    def _span(self, day: date) -> tuple[datetime, datetime]:
        return _midnight(day) + _time_of_day("time_str", self.time_str), _midnight(day) + timedelta(days=1)


@dataclass
class BeforeClock(Window):
    """From midnight until a time of day; see `AfterClock`. "24:00" is the midnight at the end."""

    time_str: str
    tz: str | tzinfo | None = None

    def __post_init__(self) -> None:
        zone_of(self.tz)
        if not _time_of_day("time_str", self.time_str):
            raise InvalidOption("time_str", self.time_str, "a time of day after 0:00, or it would never hold")

    def _span(self, day: date) -> tuple[datetime, datetime]:
        return _midnight(day), _midnight(day) + _time_of_day("time_str", self.time_str)


@dataclass
class BetweenClock(Window):
    """From one time of day until another, over midnight if the second is the earlier one; see `AfterClock`."""

    start: str
    end: str
    tz: str | tzinfo | None = None

    def __post_init__(self) -> None:
        zone_of(self.tz)
        start, end = _time_of_day("start", self.start), _time_of_day("end", self.end)
        if start in (end, timedelta(days=1)):
            raise InvalidOption("start", self.start, f"a time of day before 24:00, other than end={self.end!r}")

    def _span(self, day: date) -> tuple[datetime, datetime]:
        start, end = _time_of_day("start", self.start), _time_of_day("end", self.end)
        over = timedelta(days=1 if end < start else 0)
        return _midnight(day) + start, _midnight(day) + end + over


@dataclass
class AfterWeekday(Window):
    """From the beginning of a day of the week until the end of Sunday.

    Parameters
    ----------
    weekday_str
        "mon" or "Monday", and so on; upper and lower case count as one.
    tz
        The zone whose calendar counts. Default: this machine's.

    Raises
    ------
    InvalidOption
        There is no such day.
    """

    weekday_str: str
    tz: str | tzinfo | None = None
    every_days: ClassVar[int] = 7

    def __post_init__(self) -> None:
        zone_of(self.tz)
        _weekday("weekday_str", self.weekday_str)

    def _span(self, day: date) -> tuple[datetime, datetime]:
        return _midnight(day) + _weekday("weekday_str", self.weekday_str), _midnight(day) + timedelta(days=7)


@dataclass
class BeforeWeekday(Window):
    """From Monday until the end of a day of the week; see `AfterWeekday`."""

    weekday_str: str
    tz: str | tzinfo | None = None
    every_days: ClassVar[int] = 7

    def __post_init__(self) -> None:
        zone_of(self.tz)
        _weekday("weekday_str", self.weekday_str)

    def _span(self, day: date) -> tuple[datetime, datetime]:
        return _midnight(day), _midnight(day) + _weekday("weekday_str", self.weekday_str) + timedelta(days=1)


@dataclass
class BetweenWeekday(Window):
    """From one day of the week until the end of another, over Sunday if that comes first; see `AfterWeekday`."""

    start: str
    end: str
    tz: str | tzinfo | None = None
    every_days: ClassVar[int] = 7

    def __post_init__(self) -> None:
        zone_of(self.tz)
        _weekday("start", self.start)
        _weekday("end", self.end)

    def _span(self, day: date) -> tuple[datetime, datetime]:
        start, end = _weekday("start", self.start), _weekday("end", self.end)
        over = timedelta(days=8 if end < start else 1)
        return _midnight(day) + start, _midnight(day) + end + over


@dataclass
class AfterTimepoint(TimeCondition):
    """From a point in time on.

    Parameters
    ----------
    timepoint
        A datetime. One without a zone is a time in `tz`.
    tz
        Default: this machine's zone.

    Raises
    ------
    InvalidOption
        `timepoint` is not a datetime.
    """

    timepoint: datetime
    tz: str | tzinfo | None = None

    def __post_init__(self) -> None:
        self._at = _point("timepoint", self.timepoint, self.tz)

    def begin(self, moment: Moment, gate: Gate) -> float | None:
        return self._at if moment.now >= self._at else None

    def ahead(self, moment: Moment, gate: Gate) -> Wakes:
        return Wakes(at=self._at) if moment.now < self._at else NEVER

    def open_at(self, at: float) -> bool:
        return at >= self._at


@dataclass
class BeforeTimepoint(TimeCondition):
    """Until a point in time; see `AfterTimepoint`. After that it never holds again."""

    timepoint: datetime
    tz: str | tzinfo | None = None

    def __post_init__(self) -> None:
        self._at = _point("timepoint", self.timepoint, self.tz)

    def begin(self, moment: Moment, gate: Gate) -> float | None:
        return 0.0 if moment.now < self._at else None

    def ahead(self, moment: Moment, gate: Gate) -> Wakes:
        return NEVER

    def open_at(self, at: float) -> bool:
        return at < self._at


@dataclass
class EveryPeriod(TimeCondition):
    """Again and again, at exact intervals: being late once moves nothing, what was missed is made up for once.

    The first time is one period after the start. Where it is joined by ``&`` to times that are closed at the start,
    it is when they open: ``daily & after_clock("12:00")``, started in the morning, holds at noon.

    Parameters
    ----------
    period_str
        A number and a unit: "1d", "1.5h", "10m", "30s". A day is 24 hours, whatever clocks do.
    immediate
        Hold at the start as well.
    last_submitted_at
        When it last held. Give it to go on after a restart; read it to see.

    Raises
    ------
    InvalidOption
        `period_str` is not such a text.
    """

    period_str: str
    immediate: bool = False
    last_submitted_at: datetime | None = None
    _due: float | None = field(default=None, init=False, repr=False, compare=False)
    """When it holds next, on the clock that nobody sets."""

    def __post_init__(self) -> None:
        _seconds(self.period_str)
        if type(self.immediate) is not bool:
            raise InvalidOption("immediate", self.immediate, "True or False")
        if self.last_submitted_at is not None:
            _point("last_submitted_at", self.last_submitted_at, None)

    def anew(self) -> Self:
        another = copy.copy(self)
        another._due = None
        return another

    def begin(self, moment: Moment, gate: Gate) -> float | None:
        due = self._first_due(moment, gate)
        passed = self._passed(moment, due)
        if passed < 0:
            return None
        return moment.now - (moment.elapsed - due - passed * _seconds(self.period_str))

    def ahead(self, moment: Moment, gate: Gate) -> Wakes:
        due = self._first_due(moment, gate)
        upcoming = due + (self._passed(moment, due) + 1) * _seconds(self.period_str)
        return Wakes(at=moment.now + upcoming - moment.elapsed)

    def take(self, moment: Moment, hold: Hold) -> None:
        due = self._first_due(moment, always)
        period = _seconds(self.period_str)
        if hold.joint > hold.begin:  # it had to wait for what it is joined to, and starts anew from there
            self._due = moment.elapsed - (moment.now - hold.joint) + period
        else:
            self._due = due + (self._passed(moment, due) + 1) * period
        self.last_submitted_at = shown(moment.now, LOCAL)

    def _passed(self, moment: Moment, due: float) -> int:
        """How many periods have passed since `due`; minus one before it."""
        return max(-1, math.floor((moment.elapsed - due + _ROUNDING_S) / _seconds(self.period_str)))

    def _first_due(self, moment: Moment, gate: Gate) -> float:
        if self._due is None:
            period = _seconds(self.period_str)
            if self.last_submitted_at is not None:
                wait_s = _point("last_submitted_at", self.last_submitted_at, None) + period - moment.now
                self._due = moment.elapsed + min(wait_s, period)
            elif self.immediate or not gate(moment.now):
                self._due = moment.elapsed
            else:
                self._due = moment.elapsed + period
        return self._due


def between_timepoint(start: datetime, end: datetime, tz: str | tzinfo | None = None) -> AllSatisfied:
    """From one point in time until another.

    Raises
    ------
    InvalidOption
        One of them is not a datetime, or the second does not come after the first.
    """
    if _point("end", end, tz) <= _point("start", start, tz):
        raise InvalidOption("end", end, f"a time after {start}")
    return AllSatisfied([BeforeTimepoint(end, tz), AfterTimepoint(start, tz)])


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - what a clock on the wall shows has no zone


def _time_of_day(option: str, text: object) -> timedelta:
    found = _CLOCK.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is not None:
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        since_midnight = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        if minutes < 60 and seconds < 60 and since_midnight <= timedelta(days=1):
            return since_midnight
    raise InvalidOption(option, text, 'a time of day such as "12", "12:00" or "12:00:00"')


def _weekday(option: str, text: object) -> timedelta:
    word = text.strip().lower() if isinstance(text, str) else ""
    for number, day in enumerate(_DAYS):
        if word in (day, day[:3]):
            return timedelta(days=number)
    raise InvalidOption(option, text, 'a day of the week such as "mon" or "Monday"')


def _point(option: str, timepoint: object, tz: str | tzinfo | None) -> float:
    zone = zone_of(tz)
    if not isinstance(timepoint, datetime):
        raise InvalidOption(option, timepoint, "a datetime")
    return timepoint.timestamp() if timepoint.tzinfo is not None else first_showing(timepoint, zone)


def _seconds(text: object) -> float:
    if isinstance(text, str) and (unit := _UNITS.get(text.strip()[-1:])) is not None:
        try:
            seconds = float(text.strip()[:-1]) * unit
        except ValueError:
            seconds = 0.0
        if 0 < seconds < math.inf:
            return seconds
    raise InvalidOption("period_str", text, 'a number and a unit, such as "30s", "5m", "1.5h" or "1d"')


every = EveryPeriod
hourly = EveryPeriod("1h")
daily = EveryPeriod("1d")
weekly = EveryPeriod("7d")
after_clock, before_clock, between_clock = AfterClock, BeforeClock, BetweenClock
after_weekday, before_weekday, between_weekday = AfterWeekday, BeforeWeekday, BetweenWeekday
after_timepoint, before_timepoint = AfterTimepoint, BeforeTimepoint
