"""The process in which an engine's own Dask cluster lives: the scheduler here, the workers below it.

It runs in a session of its own, where no stop button reaches it, listens on 127.0.0.1 only, and ends with everything
it has started when the engine's process is gone, however it went.
"""

# distributed has hardly any types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import multiprocessing
import os
import select
import signal
import socket
import threading
import time
from typing import Any

from ipyjobs.backends.dask.book import Page
from ipyjobs.backends.process import linux

HOST = "127.0.0.1"
KILL_S = 1.5
"""How long it is tried to see the processes die that are killed."""
_POLL_S = 0.5
"""How often it is looked whether the engine's process is still there, where nothing tells."""


def main(channel: int, kernel_pid: int, workers: int, scratch: str, book_folder: str) -> None:
    """Run until the engine goes; `channel` is a descriptor."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if hasattr(signal, "SIGHUP") or number != signal.SIGHUP:
            signal.signal(number, signal.SIG_IGN)
    if linux.available():
        linux.become_subreaper()
    watch = _Watch(socket.socket(fileno=channel), kernel_pid, book_folder)
    threading.Thread(target=watch.run, daemon=True).start()
    try:
        asyncio.run(_live(watch, workers, scratch))
    finally:
        watch.end()


async def _live(watch: _Watch, workers: int, scratch: str) -> None:
    import dask.config
    from distributed import LocalCluster
    from distributed.utils import get_mp_context

    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    dask.config.set({
        "distributed.worker.multiprocessing-method": method,
        # A job may begin once, so the death of a worker is never a reason to give up those that had not begun.
        "distributed.scheduler.allowed-failures": 1_000_000,
        "distributed.admin.tick.limit": "1h",
    })  # fmt: skip
    get_mp_context()  # sets modules to be imported before workers are forked; ours are better chosen
    if method == "forkserver":
        multiprocessing.set_forkserver_preload(
            ["distributed.nanny", "distributed.worker", "ipyjobs.backends.dask.worker"]
        )
    has_dashboard = importlib.util.find_spec("bokeh") is not None
    cluster: Any = await LocalCluster(
        n_workers=workers, threads_per_worker=1, memory_limit=0, processes=True, host=HOST, local_directory=scratch,
        dashboard_address=f"{HOST}:0", worker_dashboard_address=None,
        silence_logs=logging.ERROR, asynchronous=True,
    )  # fmt: skip
    watch.cluster = cluster
    watch.say(ready=cluster.scheduler_address, dashboard=cluster.dashboard_link if has_dashboard else "")
    await asyncio.Event().wait()


class _Watch:
    """Hears the engine and sees it go, on a thread of its own: a scheduler's loop may be busy."""

    def __init__(self, channel: socket.socket, kernel_pid: int, book_folder: str) -> None:
        channel.set_inheritable(False)
        self._channel = channel
        self._kernel_pid = kernel_pid
        self._book_folder = book_folder
        self.cluster: Any = None

    def say(self, **message: object) -> None:
        try:
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.end()

    def run(self) -> None:
        """Serve until the engine's process is gone or has closed its end."""
        waiting = [self._channel.fileno()]
        if linux.available():
            try:
                waiting.append(linux.process_descriptor(self._kernel_pid))
            except ProcessLookupError:
                self.end()
        unread = b""
        while os.getppid() == self._kernel_pid:
            readable, _, _ = select.select(waiting, [], [], None if len(waiting) == 2 else _POLL_S)
            if self._channel.fileno() not in readable:
                if readable:
                    break
                continue
            try:
                data = self._channel.recv(65536)
            except OSError:
                break
            if not data:
                break
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                killed = self._stop(message["kill"], message["for"])
                self.say(**{"for": message["for"], "killed": killed})
        self.end()

    def _stop(self, pid: int, number: int) -> bool:
        """Kill a worker if it runs the job with this number."""
        if pid not in self._worker_pids():
            return True
        frozen = linux.freeze([pid]) if linux.available() else set[int]()
        # Looked at while it stands still: it must not die for the next job.
        if Page(self._book_folder, pid).read() != number:
            for each in frozen:
                linux.send(each, signal.SIGCONT)
            return False
        _kill([pid])
        return True

    def _worker_pids(self) -> set[int]:
        nannies = list(self.cluster.workers.values()) if self.cluster is not None else []
        return {each.pid for each in nannies if each.pid is not None}

    def end(self) -> None:
        """Kill all that descends from this process, and leave."""
        _kill(_children())
        os._exit(0)


def _children() -> list[int]:
    if linux.available():
        return linux.children(os.getpid())
    import psutil  # only where there is no /proc

    return [each.pid for each in psutil.Process().children(recursive=True)]


def _kill(roots: list[int]) -> None:
    """Kill whole trees, and wait until they are gone."""
    until = time.monotonic() + KILL_S
    left = linux.freeze(roots) if linux.available() else set(roots)
    for pid in left:
        linux.send(pid, signal.SIGKILL)
    while left and time.monotonic() < until:
        for pid in left - set(roots):
            _bury(pid)
        left = {pid for pid in left if linux.lives(pid)}
        time.sleep(0.002)


def _bury(pid: int) -> None:
    """Take note of the end of a process that its parent left to us; workers have somebody who does."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
