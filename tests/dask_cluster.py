"""A Dask cluster of somebody else's: ``python -m tests.dask_cluster`` says its address, and ends with its stdin."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# What Dask says of the workers that tests kill is of no use to anybody.
_PROGRAM = [sys.executable, "-m", "tests.dask_cluster"]


@contextmanager
def running_cluster(workers: int = 2, threads: int = 2) -> Iterator[str]:
    """Give the address of a scheduler with some workers."""
    process = subprocess.Popen(
        [*_PROGRAM, str(workers), str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


async def main(workers: int, threads: int) -> None:
    import dask
    from distributed import LocalCluster

    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    async with LocalCluster(
        n_workers=workers, threads_per_worker=threads, host="127.0.0.1", dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL, asynchronous=True,
    ) as cluster:  # fmt: skip
        print(cluster.scheduler_address, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
