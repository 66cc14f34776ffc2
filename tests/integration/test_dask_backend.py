"""Jobs on real Dask clusters: one of the engine's own, and one that belongs to somebody else."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import distributed
import psutil
import pytest

from ipyjobs import (
    CommandFailed,
    DaskJob,
    Engine,
    EngineSetting,
    InvalidOption,
    InvalidStateError,
    JobLost,
    LocalJob,
    NotPicklable,
    Status,
    SubprocessJob,
    ThreadJob,
    WebappJob,
    WorkerDied,
    WorkersBroken,
    current_job,
    report,
)
from ipyjobs.backends.dask import connection
from ipyjobs.feed import Feed
from tests.dask_cluster import running_cluster

FUSE_S = 30.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of somebody else's: two workers of two threads each."""
    with running_cluster() as address:
        yield address


@pytest.fixture
async def guest(address: str) -> AsyncIterator[Engine]:
    """An engine that runs its Dask jobs there."""
    engine = Engine(EngineSetting(print_traceback=False, echo=False, dask=address), threaded=True).start()
    yield engine
    await engine.stop()


def add(a: int, b: int) -> int:
    return a + b


def fail(text: str) -> None:
    raise ValueError(text)


def note_and_die(path: str) -> None:
    _note(path)
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_wait(path: str) -> str:
    _note(path)
    time.sleep(3600)
    return "never"


def note_until_cancelled(path: str, at_most_s: float = FUSE_S) -> str:
    _note(path)
    job = current_job()
    assert job is not None
    until = time.monotonic() + at_most_s
    while not job.cancelled() and time.monotonic() < until:
        time.sleep(0.01)
    _note(path)
    return "asked to stop" if job.cancelled() else "never asked"


def _note(path: str) -> None:
    with Path(path).open("a") as file:
        print(os.getpid(), file=file, flush=True)


