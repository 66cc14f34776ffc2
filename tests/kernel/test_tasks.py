"""Tasks in a real notebook."""

from __future__ import annotations

from tests.kernel.harness import Kernel

from .test_extension import loaded, value  # noqa: F401 - a fixture

TASKS = """
from ipyjobs import task, logger
import os

@task
def helper(x):
    return x + 1

@task
def work(x):
    return helper(x), os.getpid() != here

@task(execution="async", async_mode=True)
async def here_and_now(x):
    return x, os.getpid() == here

here = os.getpid()
"""


def test_decorated_functions_of_cells_run_where_they_say(loaded: Kernel):  # noqa: F811
    loaded.run(TASKS)

    assert value(loaded, "work(1)") == "(2, True)", "a blocking call in a cell"
    assert value(loaded, "await work.submit(2)") == "(3, True)"
    assert value(loaded, "await here_and_now(3)") == "(3, True)"
    assert value(loaded, "work.engine is jobs.engine, sorted(jobs.engine.tasks)") == (
        "(True, ['here_and_now', 'work'])"
    )
    assert value(loaded, "(await work.map(x=[1, 2])).results()") == "[(2, True), (3, True)]"


def test_a_cell_that_is_run_again_makes_the_same_task_anew_in_silence(loaded: Kernel):  # noqa: F811
    loaded.run(TASKS + "\nwork(1)")

    again = loaded.run(TASKS + "\nwork(1)")

    assert again.stderr == ""


def test_a_call_that_could_never_end_is_refused_and_names_the_await(loaded: Kernel):  # noqa: F811
    loaded.run(TASKS)

    refused = loaded.run("here_and_now.to_sync()(1)")

    assert refused.error is not None
    assert "DeadlockError" in str(refused.error)
    assert "await" in str(refused.error)
    assert value(loaded, "len(jobs.running)") == "0"


def test_a_job_that_blocks_the_notebook_says_so_while_it_does(loaded: Kernel):  # noqa: F811
    seen = value(
        loaded,
        """
import asyncio, time
notes = []
jobs.engine.flow.listeners.append(lambda job: notes.append((str(job.status), job.note)))
job = jobs.local(time.sleep, 2.2)
await job
job.note, any(status == 'running' and 'blocks the notebook' in note for status, note in notes)
""",
    )

    assert seen == '("blocks the notebook\'s loop for 2 s", True)'


def test_a_notebook_is_quiet_until_it_wants_a_level(loaded: Kernel):  # noqa: F811
    loaded.run(TASKS + "\nsaid = []\nnumber = logger.add(said.append, level='DEBUG')")

    assert value(loaded, "work(1)\nawait jobs.join()\nlen(said)") == "0"
    loaded.run("%config IPyJobs.log_level = 'INFO'")
    assert value(loaded, "work(1)\nawait jobs.join()\nlen(said)") == "2"


def test_run_records_are_a_table(loaded: Kernel):  # noqa: F811
    loaded.run(TASKS + "\nwork(1)")

    shown = loaded.run("jobs.engine.records").shown[-1]

    assert "success" in shown["text/plain"]
    assert "<td>success</td>" in shown["text/html"]
