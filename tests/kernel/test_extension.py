"""The extension in a real kernel, as cells meet it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.harness import Kernel

LOADED = re.compile(r"ipyjobs \d\S* · \d+ slots, \d+ processes · \d+ GB\n")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def loaded(kernel: Kernel) -> Kernel:
    """A kernel whose first cell has loaded the extension."""
    ran = kernel.run("%load_ext ipyjobs")
    assert LOADED.fullmatch(ran.stdout) and not ran.stderr
    return kernel


def value(kernel: Kernel, code: str) -> str:
    """The text of a cell's last expression."""
    ran = kernel.run(code)
    assert ran.error is None, ran.traceback
    return ran.text


def test_loading_says_one_line_and_doing_it_again_loses_nothing(loaded: Kernel):
    loaded.run("engine = jobs.engine\njob = jobs.thread(str, 7)\nawait job")

    again = loaded.run("%load_ext ipyjobs")
    assert again.error is None and "already loaded" in again.stdout
    reloaded = loaded.run("%reload_ext ipyjobs")
    assert reloaded.error is None and "1 job: 1 done" in reloaded.stdout
    assert value(loaded, "jobs.engine is engine, jobs[0] is job, len(jobs)") == "(True, True, 1)"

    loaded.run("%unload_ext ipyjobs")
    assert loaded.run("jobs").error == ("NameError", "name 'jobs' is not defined")
    assert loaded.run("%load_ext ipyjobs").error is None
    assert value(loaded, "jobs[0] is job, jobs.thread(str, 8).id in jobs") == "(True, True)"


def test_a_name_that_is_taken_is_left_alone(kernel: Kernel):
    kernel.run("jobs = ['mine']")

    ran = kernel.run("%load_ext ipyjobs")

    assert "`jobs` is taken" in ran.stdout
    assert value(kernel, "jobs") == "['mine']"
    advice = re.search(r"`(import ipyjobs; [^`]+)`", ran.stdout)
    assert advice
    assert value(kernel, f"{advice[1]}\nawait js.thread(int, '7')") == "7"


def test_limits_set_by_config_hold_at_once(loaded: Kernel):
    loaded.run("import threading\ngate = threading.Event()")
    assert (
        value(
            loaded,
            """
%config IPyJobs.max_jobs = 3
runs = jobs.options(backend='thread').map(gate.wait, [60] * 5)
len(runs.running)
""",
        )
        == "3"
    )

    loaded.run("%config IPyJobs.max_jobs = 4")

    assert value(loaded, "len(runs.running), jobs.engine.max_jobs") == "(4, 4)"
    loaded.run("%config IPyJobs.max_process_jobs = 1\n%config IPyJobs.max_jobs = 8")
    assert value(loaded, "len(runs.running)") == "5"
    assert value(loaded, "gate.set()\nawait runs\nlen(runs.done)") == "5"


def test_the_profile_sets_limits(tmp_path: Path):
    profile = tmp_path / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text("c = get_config()\nc.IPyJobs.max_jobs = 3\n")
    with Kernel(tmp_path, IPYTHONDIR=str(tmp_path / "ipython")) as kernel:
        ran = kernel.run("%load_ext ipyjobs")

        assert "· 3 slots," in ran.stdout
        assert value(kernel, "jobs.engine.max_jobs") == "3"


def test_jobs_of_every_kind_are_awaited_and_give_their_results(loaded: Kernel):
    loaded.run(
        """
import os, threading
def where(x):
    return x, os.getpid(), threading.current_thread() is threading.main_thread()

async def there(x):
    return where(x)
here = os.getpid()
"""
    )
    assert value(loaded, "x, pid, main = await jobs.process(where, 1)\nx, pid == here, main") == "(1, False, True)"
    assert value(loaded, "x, pid, main = await jobs.thread(where, 2)\nx, pid == here, main") == "(2, True, False)"
    assert value(loaded, "x, pid, main = await jobs.local(where, 3)\nx, pid == here, main") == "(3, True, True)"
    assert value(loaded, "x, pid, main = await jobs.local(there, 4)\nx, pid == here, main") == "(4, True, True)"
    # Without `await` a blocking wait serves the local function, and in another cell the result is there.
    assert value(loaded, "job = jobs.local(where, 5)\njobs.wait()\njob.result()[0]") == "5"
    assert value(loaded, "job = jobs.local(there, 6)") == ""
    assert value(loaded, "job.result()[0]") == "6"


def test_functions_of_later_cells_reach_warm_workers(loaded: Kernel):
    loaded.run("import os\ndef pid(_): return os.getpid()\nwarm = (await jobs.map(pid, range(8))).results()")
    loaded.run("def helper(x): return x * 10\ndef later(x): return helper(x) + 1, os.getpid()")

    # Fewer processes than jobs: most of them have run one before.
    again = "values, pids = zip(*(await jobs.map(later, [2] * 8)).results())\nset(values), len({*warm, *pids}) < 8"
    assert value(loaded, again) == "({21}, True)"
    loaded.run("def helper(x): return x * 100")
    assert value(loaded, again) == "({201}, True)"


