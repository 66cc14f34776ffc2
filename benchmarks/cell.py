"""The functions that are run as jobs. Executed in ``__main__``, as a cell is, so that they travel by value."""

from __future__ import annotations


def noop() -> None:
    """Do nothing."""


async def noop_coroutine() -> None:
    """Do nothing, on a loop."""


def add_one(value: int) -> int:
    """One link of a chain."""
    return value + 1


def total(*values: int) -> int:
    """The lower end of a fan."""
    return sum(values)


def use_numpy() -> float:
    """Need a library that takes a while to import."""
    import numpy as np

    return float(np.arange(3).sum())


def spin(path: str) -> None:
    """Start two children, write all three pids to `path`, and never give up the CPU again."""
    import os
    import subprocess
    from pathlib import Path

    pids = [os.getpid(), *(subprocess.Popen(["sleep", "600"]).pid for _ in range(2))]
    new = Path(path + ".new")
    new.write_text(" ".join(map(str, pids)))
    new.rename(path)
    while True:
        pass
