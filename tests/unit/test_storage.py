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


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local\\040disk ext4 rw 0 0
//server/share /mnt/share cifs rw 0 0
user@host: /mnt/share/ssh fuse.sshfs rw 0 0
tmpfs /mnt/share/ssh tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"), ("/homely", "ext4"), ("/home", "nfs4"), ("/home/a/b", "nfs4"), ("/home/local disk/x", "ext4"),
        ("/mnt/share", "cifs"), ("/mnt/share/ssh/x", "tmpfs"), ("relative", "ext4"),
    ],
)  # fmt: skip
def test_a_network_disk_is_known_by_its_mount(
    tmp_path: Path, path: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path.resolve()
    mounts = "".join(
        " ".join([what, str(root) if where == "/" else f"{root}{where}", *rest]) + "\n"
        for what, where, *rest in map(str.split, MOUNTS.splitlines())
    )
    there = root / path.lstrip("/")
    there.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(root)

    assert storage._file_system(Path(path) if path == "relative" else there, mounts) == kind


def test_a_folder_that_is_not_there_yet_is_where_it_would_be(tmp_path: Path) -> None:
    mounts = f"a / ext4 rw 0 0\nb {tmp_path.resolve()} nfs rw 0 0\n"

    assert storage._file_system(tmp_path / "not" / "there", mounts) == "nfs"
    assert storage._file_system(tmp_path, "") == ""


def test_the_users_store_is_in_the_data_folder(sessions: Path) -> None:
    assert storage.user_store() == sessions.parent / "jobs.sqlite"
