"""What happened to a job, in order: the list that `job.story()` shows and that callbacks come from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from ipyjobs.status import Reason, Status, Verb


class Event(NamedTuple):
    """One move of one job."""

    number: int
    """Counts the engine's events, from 1."""
    at: float
    """Seconds since 1970 UTC."""
    verb: Verb
    before: Status
    after: Status
    attempt: int
    reason: Reason | None
    text: str
    """What else there is to say: the error, the upstream that failed."""

    def __str__(self) -> str:
        at = datetime.fromtimestamp(self.at, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        why = f" ({self.reason})" if self.reason else ""
        tail = f": {self.text}" if self.text else ""
        return f"{at}  {self.verb:8} {self.before} → {self.after}{why}, attempt {self.attempt}{tail}"


def local_time(at: float) -> datetime:
    """Seconds since 1970 UTC as local time without a zone, as executor-engine's jobs have it."""
    return datetime.fromtimestamp(at)  # noqa: DTZ006  (to be compared with `datetime.now()`)
