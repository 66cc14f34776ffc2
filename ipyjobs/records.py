"""Run records: what tasks and jobs did and when, one line for each start and each end."""

from __future__ import annotations

import html
import importlib
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from ipyjobs.errors import InvalidOption

if TYPE_CHECKING:
    from ipyjobs.execution import Attempt
    from ipyjobs.flow import Flow
    from ipyjobs.job import Job

Action = Literal["run", "success", "fail", "terminate", "crash"]
SHOWN = 20
"""Records of each end that a long list shows."""

_IDS = uuid.UUID("6f1f4d3b-7a3e-4a43-9d0c-35a4d1f5c9be")
"""What the ids of runs are derived with: a random number, the same everywhere."""
_ACTIONS: dict[str, Action] = {
    "done": "success", "failed": "fail", "cancelled": "terminate", "timeout": "terminate", "lost": "crash",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One thing that a run did."""

    created: float
    """When, seconds since 1970 UTC."""
    task_name: str
    """Of the task, or of a job that was made by hand."""
    run_id: str
    """One for start and end of a run, another for each retry and rerun, unless the task has a rule of its own."""
    action: Action
    """run, success, fail, terminate (it was cancelled or ran out of time) or crash (its worker was killed or lost)."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What the records need of one job."""

    job_id: str
    task_name: str
    run_id: str | None
    attempts: list[Attempt]
    """The job's own list: an attempt may go on when its job is gone."""

    @classmethod
    def of(cls, job: Job) -> Past:
        launch = job._launch
        if launch is None:
            return cls(job.id, job.name, None, job.attempts)
        return cls(job.id, launch.name, launch.run_id, job.attempts)

    def records(self) -> Iterator[RunRecord]:
        """The records of each attempt, first the start, then the end."""
        for each in list(self.attempts):
            if each.started_at is None or each.outcome == "released":  # its function never began
                continue
            run_id = self.run_id or str(uuid.uuid5(_IDS, f"{self.job_id}/{each.round}/{each.number}"))
            yield RunRecord(each.started_at, self.task_name, run_id, "run")
            if each.ended_at is not None:
                action = "crash" if each.crashed else _ACTIONS.get(each.outcome, "fail")
                yield RunRecord(each.ended_at, self.task_name, run_id, action)


class Records(Sequence[RunRecord]):
    """Run records in order of time.

    Those of an engine are made when they are looked at, of what the jobs remember anyway; `filter_by` and slices give
    what was there at that moment.
    """

    def __init__(self, flow: Flow | None, records: Sequence[RunRecord] = ()) -> None:
        self._flow = flow
        self._records = records

    @overload
    def __getitem__(self, index: int) -> RunRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> RunRecord | Records:
        found = self._all()[index]
        return found if isinstance(found, RunRecord) else Records(None, found)

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[RunRecord]:
        return iter(self._all())

    def filter_by(
        self,
        *,
        action: Action | Collection[Action] | None = None,
        task_name: str | None = None,
        run_id: str | None = None,
    ) -> Records:
        """The records that have all of these.

        Parameters
        ----------
        action
            One action, or several.

        Raises
        ------
        InvalidOption
            There is no such action.
        """
        wanted = [action] if isinstance(action, str) else action
        for each in wanted or ():
            if each not in get_args(Action):
                raise InvalidOption("action", each, "one of " + ", ".join(get_args(Action)))
        found = [
            each
            for each in self._all()
            if (wanted is None or each.action in wanted)
            and (task_name is None or each.task_name == task_name)
            and (run_id is None or each.run_id == run_id)
        ]
        return Records(None, found)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each record; `created` becomes a time with UTC as its zone.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        try:
            library: Any = importlib.import_module("pandas")
        except ImportError:
            raise ImportError("`to_pandas` needs pandas: pip install pandas") from None
        names = [field.name for field in fields(RunRecord)]
        frame = library.DataFrame([[getattr(each, name) for name in names] for each in self], columns=names)
        frame["created"] = library.to_datetime(frame["created"], unit="s", utc=True)
        return frame

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *rows = [[html.escape(cell) for cell in row] for row in self._rows()]
        top = "".join(f"<th>{cell}</th>" for cell in head)
        body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        records = self._all()
        rows = [(_clock(each.created), each.task_name, _short(each.run_id), each.action) for each in records]
        if len(rows) > 2 * SHOWN:
            rows[SHOWN:-SHOWN] = [("…", f"{len(rows) - 2 * SHOWN:,} more", "", "")]
        return [("created", "task_name", "run_id", "action"), *rows]

    def _all(self) -> Sequence[RunRecord]:
        if self._flow is None:
            return self._records
        known = [*list(self._flow.past), *map(Past.of, list(self._flow.jobs.values()))]
        return sorted((each for past in known for each in past.records()), key=lambda each: each.created)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _short(run_id: str) -> str:
    try:
        return f"{uuid.UUID(run_id).hex[:6]}…"
    except ValueError:
        return run_id if len(run_id) <= 60 else run_id[:59] + "…"
