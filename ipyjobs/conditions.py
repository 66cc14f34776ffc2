"""When a job may start: after other jobs, at a time, or both; and all names of conditions in one place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ipyjobs.combinations import (
    AllSatisfied,
    AnySatisfied,
    Combination,
    Condition,
    Gate,
    Known,
    Moment,
    TimeCondition,
    is_ours,
)
from ipyjobs.crons import Cron, cron
from ipyjobs.errors import InvalidOption
from ipyjobs.scheduling import Wakes
from ipyjobs.status import ENDED, Status, checked_status
from ipyjobs.times import (
    AfterClock,
    AfterTimepoint,
    AfterWeekday,
    BeforeClock,
    BeforeTimepoint,
    BeforeWeekday,
    BetweenClock,
    BetweenWeekday,
    EveryPeriod,
    after_clock,
    after_timepoint,
    after_weekday,
    before_clock,
    before_timepoint,
    before_weekday,
    between_clock,
    between_timepoint,
    between_weekday,
    daily,
    every,
    hourly,
    weekly,
)

__all__ = [
    "AfterAnother", "AfterClock", "AfterOthers", "AfterTimepoint", "AfterWeekday", "AllSatisfied", "AnySatisfied",
    "BeforeClock", "BeforeTimepoint", "BeforeWeekday", "BetweenClock", "BetweenWeekday", "Combination", "Condition",
    "Cron", "EveryPeriod", "TimeCondition", "after_clock", "after_timepoint", "after_weekday", "before_clock",
    "before_timepoint", "before_weekday", "between_clock", "between_timepoint", "between_weekday", "cron", "daily",
    "every", "hourly", "is_ours", "job_ids", "needed_ids", "weekly",
]  # fmt: skip


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

    def begin(self, moment: Moment, gate: Gate) -> float | None:
        return moment.engine.ended_at(self.job_id) if self.satisfy(moment.engine) else None


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
        if not missing or (self.mode == "any" and len(missing) < len(self.job_ids)):
            return Wakes(jobs=frozenset(self.job_ids), need=1)  # it holds: anew when one of them has ended again
        return Wakes(jobs=missing, need=len(missing) if self.mode == "all" else 1)

    def begin(self, moment: Moment, gate: Gate) -> float | None:
        engine: Known = moment.engine
        if not self.satisfy(engine):
            return None
        ended = [engine.ended_at(each) for each in self.job_ids if engine.status_of(each) in self.statuses]
        return max((at for at in ended if at is not None), default=moment.now)


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
