"""What is left of jobs when their kernel is gone, however it went."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kernel.harness import Kernel

CELL = """
%load_ext ipyjobs
import time
def square(n):
    print("squaring", n)
    return n * n
def fail():
    raise ValueError("no luck")
done = jobs.process(square, 7)
array = jobs.thread(lambda: list(range(100_000)))
bad = jobs.process(fail)
await jobs
said = await jobs.saved()
running = jobs.process(time.sleep, 600)
await running.wait_until_status("running")
waiting = jobs.thread(str, running.future)
await jobs.saved()
print(said, [j.saved for j in jobs.values()], *[j.id for j in jobs.values()])
"""


def loaded(kernel: Kernel) -> str:
    ran = kernel.run("%load_ext ipyjobs")
    assert ran.error is None and not ran.stderr, ran
    return ran.stdout


def value(kernel: Kernel, code: str) -> str:
    ran = kernel.run(code)
    assert ran.error is None, ran.traceback
    return " ".join(ran.text.split())  # a long one is shown on several lines


@pytest.mark.parametrize("end", ["restart", "restart_now"])
def test_saved_results_are_there_after_a_restart(kernel: Kernel, end: str):
    ran = kernel.run(CELL)
    assert ran.error is None, ran.traceback
    assert "True [True, True, True, False, False]" in ran.stdout
    ids = re.findall(r"[0-9a-f]{12}-[0-9a-f]+", ran.stdout)
    assert "earlier" not in ran.stdout

    getattr(kernel, end)()

    lost = " (2 lost)" if end == "restart_now" else ""
    assert loaded(kernel).endswith(f" · 5 jobs of earlier sessions{lost}: jobs.earlier\n")
    assert value(kernel, "[j.id for j in jobs.earlier.values()]") == str(ids)
    assert value(kernel, "len(jobs), len(jobs.earlier)") == "(0, 5)"
    assert value(kernel, "jobs.earlier[0].result(), jobs.earlier[0].log.text()") == "(49, 'squaring 7\\n')"
    assert value(kernel, "jobs.earlier[1].result() == list(range(100_000))") == "True"
    assert kernel.run("jobs.earlier[2].result()").error == ("ValueError", "no luck")
    ended = ("failed", "lost") if end == "restart_now" else ("cancelled", "shutdown")
    assert value(kernel, "[(str(j.status), str(j.reason)) for j in jobs.earlier.values()][3:]") == str(
        [ended, (ended if end == "restart_now" else ("cancelled", "shutdown"))]
    )
    if end == "restart_now":
        assert kernel.run("jobs.earlier[3].result()").error[0] == "JobLost"
        assert value(kernel, "str(jobs.earlier[3].story()[-1].verb)") == "'lose'"


def test_an_earlier_job_is_rerun_with_the_function_of_its_cell(kernel: Kernel):
    assert kernel.run(CELL).error is None
    kernel.restart_now()
    loaded(kernel)

    assert value(kernel, "job = jobs.earlier[0]\njob.rerun()\nawait job") == "49"

    assert value(kernel, "[j is job for j in jobs.values()], len(jobs.earlier)") == "([True], 4)"
    assert value(kernel, "job.log.text()") == "'squaring 7\\nsquaring 7\\n'"
    assert value(kernel, "await jobs.saved(), job.saved, len(job.attempts)") == "(True, True, 2)"


def test_a_kernel_that_is_stopped_keeps_its_jobs(kernel: Kernel, tmp_path: Path):
    """Another kernel with the same store sees that the owner is alive."""
    assert kernel.run(CELL).error is None
    (tmp_path / "other").mkdir()
    with Kernel(tmp_path / "other", IPYJOBS_DATA_DIR=f"{tmp_path}.data") as other:
        import os
        import signal

        os.kill(kernel.pid, signal.SIGSTOP)
        try:
            assert "earlier" not in loaded(other)
            assert value(other, "len(jobs.earlier)") == "0"
        finally:
            os.kill(kernel.pid, signal.SIGCONT)
    assert value(kernel, "[str(j.status) for j in jobs.values()][3:]") == "['running', 'pending']"


def test_a_store_of_a_newer_ipyjobs_is_left_alone(kernel: Kernel, tmp_path: Path):
    assert kernel.run(CELL).error is None
    kernel.restart_now()
    assert (
        kernel.run(
            "import sqlite3\nwith sqlite3.connect(r'" + f"{tmp_path}.data/jobs.sqlite" + "') as c:\n"
            "    c.execute(\"UPDATE alembic_version SET version_num = '9999'\")"
        ).error
        is None
    )

    ran = kernel.run("%load_ext ipyjobs")

    assert "kept in memory only" in ran.stdout and "9999" in ran.stdout and "0001" in ran.stdout
    assert value(kernel, "await jobs.thread(int, '7')") == "7"
    assert value(kernel, "await jobs.saved()") == "False"


def test_nothing_is_kept_where_the_user_says_so(kernel: Kernel, tmp_path: Path):
    kernel.run("from ipyjobs.notebook import IPyJobs\nget_ipython().config.IPyJobs.store = ''")

    loaded(kernel)

    assert value(kernel, "await jobs.thread(int, '7'), await jobs.saved()") == "(7, False)"
    assert not list(Path(f"{tmp_path}.data").glob("*.sqlite"))
