"""Where files go: one folder for each engine's logs, below the user's data folder."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import socket
from pathlib import Path


def data_folder() -> Path:
    """The user's data folder for ipyjobs; the environment variable ``IPYJOBS_DATA_DIR`` moves it."""
    given = os.environ.get("IPYJOBS_DATA_DIR")
    if given:
        return Path(given)
    from platformdirs import user_data_path  # imported where the folder is first needed: 5 ms

    return user_data_path("ipyjobs")


def session_folder(engine_id: str, given: str | Path | None) -> Path:
    """A folder for what one engine's jobs write, made with the first byte.

    A folder of our own choosing is removed when this process ends; those of processes that were killed go when the
    next engine asks for one. A `given` one stays.
    """
    if given is not None:
        return Path(given).expanduser().absolute()
    sessions = data_folder() / "sessions"
    if sessions.is_dir():
        _sweep(sessions)
    folder = sessions / f"{_host()}-{os.getpid()}-{engine_id}"
    atexit.register(_remove, folder, os.getpid())
    return folder


def _sweep(sessions: Path) -> None:
    for folder in sessions.iterdir():
        host, pid, _ = (*folder.name.rsplit("-", 2), "", "")[:3]
        # A home folder may be shared: only of this machine's processes do we know whether they live.
        if host == _host() and pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:80] or "host"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
