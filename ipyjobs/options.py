"""What a job is given, checked where it is given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ipyjobs.errors import InvalidOption
from ipyjobs.retry import NEVER, Retry

JOB_OPTIONS = (
    "name", "group", "tags", "priority", "queue", "retries", "retry_time_delta", "timeout", "condition",
    "wait_time_delta", "callback", "error_callback",
)  # fmt: skip


def retry(retries: object, delay_s: float) -> Retry:
    """The policy that a number of retries stands for."""
    if retries == 0 and delay_s == 0:
        return NEVER
    return Retry(retries, seconds("retry_time_delta", delay_s))  # type: ignore[arg-type]  # checked by Retry


def seconds(option: str, value: object) -> float:
    """`value` if it is a number of seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise InvalidOption(option, value, "a number of seconds from 0")
    return value


def whole(option: str, value: object) -> int:
    """`value` if it is a whole number."""
    if type(value) is not int:
        raise InvalidOption(option, value, "a whole number")
    return value


def arguments_tuple(args: Any) -> tuple[Any, ...]:
    """Positional arguments as a tuple; a lone text or number is a mistake."""
    if args is None:
        return ()
    if isinstance(args, (str, bytes)) or not isinstance(args, Iterable):
        raise InvalidOption("args", args, "a tuple of arguments; for a single one write args=(value,)")
    return tuple(args)  # type: ignore[arg-type]


def check_options(kind: str, known: Collection[str], options: Mapping[str, object]) -> None:
    """Refuse options that this kind of job does not have."""
    for each in options:
        if each not in known:
            near = _nearest(each, [*JOB_OPTIONS, *known])
            hint = f"; did you mean {near!r}?" if near else ""
            raise TypeError(f"{kind} has no option {each!r}{hint}")


def _nearest(word: str, known: Sequence[str]) -> str | None:
    from difflib import get_close_matches  # only when something is wrong already

    return next(iter(get_close_matches(word, known, 1)), None)
