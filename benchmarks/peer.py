"""The benchmarks with executor-engine, as shipped: with its log lines, which go to /dev/null, and its cache folder."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from executor.engine import Engine, EngineSetting, LocalJob, ProcessJob, ThreadJob
from executor.engine.job import Job
from executor.engine.job.condition import AfterAnother, Condition
from executor.engine.job.extend import SubprocessJob

from benchmarks.probes import DeathWatch, Memory, NotInTime, Ticker, pids_in, rest


def _engine() -> Engine:
    return Engine(EngineSetting(max_process_jobs=2, print_traceback=False))


def _function(name: str) -> Callable[..., Any]:
    return getattr(sys.modules["__main__"], name)


def _per_job(started: float, jobs: int) -> dict[str, float]:
    return {"time": 1e6 * (time.perf_counter() - started) / jobs}


async def _run(engine: Engine, jobs: Sequence[Job], bound_s: float) -> None:
    await engine.submit_async(*jobs)
    await engine.join(list(jobs), timeout=bound_s)
    done = sum(job.status == "done" for job in jobs)
    if done < len(jobs):
        raise NotInTime(done, len(jobs))


async def _noop(kind: type[Job], jobs: int, bound_s: float, function: str = "noop") -> dict[str, float]:
    noop, engine = _function(function), _engine()
    started = time.perf_counter()
    await _run(engine, [kind(noop) for _ in range(jobs)], bound_s)
    return _per_job(started, jobs)


async def noop_local(jobs: int, bound_s: float) -> dict[str, float]:
    return await _noop(LocalJob, jobs, bound_s)


async def noop_coroutine(jobs: int, bound_s: float) -> dict[str, float]:
    return await _noop(LocalJob, jobs, bound_s, "noop_coroutine")


async def noop_thread(jobs: int, bound_s: float) -> dict[str, float]:
    return await _noop(ThreadJob, jobs, bound_s)


async def noop_process(jobs: int, bound_s: float) -> dict[str, float]:
    return await _noop(ProcessJob, jobs, bound_s)


async def noop_dask(jobs: int, bound_s: float) -> dict[str, float]:
    from executor.engine.job.dask import DaskJob

    noop, engine = _function("noop"), Engine(EngineSetting(max_jobs=None, print_traceback=False))
    await engine.dask_client
    started = time.perf_counter()
    await _run(engine, [DaskJob(noop) for _ in range(jobs)], bound_s)
    return _per_job(started, jobs)


async def _trip(kind: type[Job], jobs: int, bound_s: float) -> dict[str, float]:
    noop, engine = _function("noop"), _engine()
    await _run(engine, [kind(noop)], bound_s)
    started = time.perf_counter()
    for done in range(jobs):
        await _run(engine, [kind(noop)], bound_s)
        if time.perf_counter() - started > bound_s:
            raise NotInTime(done + 1, jobs)
    return _per_job(started, jobs)


async def trip_thread(jobs: int, bound_s: float) -> dict[str, float]:
    return await _trip(ThreadJob, jobs, bound_s)


async def trip_process(jobs: int, bound_s: float) -> dict[str, float]:
    # A tenth of a second each: fewer say as much.
    return await _trip(ProcessJob, min(jobs, 20), bound_s)


async def first_process(function: str, bound_s: float) -> dict[str, float]:
    engine, figures = _engine(), dict[str, float]()
    await _run(engine, [LocalJob(_function("noop"))], bound_s)
    for figure in ("first", "second"):
        started = time.perf_counter()
        await _run(engine, [ProcessJob(_function(function))], bound_s)
        figures[figure] = 1e3 * (time.perf_counter() - started)
    return figures


first_cold = first_numpy = first_process


async def _chain(kind: type[Job], jobs: int, bound_s: float) -> dict[str, float]:
    add_one, engine = _function("add_one"), _engine()
    started = time.perf_counter()
    chain = [kind(add_one, (0,))]
    for _ in range(jobs - 1):
        chain.append(kind(add_one, (chain[-1].future,)))
    await _run(engine, chain, bound_s)
    assert chain[-1].result() == jobs
    return _per_job(started, jobs)


async def chain_local(jobs: int, bound_s: float) -> dict[str, float]:
    return await _chain(LocalJob, jobs, bound_s)


async def chain_thread(jobs: int, bound_s: float) -> dict[str, float]:
    return await _chain(ThreadJob, jobs, bound_s)


async def chain_process(jobs: int, bound_s: float) -> dict[str, float]:
    return await _chain(ProcessJob, jobs, bound_s)


async def _fan(kind: type[Job], width: int, bound_s: float) -> dict[str, float]:
    add_one, total, engine = _function("add_one"), _function("total"), _engine()
    started = time.perf_counter()
    top = kind(add_one, (0,))
    middle = [kind(add_one, (top.future,)) for _ in range(width)]
    bottom = kind(total, tuple(each.future for each in middle))
    await _run(engine, [top, *middle, bottom], bound_s)
    assert bottom.result() == 2 * width
    return _per_job(started, width + 2)


async def fan_local(width: int, bound_s: float) -> dict[str, float]:
    return await _fan(LocalJob, width, bound_s)


async def fan_thread(width: int, bound_s: float) -> dict[str, float]:
    return await _fan(ThreadJob, width, bound_s)


async def fan_process(width: int, bound_s: float) -> dict[str, float]:
    return await _fan(ProcessJob, width, bound_s)


async def _wait(condition: Callable[[Job], Condition], jobs: int, seconds: float, wait_s: float) -> dict[str, float]:
    engine = _engine()
    gate = LocalJob(asyncio.Event().wait)
    waiting = [LocalJob(_function("noop"), condition=condition(gate), wait_time_delta=wait_s) for _ in range(jobs)]
    await engine.submit_async(gate, *waiting)
    await asyncio.sleep(0.5)
    return await rest(seconds)


async def waiting(jobs: int, seconds: float, bound_s: float) -> dict[str, float]:
    return await _wait(lambda gate: AfterAnother(gate.id), jobs, seconds, 0.01)


async def waiting_unknown(jobs: int, seconds: float, bound_s: float) -> dict[str, float]:
    return await _wait(lambda gate: AfterAnother("never submitted"), jobs, seconds, 0.01)


class Never(Condition):
    """Does not hold."""

    def satisfy(self, engine: Engine) -> bool:
        return False


async def waiting_user(jobs: int, seconds: float, bound_s: float) -> dict[str, float]:
    # As seldom as ipyjobs does by default, not ten times as often.
    return await _wait(lambda gate: Never(), jobs, seconds, 0.1)


async def cancel(times: int, bound_s: float) -> dict[str, float]:
    engine = _engine()
    dead_ms: list[float] = []
    blocked_ms: list[float] = []
    for number in range(times):
        path = Path(f"pids-{number}").absolute()
        job = ProcessJob(_function("spin"), (str(path),))
        await engine.submit_async(job)
        watch = DeathWatch(await pids_in(path))
        async with Ticker(0.001) as ticker:
            await asyncio.sleep(0.02)
            ticker.late_s.clear()
            asked_at = time.monotonic()
            await job.cancel()
            died_at = await watch.died_at(5)
            if died_at is None:
                raise NotInTime(0, 1)
            dead_ms.append(1e3 * (died_at - asked_at))
            await asyncio.sleep(0.02)
            blocked_ms.append(1e3 * max(ticker.late_s))
    return {"dead": sorted(dead_ms)[times // 2], "blocked": sorted(blocked_ms)[times // 2]}


async def commands(jobs: int, bound_s: float) -> dict[str, float]:
    engine = Engine(EngineSetting(max_thread_jobs=2, print_traceback=False))
    await _run(engine, [SubprocessJob("true")], bound_s)
    started = time.perf_counter()
    await _run(engine, [SubprocessJob("true") for _ in range(jobs)], bound_s)
    return _per_job(started, jobs)


async def memory(jobs: int, bound_s: float, traced: bool = False) -> dict[str, float]:
    engine = _engine()
    await _run(engine, [LocalJob(_function("noop"))], bound_s)
    memory = Memory(traced)
    await _run(engine, [LocalJob(_function("noop")) for _ in range(jobs)], bound_s)
    return {"bytes": memory.more() / jobs}


memory_10k = memory_100k = memory_traced = memory
