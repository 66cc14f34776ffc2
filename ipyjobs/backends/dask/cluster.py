"""An engine's own Dask cluster, as the engine sees it: started, told to kill a worker, ended."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from typing import Any

from ipyjobs.backends.dask.book import FOLDER, Book
from ipyjobs.backends.process import linux, wire
from ipyjobs.errors import WorkersBroken

START_S = 60.0
CLOSE_S = 1.7
_LOOK_S = 0.005
"""How often a cluster that is ending is asked whether it has; there is no event for it everywhere."""
TAIL_BYTES = 4000

_PROGRAM = """\
import json, sys
path, *more = json.loads(sys.argv[1])
sys.path[:] = path
sys.argv[:] = [""]
from ipyjobs.backends.dask.cluster_process import main
main(*more)
"""
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What Dask sets for its workers; those that are forked get it only from here."""

_TOKEN = "IPYJOBS_DASK"
"""In the environment of all that descends from the cluster's process."""


class OwnCluster:
    """A scheduler and workers on this machine, in processes that go when the engine does.

    Parameters
    ----------
    loop
        The engine's.
    workers
        How many; each runs one job at a time.
    gone
        Called on the loop when the cluster has ended by itself.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, workers: int, gone: Callable[[], None]) -> None:
        self._loop = loop
        self._workers = workers
        self._gone = gone
        self.address = ""
        self.dashboard = ""
        """Where its page is; empty without bokeh."""
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._said = -1
        self._tail = bytearray()
        self._unread = b""
        self._ready: asyncio.Future[None] = loop.create_future()
        self._killed: dict[int, asyncio.Future[bool]] = {}
        self._closing = False
        self._burying: asyncio.Task[None] | None = None
        self._scratch = tempfile.mkdtemp(prefix="ipyjobs-dask-")
        self._folder = os.path.join(self._scratch, "begun")
        os.mkdir(self._folder)
        self._book = Book(self._folder)
        self._token = uuid.uuid4().hex

    async def start(self) -> None:
        """Start it and wait until its workers are there.

        Raises
        ------
        WorkersBroken
            It ended instead, or is not there after a minute.
        """
        launching = self._loop.run_in_executor(None, self._launch)
        try:
            await asyncio.shield(launching)
        except asyncio.CancelledError:
            await launching  # a thread can't be stopped halfway
            await self.close()
            raise
        assert self._channel is not None
        self._loop.add_reader(self._channel.fileno(), self._hear)
        self._loop.add_reader(self._said, self._hear_output)
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), START_S)
        except TimeoutError:
            await self.close()
            raise WorkersBroken(f"the Dask cluster did not start within {START_S:.0f} s") from None
        except asyncio.CancelledError:
            await self.close()
            raise

    async def stop(self, number: int) -> bool:
        """Keep a job from beginning, or kill its worker with all that descends from it; Dask starts another one.

        Returns
        -------
        bool
            False if it was too late: the function has returned.
        """
        pid = self._book.withdraw(number)
        if pid == 0 or self._channel is None:
            return True
        killed = self._killed[number] = self._loop.create_future()
        self._channel.send(json.dumps({"kill": pid, "for": number}).encode() + b"\n")
        return await asyncio.shield(killed)

    async def close(self) -> None:
        """End all of it, within two seconds."""
        self._closing = True
        if self._channel is not None:
            # It takes that for the end, even where a fork of this process holds the socket too.
            self._channel.shutdown(socket.SHUT_RDWR)
        await self._bury()

    async def _bury(self) -> None:
        """Wait until the process is gone, and kill what it has left."""
        process, self._process = self._process, None
        if process is None:
            return
        until = self._loop.time() + CLOSE_S
        while process.poll() is None:
            if self._loop.time() > until:
                process.kill()
                until = float("inf")
            await asyncio.sleep(_LOOK_S)
        for descriptor in (self._channel, self._said):
            self._loop.remove_reader(descriptor)  # type: ignore[arg-type]
        await self._loop.run_in_executor(None, _sweep, self._token, self._scratch)
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        os.close(self._said)
        self._book.close()
        for each in self._killed.values():
            if not each.done():
                each.set_result(True)

    def _launch(self) -> None:
        """On another thread: making a process takes time."""
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        self._said, say = os.pipe()
        os.set_blocking(self._said, False)
        told = json.dumps(
            [wire.search_path(), theirs.fileno(), os.getpid(), self._workers, self._scratch, self._folder]
        )
        environ = {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ, _TOKEN: self._token, FOLDER: self._folder}
        self._process = subprocess.Popen(
            [sys.executable, *wire.flags(), "-c", _PROGRAM, told],
            stdin=subprocess.DEVNULL,
            stdout=say,
            stderr=say,
            env=environ,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        os.close(say)

    # -- hearing

    def _hear(self) -> None:
        assert self._channel is not None
        try:
            data = self._channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._channel)
            if not self._closing:
                self._burying = self._loop.create_task(self._lost())
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            if "for" in message:
                self._killed.pop(message["for"]).set_result(message["killed"])
            elif not self._ready.done():
                self.address, self.dashboard = message["ready"], message["dashboard"]
                self._ready.set_result(None)

    def _hear_output(self) -> None:
        try:
            data = os.read(self._said, 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._said)
        self._tail += data
        del self._tail[:-TAIL_BYTES]

    async def _lost(self) -> None:
        await self._bury()
        words = self._tail.decode(errors="replace").strip()
        if not self._ready.done():
            self._ready.set_exception(WorkersBroken("the Dask cluster cannot start" + (f":\n{words}" if words else "")))
        self._gone()


def _sweep(token: str, scratch: str) -> None:
    """Kill what has outlived its cluster, which was killed itself; on a thread."""
    if linux.available():
        for pid in linux.freeze(linux.marked(token)):
            linux.send(pid, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)
