"""The benchmarks with ipyjobs. Records, events and logs are on, as they always are."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.probes import DeathWatch, Memory, Ticker, pids_in, rest
from ipyjobs import (
    AfterAnother,
    Condition,
    DaskJob,
    Engine,
    EngineSetting,
    Job,
    LocalJob,
    ProcessJob,
    SubprocessJob,
    ThreadJob,
)  # fmt: skip


def _engine(*, threaded: bool | None = None) -> Engine:
    return Engine(EngineSetting(max_process_jobs=2, print_traceback=False, echo=False), threaded=threaded)


def _function(name: str) -> Callable[..., Any]:
    return getattr(sys.modules["__main__"], name)


def _per_job(started: float, jobs: int) -> dict[str, float]:
    return {"time": 1e6 * (time.perf_counter() - started) / jobs}


async def _noop(
    kind: type[Job], jobs: int, function: str = "noop", *, threaded: bool | None = None
) -> dict[str, float]:
    noop = _function(function)
    async with _engine(threaded=threaded) as engine:
        if kind is not LocalJob:
            # The floors' threads and workers are warm, too.
            await engine.submit(*[kind(time.sleep, (0.01,)) for _ in range(20)])
        started = time.perf_counter()
        group = engine.submit(*[kind(noop) for _ in range(jobs)])
        await group
        figures = _per_job(started, jobs)
        assert len(group.done) == jobs
        return figures


async def noop_local(jobs: int) -> dict[str, float]:
    return await _noop(LocalJob, jobs)


async def noop_coroutine(jobs: int) -> dict[str, float]:
    return await _noop(LocalJob, jobs, "noop_coroutine")


async def noop_notebook(jobs: int) -> dict[str, float]:
    return await _noop(LocalJob, jobs, threaded=True)


async def noop_thread(jobs: int) -> dict[str, float]:
    return await _noop(ThreadJob, jobs)


async def noop_process(jobs: int) -> dict[str, float]:
    return await _noop(ProcessJob, jobs)


async def noop_dask(jobs: int) -> dict[str, float]:
    noop = _function("noop")
    # No limit of 20: the floor sends all its tasks at once, too.
    setting = EngineSetting(max_jobs=None, print_traceback=False, echo=False)
    async with Engine(setting) as engine:
        await engine.submit(*[DaskJob(time.sleep, (0.01,)) for _ in range(20)])
        started = time.perf_counter()
        group = engine.submit(*[DaskJob(noop) for _ in range(jobs)])
        await group
        figures = _per_job(started, jobs)
        assert len(group.done) == jobs
        return figures


async def _trip(kind: type[Job], jobs: int) -> dict[str, float]:
    noop = _function("noop")
    async with _engine() as engine:
        await engine.submit(kind(noop))
        started = time.perf_counter()
        for _ in range(jobs):
            await engine.submit(kind(noop))
        return _per_job(started, jobs)


async def trip_thread(jobs: int) -> dict[str, float]:
    return await _trip(ThreadJob, jobs)


async def trip_process(jobs: int) -> dict[str, float]:
    return await _trip(ProcessJob, jobs)


async def first_process(function: str) -> dict[str, float]:
    # On a thread of its own, as in a notebook, it has a worker ready before it is asked for one.
    return await _first(function, threaded=True)


first_numpy = first_process


async def first_cold(function: str) -> dict[str, float]:
    return await _first(function, threaded=None)


async def _first(function: str, *, threaded: bool | None) -> dict[str, float]:
    figures: dict[str, float] = {}
    async with _engine(threaded=threaded) as engine:
        await engine.submit(LocalJob(_function("noop")))
        await asyncio.sleep(0.5)
        for figure in ("first", "second"):
            started = time.perf_counter()
            await engine.submit(ProcessJob(_function(function)))
            figures[figure] = 1e3 * (time.perf_counter() - started)
    return figures


async def _chain(kind: type[Job], jobs: int) -> dict[str, float]:
    add_one = _function("add_one")
    async with _engine() as engine:
        await engine.submit(kind(add_one, (0,)))
        started = time.perf_counter()
        chain = [kind(add_one, (0,))]
        for _ in range(jobs - 1):
            chain.append(kind(add_one, (chain[-1].future,)))
        engine.submit(*chain)
        assert await chain[-1] == jobs
        return _per_job(started, jobs)


async def chain_local(jobs: int) -> dict[str, float]:
    return await _chain(LocalJob, jobs)


async def chain_thread(jobs: int) -> dict[str, float]:
    return await _chain(ThreadJob, jobs)


async def chain_process(jobs: int) -> dict[str, float]:
    return await _chain(ProcessJob, jobs)


async def _fan(kind: type[Job], width: int) -> dict[str, float]:
    add_one, total = _function("add_one"), _function("total")
    async with _engine() as engine:
        await engine.submit(*[kind(time.sleep, (0.01,)) for _ in range(20)])
        started = time.perf_counter()
        top = kind(add_one, (0,))
        middle = [kind(add_one, (top.future,)) for _ in range(width)]
        bottom = kind(total, [each.future for each in middle])
        engine.submit(top, *middle, bottom)
        assert await bottom == 2 * width
        return _per_job(started, width + 2)


async def fan_local(width: int) -> dict[str, float]:
    return await _fan(LocalJob, width)


async def fan_thread(width: int) -> dict[str, float]:
    return await _fan(ThreadJob, width)


async def fan_process(width: int) -> dict[str, float]:
    return await _fan(ProcessJob, width)


async def _wait(condition: Callable[[Job], Condition], jobs: int, seconds: float) -> dict[str, float]:
    async with _engine() as engine:
        gate = engine.submit(LocalJob(asyncio.Event().wait))
        group = engine.submit(*[LocalJob(_function("noop"), condition=condition(gate)) for _ in range(jobs)])
        await asyncio.sleep(0.5)
        figures = await rest(seconds)
        assert len(group.pending) == jobs
        return figures


async def waiting(jobs: int, seconds: float) -> dict[str, float]:
    return await _wait(lambda gate: AfterAnother(gate.id), jobs, seconds)


async def waiting_unknown(jobs: int, seconds: float) -> dict[str, float]:
    return await _wait(lambda gate: AfterAnother("never submitted"), jobs, seconds)


class Never(Condition):
    """Says only that it does not hold, so it is polled."""

    def satisfy(self, engine: Engine) -> bool:
        return False


async def waiting_user(jobs: int, seconds: float) -> dict[str, float]:
    return await _wait(lambda gate: Never(), jobs, seconds)


async def cancel(times: int) -> dict[str, float]:
    dead_ms: list[float] = []
    blocked_ms: list[float] = []
    async with _engine() as engine:
        for number in range(times):
            path = Path(f"pids-{number}").absolute()
            job = engine.submit(ProcessJob(_function("spin"), (str(path),)))
            watch = DeathWatch(await pids_in(path))
            async with Ticker(0.001) as ticker:
                await asyncio.sleep(0.02)
                ticker.late_s.clear()
                asked_at = time.monotonic()
                job.cancel()
                died_at = await watch.died_at(5)
                assert died_at is not None, "not dead after 5 s"
                dead_ms.append(1e3 * (died_at - asked_at))
                await asyncio.sleep(0.02)
                blocked_ms.append(1e3 * max(ticker.late_s))
    return {"dead": sorted(dead_ms)[times // 2], "blocked": sorted(blocked_ms)[times // 2]}


async def commands(jobs: int) -> dict[str, float]:
    async with _engine() as engine:
        engine.set_limit(2, backend="thread")
        await engine.submit(SubprocessJob(["true"]))
        started = time.perf_counter()
        group = engine.submit(*[SubprocessJob(["true"]) for _ in range(jobs)])
        await group
        figures = _per_job(started, jobs)
        assert len(group.done) == jobs
        return figures


async def memory(jobs: int, traced: bool = False) -> dict[str, float]:
    async with _engine() as engine:
        await engine.submit(LocalJob(_function("noop")))
        memory = Memory(traced)
        await engine.submit(*[LocalJob(_function("noop")) for _ in range(jobs)])
        return {"bytes": memory.more() / jobs}


memory_10k = memory_100k = memory_traced = memory


async def store(jobs: int) -> dict[str, float]:
    """What a store adds to local jobs, until the last one is saved; and what of that the loop has to wait for."""
    noop = _function("noop")
    async with _engine() as engine:
        await engine.submit(LocalJob(noop))
        without = await _ended(engine, noop, jobs)
    setting = EngineSetting(max_process_jobs=2, print_traceback=False, echo=False, store=Path("ours.sqlite").absolute())
    async with Engine(setting) as engine:
        await engine.submit(LocalJob(noop))
        assert await engine.saved()
        on_loop = _OnLoop(engine)
        with_store = await _ended(engine, noop, jobs)
        return {"time": 1e6 * (with_store - without) / jobs, "loop": 1e6 * on_loop.took_s / on_loop.calls}


async def _ended(engine: Engine, noop: Callable[..., Any], jobs: int) -> float:
    started = time.perf_counter()
    group = engine.submit(*[LocalJob(noop) for _ in range(jobs)])
    await group
    if engine.recorder is not None:
        assert await engine.saved()
    return time.perf_counter() - started


class _OnLoop:
    """Measures what the recorder does on the engine's loop."""

    def __init__(self, engine: Engine) -> None:
        self.took_s = 0.0
        self.calls = 0
        [self._listener] = engine.flow.listeners
        engine.flow.listeners[:] = [self]

    def __call__(self, job: Job) -> None:
        started = time.perf_counter()
        self._listener(job)
        self.took_s += time.perf_counter() - started
        self.calls += 1

    def __eq__(self, other: object) -> bool:
        return other is self or other == self._listener

    def __hash__(self) -> int:
        return id(self)
