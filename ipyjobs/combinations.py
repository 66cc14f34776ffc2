"""Conditions as such, and several in one: whether they hold, since when, and when it is worth asking again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol, Self

from ipyjobs.clocks import CLOCK
from ipyjobs.errors import InvalidOption
from ipyjobs.scheduling import Wakes
from ipyjobs.status import Status

NEVER = Wakes()
"""There is no use in asking again."""


class Known(Protocol):
    """What a condition may ask of the engine."""

    def status_of(self, job_id: str) -> Status | None:
        """Where the job stands; None if the engine doesn't know it."""
        ...

    def ended_at(self, job_id: str) -> float | None:
        """When the job last ended, seconds since 1970; None if it has not, or isn't known."""
        ...


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is asked, and of which engine."""

    engine: Any
    now: float
    """Seconds since 1970."""
    elapsed: float
    """The same moment on the clock that nobody sets."""

    @classmethod
    def of(cls, engine: Any) -> Moment:
        """The present."""
        clock = getattr(engine, "clock", None) or CLOCK
        return cls(engine, clock.now(), clock.elapsed())

    def at(self, now: float) -> Moment:
        """Another moment, if nobody sets the clock."""
        return Moment(self.engine, now, self.elapsed + now - self.now)


Gate = Callable[[float], bool]
"""Whether all times that a condition is joined to by ``&`` are open at a moment, seconds since 1970."""


class Hold(NamedTuple):
    """A single condition that holds."""

    condition: Condition
    begin: float
    """Since when, seconds since 1970."""
    joint: float
    """Since when it does together with all that it is joined to by ``&``."""


class Held(NamedTuple):
    """What holds, and through which single conditions."""

    since: float
    parts: tuple[Hold, ...]


class Condition:
    """When a job may start. Subclass it and define `satisfy`; that alone is asked every `wait_time_delta` seconds.

    ``a & b`` holds when both do, ``a | b`` when either does.
    """

    def satisfy(self, engine: Any) -> bool:
        """Whether the job may start now. Called on the user's loop; must not block."""
        raise NotImplementedError(f"{type(self).__name__} needs `satisfy(self, engine)`")

    def wakes(self, engine: Any) -> Wakes | None:
        """When to ask again after `satisfy` said no; None: poll."""
        return None

    def __and__(self, other: Condition) -> AllSatisfied:
        return AllSatisfied([self, other])

    def __or__(self, other: Condition) -> AnySatisfied:
        return AnySatisfied([self, other])

    def anew(self) -> Self:
        """The same condition without a memory of when it last held; itself, if it has none."""
        return self

    # -- how a combination sees it; `gate` is what it is joined to

    def begin(self, moment: Moment, gate: Gate) -> float | None:
        """Since when it holds, seconds since 1970; None if it does not."""
        return moment.now if self.satisfy(moment.engine) else None

    def ahead(self, moment: Moment, gate: Gate) -> Wakes | None:
        """When it may next begin to hold, not counting that it holds already."""
        return self.wakes(moment.engine)

    def open_at(self, at: float) -> bool | None:
        """Whether it holds at a moment, if the time alone decides; None if it does not."""
        return None

    def take(self, moment: Moment, hold: Hold) -> None:
        """What it was waited for has happened: it holds anew after this."""


class TimeCondition(Condition):
    """A condition that time alone decides. `tz` is a zone's name or a tzinfo; the machine's own by default."""

    def satisfy(self, engine: Any) -> bool:
        return satisfied(self, engine)

    def wakes(self, engine: Any) -> Wakes | None:
        return self.ahead(Moment.of(engine), always)


