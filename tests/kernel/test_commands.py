"""What becomes of a notebook's commands when the stop button is hit, and when the kernel goes."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.kernel.harness import Kernel
from tests.kernel.test_lifecycle import SURVIVORS_S, wait_until

# Each of three commands: a pipeline, a daemon of its own session, and a child; all ignore being asked to end.
FAMILIES = """
%load_ext ipyjobs
runs = [jobs.sh(
    "trap '' TERM HUP INT; sleep 600 | sleep 601 & setsid sh -c 'sleep 602; true' & echo up; sleep 603; true"
) for _ in range(3)]
import asyncio
while not all("up" in job.log.text() for job in runs): await asyncio.sleep(0.01)
"""


def with_families(kernel: Kernel) -> dict[int, str]:
    ran = kernel.run(FAMILIES)
    assert ran.error is None, ran
    # Six of each command: three shells aside.
    wait_until(lambda: sum(each.startswith("sleep 60") for each in kernel.marked().values()) == 12)
    return kernel.marked()


@pytest.mark.parametrize("end", ["restart", "restart_now", "kill"])
def test_no_command_outlives_its_kernel(
    kernel: Kernel, tmp_path: Path, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there = with_families(kernel)
    ended_at = time.monotonic()

    getattr(kernel, end)()

    left = {pid: command for pid, command in kernel.survivors(SURVIVORS_S).items() if pid in there}
    with capsys.disabled():
        print(
            f"\n{end}: {len(left)} of {len(there)} survive, {time.monotonic() - ended_at:.2f} s after it was asked for"
        )
    assert left == {}


def stopped(kernel: Kernel, cell: str) -> tuple[str, str] | None:
    """Press the stop button until the cell ends: one press may fall into the print, where the kernel swallows it."""
    for _ in range(10):
        kernel.interrupt()
        with suppress(TimeoutError):
            return kernel.until(cell, lambda ran: ran.ended, 5).error
    return None


def test_the_stop_button_does_not_reach_commands(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run("""
%load_ext ipyjobs
plain = jobs.sh("sleep 1000")
import os
os.mkfifo("fifo")
asking = jobs.sh("trap 'echo interrupted' INT; read line < fifo; echo $line")
""")
    for _ in range(3):
        cell = kernel.send("import time\nprint('here', flush=True)\ntime.sleep(60)")
        kernel.until(cell, lambda ran: "here" in ran.stdout)
        assert stopped(kernel, cell) == ("KeyboardInterrupt", "")

    (tmp_path / "fifo").write_text("read\n")

    assert kernel.run("await asking\nasking.log.text(), str(plain.status)").text == "('read\\n', 'running')"


def test_a_command_goes_on_and_speaks_while_a_cell_blocks(kernel: Kernel, tmp_path: Path) -> None:
    ran = kernel.run("""
%load_ext ipyjobs
import time
job = jobs.sh("for each in 1 2 3; do echo $each; done; exit 3")
until = time.monotonic() + 20
while not job.ended and time.monotonic() < until: time.sleep(0.01)
print(job.status, job.log.text().split(), job.exception().code)
""")

    assert ran.stdout.endswith("failed ['1', '2', '3'] 3\n")
