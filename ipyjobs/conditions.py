"""When a job may start: conditions say whether, and when to ask again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ipyjobs.errors import InvalidOption
from ipyjobs.scheduling import Wakes
from ipyjobs.status import ENDED, Status, checked_status


class Known(Protocol):
    """What a condition may ask of the engine."""

    def status_of(self, job_id: str) -> Status | None:
        """Where the job stands; None if the engine doesn't know it."""
        ...


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


def _job_id(job: object) -> str:
    job_id = getattr(job, "id", None) or getattr(job, "job_id", None) or job
    if not isinstance(job_id, str):
        raise InvalidOption("job_id", job, "a job or its id")
    return job_id


def _statuses(given: Iterable[Status | str | None]) -> frozenset[Status]:
    wanted: set[Status] = set()
    for each in (given,) if isinstance(given, str) else given:
        status = checked_status(each)
        if status not in ENDED:
            raise InvalidOption("statuses", each, "some of done, failed, cancelled")
        wanted.add(status)
    if not wanted:
        raise InvalidOption("statuses", given, "some of done, failed, cancelled")
    return frozenset(wanted)


@dataclass
class AfterAnother(Condition):
    """After another job has ended.

    Parameters
    ----------
    job_id
        The other job, or its id. It need not be known yet.
    statuses
        Which ends count; all by default.
    """

    job_id: str
    statuses: Collection[Status | str | None] = (Status.DONE, Status.FAILED, Status.CANCELLED)

    def __post_init__(self) -> None:
        self.job_id = _job_id(self.job_id)
        self.statuses = _statuses(self.statuses)

    def satisfy(self, engine: Known) -> bool:
        return engine.status_of(self.job_id) in self.statuses

    def wakes(self, engine: Known) -> Wakes:
        return Wakes(jobs=frozenset({self.job_id}), need=1)


@dataclass
class AfterOthers(Condition):
    """After other jobs have ended.

    Parameters
    ----------
    job_ids
        The other jobs, or their ids. They need not be known yet.
    statuses
        Which ends count; all by default.
    mode
        "all" of them, or "any": the first one is enough.
    """

    job_ids: Sequence[str]
    statuses: Collection[Status | str | None] = (Status.DONE, Status.FAILED, Status.CANCELLED)
    mode: str = "all"

    def __post_init__(self) -> None:
        given: Any = self.job_ids
        self.job_ids = tuple(_job_id(each) for each in (given.values() if hasattr(given, "values") else given))
        self.statuses = _statuses(self.statuses)
        if self.mode not in ("all", "any"):
            raise InvalidOption("mode", self.mode, "'all' or 'any'")

    def satisfy(self, engine: Known) -> bool:
        holds = (engine.status_of(each) in self.statuses for each in self.job_ids)
        return all(holds) if self.mode == "all" else any(holds)

    def wakes(self, engine: Known) -> Wakes:
        missing = frozenset(each for each in self.job_ids if engine.status_of(each) not in self.statuses)
        return Wakes(jobs=missing, need=len(missing) if self.mode == "all" else 1)


@dataclass
class AllSatisfied(Condition):
    """When all of `conditions` hold at the same time."""

    conditions: Sequence[Condition] = field(default_factory=list[Condition])

    def __post_init__(self) -> None:
        self.conditions = _checked(self.conditions)

    def satisfy(self, engine: Any) -> bool:
        # The user's own are asked last, and not at all while jobs have yet to end.
        return all(each.satisfy(engine) for each in sorted(self.conditions, key=is_ours, reverse=True))

    def wakes(self, engine: Any) -> Wakes | None:
        missing = [each for each in self.conditions if is_ours(each) and not each.satisfy(engine)]
        return _joined([each.wakes(engine) for each in missing], every=True)


@dataclass
class AnySatisfied(Condition):
    """When at least one of `conditions` holds."""

    conditions: Sequence[Condition] = field(default_factory=list[Condition])

    def __post_init__(self) -> None:
        self.conditions = _checked(self.conditions)
        if not self.conditions:
            raise InvalidOption("conditions", [], "at least one condition")

    def satisfy(self, engine: Any) -> bool:
        return any(each.satisfy(engine) for each in self.conditions)

    def wakes(self, engine: Any) -> Wakes | None:
        return _joined([each.wakes(engine) for each in self.conditions], every=False)


def _checked(conditions: Iterable[object]) -> list[Condition]:
    checked: list[Condition] = []
    for each in conditions:
        if not isinstance(each, Condition):
            raise InvalidOption("conditions", each, "conditions, such as AfterAnother(job)")
        checked.append(each)
    return checked


def _joined(parts: list[Wakes | None], *, every: bool) -> Wakes | None:
    """When to ask a combination again. Sound: never later than the first moment at which it could hold."""
    known = [each for each in parts if each is not None]
    if len(known) < len(parts) or not known:
        return None
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


def is_ours(condition: Condition) -> bool:
    """Whether `condition` runs no user code, so that the engine may ask it on its own loop."""
    if isinstance(condition, (AllSatisfied, AnySatisfied)) and not all(map(is_ours, condition.conditions)):
        return False
    kind = type(condition)
    methods: tuple[Callable[..., object], ...] = (kind.satisfy, kind.wakes)
    return all(method.__module__ == __name__ for method in methods)


def job_ids(condition: Condition | None) -> tuple[str, ...]:
    """All jobs that `condition` names."""
    match condition:
        case AfterAnother():
            return (condition.job_id,)
        case AfterOthers():
            return tuple(condition.job_ids)
        case AllSatisfied() | AnySatisfied():
            return tuple(dict.fromkeys(each for part in condition.conditions for each in job_ids(part)))
        case _:
            return ()


def needed_ids(condition: Condition | None) -> tuple[str, ...]:
    """The jobs without whose end `condition` can never hold: those that can close a cycle."""
    match condition:
        case AfterAnother():
            return (condition.job_id,)
        case AfterOthers() if condition.mode == "all" or len(condition.job_ids) == 1:
            return tuple(condition.job_ids)
        case AllSatisfied():
            return tuple(dict.fromkeys(each for part in condition.conditions for each in needed_ids(part)))
        case AnySatisfied() if len(condition.conditions) == 1:
            return needed_ids(condition.conditions[0])
        case _:
            return ()