@dataclass
class Combination(Condition):
    """Several conditions in one."""

    conditions: Sequence[Condition] = field(default_factory=list[Condition])

    def __post_init__(self) -> None:
        self.conditions = _checked(self.conditions)

    def wakes(self, engine: Any) -> Wakes | None:
        if len(self.conditions) == 1:
            return self.conditions[0].wakes(engine)
        return self.ahead(Moment.of(engine), always)

    def anew(self) -> Self:
        if not timed(self):
            return self
        parts = [each.anew() for each in self.conditions]
        if all(new is old for new, old in zip(parts, self.conditions, strict=True)):
            return self
        another = copy.copy(self)
        another.conditions = parts
        return another

    def held(self, moment: Moment, gate: Gate) -> Held | None:
        """What of it holds; None if it does not."""
        raise NotImplementedError

    def begin(self, moment: Moment, gate: Gate) -> float | None:
        held_now = self.held(moment, gate)
        return None if held_now is None else held_now.since


class AllSatisfied(Combination):
    """When all of `conditions` hold at the same time."""

    def satisfy(self, engine: Any) -> bool:
        if len(self.conditions) == 1:  # what a job gets that needs others' values
            return self.conditions[0].satisfy(engine)
        if timed(self):
            return satisfied(self, engine)
        # The user's own are asked last, and not at all while jobs have yet to end.
        return all(each.satisfy(engine) for each in sorted(self.conditions, key=is_ours, reverse=True))

    def ahead(self, moment: Moment, gate: Gate) -> Wakes | None:
        inner = self._gate(gate)
        missing = [each for each in self.conditions if is_ours(each) and held(each, moment, inner) is None]
        if missing:
            return _joined([ahead(each, moment, inner) for each in missing], every=True)
        return _joined([ahead(each, moment, inner) for each in self.conditions], every=False)

    def held(self, moment: Moment, gate: Gate) -> Held | None:
        inner = self._gate(gate)
        found: list[Held] = []
        missing = False
        for each in sorted(self.conditions, key=is_ours, reverse=True):
            if missing and not is_ours(each):
                break
            part = held(each, moment, inner)
            missing = missing or part is None
            if part is not None:
                found.append(part)
        if missing:
            return None
        since = max((part.since for part in found), default=moment.now)
        parts = tuple(hold._replace(joint=max(hold.joint, since)) for part in found for hold in part.parts)
        return Held(since, parts)

    def open_at(self, at: float) -> bool | None:
        answers = [_open_at(each, at) for each in self.conditions]
        return None if None in answers else all(answers)

    def _gate(self, gate: Gate) -> Gate:
        return lambda at: gate(at) and all(_open_at(each, at) is not False for each in self.conditions)


