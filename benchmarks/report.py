"""The figures as a Markdown table, with the machine and the versions they were taken with."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from statistics import median

from benchmarks.rounds import Outcome
from benchmarks.rows import Figure
from ipyjobs.version import __version__

PEER = "executor-engine"
_LIBRARIES = (PEER, "cloudpickle", "traitlets", "loguru", "numpy")
_HEAD = """\
| workload | floor | ipyjobs | {peer} | ipyjobs / floor | peer / floor | target |
|---|--:|--:|--:|--:|--:|---|
"""
_PAGE = """\
# Benchmarks

This page is printed by `python -m benchmarks --write`; nothing in it is written by hand.

{facts}

Each figure is the median of fresh interpreters, taken in turn (floor, ipyjobs, peer, floor, ipyjobs, peer …), in up to
{rounds} rounds, two for the peer; what takes long is measured once. A ratio is the median of the ratios to the floor of
the same round, with the smallest and the largest behind it: on a machine that others use too, trust ratios rather than
times.

The *floor* is the least that the workload can cost: bare asyncio tasks, `run_in_executor` with 20 threads, warm bare
worker processes on socketpairs (`benchmarks/floors.py`). Functions are defined in `__main__`, as in a notebook, and
travel by value. ipyjobs keeps its records, events and logs; the peer is as shipped, with its log lines sent to
`/dev/null` and its folders kept in memory where there is a `/dev/shm`.

{table}"""


def table(outcomes: Iterable[Outcome]) -> str:
    """The whole table."""
    lines = (_line(outcome, figure) for outcome in outcomes for figure in outcome.benchmark.figures)
    return _HEAD.format(peer=f"{PEER} {version(PEER)}") + "\n".join(lines) + "\n"


def machine() -> list[str]:
    """What it was measured on and with, one fact a line."""
    cpu = next((each for each in _lines("/proc/cpuinfo") if each.startswith("model name")), ": unknown").split(": ")[1]
    return [
        f"{cpu}, {len(os.sched_getaffinity(0))} CPUs, load {os.getloadavg()[0]:.1f} at the start",
        f"{platform.system()} {platform.release()}, {platform.python_implementation()} {platform.python_version()}",
        "ipyjobs " + ", ".join([version("ipyjobs"), *(f"{each} {version(each)}" for each in _LIBRARIES)]),
    ]


def version(distribution: str) -> str:
    """The version that is installed; of ipyjobs the one that is measured."""
    if distribution == "ipyjobs":
        return __version__
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def missed(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """The titles of the figures that are worse than their target."""
    for outcome in outcomes:
        for figure in outcome.benchmark.figures:
            if "not met" in _target(outcome, figure):
                yield figure.title.format(**outcome.sizes)


def page(outcomes: Iterable[Outcome], facts: Iterable[str], rounds: int) -> str:
    """The whole page of the documentation."""
    outcomes = list(outcomes)
    left = {
        outcome.benchmark.name: max((each.left for each in outcome.answers.get("peer", [])), default=0)
        for outcome in outcomes
    }
    name, most = max(left.items(), key=lambda each: each[1], default=("", 0))
    text = _PAGE.format(facts="\n".join(f"- {each}" for each in facts), rounds=rounds, table=table(outcomes))
    return text + (f"\nProcesses that the peer left running: up to {most} (`{name}`).\n" if most else "")


def _line(outcome: Outcome, figure: Figure) -> str:
    cells = [figure.title.format(**outcome.sizes)]
    cells += [_cell(outcome, figure, side) for side in ("floors", "ours", "peer")]
    cells += [_ratio(outcome, figure, side) for side in ("ours", "peer")]
    return "| " + " | ".join([*cells, _target(outcome, figure)]) + " |"


def _cell(outcome: Outcome, figure: Figure, side: str) -> str:
    value = outcome.figure(side, figure.key)
    if value is None:
        return outcome.trouble(side) or "–"
    return f"{_short(value)} {figure.unit}"


def _ratio(outcome: Outcome, figure: Figure, side: str) -> str:
    times = outcome.times(side, figure.key)
    if not times or not figure.compared:
        return "–"
    middle = f"{_short(median(times))}x"
    return middle if len(times) == 1 else f"{middle} ({_short(times[0])}–{_short(times[-1])})"


def _target(outcome: Outcome, figure: Figure) -> str:
    if figure.most_times is not None:
        times = outcome.times("ours", figure.key)
        value, most, unit = (median(times) if times else None), figure.most_times, "x"
    elif figure.most is not None:
        value, most, unit = outcome.figure("ours", figure.key), figure.most, f" {figure.unit}"
    else:
        return ""
    met = "met" if value is not None and value <= most else "not met"
    return f"≤ {most:g}{unit}: {met}"


def _short(value: float) -> str:
    """Three digits, or as many as stand before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []
