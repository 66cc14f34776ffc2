"""Command line of the benchmarks: ``python -m benchmarks [--quick] [--only NAME] [--write]``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks.report import machine, missed, page, table
from benchmarks.rounds import Outcome, measure
from benchmarks.rows import BENCHMARKS

_PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    """Measure what was asked for, and print the table."""
    options = _options()
    rounds = options.rounds or (1 if options.quick else 5)
    bound_s = options.bound or (2.0 if options.quick else 10.0)
    chosen = [each for each in BENCHMARKS if not options.only or any(name in each.name for name in options.only)]
    chosen = [each for each in chosen if not options.quick or each.quick is not None]
    if not chosen:
        sys.exit(
            f"no benchmark has {options.only} in its name; there are: {', '.join(each.name for each in BENCHMARKS)}"
        )
    facts = machine()
    print("\n".join(facts), flush=True)
    has_peer = find_spec("executor") is not None
    outcomes: list[Outcome] = []
    for benchmark in chosen:
        started = time.monotonic()
        outcome = measure(benchmark, rounds, bound_s, quick=options.quick, has_peer=has_peer)
        outcomes.append(outcome)
        print(
            f"{time.monotonic() - started:6.1f} s  {benchmark.name}", *_troubles(outcome), file=sys.stderr, flush=True
        )
    print("\n" + table(outcomes))
    for title in missed(outcomes):
        print(f"not met: {title}")
    if options.json:
        plain = [{"name": each.benchmark.name, "sizes": each.sizes, "answers": _plain(each)} for each in outcomes]
        options.json.write_text(json.dumps({"machine": facts, "benchmarks": plain}, indent=1) + "\n")
    if options.write:
        _PAGE.parent.mkdir(exist_ok=True)
        _PAGE.write_text(page(outcomes, facts, rounds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, shorter bounds: below a minute")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="benchmarks with NAME in their name; repeatable"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each side is measured (default 5)")
    parser.add_argument("--bound", type=float, metavar="SECONDS", help="how long a peer may take (default 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round there")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    return parser.parse_args()


def _troubles(outcome: Outcome) -> list[str]:
    return [f"({side}: {trouble})" for side in outcome.answers if (trouble := outcome.trouble(side))]


def _plain(outcome: Outcome) -> dict[str, list[dict[str, object]]]:
    return {side: [dataclasses.asdict(each) for each in answers] for side, answers in outcome.answers.items()}


if __name__ == "__main__":
    main()