class AnySatisfied(Combination):
    """When at least one of `conditions` holds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.conditions:
            raise InvalidOption("conditions", [], "at least one condition")

    def satisfy(self, engine: Any) -> bool:
        if timed(self):
            return satisfied(self, engine)
        return any(each.satisfy(engine) for each in self.conditions)

    def ahead(self, moment: Moment, gate: Gate) -> Wakes | None:
        return _joined([ahead(each, moment, gate) for each in self.conditions], every=False)

    def held(self, moment: Moment, gate: Gate) -> Held | None:
        found = [part for each in self.conditions if (part := held(each, moment, gate)) is not None]
        if not found:
            return None
        return Held(min(part.since for part in found), tuple(hold for part in found for hold in part.parts))

    def open_at(self, at: float) -> bool | None:
        answers = [_open_at(each, at) for each in self.conditions]
        return None if None in answers else any(answers)


def always(_at: float) -> bool:
    """The gate that nothing closes."""
    return True


def held(condition: Condition, moment: Moment, gate: Gate = always) -> Held | None:
    """What of `condition` holds at this moment; None if it does not."""
    if not _native(condition):
        return _single(condition, Condition.begin(condition, moment, gate))
    if isinstance(condition, Combination):
        return condition.held(moment, gate)
    return _single(condition, condition.begin(moment, gate))


def ahead(condition: Condition, moment: Moment, gate: Gate = always) -> Wakes | None:
    """When `condition` may next begin to hold, not counting that it holds already; None if it cannot say."""
    return condition.ahead(moment, gate) if _native(condition) else condition.wakes(moment.engine)


def foresee(condition: Condition, moment: Moment, wanted: Callable[[Held], bool] | None = None) -> float | None:
    """When `condition` will next hold, seconds since 1970; None if more than time decides, or it is years away.

    With `wanted`, when it next will in a way that is.
    """
    for _ in range(_FORESIGHT):
        wakes = ahead(condition, moment)
        if wakes is None or wakes.jobs or wakes.every is not None or wakes.at is None:
            return None
        moment = moment.at(wakes.at)
        now = held(condition, moment)
        if now is not None and (wanted is None or wanted(now)):
            return wakes.at
    return None


_FORESIGHT = 100
"""Most steps of `foresee`: enough for a crontab line and a weekday, few enough to take a millisecond or two."""


def satisfied(condition: Condition, engine: Any) -> bool:
    """Whether `condition` holds now. If it does, that is taken: what comes at intervals holds at the next one."""
    moment = Moment.of(engine)
    now = held(condition, moment)
    if now is None:
        return False
    for hold in now.parts:
        hold.condition.take(moment, hold)
    return True


def timed(condition: Condition) -> bool:
    """Whether time has a part in `condition`."""
    if isinstance(condition, Combination):
        for each in condition.conditions:  # noqa: SIM110 - `any` costs half a microsecond for each job that needs another
            if timed(each):
                return True
        return False
    return isinstance(condition, TimeCondition)


def is_ours(condition: Condition) -> bool:
    """Whether `condition` runs no user code, so that the engine may ask it on its own loop."""
    if isinstance(condition, Combination) and not all(map(is_ours, condition.conditions)):
        return False
    return _native(condition)


def _native(condition: Condition) -> bool:
    return _native_kind(type(condition))


@cache
def _native_kind(kind: type[Condition]) -> bool:
    methods: tuple[Callable[..., object], ...] = (kind.satisfy, kind.wakes)
    return kind.satisfy is not Condition.satisfy and all(method.__module__.startswith("ipyjobs.") for method in methods)


def _single(condition: Condition, begin: float | None) -> Held | None:
    return None if begin is None else Held(begin, (Hold(condition, begin, begin),))


def _open_at(condition: Condition, at: float) -> bool | None:
    return condition.open_at(at) if _native(condition) else None


def _checked(conditions: Iterable[object]) -> list[Condition]:
    checked: list[Condition] = []
    for each in conditions:
        if not isinstance(each, Condition):
            raise InvalidOption("conditions", each, "conditions, such as AfterAnother(job)")
        checked.append(each)
    return checked


def _joined(parts: Sequence[Wakes | None], *, every: bool) -> Wakes | None:
    """When to ask a combination again. Sound: never later than the first moment at which it could hold."""
    known = [each for each in parts if each is not None]
    if len(known) < len(parts) or not known:
        return None
    if NEVER in known and every:
        return NEVER
    known = [each for each in known if each != NEVER]
    if not known:
        return NEVER
    # What must end first in any case; while it has not, the other parts need not be watched.
    firm = [each for each in known if each.jobs and each.at is None and each.every is None]
    if every and firm:
        jobs = _union(firm)
        disjoint = len(jobs) == sum(len(each.jobs) for each in firm)
        return Wakes(jobs=jobs, need=(sum if disjoint else max)(each.need for each in firm))
    times = [each.at for each in known if each.at is not None]
    polls = [each.every for each in known if each.every is not None]
    if every and not any(each.jobs for each in known):
        return Wakes(at=max(times, default=None), every=min(polls, default=None))
    need = min((each.need for each in known if each.jobs), default=0)
    return Wakes(jobs=_union(known), need=need, at=min(times, default=None), every=min(polls, default=None))


def _union(parts: Iterable[Wakes]) -> frozenset[str]:
    return frozenset[str]().union(*(each.jobs for each in parts))