def pids_in(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def daemon_and_wait(path: str) -> None:
    subprocess.Popen(["sleep", "3600"], start_new_session=True)
    child = subprocess.Popen(["sh", "-c", "setsid sleep 3600 & echo $!"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    Path(path).write_text(f"{os.getpid()} {grandchild}")
    time.sleep(3600)


async def lines_of(path: Path, count: int) -> list[int]:
    """Wait for what jobs write in processes that nobody here hears of."""
    async with asyncio.timeout(FUSE_S):
        while len(pids_in(path)) < count:
            await asyncio.sleep(0.01)
    return pids_in(path)


async def gone(*pids: int) -> bool:
    until = time.monotonic() + 5
    while any(map(_lives, pids)) and time.monotonic() < until:
        await asyncio.sleep(0.01)
    return not any(map(_lives, pids))


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


# -- a cluster of the engine's own


@pytest.mark.row("F-21")
@pytest.mark.row("E-10")
async def test_the_first_job_makes_a_cluster_that_listens_to_this_machine_only(engine: Engine) -> None:
    first = engine.submit(DaskJob(add, (1, 2)))
    waiting = (first.status, first.waiting_for)
    value = await first
    failed = engine.submit(DaskJob(fail, ("no",)))
    await failed.join(FUSE_S)
    processes = psutil.Process().children(recursive=True)
    listening = {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert waiting == (Status.PENDING, "backend")
    assert value == 3
    assert isinstance(failed.exception(), ValueError)
    assert listening == {"127.0.0.1"}
    assert first.attempts[0].worker.startswith("pid ")
    assert " at tcp://127.0.0.1:" in first.attempts[0].handle


@pytest.mark.row("E-10")
async def test_cancelling_kills_the_worker_with_its_tree_and_no_other_job(tmp_path: Path) -> None:
    async with Engine(EngineSetting(echo=False, print_traceback=False)) as engine:
        path = tmp_path / "pids"
        job = engine.submit(DaskJob(daemon_and_wait, (str(path),)))
        await job.wait_until_status("running", FUSE_S)
        worker, grandchild = await lines_of(path, 2)
        counted = tmp_path / "counted"
        others = engine.submit(*(DaskJob(_note, (str(counted),)) for _ in range(10)))

        await job.cancel()

        assert (job.status, job.reason) == (Status.CANCELLED, "user")
        assert await gone(worker, grandchild)
        await others
        assert len(others.done) == 10
        assert len(pids_in(counted)) == 10
        assert engine.scheduler.total.used == 0


async def test_a_job_whose_worker_is_killed_fails_or_is_tried_again_by_us_and_never_by_dask(tmp_path: Path) -> None:
    async with Engine(EngineSetting(echo=False, print_traceback=False)) as engine:
        once = engine.submit(DaskJob(note_and_die, (str(tmp_path / "once"),)))
        waits = engine.submit(DaskJob(note_and_wait, (str(tmp_path / "waits"),)))
        await waits.wait_until_status("running", FUSE_S)
        [worker] = await lines_of(tmp_path / "waits", 1)
        os.kill(worker, signal.SIGKILL)
        again = engine.submit(DaskJob(note_and_die, (str(tmp_path / "again"),), retries=1))
        await engine.join([once, waits, again], FUSE_S)

        assert [type(each.exception()) for each in (once, waits, again)] == [WorkerDied] * 3
        assert [len(pids_in(tmp_path / name)) for name in ("once", "waits", "again")] == [1, 1, 2]
        assert await engine.submit(DaskJob(add, (1, 2))) == 3


async def test_jobs_of_a_scheduler_that_is_gone_are_lost_and_the_next_makes_another(tmp_path: Path) -> None:
    async with Engine(EngineSetting(echo=False, print_traceback=False)) as engine:
        path = tmp_path / "pid"
        job = engine.submit(DaskJob(note_and_wait, (str(path),)))
        [worker] = await lines_of(path, 1)
        [cluster] = [each for each in psutil.Process().children() if "cluster_process" in " ".join(each.cmdline())]
        cluster.kill()

        with pytest.raises(JobLost, match="Dask cluster is gone"):
            await job

        assert await gone(worker)
        assert await engine.submit(DaskJob(add, (1, 2))) == 3


_KERNEL = """
import asyncio, os, signal, sys, time
from ipyjobs import DaskJob, Engine
signal.signal(signal.SIGINT, signal.SIG_IGN)
with Engine() as engine:
    engine.wait_job(engine.submit(DaskJob(time.sleep, (0,))))
    job = engine.submit(DaskJob(time.sleep, (3600,)))
    while job.status != "running":
        time.sleep(0.01)
    os.killpg(0, signal.SIGINT)
    time.sleep(0.2)
    value = engine.wait_job(engine.submit(DaskJob(sum, ([1, 2],))))
    print(value, job.status, flush=True)
    time.sleep(3600)
"""


async def test_the_cluster_survives_the_stop_button_and_goes_with_a_killed_kernel() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _KERNEL], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    said = await asyncio.to_thread(process.stdout.readline)
    family = [each.pid for each in psutil.Process(process.pid).children(recursive=True)]

    process.kill()
    process.wait()
    process.stdout.close()

    assert said == "3 running\n"
    assert len(family) >= 3
    assert await gone(*family)


async def test_the_engine_ends_with_its_cluster_within_two_seconds(tmp_path: Path) -> None:
    engine = Engine(EngineSetting(echo=False, print_traceback=False), threaded=True).start()
    job = engine.submit(DaskJob(note_and_wait, (str(tmp_path / "pid"),)))
    waiting = engine.submit(*(DaskJob(time.sleep, (3600,)) for _ in range(10)))
    [worker] = await lines_of(tmp_path / "pid", 1)

    started = time.monotonic()
    await engine.stop()
    took_s = time.monotonic() - started

    assert (job.status, job.reason) == (Status.CANCELLED, "shutdown")
    assert len(waiting.cancelled) == 10
    assert not _lives(worker)
    assert took_s < 2.5  # two seconds, and some more on a busy machine


async def test_the_engine_can_be_stopped_while_the_cluster_is_being_made(engine: Engine) -> None:
    job = engine.submit(DaskJob(add, (1, 2)))

    await engine.stop()

    assert (job.status, job.reason) == (Status.CANCELLED, "shutdown")


# -- somebody else's cluster


@pytest.mark.row("E-67")
async def test_a_coroutine_function_is_awaited_there(guest: Engine) -> None:
    async def twice(value: int) -> int:
        await asyncio.sleep(0)
        return 2 * value

    assert await guest.submit(DaskJob(twice, (21,))) == 42
    assert await guest.submit(DaskJob(lambda: twice(4))) == 8


async def test_the_page_is_told_where_dask_shows_its_own(guest: Engine) -> None:
    before = guest.dask_dashboard
    await guest.submit(DaskJob(add, (1, 2)))
    messages: list[dict[str, Any]] = []
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def send(message: dict[str, Any]) -> None:
        messages.append(message)
        loop.call_soon_threadsafe(told.set)

    feed = Feed(guest, send)
    feed.receive({"type": "hello"})
    await asyncio.wait_for(told.wait(), FUSE_S)
    feed.close()

    assert before == ""
    assert guest.dask_dashboard.startswith("http://127.0.0.1:")
    assert messages[0]["engine"]["dask_dashboard"] == guest.dask_dashboard


@pytest.mark.row("F-34")
async def test_a_function_runs_each_time_though_its_arguments_are_the_same(guest: Engine) -> None:
    job = guest.submit(DaskJob(uuid.uuid4))
    first = await job
    second = await guest.submit(DaskJob(uuid.uuid4))
    job.rerun()

    assert len({first, second, await job}) == 3


async def test_what_runs_there_is_asked_to_stop_and_not_said_to_be_dead(guest: Engine, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    job = guest.submit(DaskJob(note_until_cancelled, (str(path),)))
    await lines_of(path, 1)
    await job.wait_until_status("running", FUSE_S)

    await job.cancel()
    said = (job.status, job.note, guest.scheduler.backends["dask"].used)
    await lines_of(path, 2)
    await job.wait_until(lambda job: not job.note, FUSE_S)

    assert said == (Status.CANCELLED, "cancelled, still running on the cluster", 1)
    assert (job.status, guest.scheduler.backends["dask"].used) == (Status.CANCELLED, 0)


async def test_what_has_not_begun_there_never_will_once_it_is_cancelled(guest: Engine, tmp_path: Path) -> None:
    busy = [guest.submit(DaskJob(note_until_cancelled, (str(tmp_path / f"busy{i}"),))) for i in range(4)]
    for i in range(4):
        await lines_of(tmp_path / f"busy{i}", 1)
    job = guest.submit(DaskJob(_note, (str(tmp_path / "never"),)))
    assert (job.status, job.waiting_for) == (Status.PENDING, "backend")

    await job.cancel()
    for each in busy:
        await each.cancel()
        await each.wait_until(lambda job: not job.note, FUSE_S)
    await guest.submit(DaskJob(add, (1, 2)))

    assert job.status is Status.CANCELLED
    assert not pids_in(tmp_path / "never")


async def test_a_worker_killed_there_fails_its_job_once(guest: Engine, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    jobs = [guest.submit(DaskJob(note_and_wait, (str(path),), name=f"job {i}")) for i in range(4)]
    pids = await lines_of(path, 4)
    await asyncio.gather(*(job.wait_until_status("running", FUSE_S) for job in jobs))

    for pid in set(pids):
        os.kill(pid, signal.SIGKILL)
    await guest.join(jobs, FUSE_S)

    assert [type(job.exception()) for job in jobs] == [WorkerDied] * 4
    assert await guest.submit(DaskJob(add, (1, 2))) == 3
    assert len(pids_in(path)) == 4


@pytest.mark.row("E-12")
async def test_commands_files_and_folders_are_those_of_every_job(guest: Engine) -> None:
    good = SubprocessJob("pwd; echo bad >&2", base_class=DaskJob, change_dir=True, redirect_out_err=True)
    bad = SubprocessJob("exit 3", base_class=DaskJob)
    plain = DaskJob(os.getcwd, change_dir=True)
    await guest.submit(good, bad, plain)

    assert isinstance(good, DaskJob) and isinstance(good, SubprocessJob)
    assert good.result() == 0 and good.cache_dir is not None
    assert (good.cache_dir / "stdout.txt").read_text() == f"{good.cache_dir}\n"
    assert (good.cache_dir / "stderr.txt").read_text() == "bad\n"
    assert isinstance(bad.exception(), CommandFailed) and "exit status 3" in bad.error
    assert plain.result() == str(plain.cache_dir)


def serve(ip: str, port: int) -> None:
    from http.server import HTTPServer, SimpleHTTPRequestHandler

    HTTPServer((ip, port), SimpleHTTPRequestHandler).serve_forever()


@pytest.mark.row("E-12")
async def test_a_web_app_may_be_served_by_a_worker(guest: Engine) -> None:
    job = WebappJob("python3 -m http.server -b {ip} {port}", base_class=DaskJob)
    own = Engine(EngineSetting(print_traceback=False, echo=False), threaded=True).start()
    served = own.submit(WebappJob(serve, base_class=DaskJob, check_times=30))
    guest.submit(job)
    for each in (job, served):
        await each.wait_until(lambda job: job.ready or job.ended, FUSE_S)
        with await asyncio.to_thread(urllib.request.urlopen, each.address, timeout=FUSE_S) as answer:
            assert answer.status == 200

    await job.cancel()
    await served.cancel()
    await own.stop()
    assert (job.status, served.status) == ("cancelled", "cancelled")


def say(word: str, gate: str) -> None:
    """Print in step with another job of the same process."""
    Path(gate, word).touch()
    until = time.monotonic() + FUSE_S
    while len(list(Path(gate).iterdir())) < 4 and time.monotonic() < until:
        time.sleep(0.005)
    for number in range(200):
        print(word, number)
        report(number / 200, word)


async def test_jobs_of_one_worker_do_not_mix_what_they_print_and_report(guest: Engine, tmp_path: Path) -> None:
    words = ["one", "two", "three", "four"]
    jobs = [guest.submit(DaskJob(say, (word, str(tmp_path)))) for word in words]
    reported: list[int] = []
    jobs[0].observe(lambda change: reported.append(change.new), "progress")
    await guest.join(jobs, FUSE_S)

    assert [job.log.lines() for job in jobs] == [[f"{word} {i}" for i in range(200)] for word in words]
    assert [(job.progress, job.message) for job in jobs] == [(1.0, word) for word in words]
    assert len(reported) < 50


def bars() -> int:
    from tqdm import tqdm

    return sum(1 for _ in tqdm(range(100), desc="counting", mininterval=0))


async def test_a_bar_of_tqdm_fills_the_progress_of_its_job(guest: Engine) -> None:
    job = guest.submit(DaskJob(bars))

    assert await job == 100
    assert job.message == "counting"


async def test_large_values_travel_there_back_and_on(guest: Engine) -> None:
    here = LocalJob(lambda: [0] * 1_000_000)
    there = DaskJob(lambda numbers, more: bytes(len(numbers)) + more, (here, bytes(2_000_000)))
    last = ThreadJob(len, (DaskJob(bytes, (there,)),))
    guest.submit(here, there, last.args[0], last)

    assert await last == 3_000_000


@pytest.mark.row("E-51")
async def test_max_dask_jobs_limits_them_and_no_others(address: str, tmp_path: Path) -> None:
    setting = EngineSetting(max_dask_jobs=1, dask=address, echo=False, print_traceback=False)
    async with Engine(setting) as engine:
        first = engine.submit(DaskJob(note_until_cancelled, (str(tmp_path / "first"),)))
        second = engine.submit(DaskJob(add, (1, 2)))
        await lines_of(tmp_path / "first", 1)
        other = await engine.submit(ThreadJob(add, (1, 2)))

        assert (second.status, second.waiting_for, other) == (Status.PENDING, "slot", 3)
        await first.cancel()
        assert await second == 3

    with pytest.raises(InvalidOption, match="max_dask_jobs"):
        EngineSetting(max_dask_jobs=0)


@pytest.mark.row("E-66")
async def test_the_client_may_be_set_to_all_that_leads_to_a_scheduler(engine: Engine, address: str) -> None:
    async with distributed.Client(address, asynchronous=True, set_as_default=False) as client:
        engine.dask_client = client
        assert engine.dask_client is client
        assert await engine.submit(DaskJob(add, (1, 2))) == 3

    def block() -> distributed.Client:
        return distributed.Client(address, set_as_default=False)

    client = await asyncio.to_thread(block)
    engine.dask_client = client
    assert await engine.submit(DaskJob(add, (2, 2))) == 4
    await asyncio.to_thread(client.close)

    class Cluster:
        scheduler_address = address

    engine.dask_client = Cluster()
    job = engine.submit(DaskJob(add, (3, 2)))
    with pytest.raises(InvalidStateError, match="not ended"):
        engine.dask_client = address
    assert await job == 5
    lent = await engine.dask_client
    assert await lent.submit(add, 3, 3) == 6
    assert lent.scheduler.address == address == job.attempts[0].handle.split()[-1]
    await lent.close()


@pytest.mark.row("E-66")
@pytest.mark.parametrize("given", [3, "somewhere", object()], ids=["number", "text", "object"])
def test_what_leads_to_no_scheduler_is_refused_by_name(given: object) -> None:
    engine = Engine()

    with pytest.raises(ValueError, match=r"dask_client=.* is not possible"):
        engine.dask_client = given
    with pytest.raises(ValueError, match=r"dask=.* is not possible"):
        EngineSetting(dask=given)


async def test_a_scheduler_that_does_not_answer_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 0.2)
    async with Engine(EngineSetting(dask="tcp://127.0.0.1:9", echo=False, print_traceback=False)) as engine:
        with pytest.raises(JobLost, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
            await engine.submit(DaskJob(add, (1, 2)))


async def test_a_worker_without_ipyjobs_says_what_is_missing() -> None:
    with running_cluster(1, 1) as address:
        async with distributed.Client(address, asynchronous=True, set_as_default=False) as client:
            await client.run(lambda: sys.modules.update(ipyjobs=None))
        async with Engine(EngineSetting(dask=address, echo=False, print_traceback=False)) as engine:
            with pytest.raises(WorkersBroken, match="install ipyjobs"):
                await engine.submit(DaskJob(add, (1, 2)))


async def test_without_dask_the_way_to_install_it_is_named(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(WorkersBroken, match=r"pip install ipyjobs\[dask\]"):
        await engine.submit(DaskJob(add, (1, 2)))


async def test_what_cannot_travel_is_refused_when_it_is_submitted(engine: Engine) -> None:
    with pytest.raises(NotPicklable, match="argument"):
        engine.submit(DaskJob(add, (iter(()), sys._getframe())))
