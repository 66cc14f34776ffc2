"""The zygote: a Python that has imported what workers need, and is copied for each of them.

Copying takes 3 ms, starting a Python 90. It is executed by the guard, not forked from it, so that it has the flags and
the `site` of the user's own Python, and a hanging import cannot hang the guard.
"""

from __future__ import annotations

import gc
import importlib
import mmap
import os
import socket
import sys
import time
from typing import Any

import cloudpickle  # noqa: F401  # pyright: ignore  (to have it loaded in every worker)

from ipyjobs.backends.process import linux, wire, worker

HARMLESS = ("jemalloc_bg_thd",)
"""Threads of libraries, by name, that survive a fork or need not."""


def main(setup: dict[str, Any], guard: int, mark_file: int, guard_pid: int) -> None:
    """Make workers until the guard goes; the arguments are descriptors and the guard's process."""
    os.setsid()
    linux.die_with_parent()
    if os.getppid() != guard_pid:
        return
    os.close(int(sys.argv[1]))
    sys.argv[:] = [""]
    skipped = set(os.environ.pop("IPYJOBS_SKIP", "").split(","))
    if setup["cwd"]:
        try:
            os.chdir(setup["cwd"])
        except OSError:  # deleted meanwhile; the job will say so
            os.chdir("/")
    channel = socket.socket(fileno=guard)
    channel.set_inheritable(False)
    os.set_inheritable(mark_file, False)
    _preload(channel, [name for name in setup["preload"] if name not in skipped])
    marks = mmap.mmap(mark_file, 0)
    os.close(mark_file)
    gc.collect()
    # Else the first collection in a worker would touch, and so copy, all that it shares.
    gc.freeze()
    wire.send_packet(channel, ("ready",))
    while True:
        message = wire.receive_packet(channel)
        if message is None:
            os._exit(0)
        number, slot, descriptors = message
        _fork(channel, number, guard_pid, descriptors, marks, slot)
        for each in descriptors:
            os.close(each)


def _preload(channel: socket.socket, names: list[str]) -> None:
    for name in names:
        wire.send_packet(channel, ("importing", name))
        try:
            importlib.import_module(name)
        except Exception as error:  # the user's choice of modules; jobs that need it will import it, and say why not
            wire.send_packet(channel, ("note", f"{name} is not preloaded: {type(error).__name__}: {error}"))
            continue
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        # Libraries such as OpenBLAS end their threads before a fork; whoever has threads now would have them cut off.
        threads = _threads()
        if os.waitpid(pid, 0)[1] != 0 or len(threads) > 1:
            wire.send_packet(channel, ("note", f"{name} cannot be preloaded: it leaves threads ({', '.join(threads)})"))
            os._exit(1)


def _threads() -> list[str]:
    found: list[str] = []
    for each in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{each}/comm", encoding="utf-8", errors="replace") as file:
            found.append(file.read().strip())
    return [each for each in found if each not in HARMLESS]


def _fork(
    channel: socket.socket,
    number: int,
    guard_pid: int,
    descriptors: tuple[int, int, int, int],
    marks: mmap.mmap,
    slot: int,
) -> None:
    """Fork twice, so that the guard becomes the worker's parent."""
    between = os.fork()
    if between:
        if os.waitpid(between, 0)[1] != 0:
            # Killed, perhaps after its fork: if nobody has been told of a worker, it is a stranger there, and killed.
            wire.send_packet(channel, ("unborn", number))
        return
    pid = os.fork()
    if pid:
        # Said before the worker becomes a child of the guard's, so that the guard never meets a stranger.
        wire.send_packet(channel, ("born", number, pid))
        os._exit(0)
    try:
        os.close(channel.detach())
        os.setsid()
        linux.become_subreaper()
        while os.getppid() != guard_pid:
            if os.getppid() == 1:
                os._exit(0)
            time.sleep(0.0001)
        linux.die_with_parent()
        if os.getppid() == guard_pid:
            gc.enable()
            worker.Worker(*descriptors, marks, slot).serve()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
