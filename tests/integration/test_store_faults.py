"""What becomes of jobs when their store is full, locked, damaged, read-only or gone."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import RawIOBase
from pathlib import Path

import pytest

from ipyjobs import Engine, EngineSetting, Jobs, ProcessJob, Reason, Status, StoreError, StoreTooNew, ThreadJob, logger
from ipyjobs.stores import sqlite as driver
from ipyjobs.stores.owners import Owners

FUSE_S = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    found: list[str] = []
    number = logger.add(lambda text: found.append(str(text)), level="WARNING", format="{message}")
    yield found
    logger.remove(number)


def mounted(folder: Path, options: str) -> None:
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted(folder, "size=2m,mode=0700")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(file: RawIOBase) -> None:
    while True:
        file.write(bytes(4096))


def started(store: Path | str) -> Engine:
    return Engine(EngineSetting(store=store, echo=False, print_traceback=False))


def until(true: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + FUSE_S
    while not true():
        assert time.monotonic() < give_up_at, "not in time"
        time.sleep(0.01)


def test_a_full_disk_loses_nothing_that_was_saved_and_saves_the_rest_once_there_is_room(
    small_disk: Path, warnings: list[str]
) -> None:
    with started(small_disk / "jobs.sqlite") as engine:
        first = engine.submit(ThreadJob(bytes, (1000,)))
        engine.wait()
        assert engine.wait_saved(FUSE_S) and first.saved
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            fill(file)

        jobs = [engine.submit(ThreadJob(os.urandom, (100_000,))) for _ in range(5)]
        engine.wait()
        assert not engine.wait_saved(FUSE_S)
        assert [job.status for job in jobs] == [Status.DONE] * 5
        assert not any(job.saved for job in jobs) and first.saved
        assert any("not saved yet" in each and "full" in each for each in warnings)

        filler.unlink()
        until(lambda: engine.wait_saved(FUSE_S))
        assert all(job.saved for job in jobs)
        values = [job.result() for job in jobs]

    there = Jobs(small_disk / "jobs.sqlite")
    assert there.results() == [bytes(1000), *values]


def test_a_result_that_fits_on_no_disk_leaves_no_half_file(small_disk: Path) -> None:
    with started(small_disk / "jobs.sqlite") as engine:
        job = engine.submit(ThreadJob(bytes, (3_000_000,)))
        engine.wait()
        assert not engine.wait_saved(FUSE_S)

        assert not job.saved
        assert job.result() == bytes(3_000_000)
        engine.remove(job)
    assert list((small_disk / "jobs.files" / "results").iterdir()) == []


def test_a_locked_store_is_written_when_it_is_free_again(
    path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "BUSY_S", 0.2)
    with started(path) as engine:
        engine.submit(ThreadJob(int, ("1",)))
        engine.wait()
        assert engine.wait_saved(FUSE_S)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        job = engine.submit(ThreadJob(int, ("2",)))
        engine.wait()
        assert not engine.wait_saved(FUSE_S)
        assert any("locked" in each for each in warnings)

        other.execute("ROLLBACK")
        other.close()
        until(lambda: engine.wait_saved(FUSE_S))
        assert job.saved


@pytest.mark.parametrize("place", ["/proc/ipyjobs/jobs.sqlite", "/dev/null/jobs.sqlite"])
def test_where_nothing_can_be_written_jobs_are_kept_in_memory_aloud(place: str, warnings: list[str]) -> None:
    with started(place) as engine:
        job = engine.submit(ThreadJob(int, ("7",)))

        assert engine.wait_job(job) == 7
        assert not engine.wait_saved(FUSE_S)
        assert not job.saved
        assert len(engine.jobs.earlier) == 0
    [warning] = warnings
    assert "in memory only" in warning and place in warning


def test_a_store_on_a_disk_that_is_read_only_is_read_and_not_written(
    tmp_path: Path, warnings: list[str], small_disk: Path, request: pytest.FixtureRequest
) -> None:
    place = small_disk / "jobs.sqlite"
    with started(place) as engine:
        old = engine.submit(ThreadJob(int, ("7",)))
        engine.wait()
    view = tmp_path / "view"
    view.mkdir()
    subprocess.run(["mount", "--bind", str(small_disk), str(view)], check=True)
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(view)], check=True))
    subprocess.run(["mount", "-o", "remount,ro,bind", str(view)], check=True)
    place = view / "jobs.sqlite"

    assert Jobs(place)[old.id].result() == 7
    with started(place) as engine:
        assert engine.wait_job(engine.submit(ThreadJob(int, ("8",)))) == 8
        assert not engine.wait_saved(FUSE_S)
    assert any("in memory only" in each for each in warnings)
    with pytest.raises(StoreError):
        Jobs(place).clear_all()


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 300])
def test_a_damaged_store_is_moved_aside_and_both_places_are_named(
    path: Path, warnings: list[str], damage: bytes
) -> None:
    with started(path) as engine:
        engine.submit(ThreadJob(int, ("1",)))
        engine.wait()
    data = damage or path.read_bytes()[:100] + os.urandom(8000)
    path.write_bytes(data)

    with started(path) as engine:
        job = engine.submit(ThreadJob(int, ("2",)))
        engine.wait()
        assert engine.wait_saved(FUSE_S)
        assert job.saved

    [aside] = [each for each in path.parent.glob("jobs.sqlite.damaged-*") if not each.name.endswith(("-wal", "-shm"))]
    assert aside.read_bytes() == data
    assert any(str(aside) in each and f"at {path}" in each for each in warnings)
    assert Jobs(path)[0].result() == 2


def test_a_newer_store_is_refused_when_the_engine_is_made(path: Path) -> None:
    with started(path) as engine:
        engine.submit(ThreadJob(int, ("1",)))
        engine.wait()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    with pytest.raises(StoreTooNew, match=r"9999.*0001"):
        started(path)
    with pytest.raises(StoreTooNew, match=r"9999.*0001"):
        Jobs(path)


VICTIM = """
import sys, time
from ipyjobs import Engine, EngineSetting, ProcessJob, ThreadJob
engine = Engine(EngineSetting(store=sys.argv[1], echo=False)).start()
done = engine.submit(ThreadJob(int, ("7",)))
running = engine.submit(ProcessJob(time.sleep, (600,)))
waiting = engine.submit(ThreadJob(str, (running.future,)))
engine.wait_for([done])
engine.wait_saved()
while running.status != "running":
    time.sleep(0.01)
