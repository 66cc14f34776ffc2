"""What is measured, how large, and what it should come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Parameters
    ----------
    key
        The figure's name in what a benchmark gives.
    title
        What is measured, in words.
    unit
        "µs", "ms", "%" or "B".
    most_times
        The most that ipyjobs should need, as a multiple of the floor. None: no such target.
    most
        The same as a figure in `unit`.
    compared
        Whether a ratio to the floor says anything: not where the floor is next to nothing.
    """

    key: str
    title: str
    unit: str
    most_times: float | None = None
    most: float | None = None
    compared: bool = True


@dataclass(frozen=True)
class Benchmark:
    """One run of each side in each round.

    Parameters
    ----------
    name
        The function in `floors`, `ours` and `peer` that does it.
    figures
        What it gives.
    sizes, quick
        The keywords it is called with; those that differ with ``--quick``, which leaves it out where there are none.
    statements
        Instead of a function: for each side an import whose time is taken.
    rounds
        At most so many.
    sides
        Who takes part.
    """

    name: str
    figures: Sequence[Figure]
    sizes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    quick: Mapping[str, Any] | None = field(default_factory=dict[str, Any])
    statements: Mapping[str, str] = field(default_factory=dict[str, str])
    rounds: int = 99
    sides: Sequence[str] = ("floors", "ours", "peer")


def _time(title: str, most_times: float | None = None, unit: str = "µs") -> tuple[Figure, ...]:
    return (Figure("time", title, unit, most_times),)


def _first(what: str) -> tuple[Figure, ...]:
    return Figure("first", f"first process job, worker ready{what}", "ms"), Figure(
        "second", f"second process job{what}", "ms"
    )


def _waiting(what: str, most: float | None = None) -> tuple[Figure, ...]:
    return (
        Figure("cpu", f"{what}: CPU", "%", most=most, compared=False),
        Figure("lag", f"{what}: loop lag, p95", "ms", compared=False),
    )


_LIBRARIES = "import asyncio, traitlets, cloudpickle, loguru"

BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark("noop_local", _time("{jobs:,} local jobs, each", 6), {"jobs": 10_000}),
    Benchmark("noop_coroutine", _time("{jobs:,} local coroutine jobs, each"), {"jobs": 10_000}, None, rounds=3),
    Benchmark(
        "noop_notebook",
        _time("{jobs:,} local jobs, engine on its own thread as in a notebook, each"),
        {"jobs": 10_000},
        sides=("floors", "ours"),
    ),
    Benchmark("noop_thread", _time("{jobs:,} thread jobs, each", 0.7), {"jobs": 1_000}),
    Benchmark("noop_process", _time("{jobs:,} process jobs, 2 at a time, each", 1.5), {"jobs": 2_000}),
    Benchmark("noop_dask", _time("{jobs:,} Dask jobs, a worker for each CPU, each", 1.05), {"jobs": 1_000}),
    Benchmark("trip_thread", _time("one thread job after another, each"), {"jobs": 500}),
    Benchmark("trip_process", _time("one process job after another, each"), {"jobs": 500}),
    Benchmark("first_process", _first(""), {"function": "noop"}),
    Benchmark(
        "first_cold",
        (Figure("first", "first process job, no worker started yet", "ms"),),
        {"function": "noop"},
        None,
        rounds=3,
    ),
    Benchmark("first_numpy", _first(", importing numpy"), {"function": "use_numpy"}),
    Benchmark("chain_local", _time("chain of {jobs} local jobs, a link"), {"jobs": 200}),
    Benchmark("chain_thread", _time("chain of {jobs} thread jobs, a link"), {"jobs": 200}),
    Benchmark("chain_process", _time("chain of {jobs} process jobs, a link"), {"jobs": 200}),
    Benchmark("fan_local", _time("1 → {width:,} → 1 local jobs, each"), {"width": 1_000}),
    Benchmark("fan_thread", _time("1 → {width:,} → 1 thread jobs, each"), {"width": 1_000}),
    Benchmark("fan_process", _time("1 → {width:,} → 1 process jobs, each"), {"width": 1_000}),
    Benchmark(
        "waiting",
        _waiting("{jobs:,} jobs wait for another", 1),
        {"jobs": 10_000, "seconds": 3},
        {"seconds": 1},
        rounds=1,
    ),
    Benchmark(
        "waiting_unknown",
        _waiting("{jobs:,} jobs wait for an unknown one", 1),
        {"jobs": 10_000, "seconds": 3},
        None,
        rounds=1,
        sides=("floors", "ours"),
    ),
    Benchmark(
        "waiting_user",
        _waiting("{jobs:,} jobs poll a condition of the user's"),
        {"jobs": 300, "seconds": 3},
        None,
        rounds=1,
    ),
    Benchmark(
        "cancel",
        (
            Figure("dead", "cancel a busy process with two children: all dead after", "ms", most=10),
            Figure("blocked", "cancel a busy process with two children: loop blocked for", "ms", most=2),
        ),
        {"times": 5},
        rounds=3,
    ),
    Benchmark("commands", _time("{jobs} commands `true`, 2 at a time, each", 1.0), {"jobs": 200}),
    Benchmark("memory_10k", (Figure("bytes", "memory of a record, {jobs:,} ended", "B"),), {"jobs": 10_000}, rounds=3),
    Benchmark(
        "memory_100k",
        (Figure("bytes", "memory of a record, {jobs:,} ended", "B"),),
        {"jobs": 100_000},
        None,
        rounds=1,
        sides=("floors", "ours"),
    ),
    Benchmark(
        "memory_traced",
        (Figure("bytes", "Python's allocations of a record, {jobs:,} ended", "B"),),
        {"jobs": 10_000, "traced": True},
        None,
        rounds=1,
    ),
    Benchmark(
        "store",
        (
            Figure("time", "a store for {jobs:,} local jobs, until saved, each", "µs", 2),
            Figure("loop", "a store: the loop waits at each change", "µs", most=10, compared=False),
        ),
        {"jobs": 10_000},
        sides=("floors", "ours"),
    ),
    Benchmark(
        "import_package",
        _time("`import ipyjobs`", 1.5, "ms"),
        statements={"floors": _LIBRARIES, "ours": "import ipyjobs", "peer": "import executor.engine"},
    ),
    Benchmark(
        "import_engine",
        _time("`from ipyjobs import Engine`", 1.5, "ms"),
        statements={
            "floors": _LIBRARIES,
            "ours": "from ipyjobs import Engine",
            "peer": "from executor.engine import Engine",
        },
    ),
)
