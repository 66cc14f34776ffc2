"""Where files go: one folder for each engine's logs, below the user's data folder."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import socket
import stat
from pathlib import Path

from ipyjobs.errors import StoreError
from ipyjobs.log import logger


def data_folder() -> Path:
    """The user's data folder for ipyjobs; the environment variable ``IPYJOBS_DATA_DIR`` moves it."""
    given = os.environ.get("IPYJOBS_DATA_DIR")
    if given:
        return Path(given)
    from platformdirs import user_data_path  # imported where the folder is first needed: 5 ms

    return user_data_path("ipyjobs")


_NETWORK = frozenset(
    "9p afs beegfs ceph cifs coda fuse.ceph fuse.glusterfs fuse.s3fs fuse.sshfs glusterfs gpfs lustre ncpfs nfs nfs4 "
    "pvfs2 smb3 smbfs".split()
)
"""Kinds of file systems whose files other machines may change, too."""


def user_store() -> Path:
    """The file of the user's own store of jobs, one for all notebooks; never on a network disk."""
    folder = data_folder()
    kind = _file_system(folder, _mounts())
    if kind in _NETWORK:
        local = _local_folder()
        logger.warning("{} is on a network disk ({}): jobs are kept in {} on this machine", folder, kind, local)
        folder = local
    return folder / "jobs.sqlite"


def _local_folder() -> Path:
    """A folder of this user on a disk of this machine that outlives a restart of the machine."""
    folder = Path("/var/tmp") / f"ipyjobs-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise StoreError(f"{folder} is not this user's alone; remove it, or say where jobs are kept: IPYJOBS_DATA_DIR")
    return folder


def _mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _file_system(path: Path, mounts: str) -> str:
    """The kind of file system that `path` is, or would be, on; empty where that is not known."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    real = path.resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        _, where, found, *_ = [*line.split(" "), "", "", ""]
        where = where.replace("\\040", " ").replace("\\011", "\t")
        # Of two that are mounted at one place the later one is seen.
        if len(where) >= best and where and real.is_relative_to(where):
            best, kind = len(where), found
    return kind


def config_folder() -> Path:
    """The user's folder for settings and the key; the environment variable ``IPYJOBS_CONFIG_DIR`` moves it."""
    given = os.environ.get("IPYJOBS_CONFIG_DIR")
    if given:
        return Path(given)
    from platformdirs import user_config_path  # imported where the folder is first needed: 5 ms

    return user_config_path("ipyjobs")


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
