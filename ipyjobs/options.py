"""What a job is given, checked where it is given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ipyjobs.errors import InvalidOption
from ipyjobs.retry import NEVER, Retry

JOB_OPTIONS = (
    "name", "group", "tags", "priority", "queue", "retries", "retry_time_delta", "timeout", "condition",
    "wait_time_delta", "callback", "error_callback", "redirect_out_err", "change_dir",
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


def check_options(
    kind: str, known: Collection[str], given: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object] | None]:
    """Part the keywords that this kind of job knows from those that are only kept with it.

    Raises
    ------
    TypeError
        A keyword looks like one that a job has, written wrong.
    """
    options = {name: value for name, value in given.items() if name in known}
    attrs = {name: value for name, value in given.items() if name not in known}
    for each in attrs:
        if near := _nearest(each, [*JOB_OPTIONS, *known, "fresh"]):
            there = "" if near == each else f"; did you mean {near!r}?"
            raise TypeError(f"{kind} has no option {each!r}{there}")
    return options, attrs or None


def checked_redirect(value: object) -> bool | Path:
    """`value` if it says where output goes: True, or the path of a file that could be written."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, (str, Path)) or not str(value).strip() or "\0" in str(value):
        raise InvalidOption("redirect_out_err", value, "True, False or the path of a file")
    path = Path(value).expanduser().absolute()
    if path.is_dir():
        raise InvalidOption("redirect_out_err", value, "a file, and this is a folder")
    return path


def yes_or_no(option: str, value: object) -> bool:
    """`value` if it is True or False."""
    if not isinstance(value, bool):
        raise InvalidOption(option, value, "True or False")
    return value


def _nearest(word: str, known: Sequence[str]) -> str | None:
    from difflib import get_close_matches  # only when something is wrong already

    return next(iter(get_close_matches(word, known, 1)), None)
