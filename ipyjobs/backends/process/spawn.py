"""Workers without a guard, where the system has none of what it needs: each a Python of its own, killed by group.

What is lost: a start takes 100 ms; a descendant in a session of its own survives if its parent ended before the kill;
and if this process is killed, a worker notices within a second, but not what it has started in other groups.
"""

from __future__ import annotations

import asyncio
import marshal
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from ipyjobs.backends.process import wire
from ipyjobs.backends.process.host import Listener

_WATCH_S = 0.02
"""How often a dying worker is asked whether it is dead; there is no event for it everywhere."""
TAIL_BYTES = 4000


class SpawnHost:
    """Workers that are plain child processes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        self._loop = loop
        self._listener = listener
        self._marks_file = tempfile.TemporaryFile(prefix="ipyjobs-")  # noqa: SIM115  (closed by `close`)
        self._marks_file.truncate(wire.SLOTS * wire.MARK.size)
        self.marks = mmap.mmap(self._marks_file.fileno(), 0)
        self._said = tempfile.TemporaryFile(prefix="ipyjobs-")  # noqa: SIM115  (likewise)
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._watching = False
        self._doomed: dict[int, list[Any]] = {}
        """What was found of the trees of workers that were killed."""

    def open(self) -> None:
        """Nothing to make ready."""

    def spawn(self, number: int, slot: int, descriptors: tuple[int, int, int, int]) -> None:
        with tempfile.TemporaryFile(prefix="ipyjobs-") as setup:
            setup.write(marshal.dumps(wire.setup_of_this_process(())))
            setup.flush()
            passed = (setup.fileno(), *descriptors, self._marks_file.fileno())
            numbers = (*passed, slot, os.getpid())
            self._workers[number] = subprocess.Popen(
                [sys.executable, *wire.flags(), "-c", wire.boot("worker"), *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                pass_fds=passed,
                start_new_session=True,
            )
        self._watch()

    def kill(self, number: int) -> None:
        process = self._workers.get(number)
        if process is not None:
            self._doomed[number] = _kill_tree(process.pid)
            self._watch()

    def measure(self, numbers: list[int]) -> None:
        import psutil  # only here: a guard needs none

        for number in numbers:
            try:
                root = psutil.Process(self._workers[number].pid)
                size = sum(each.memory_info().rss for each in (root, *root.children(recursive=True)))
            except (KeyError, psutil.Error):  # it has just ended
                continue
            self._listener.memory_measured(number, size)

    def renew(self) -> None:
        """Each worker is new anyway."""

    def tail(self) -> str:
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - TAIL_BYTES))
        return self._said.read().decode(errors="replace").strip()

    def forget(self) -> None:
        self._marks_file.close()
        self._said.close()

    async def close(self) -> None:
        until = time.monotonic() + 1.8
        for number in list(self._workers):
            self.kill(number)
        while self._workers and time.monotonic() < until:
            self._bury()
            await asyncio.sleep(_WATCH_S)
        self.marks.close()
        self._marks_file.close()
        self._said.close()

    def _watch(self) -> None:
        if not self._watching and self._workers:
            self._watching = True
            self._loop.call_later(_WATCH_S, self._look)

    def _look(self) -> None:
        self._watching = False
        self._bury()
        self._watch()

    def _bury(self) -> None:
        for number, process in list(self._workers.items()):
            if process.poll() is None:
                continue
            tree = [each for each in self._doomed.get(number, ()) if _lives(each)]
            if _kill_group(process.pid) or tree:
                for each in tree:
                    _kill(each.pid)
                continue
            del self._workers[number]
            self._doomed.pop(number, None)
            code = process.returncode
            self._listener.worker_dead(number, -code if code < 0 else code << 8)


def _kill_tree(pid: int) -> list[Any]:
    """Stop a tree, list it until the list grows no more, kill it."""
    import psutil  # see above

    found: dict[int, Any] = {}
    try:
        fresh: list[Any] = [psutil.Process(pid)]
    except psutil.Error:
        return []
    while fresh:
        for each in fresh:
            found[each.pid] = each
            _send(each.pid, signal.SIGSTOP)
        try:
            fresh = [each for each in found[pid].children(recursive=True) if each.pid not in found]
        except psutil.Error:
            break
    for each in found.values():
        _kill(each.pid)
    return list(found.values())


def _lives(process: Any) -> bool:
    import psutil  # see above

    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _kill(pid: int) -> None:
    _send(pid, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # gone, or not ours any more
        return


def _kill_group(pid: int) -> bool:
    """Kill what is left of a worker's process group; whether there was anything."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # empty, or only zombies (macOS)
        return False
    return True
