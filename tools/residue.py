"""What a run leaves behind: processes that still run, and files in the home folder."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Folders of which programs make folders of their own; only the names in them are looked at.
_SHARED = (".", ".cache", ".config", ".local", ".local/bin", ".local/share", ".local/state")
# Ours, and those of the programs we start; looked at in full.
_OURS = (
    "ipyjobs",
    "jupyter",
    "ipython",
    "matplotlib",
    "dask",
    "scikit",
    "pyright",
    "playwright",
    "executor",
)
# What package managers keep, and the shared folders themselves, which they may be the first to make.
_CACHES = {".npm", ".cache", ".cache/pip", ".cache/node", ".cache/node-gyp", ".config", ".local", ".local/share"}


def processes(mark: str) -> dict[int, str]:
    """Find the running processes that have `NAME=value` in the environment they were started with (Linux only)."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile, or is another user's
            continue
        if int(folder.name) != os.getpid() and command:  # without a command line it is dead already
            found[int(folder.name)] = command.strip()[:200]
    return found


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def home_listing(home: Path | None = None) -> dict[str, float]:
    """List what notebooks, tests and servers could write into the home folder: paths below it, with their times.

    Not the whole of it: somebody else's browser writes there as well.
    """
    home = home or Path.home()
    listing: dict[str, float] = {}
    for shared in _SHARED:
        for entry in (home / shared).glob("*") if (home / shared).is_dir() else ():
            name = entry.relative_to(home).as_posix()
            if name in _CACHES:
                continue
            listing[name] = 0
            if any(each in entry.name.lower() for each in _OURS) and entry.is_dir():
                files = (path for path in entry.rglob("*") if path.is_file())
                listing |= {path.relative_to(home).as_posix(): path.stat().st_mtime for path in files}
    return listing


def differences(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """List the paths that came or changed, sorted."""
    return sorted(path for path, changed_at in after.items() if before.get(path) != changed_at)
