"""One benchmark of one side in a fresh interpreter: ``python -m benchmarks.child SIDE NAME SIZES BOUND FILE``."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.probes import NotInTime

_CELL = Path(__file__).with_name("cell.py")


async def measure(side: str, name: str, sizes: dict[str, Any], bound_s: float, file: Path) -> None:
    """Run a benchmark, and write what came of it as JSON."""
    benchmark = getattr(importlib.import_module(f"benchmarks.{side}"), name)
    if side == "peer":
        sizes["bound_s"] = bound_s
    try:
        answer = {"figures": await benchmark(**sizes)}
    except NotInTime as error:
        answer = {"done": error.done, "of": error.of}
    new = file.with_suffix(".new")
    new.write_text(json.dumps(answer))
    new.rename(file)
    if side == "peer":
        # Leaving properly would wait for the threads and processes that it has left behind.
        os._exit(0)


if __name__ == "__main__":
    _, side, name, sizes, bound_s, file = sys.argv
    exec(compile(_CELL.read_text(), str(_CELL), "exec"), vars(sys.modules["__main__"]))
    asyncio.run(measure(side, name, json.loads(sizes), float(bound_s), Path(file)))
