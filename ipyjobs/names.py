"""What jobs, groups, tags and queues may be called, and the ids that tell jobs apart."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Iterable
from typing import Any

from ipyjobs.errors import InvalidOption

LONGEST = 500
# Unicode 15, "Bidirectional Algorithm" (UAX 9), table 4: they would turn around whatever is shown after them.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_name(option: str, value: object) -> str:
    """`value` if it can be shown on one line: text with something visible in it and nothing that acts.

    Raises
    ------
    InvalidOption
        It is empty, invisible, longer than 500 characters, or holds control or text-direction characters.
    """
    if not isinstance(value, str):
        raise InvalidOption(option, value, "text")
    if value.isascii() and value.isprintable() and 0 < len(value) <= LONGEST and not value.isspace():
        return value
    if len(value) > LONGEST:
        raise InvalidOption(option, value, f"at most {LONGEST} characters")
    for each in value:
        if each in _BIDI or unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp"):
            raise InvalidOption(option, value, f"text without control characters (there is a U+{ord(each):04X})")
    if all(unicodedata.category(each) in ("Cf", "Zs", "Mn", "Cn") for each in value):
        raise InvalidOption(option, value, "text with something visible in it")
    return value


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags in order, each once."""
    if isinstance(tags, str):
        raise InvalidOption("tags", tags, f"a list of texts: [{tags!r}]")
    return tuple(dict.fromkeys(checked_name("tags", each) for each in tags))


def name_of(function: Any) -> str:
    """What a callable is called: its own name, a partial's function's, an object's class's."""
    while not hasattr(function, "__name__") and hasattr(function, "func"):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return str(name)[:LONGEST]


_numbers = itertools.count(1)
_seed = os.urandom(6).hex()


def new_id() -> str:
    """An id that no other job has, in whichever process."""
    return f"{_seed}-{next(_numbers):x}"


def _forked() -> None:
    global _seed
    _seed = os.urandom(6).hex()  # two processes that count on from here must not give two jobs one id


os.register_at_fork(after_in_child=_forked)
