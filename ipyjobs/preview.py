"""What a value looks like, as bounded text, taken where and when the value is made."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

SHORT = 200
LONG = 64 * 1024


class Preview(NamedTuple):
    """A value as text, so that looking at it needs no unpickling."""

    type: str
    short: str
    """One line of at most 200 characters."""
    text: str
    """At most 64 KiB."""


NOTHING = Preview("NoneType", "", "")
"""What None looks like."""


class _Repr(reprlib.Repr):
    """Reads no more of bytes than it shows; the standard one writes out all of a gigabyte first."""

    def repr_bytes(self, value: bytes, level: int) -> str:
        return repr(value[: self.maxstring]) + ("…" if len(value) > self.maxstring else "")

    repr_bytearray = repr_bytes


_repr = _Repr()
_repr.maxlevel, _repr.maxlist, _repr.maxtuple, _repr.maxdict, _repr.maxset = 3, 8, 8, 8, 8
_repr.maxstring = _repr.maxother = _repr.maxlong = SHORT


BRIEF: set[type] = {int, float, bool, type(None)}
"""Types whose own text is short."""


def one_line(value: object, limit: int = SHORT) -> str:
    """`value` in one line of at most `limit` characters. Never raises; containers are not read to their end."""
    try:
        text = repr(value) if type(value) in BRIEF else _repr.repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def preview(value: object) -> Preview:
    """Look at `value` once. Never raises."""
    if value is None:
        return NOTHING
    kind = type(value)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    short = one_line(value)
    # A long container's repr costs more than the job may have; its short form says enough.
    sized: Any = value
    big = isinstance(value, (Mapping, Sequence, set, frozenset)) and len(sized) > 1_000
    try:
        text = short if big else repr(sized)
    except Exception:
        text = short
    return Preview(name, short, text if len(text) <= LONG else text[: LONG - 1] + "…")


def described(args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[tuple[str, str, str], ...]:
    """A call's arguments as (name, type, text); positional ones have no name. Runs the arguments' own ``__repr__``."""
    named = [("", each) for each in args] if not kwargs else [*(("", each) for each in args), *kwargs.items()]
    return tuple((name, type(value).__name__, one_line(value)) for name, value in named)


def in_short(call: Sequence[tuple[str, str, str]], limit: int = 120) -> str:
    """Described arguments on one line: ``lr=0.1 seed=0``."""
    parts: list[str] = []
    length = 0
    for name, _, text in call:
        shown = text if len(text) <= 40 else text[:39] + "…"
        parts.append(f"{name}={shown}" if name else shown)
        length += len(parts[-1]) + 1
        if length > limit:
            break
    text = " ".join(parts)
    return text if len(text) <= limit else text[: limit - 1] + "…"
