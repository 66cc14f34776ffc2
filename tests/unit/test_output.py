"""A job's log, and the dispatcher that tells jobs apart."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyjobs.context import JobContext, running
from ipyjobs.output import Dispatcher, JobLog


def log_in(folder: Path, **sizes: int) -> JobLog:
    return JobLog(folder, "1.log", lambda: None, **sizes)


def test_nothing_is_on_disk_before_the_first_byte(tmp_path: Path) -> None:
    log = log_in(tmp_path / "logs")

    assert log.text() == ""
    assert not (tmp_path / "logs").exists()


def test_what_was_written_is_read_at_once(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.write(b"hello\n")

    assert log.text() == "hello\n"
    assert log.read(-3) == b"lo\n"
    assert log.read(1, 3) == b"el"
    log.close()
    log.write(b"again")
    assert log.lines() == ["hello", "again"]
    log.close()


def test_the_middle_of_a_long_log_is_dropped_and_said_to_be(tmp_path: Path) -> None:
    log = log_in(tmp_path, head=10, tail=10)
    log.write(b"".join(b"%02d" % i for i in range(50)))
    log.close()

    assert log.size == 100
    assert log.dropped == (10, 90)
    assert log.text() == "0001020304\n… 80 bytes dropped …\n4546474849"
    assert log.path.stat().st_size == 20


def test_nobody_else_may_read_a_log(tmp_path: Path) -> None:
    log = log_in(tmp_path / "logs")
    log.write(b"secret")
    log.close()

    assert log.path.stat().st_mode & 0o777 == 0o600
    assert log.path.parent.stat().st_mode & 0o777 == 0o700


@given(parts=st.lists(st.binary(max_size=40), max_size=20), head=st.integers(1, 30), tail=st.integers(1, 30))
def test_head_and_tail_are_kept_however_the_bytes_arrive(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], head: int, tail: int
) -> None:
    log = log_in(tmp_path_factory.mktemp("log"), head=head, tail=tail)
    for part in parts:
        log.write(part)
        log.read()
    whole = b"".join(parts)
    log.close()

    gap_start, gap_stop = log.dropped
    assert log.size == len(whole)
    assert log.read() == whole[:gap_start] + whole[gap_stop:] if gap_stop else log.read() == whole
    if len(whole) > head + tail:
        assert log.read(0, head) == whole[:head]
        assert log.read(-tail) == whole[-tail:]


def test_a_search_finds_lines_in_either_case(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.write(b"loss nan\nfine\nLOSS NaN\n")

    assert log.search("NAN") == ([0, 14], 2)
    assert log.search("nan", limit=1) == ([0], 2)
    assert log.search("") == ([], 0)
    log.close()


def test_the_dispatcher_passes_everything_through_outside_of_jobs() -> None:
    below = io.StringIO()
    over = Dispatcher(below, error=False)

    print("hello", file=over)
    over.writelines(["a", "b"])

    assert below.getvalue() == "hello\nab"
    assert over.getvalue() == "hello\nab"
    over.close()
    assert not below.closed
    assert over.flush() is None


def test_the_dispatcher_gives_a_jobs_words_to_the_job() -> None:
    below = io.StringIO()
    said: list[tuple[bytes, bool]] = []
    job = JobContext("1", "job", 1, lambda *_: None, bool, lambda data, error: said.append((data, error)))
    token = running.set(job)
    try:
        print("mine", file=Dispatcher(below, error=True))
    finally:
        running.reset(token)

    assert below.getvalue() == ""
    assert b"".join(data for data, _ in said) == b"mine\n"
    assert all(error for _, error in said)


def test_the_dispatcher_looks_like_the_stream_below() -> None:
    over = Dispatcher(sys.__stdout__, error=False)

    assert over.encoding == sys.__stdout__.encoding
    assert over.fileno() == sys.__stdout__.fileno()
    assert over.buffer is sys.__stdout__.buffer


def test_a_thread_may_print_while_another_replaces_the_streams() -> None:
    program = """
import io, sys, threading, time
from ipyjobs.output import dispatch_output

dispatch_output()
done = threading.Event()

def talk():
    while not done.is_set():
        print("x", "y", "z")

talker = threading.Thread(target=talk)
talker.start()
for _ in range(50_000):
    sys.stdout = io.StringIO()
    dispatch_output()
done.set()
talker.join()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)

    assert ended.returncode == 0, ended.stderr.decode()
