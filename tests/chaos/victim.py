"""A process that runs jobs with a store until it is killed: ``python -m tests.chaos.victim STORE NUMBER``.

Says "started", then "submitted ID NUMBER" and "saved ID" as it goes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import count

from ipyjobs import Engine, EngineSetting, Job, LocalJob, ProcessJob, ThreadJob

SIZES = (0, 10, 1_000, 100_000, 2_000_000)


def value(number: int) -> tuple[int, bytes]:
    """What job `number` returns: some small, some large enough for a file."""
    return number, bytes([number % 251]) * SIZES[number % len(SIZES)]


def slow(number: int) -> tuple[int, bytes]:
    time.sleep(number % 7 / 100)
    return value(number)


def fail(number: int) -> None:
    raise ValueError(number)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(path: str, first: int) -> None:
    setting = EngineSetting(store=path, echo=False, print_traceback=False, max_process_jobs=1)
    engine = Engine(setting, threaded=first % 2 == 0).start()
    say("started")
    kinds: list[type[Job]] = [LocalJob, ThreadJob, ThreadJob, ProcessJob]
    for number in count(first):
        function = fail if number % 11 == 0 else slow if number % 3 == 0 else value
        job = kinds[number % len(kinds)](function, (number,), name=str(number), retries=number % 2)
        job.observe(lambda change: say("saved", change.owner.id) if change.new else None, "saved")
        engine.submit(job)
        say("submitted", job.id, number)
        if number % 50 == 0:
            job.rerun() if job.ended else None
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
