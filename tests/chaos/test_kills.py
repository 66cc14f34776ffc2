"""A process is killed at any moment: what it called saved is there, and nothing else is left unsaid."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ipyjobs import Engine, EngineSetting, Jobs, Reason, Status
from tests.chaos.victim import value
from tools import residue

FUSE_S = 60.0
ROUNDS = 5


def killed(path: Path, first: int, word: str, after_s: float) -> tuple[dict[str, int], set[str]]:
    """Run the victim, kill it `after_s` seconds after it has first said `word`.

    Returns numbers by job id, and the ids of those that were called saved.
    """
    mark = f"IPYJOBS_VICTIM={os.urandom(8).hex()}"
    name, secret = mark.split("=")
    command = [sys.executable, "-m", "tests.chaos.victim", str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, name: secret}) as victim:
        assert victim.stdout is not None
        said: list[str] = []
        while not (said and said[-1].startswith(word)):
            said.append(victim.stdout.readline())
        time.sleep(after_s)  # the moment is what is drawn by lot; nothing is awaited
        victim.kill()
        # The last line may be half of one.
        lines = [line.split() for line in "".join([*said, victim.stdout.read()]).split("\n")[:-1]]
    give_up_at = time.monotonic() + FUSE_S
    while residue.processes(mark) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert not residue.processes(mark), "orphans"
    submitted = {line[1]: int(line[2]) for line in lines if line[0] == "submitted"}
    return submitted, {line[1] for line in lines if line[0] == "saved"}


def check(path: Path, submitted: dict[str, int], saved: set[str]) -> int:
    """Load the store again; how many jobs were found lost."""
    if not path.exists():
        assert not saved
        return 0
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    with Engine(EngineSetting(store=path, echo=False)) as engine:
        earlier = {job.id: job for job in engine.jobs.earlier.values()}
        recorder = engine.recorder
        assert recorder is not None
    jobs = {job.id: job for job in Jobs(path).values()}
    assert earlier.keys() <= jobs.keys()
    assert saved <= jobs.keys()
    for job_id, job in jobs.items():
        number = int(job.name)
        assert job.ended, f"{job} is called unfinished, and nobody runs it"
        assert job_id not in saved or job.reason is not Reason.LOST, f"{job} was saved"
        if job.status is Status.DONE:
            assert job.result() == value(number)
        elif job.reason is Reason.LOST:
            assert job.story()[-1].verb == "lose"
            assert job.attempts == [] or job.attempts[-1].outcome != ""
        else:
            error = job.exception()
            assert type(error) is ValueError and error.args == (number,)
    return sum(job.reason is Reason.LOST for job in jobs.values())


def rounds(path: Path, seed: int, count: int) -> None:
    lots = random.Random(seed)
    submitted: dict[str, int] = {}
    saved: set[str] = set()
    for number in range(count):
        word, after_s = ("started", lots.uniform(0, 1)) if number == 1 else ("saved", lots.uniform(0, 1))
        new, kept = killed(path, seed * 100_000 + number * 10_000, word, after_s)
        submitted |= new
        saved |= kept
        lost = check(path, submitted, saved)
        print(
            f"seed {seed}, killed after {after_s:.3f} s: {len(submitted)} jobs, {len(saved)} saved, {lost} lost so far"
        )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("IPYJOBS_CHAOS", "2"))))
def test_what_was_saved_survives_any_kill(tmp_path: Path, seed: int) -> None:
    rounds(tmp_path / "jobs.sqlite", seed, ROUNDS)