def test_an_instance_of_a_cells_class_comes_back_as_one(loaded: Kernel):
    loaded.run(
        """
factor = 2
class Model:
    def __init__(self, x): self.x = x
    def score(self): return self.x * factor

def fit(x): return Model(x)
model = await jobs.process(fit, 21)
"""
    )

    assert value(loaded, "type(model) is Model, isinstance(model, Model), model.score()") == "(True, True, 42)"
    assert value(loaded, "factor = 3\nmodel.score()") == "63"
    loaded.run("Model.score = lambda self: 'patched'")
    assert value(loaded, "model.score(), (await jobs.process(fit, 1)).score()") == "('patched', 'patched')"


def test_what_jobs_print_lands_in_no_cell(loaded: Kernel):
    loaded.run(
        """
import asyncio, sys, threading
gate = threading.Event()
def shout(word):
    print(word, "out"); print(word, "err", file=sys.stderr)
    gate.wait(60)
    print(word, "late")
def shout_once(word):
    print(word, "out"); print(word, "err", file=sys.stderr)
async def say():
    for i in range(5):
        print("LOCAL", i)
        await asyncio.sleep(0)
"""
    )
    started = loaded.send(
        "t, p = jobs.thread(shout, 'THREAD'), jobs.process(shout_once, 'PROCESS')\n"
        "l = jobs.local(say)\nprint('first cell')"
    )
    first = loaded.result(started)
    second = loaded.run("print('second cell')\nawait p\nawait l\ngate.set()\nawait t\nprint('still second')")
    third = loaded.run("import sys\nprint('third', file=sys.stderr)")

    assert (first.stdout, first.stderr) == ("first cell\n", "")
    assert (second.stdout, second.stderr) == ("second cell\nstill second\n", "")
    assert (third.stdout, third.stderr) == ("", "third\n")
    assert value(loaded, "sorted(t.log.lines())") == "['THREAD err', 'THREAD late', 'THREAD out']"
    assert value(loaded, "sorted(p.log.lines())") == "['PROCESS err', 'PROCESS out']"
    assert value(loaded, "l.log.lines()") == str([f"LOCAL {i}" for i in range(5)])
    assert first.stdout == "first cell\n"


@pytest.mark.parametrize("kind", ["process", "thread", "local"])
def test_a_raised_error_shows_the_cells_lines_and_none_of_ours(loaded: Kernel, kind: str):
    loaded.run("def inner(x):\n    return 1 / x\n\ndef outer(x):\n    return inner(x)  # a line of the cell")

    for ask in (f"await jobs.{kind}(outer, 0)", f"job = jobs.{kind}(outer, 0)\njobs.wait()\njob.result()"):
        ran = loaded.run(ask)

        text = ANSI.sub("", ran.traceback)
        assert ran.error == ("ZeroDivisionError", "division by zero")
        assert "return inner(x)  # a line of the cell" in text and "return 1 / x" in text
        assert "ipyjobs" + os.sep not in re.sub(r"\[\.\.\. skipping hidden .*", "", text)
        assert len(re.findall(r"^Cell In\[\d+\]", text, re.MULTILINE)) == 3


def test_a_wait_that_could_never_end_is_refused(loaded: Kernel):
    loaded.run("import asyncio\nasync def think():\n    await asyncio.sleep(0)\n    return 1")

    ran = loaded.run("job = jobs.local(think)\njobs.wait()")

    assert ran.error is not None and ran.error[0] == "DeadlockError" and "await" in ran.error[1]
    assert value(loaded, "await job") == "1"
    ran = loaded.run("async def self_wait():\n    jobs.wait()\nawait jobs.local(self_wait)")
    assert ran.error is not None and ran.error[0] == "DeadlockError"


@pytest.fixture
def terminal(tmp_path: Path) -> dict[str, str]:
    """The environment of an IPython in a terminal."""
    (tmp_path / "ipython").mkdir()
    places = {"IPYTHONDIR": str(tmp_path / "ipython"), "IPYJOBS_DATA_DIR": str(tmp_path / "data")}
    return {**os.environ, **places, "TERM": "dumb"}


def test_an_ipython_terminal_has_jobs_and_shows_them_as_text(tmp_path: Path, terminal: dict[str, str]):
    lines = [
        "%load_ext ipyjobs",
        "def double(x): return 2 * x",
        "",
        "runs = [jobs.thread(double, 4), jobs.process(double, 5), jobs.local(double, 6)]",
        "jobs.wait()",
        "[run.result() for run in runs]",
        "jobs",
        "runs[0]",
        "await jobs.thread(double, 50)",
        "exit",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
        input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=60,
        cwd=tmp_path, env=terminal, check=False,
    )  # fmt: skip

    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    assert LOADED.search(done.stdout)
    assert "[8, 10, 12]" in done.stdout
    assert "3 jobs: 3 done" in done.stdout and "✓ done" in done.stdout
    assert "double" in done.stdout and "<div" not in done.stdout
    assert "100" in done.stdout
