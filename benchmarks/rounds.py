"""Runs the sides one after another, round by round, each in a fresh interpreter, and clears up behind them."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rows import Benchmark

_ROOT = Path(__file__).parent.parent
_MARK = "IPYJOBS_BENCHMARK"
_TOO_LONG_S = 6.0
"""A side whose round took longer than this is not measured again."""
_PEER_ROUNDS = 2
"""The peer is measured so often at most: what is ten times as long needs no third digit."""
_GRACE_S = 20.0
"""What a side may take beside its bound, to start and to set up, before it is killed."""


@dataclass
class Answer:
    """What became of one side in one round.

    Parameters
    ----------
    figures
        What it measured, by key; empty if it did not come to an end.
    trouble
        Why there are none: "not in 20 s (210 of 2,000)".
    left
        How many processes it left behind.
    took_s
        How long all of it took.
    """

    figures: dict[str, float] = field(default_factory=dict[str, float])
    trouble: str = ""
    left: int = 0
    took_s: float = 0.0


@dataclass
class Outcome:
    """All rounds of one benchmark: for each side its answers, in order."""

    benchmark: Benchmark
    sizes: dict[str, Any]
    answers: dict[str, list[Answer]]

    def figure(self, side: str, key: str) -> float | None:
        """The median over the rounds; None if there is none."""
        values = [each.figures[key] for each in self.answers.get(side, []) if each.figures]
        return median(values) if values else None

    def times(self, side: str, key: str) -> list[float]:
        """In each round, how many times the floor of the same round it was; sorted."""
        pairs = zip(self.answers.get(side, []), self.answers.get("floors", []), strict=False)
        return sorted(ours.figures[key] / floor.figures[key] for ours, floor in pairs if ours.figures and floor.figures)

    def trouble(self, side: str) -> str:
        """Why there is no figure; empty if there is one."""
        return next((each.trouble for each in self.answers.get(side, []) if each.trouble), "")


def measure(benchmark: Benchmark, rounds: int, bound_s: float, *, quick: bool, has_peer: bool) -> Outcome:
    """All rounds of one benchmark; imports are made once before, so that everything is compiled."""
    sizes = {**benchmark.sizes, **((benchmark.quick or {}) if quick else {})}
    sides = [each for each in benchmark.sides if each != "peer" or has_peer]
    outcome = Outcome(benchmark, sizes, {side: [] for side in sides})
    if benchmark.statements:
        for side in sides:
            _answer(benchmark, side, sizes, bound_s)
    for _ in range(min(rounds, benchmark.rounds)):
        for side in sides:
            answers = outcome.answers[side]
            if answers and (answers[-1].took_s > _TOO_LONG_S or answers[-1].trouble):
                continue
            if side == "peer" and len(answers) == _PEER_ROUNDS:
                continue
            answers.append(_answer(benchmark, side, sizes, bound_s))
    return outcome


def _answer(benchmark: Benchmark, side: str, sizes: dict[str, Any], bound_s: float) -> Answer:
    mark = f"{_MARK}={secrets.token_hex(8)}"
    # In memory where possible: the peer makes a folder for every job.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=place, ignore_cleanup_errors=True) as folder:
        file = Path(folder, "answer.json")
        if benchmark.statements:
            command = [sys.executable, "-c", _import(benchmark.statements[side], file)]
        else:
            arguments = [side, benchmark.name, json.dumps(sizes), str(bound_s), str(file)]
            command = [sys.executable, "-m", "benchmarks.child", *arguments]
        started = time.monotonic()
        trouble = _run(command, folder, mark, bound_s)
        left = _clear(mark)
        answer = Answer(left=left, took_s=time.monotonic() - started)
        if not file.exists():
            answer.trouble = trouble or "ended without an answer"
        elif "figures" in (said := json.loads(file.read_text())):
            answer.figures = said["figures"]
        else:
            answer.trouble = f"not in {bound_s:.0f} s ({said['done']:,} of {said['of']:,})"
        return answer


def _import(statement: str, file: Path) -> str:
    return "\n".join(
        (
            "import time; started = time.perf_counter()",
            statement,
            "taken_s = time.perf_counter() - started",
            f"import json; json.dump({{'figures': {{'time': 1e3 * taken_s}}}}, open({str(file)!r}, 'w'))",
        )
    )


def _run(command: list[str], folder: str, mark: str, bound_s: float) -> str:
    """Run a side to its end; what went wrong, or nothing."""
    name, _, value = mark.partition("=")
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {**os.environ, name: value, "PYTHONPATH": os.pathsep.join(paths), "IPYJOBS_DATA_DIR": folder}
    # What is installed has been compiled; what is imported from a checkout must not be compiled each time.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
            start_new_session=True,
        )  # fmt: skip
        try:
            if process.wait(bound_s + _GRACE_S) == 0:
                return ""
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"not in {bound_s:.0f} s"
        said.seek(max(0, said.seek(0, os.SEEK_END) - 2_000))
        lines = said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with status {process.returncode}"


def _clear(mark: str) -> int:
    """Kill what still runs of the side whose environment has `mark`; how many processes that were."""
    until = time.monotonic() + 1
    while (left := list(_marked(mark))) and time.monotonic() < until:
        # A guard needs a moment to see that it is no longer needed, and that is no fault.
        time.sleep(0.02)
    killed = set[int]()
    while left:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.add(pid)
        time.sleep(0.02)
        left = list(_marked(mark))
    return len(killed)


def _marked(mark: str) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:  # gone, a zombie, or somebody else's
            continue
        if mark.encode() in environ.split(b"\0"):
            yield int(entry.name)
