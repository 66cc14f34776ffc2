"""Where logs go, and what is cleaned away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ipyjobs import storage


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IPYJOBS_DATA_DIR", str(tmp_path))
    (tmp_path / "sessions").mkdir()
    return tmp_path / "sessions"


def test_a_folder_of_the_users_choice_is_used(tmp_path: Path) -> None:
    assert storage.session_folder("abc", tmp_path) == tmp_path


def test_what_killed_processes_left_is_removed_and_nothing_else(sessions: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = sessions / f"{storage._host()}-{ended.pid}-abc"
    living = sessions / f"{storage._host()}-{os.getppid()}-abc"
    elsewhere = sessions / f"another.host-{ended.pid}-abc"
    foreign = sessions / "notes"
    for each in (dead, living, elsewhere, foreign):
        each.mkdir()
        (each / "1.log").write_text("said")

    folder = storage.session_folder("mine", None)

    assert folder.parent == sessions
    assert not dead.exists()
    assert all((each / "1.log").exists() for each in (living, elsewhere, foreign))


def test_a_process_removes_its_own_when_it_ends(sessions: Path) -> None:
    program = """
from ipyjobs import Engine, EngineSetting, ThreadJob

with Engine(EngineSetting(echo=False)) as engine:
    job = engine.submit(ThreadJob(print, ("said",)))
    engine.wait()
    job.log.close()
    assert job.log.path.exists()
    print(job.log.path)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 0, ended.stderr
    path = Path(ended.stdout.strip())
    assert path.is_relative_to(sessions)
    assert not path.parent.exists()
