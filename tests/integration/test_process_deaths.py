"""What happens when a worker, the guard, the zygote or the kernel itself dies, and that nothing is ever left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
import pytest

from ipyjobs.backends.process import ProcessBackend
from ipyjobs.errors import WorkersBroken
from tests.integration.process_jobs import (
    FUSE_S,
    add,
    die,
    echo,
    family,
    gone,
    opened,
    pid,
    run,
    sleep,
    spin,
)


@pytest.fixture
async def guarded() -> AsyncIterator[ProcessBackend]:
    """An open backend with a guard."""
    async with opened(2) as backend:
        yield backend
    assert not psutil.Process().children(recursive=True)


def guard_of(backend: ProcessBackend) -> psutil.Process:
    return psutil.Process(backend._host.pid)  # type: ignore[union-attr]  # pyright: ignore[reportPrivateUsage]


async def test_a_killed_guard_fails_its_jobs_leaves_nothing_and_is_replaced(guarded: ProcessBackend) -> None:
    heard = run(guarded, family)
    pids = await heard.printed_pids(3)
    guard = guard_of(guarded)

    guard.kill()

    assert await heard.end() == "failed"
    assert heard.failure is not None
    assert "guard" in heard.failure.summary
    assert await gone(guard.pid, *pids)
    assert await run(guarded, add, 1, 1).value() == 2
    assert guard_of(guarded).pid != guard.pid


async def test_a_killed_zygote_harms_no_job_and_is_replaced(guarded: ProcessBackend) -> None:
    heard = run(guarded, sleep)
    await heard.begun.wait()
    await run(guarded, echo).value()
    zygote = next(each for each in guard_of(guarded).children() if each.pid == os.getsid(each.pid) and each.pid not in {
        worker.pid for worker in guarded._workers.values()  # pyright: ignore[reportPrivateUsage]
    })  # fmt: skip

    zygote.kill()

    assert await gone(zygote.pid)
    values = [run(guarded, pid, fresh=True) for _ in range(3)]
    assert len({await each.value() for each in values}) == 3
    assert not heard.over.is_set()
    guarded.stop(heard)
    await heard.end()


async def test_workers_that_cannot_start_fail_the_jobs_with_what_they_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cloudpickle.py").write_text("raise RuntimeError('broken on purpose')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    async with opened(2) as backend:
        heard = run(backend, echo)

        with pytest.raises(WorkersBroken, match="broken on purpose"):
            await heard.value()


async def test_a_guard_that_cannot_start_fails_the_jobs_and_is_tried_again_by_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no python today >&2; exit 1")
    broken.chmod(0o755)
    backend = ProcessBackend(2)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(broken))
            backend.open(asyncio.get_running_loop())

            with pytest.raises(WorkersBroken, match="no python today"):
                await run(backend, echo).value()

        assert await run(backend, add, 1, 1).value() == 2
    finally:
        await backend.close()


async def test_a_preload_that_crashes_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crashing.py").write_text("import os; os._exit(1)")
    (tmp_path / "raising.py").write_text("1 / 0")
    (tmp_path / "threading_away.py").write_text(
        "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
    )
    (tmp_path / "fine.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    notes: list[str] = []
    async with opened(2, preload=("crashing", "raising", "threading_away", "fine")) as backend:
        backend.host_note = notes.append  # type: ignore[method-assign]

        assert await run(backend, lambda: "fine" in __import__("sys").modules).value()

        text = "\n".join(notes)
        for each in ("crashing is no longer", "ZeroDivisionError", "threading_away cannot be"):
            assert each in text


async def test_a_worker_that_dies_before_it_began_releases_its_job(guarded: ProcessBackend) -> None:
    worker = await run(guarded, pid).value()
    os.kill(worker, signal.SIGSTOP)
    heard = run(guarded, pid)
    assert heard.pid == worker

    os.kill(worker, signal.SIGKILL)

    assert await heard.end() == "released"
    assert "before it began" in heard.why


async def test_a_result_counts_although_its_worker_died_after_it(guarded: ProcessBackend) -> None:
    worker = await run(guarded, pid).value()
    heard = run(guarded, long_text)
    assert heard.pid == worker

    # The loop stands still meanwhile: result, end of line and death are all there when it looks.
    until = time.monotonic() + FUSE_S
    while not answered(guarded, worker):
        assert time.monotonic() < until
    os.kill(worker, signal.SIGKILL)
    while psutil.pid_exists(worker):
        assert time.monotonic() < until

    assert await heard.value() == "x" * 100_000


def long_text() -> str:
    return "x" * 100_000


def answered(backend: ProcessBackend, worker: int) -> bool:
    """Whether the worker has begun the call it was given, and is asleep again."""
    found = next(each for each in backend._workers.values() if each.pid == worker)  # pyright: ignore[reportPrivateUsage]
    marks = backend._host.marks  # type: ignore[union-attr]  # pyright: ignore[reportPrivateUsage]
    begun = int.from_bytes(marks[found.slot * 8 : found.slot * 8 + 8], "little") == found.work.number
    return begun and psutil.Process(worker).status() == psutil.STATUS_SLEEPING


KERNEL = """
import asyncio, sys
from ipyjobs.backends.process import ProcessBackend
from tests.integration.process_jobs import family, run

