"""Where a job stands, the moves between, and the one table that allows them."""

from __future__ import annotations

from enum import StrEnum

from ipyjobs.errors import IllegalMove, RangeCheckError


class Word(StrEnum):
    """One of a closed set of words; reads and compares as the word itself."""

    __hash__ = str.__hash__  # the enum's own is written in Python, and every move looks several up
    __repr__ = str.__repr__


class Status(Word):
    """Where a job stands; there are exactly these six."""

    CREATED = "created"
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the job is over, for better or worse."""
        return self in ENDED


ENDED = frozenset({Status.DONE, Status.FAILED, Status.CANCELLED})


class Verb(Word):
    """What can happen to a job."""

    SUBMIT = "submit"
    START = "start"
    FINISH = "finish"
    FAIL = "fail"
    RETRY = "retry"
    RELEASE = "release"
    LOSE = "lose"
    CANCEL = "cancel"
    RERUN = "rerun"


class Reason(Word):
    """Why a job ended as it did, where the status alone does not say."""

    USER = "user"
    UPSTREAM = "upstream"
    TIMEOUT = "timeout"
    LOST = "lost"
    SHUTDOWN = "shutdown"
    VETO = "veto"


class WaitingFor(Word):
    """What a pending job waits for."""

    CONDITION = "condition"
    SLOT = "slot"
    RETRY = "retry"
    BACKEND = "backend"


TRANSITIONS: dict[tuple[Status, Verb], Status] = {
    (Status.CREATED, Verb.SUBMIT): Status.PENDING,
    (Status.PENDING, Verb.START): Status.RUNNING,
    (Status.RUNNING, Verb.FINISH): Status.DONE,
    (Status.RUNNING, Verb.FAIL): Status.FAILED,
    (Status.PENDING, Verb.FAIL): Status.FAILED,
    (Status.RUNNING, Verb.RETRY): Status.PENDING,
    (Status.RUNNING, Verb.RELEASE): Status.PENDING,
    (Status.PENDING, Verb.RELEASE): Status.PENDING,
    (Status.PENDING, Verb.LOSE): Status.FAILED,
    (Status.RUNNING, Verb.LOSE): Status.FAILED,
    (Status.CREATED, Verb.CANCEL): Status.CANCELLED,
    (Status.PENDING, Verb.CANCEL): Status.CANCELLED,
    (Status.RUNNING, Verb.CANCEL): Status.CANCELLED,
    (Status.DONE, Verb.RERUN): Status.PENDING,
    (Status.FAILED, Verb.RERUN): Status.PENDING,
    (Status.CANCELLED, Verb.RERUN): Status.PENDING,
}


def checked_status(status: object) -> Status:
    """The status of this name.

    Raises
    ------
    RangeCheckError
        There is none.
    """
    found = next((each for each in Status if each == status), None)
    if found is None:
        raise RangeCheckError("status", status, "one of " + ", ".join(Status))
    return found


def step(status: Status, verb: Verb) -> Status:
    """Where `verb` leads from `status`.

    Raises
    ------
    IllegalMove
        `verb` is not possible from `status`.

    Examples
    --------
    >>> step(Status.RUNNING, Verb.FINISH).value
    'done'
    """
    try:
        return TRANSITIONS[status, verb]
    except KeyError:
        raise IllegalMove(status, verb) from None
