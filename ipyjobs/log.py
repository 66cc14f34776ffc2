"""The logger of ipyjobs itself: loguru's, so sinks and formats are set the loguru way. See https://loguru.readthedocs.io."""

from __future__ import annotations

from typing import Any

from loguru import logger

__all__ = ["logger"]

FIRST = 0
"""The sink that loguru begins with, which prints everything to stderr and which nobody has asked for."""


def sinks() -> Any:
    """Loguru's sinks by number: another mapping whenever one was added or removed.

    Loguru (0.7) does not say when that happens, so this looks into it; None where it has changed.
    """
    return getattr(getattr(logger, "_core", None), "handlers", None)


def added_sinks() -> list[int]:
    """The levels of the sinks that somebody has added."""
    return [int(getattr(each, "levelno", 0)) for number, each in dict(sinks() or {}).items() if number != FIRST]