async def main():
    backend = ProcessBackend(5)
    backend.open(asyncio.get_running_loop())
    jobs = [run(backend, family) for _ in range(5)]
    for each in jobs:
        print(*await each.printed_pids(3), flush=True)
    print(backend._host.pid, flush=True)
    {then}

asyncio.run(main())
"""


class Kernel:
    """Another Python with five jobs, each with stubborn descendants."""

    def __init__(self, process: asyncio.subprocess.Process, pids: list[int]) -> None:
        self.process = process
        self.pids = pids

    @classmethod
    async def start(cls, then: str = "await asyncio.sleep(600)") -> Kernel:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KERNEL.format(then=then), stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        async with asyncio.timeout(FUSE_S):
            lines = [await process.stdout.readline() for _ in range(6)]
        return cls(process, [int(each) for line in lines for each in line.split()])

    async def gone(self) -> bool:
        return await gone(*self.pids, fuse_s=3.0)

    def clean(self) -> None:
        for each in self.pids:
            if psutil.pid_exists(each):
                os.kill(each, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_survives_a_killed_kernel(number: signal.Signals) -> None:
    kernel = await Kernel.start()
    assert len(kernel.pids) == 16

    kernel.process.send_signal(number)
    await kernel.process.wait()

    assert await kernel.gone()


async def test_nothing_survives_a_script_that_ends_without_closing() -> None:
    kernel = await Kernel.start("pass")
    await kernel.process.wait()

    assert await kernel.gone()


async def test_nothing_survives_although_a_forked_child_holds_all_descriptors() -> None:
    fork = (
        "import os, time\n    if os.fork() == 0: os.close(1); time.sleep(8); os._exit(0)\n    await asyncio.sleep(600)"
    )
    kernel = await Kernel.start(fork)

    kernel.process.kill()
    await kernel.process.wait()

    assert await kernel.gone()


async def test_the_stop_button_harms_no_worker() -> None:
    kernel = await Kernel.start(
        "import signal; signal.signal(2, lambda *_: None); print(flush=True); await asyncio.sleep(600)"
    )
    assert kernel.process.stdout is not None
    await kernel.process.stdout.readline()

    os.killpg(kernel.process.pid, signal.SIGINT)

    assert not await gone(*kernel.pids[:1], fuse_s=0.5)
    assert all(psutil.pid_exists(each) for each in kernel.pids)
    kernel.process.kill()
    await kernel.process.wait()
    assert await kernel.gone()


async def test_a_forked_child_of_the_kernel_holds_none_of_its_lines(guarded: ProcessBackend) -> None:
    await run(guarded, echo).value()
    mine = [each for each in Path("/proc/self/fd").iterdir() if each.exists()]
    read, write = os.pipe()

    child = os.fork()
    if child == 0:
        sockets = sum("socket:" in str(each.readlink()) for each in mine if each.exists())
        os.write(write, b"%d" % sockets)
        os._exit(0)
    os.waitpid(child, 0)

    # Its loop has two, to wake itself up.
    assert int(os.read(read, 10)) <= 2
    os.close(read)
    os.close(write)
    assert await run(guarded, add, 1, 1).value() == 2


async def attempt(backend: ProcessBackend, number: int, random: Random) -> tuple[str, str]:
    """Run one job, stop it perhaps; how it should end if nobody interferes, and how it did."""
    function, wanted = random.choice([(echo, "done"), (die, "failed"), (sleep, "stopped"), (spin, "stopped")])
    heard = run(backend, function, fresh=number % 5 == 0)
    if wanted == "stopped":
        with suppress(TimeoutError):
            await asyncio.wait_for(heard.begun.wait(), random.random() / 20)
        backend.stop(heard)
    return wanted, await heard.end()


@pytest.mark.parametrize("seed", range(3))
async def test_every_attempt_ends_whatever_is_killed_meanwhile(guarded: ProcessBackend, seed: int) -> None:
    random = Random(seed)
    kernel = psutil.Process()

    for batch in range(8):
        attempts = [asyncio.ensure_future(attempt(guarded, number, random)) for number in range(8)]
        await asyncio.sleep(0)
        if victims := kernel.children(recursive=True):
            victim = random.choice(victims)
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        ends = [await each for each in attempts]

        assert all(end in (wanted, "failed", "released") for wanted, end in ends), (batch, ends)
    assert await run(guarded, add, 1, 1).value() == 2
