"""What the stop button, restarts and sudden deaths of a kernel do to its jobs: nothing, or all that must be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.kernel.harness import FUSE_S, Kernel

SURVIVORS_S = 3.0

# A job that starts a child, a daemon of its own session, and one of each that ignores being asked to end.
FAMILY = """
%load_ext ipyjobs
import os, subprocess, sys, time
from pathlib import Path

STUBBORN = (
    "import signal, time\\n"
    "for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(each, signal.SIG_IGN)\\n"
    "print('up', flush=True)\\n"
    "time.sleep(600)"
)
DAEMON = (
    "import os, sys, time\\n"
    "if os.fork(): os._exit(0)\\n"
    "os.setsid()\\n"
    "if os.fork(): os._exit(0)\\n"
    "print('up', flush=True)\\n"
    "time.sleep(600)"
)

def family(ready):
    children = []
    for code, alone in ((STUBBORN, False), (STUBBORN, True), (DAEMON, False)):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=alone)
        child.stdout.readline()
        children.append(child)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(ready).write_text("ready")
    time.sleep(600)

%config IPyJobs.max_process_jobs = 3
runs = jobs.map(family, ["one", "two"])
print(len(runs.running))
"""


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + FUSE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)  # what is waited for happens in another process, which tells nobody


def with_families(kernel: Kernel, folder: Path) -> dict[int, str]:
    ran = kernel.run(FAMILY)
    assert ran.stdout.endswith("2\n"), ran
    wait_until(lambda: all((folder / name).exists() for name in ("one", "two")))
    there = kernel.marked()
    # Guard, zygote, workers, and of each job three Python programs and a `sleep`.
    assert sum(command == "sleep 600" for command in there.values()) == 2
    assert sum("time.sleep(600)" in command for command in there.values()) == 6
    return there


@pytest.mark.row("F-20")
@pytest.mark.parametrize("end", ["restart", "restart_now", "kill"])
def test_nothing_outlives_its_kernel(kernel: Kernel, tmp_path: Path, end: str, capsys: pytest.CaptureFixture[str]):
    there = with_families(kernel, tmp_path)
    ended_at = time.monotonic()

    getattr(kernel, end)()

    ended_after_s = time.monotonic() - ended_at
    left = {pid: command for pid, command in kernel.survivors(SURVIVORS_S).items() if pid in there}
    with capsys.disabled():
        print(f"\n{end}: {len(left)} of {len(there)} survive, {time.monotonic() - ended_at:.2f} s after it was asked "
              f"for, which itself took {ended_after_s:.2f} s")  # fmt: skip
    assert left == {}
    if end != "kill":
        assert kernel.run("%load_ext ipyjobs\nawait jobs.process(str, 5)").text == "'5'"


def test_a_cancelled_job_takes_its_family_with_it_and_no_other(kernel: Kernel, tmp_path: Path):
    with_families(kernel, tmp_path)

    kernel.run("await runs[0].cancel()")

    wait_until(lambda: sum(each == "sleep 600" for each in kernel.marked().values()) == 1)
    wait_until(lambda: sum("time.sleep(600)" in each for each in kernel.marked().values()) == 3)
    assert kernel.run("[str(run.status) for run in runs.values()]").text == "['cancelled', 'running']"


def test_the_stop_button_harms_no_job(kernel: Kernel, tmp_path: Path):
    there = with_families(kernel, tmp_path)
    kernel.run(
        """
import asyncio, threading
gate, opened = threading.Event(), asyncio.Event()
t = jobs.thread(gate.wait, 60)
l = jobs.local(opened.wait)
q = jobs.process(time.sleep, 0)
await q
"""
    )
    for _ in range(3):
        cell = kernel.send("print('here', flush=True)\ntime.sleep(60)")
        kernel.until(cell, lambda ran: "here" in ran.stdout)
        kernel.interrupt()
        assert kernel.result(cell).error == ("KeyboardInterrupt", "")

    assert kernel.run("[str(j.status) for j in (*runs.values(), t, l)]").text == str(["running"] * 4)
    assert kernel.run("gate.set(); opened.set()\nawait t, await l").error is None
    assert kernel.run("await jobs.process(str, 5)").text == "'5'"
    assert there.keys() <= kernel.marked().keys()


@pytest.mark.parametrize("wait", ["await job", "jobs.wait()", "await jobs", "await job.join()"])
def test_a_wait_that_is_stopped_leaves_its_job_alone_and_names_it(kernel: Kernel, tmp_path: Path, wait: str):
    kernel.run(
        """
%load_ext ipyjobs
import time
from pathlib import Path
def until_there(name):
    while not Path(name).exists(): time.sleep(0.005)
    return name
job = jobs.options(name="the long one").process(until_there, "there")
"""
    )
    cell = kernel.send(f"print('here', flush=True)\n{wait}")
    kernel.until(cell, lambda ran: "here" in ran.stdout)
    asked_at = time.monotonic()

    kernel.interrupt()

    ran = kernel.result(cell)
    took_s = time.monotonic() - asked_at
    assert ran.error is not None and ran.error[0] in ("KeyboardInterrupt", "CancelledError")
    assert "1 job goes on: the long one" in ran.stdout
    assert kernel.run("str(job.status)").text == "'running'"
    (tmp_path / "there").touch()
    assert kernel.run("await job").text == "'there'"
    assert took_s < FUSE_S


def test_a_local_function_that_holds_the_loop_between_cells_is_ended_by_the_stop_button(kernel: Kernel, tmp_path: Path):
    kernel.run(
        """
%load_ext ipyjobs
import time
from pathlib import Path
def hold():
    Path("held").touch()
    time.sleep(60)
job = jobs.options(name="holds").local(hold)
"""
    )
    wait_until((tmp_path / "held").exists)

    kernel.interrupt()

    assert kernel.run("await jobs\nstr(job.status), await jobs.local(str, 3)").text == "('cancelled', '3')"


def test_a_worker_that_is_killed_fails_its_job_only(kernel: Kernel, tmp_path: Path):
    with_families(kernel, tmp_path)
    kernel.run(
        """
import signal
def die(): os.kill(os.getpid(), signal.SIGKILL)
j = jobs.process(die)
await jobs[-1:]
"""
    )

    ran = kernel.run("j.result()")

    assert ran.error is not None and ran.error[0] == "WorkerDied" and "SIGKILL" in ran.error[1]
    assert kernel.run("[str(run.status) for run in runs.values()]").text == "['running', 'running']"


def test_a_kernel_whose_jobs_are_at_rest_keeps_no_cpu_busy(kernel: Kernel, tmp_path: Path):
    with_families(kernel, tmp_path)
    processes = [psutil.Process(pid) for pid in (kernel.pid, *kernel.marked())]

    def spent() -> float:
        return sum(sum(each.cpu_times()[:2]) for each in processes)

    before = spent()
    kernel.run("import asyncio\nawait asyncio.sleep(1)")

    assert spent() - before < 0.5