engine.wait_saved()
print(done.id, running.id, waiting.id, flush=True)
time.sleep(600)
"""


@pytest.mark.row("F-20")
def test_jobs_of_a_killed_process_are_lost_within_a_second_and_run_again(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", VICTIM, str(path)], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        done, running, waiting = victim.stdout.readline().split()
        with started(path) as engine:
            assert len(engine.jobs.earlier) == 0, "its process is alive"
        assert {str(job.status) for job in Jobs(path).values()} == {"done", "running", "pending"}
        victim.send_signal(signal.SIGKILL)
        victim.wait()

        with started(path) as engine:
            engine.submit(ThreadJob(int, ("1",)))
            since = time.monotonic()
            until(lambda: {str(job.status) for job in Jobs(path).values()} == {"done", "failed"})
            assert time.monotonic() - since < 5  # a second, on a machine that does nothing else

            earlier = engine.jobs.earlier
            assert earlier[done].result() == 7
            for each in (running, waiting):
                assert (earlier[each].status, earlier[each].reason) == (Status.FAILED, Reason.LOST)
                assert f"pid {victim.pid} " in str(earlier[each].exception())
            assert [each.outcome for each in earlier[running].attempts] == ["lost"]
            assert [str(each.verb) for each in earlier[running].story()] == ["submit", "start", "lose"]
            earlier[waiting].rerun()
            assert engine.jobs[waiting].reason is Reason.UPSTREAM


def lock_is_free(folder: Path, owner: str) -> bool:
    """Ask in another process: asking in this one by opening the file would free the lock."""
    code = (
        "import fcntl, os, sys\nnumber = os.open(sys.argv[1], os.O_RDWR)\n"
        "try:\n    fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)\nexcept OSError:\n    sys.exit(3)\n"
    )
    return subprocess.run([sys.executable, "-c", code, str(folder / owner)], check=False).returncode == 0


def test_nothing_but_its_end_frees_a_processs_lock(path: Path, tmp_path: Path) -> None:
    folder = path.with_name("jobs.files") / "locks"
    with started(path) as engine:
        engine.submit(ThreadJob(int, ("1",)))
        engine.wait()
        assert engine.wait_saved(FUSE_S)
        owner = Owners(folder).mine
        assert not lock_is_free(folder, owner)

        with started(path) as second:
            second.wait_job(second.submit(ThreadJob(int, ("2",))))
        assert Owners(folder).alive(owner)
        assert not lock_is_free(folder, owner)

        child = os.fork()
        if child == 0:
            seen = Owners(folder).alive(owner) and Owners(folder).mine != owner
            os._exit(0 if seen else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not lock_is_free(folder, owner)

        # A cell may close whatever it finds.
        for number in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{number}").endswith(owner):
                    os.close(int(number))
            except OSError:
                continue
        assert lock_is_free(folder, owner)
        engine.submit(ThreadJob(int, ("3",)))
        engine.wait()
        assert engine.wait_saved(FUSE_S)
        assert not lock_is_free(folder, owner)


def test_jobs_of_a_forked_child_have_ids_of_their_own() -> None:
    def ids() -> str:
        return " ".join(ThreadJob(int).id for _ in range(3))

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, ids().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 1000).decode()
    os.close(reader)
    os.close(writer)

    assert not {*ids().split()} & {*theirs.split()}


def test_a_job_that_another_process_has_run_again_is_not_written_over(path: Path) -> None:
    with started(path) as engine:
        job = engine.submit(ThreadJob(int, ("1",)))
        engine.wait()
        assert engine.wait_saved(FUSE_S)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE jobs SET owner = '1-0000000000000000', status = 'running', round = 2")
        connection.close()

        job.rerun()
        engine.wait()
        assert not engine.wait_saved(FUSE_S)

        assert "another kernel" in job.unsaved
    assert Jobs(path)[0].status is Status.RUNNING


def test_a_process_job_that_dies_leaves_its_error(path: Path) -> None:
    with started(path) as engine:
        job = engine.submit(ProcessJob(os.kill, (0, 9), name="killed"))
        job2 = engine.submit(ProcessJob(os._exit, (3,)))
        engine.wait()
        assert engine.wait_saved(FUSE_S)

    there = Jobs(path)
    for each in (job, job2):
        assert type(there[each.id].exception()) is type(each.exception())
        assert str(there[each.id].exception()) == str(each.exception())
