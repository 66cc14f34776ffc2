"""A real IPython kernel, driven as a notebook drives it, and the processes that come from it."""

from __future__ import annotations

import os
import queue
import secrets
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
from jupyter_client.manager import KernelManager

from tools import residue

FUSE_S = 60.0
INTERVAL_S = 0.01


@dataclass
class Ran:
    """What came of one cell."""

    stdout: str = ""
    stderr: str = ""
    shown: list[dict[str, Any]] = field(default_factory=list)  # MIME bundles, displays and the result, in order
    error: tuple[str, str] | None = None  # its class's name and its text
    traceback: str = ""
    ended: bool = False  # the kernel said it is idle again

    @property
    def text(self) -> str:
        """The `text/plain` of the last thing shown."""
        return str(self.shown[-1].get("text/plain", "")) if self.shown else ""

    def add(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "stream" and content["name"] == "stdout":
            self.stdout += content["text"]
        elif kind == "stream":
            self.stderr += content["text"]
        elif kind in {"display_data", "execute_result"}:
            self.shown.append(content["data"])
        elif kind == "error":
            self.error = (content["ename"], content["evalue"])
            self.traceback = "\n".join(content["traceback"])
        elif kind == "status" and content["execution_state"] == "idle":
            self.ended = True


class Kernel:
    """A kernel in a process of its own; all that it starts carries its mark in the environment.

    Use it with `with`: afterwards the kernel is gone, and so is all that it left behind. A test that asks what a
    kernel leaves behind asks `survivors` before that.
    """

    def __init__(self, cwd: Path, **env: str) -> None:
        self.mark = f"IPYJOBS_KERNEL={secrets.token_hex(8)}"
        name, value = self.mark.split("=")
        self._cwd = cwd
        # A store of its own, which stays when the kernel is started again.
        data = {"IPYJOBS_DATA_DIR": f"{cwd}.data"}
        self._env = {**os.environ, **data, **env, name: value}
        self._manager = KernelManager(kernel_name="python3")
        self._ran: defaultdict[str, Ran] = defaultdict(Ran)

    def __enter__(self) -> Self:
        self._manager.start_kernel(cwd=str(self._cwd), env=self._env)
        self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.context.destroy(linger=0)
        for pid in residue.processes(self.mark):
            residue.kill(pid)

    @property
    def pid(self) -> int:
        """The kernel's process; another one after a restart."""
        pid = self._manager.provisioner.pid if self._manager.provisioner else None
        assert pid is not None, "the kernel does not run"
        return pid

    def run(self, code: str, timeout_s: float = FUSE_S) -> Ran:
        """Run a cell to its end."""
        return self.result(self.send(code), timeout_s)

    def send(self, code: str) -> str:
        """Start a cell, and return its message's id without waiting for it."""
        return self._client.execute(code, store_history=True)

    def result(self, message_id: str, timeout_s: float = FUSE_S) -> Ran:
        """Wait for the end of a cell that was sent."""
        return self.until(message_id, lambda ran: ran.ended, timeout_s)

    def until(self, message_id: str, enough: Callable[[Ran], bool], timeout_s: float = FUSE_S) -> Ran:
        """Wait until a cell that was sent has put out what makes `enough` true."""
        give_up_at = time.monotonic() + timeout_s
        while not enough(self._ran[message_id]):
            try:
                message = self._client.get_iopub_msg(timeout=max(0.01, give_up_at - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"not within {timeout_s} s: so far {self._ran[message_id]}") from None
            parent = message["parent_header"].get("msg_id")
            if parent:
                self._ran[parent].add(message["msg_type"], message["content"])
        return self._ran[message_id]

    def interrupt(self) -> None:
        """Do what the stop button does."""
        self._manager.interrupt_kernel()

    def restart(self) -> None:
        """Ask the kernel to end, then start another in its place."""
        self._restart(now=False)

    def restart_now(self) -> None:
        """Kill the kernel, then start another in its place."""
        self._restart(now=True)

    def kill(self) -> None:
        """Kill -9 the kernel alone, and wait until it is dead; nothing is started in its place."""
        process = psutil.Process(self.pid)
        process.send_signal(signal.SIGKILL)
        give_up_at = time.monotonic() + FUSE_S
        while self._manager.is_alive() and time.monotonic() < give_up_at:
            time.sleep(INTERVAL_S)

    def descendants(self) -> list[psutil.Process]:
        """List the living processes whose ancestor the kernel is."""
        return psutil.Process(self.pid).children(recursive=True)

    def marked(self) -> dict[int, str]:
        """Find what carries this kernel's mark, wherever it has gone, without the kernel: command lines by pid."""
        alive = self._manager.is_alive()
        found = residue.processes(self.mark)
        return {pid: command for pid, command in found.items() if not (alive and pid == self.pid)}

    def survivors(self, patience_s: float = 2.0) -> dict[int, str]:
        """Find what still carries the mark after `patience_s`; returns at once when nothing does."""
        give_up_at = time.monotonic() + patience_s
        while (left := self.marked()) and time.monotonic() < give_up_at:
            time.sleep(INTERVAL_S)
        return left

    def _restart(self, now: bool) -> None:
        self._client.stop_channels()
        self._manager.restart_kernel(now=now)
        self._connect()

    def _connect(self) -> None:
        self._ran.clear()
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=FUSE_S)
