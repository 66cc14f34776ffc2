"""What a worker died of, in words."""

from __future__ import annotations

import os
import signal

from ipyjobs.backends.process import linux
from ipyjobs.backends.process.workers import Worker


class Obituaries:
    """Knows how often the system has run out of memory, to tell whether a death was one more time."""

    def __init__(self) -> None:
        self._oom_kills = linux.oom_kills()

    def of(self, worker: Worker, status: int) -> str:
        """What became of a worker; `status` is that of `os.waitpid`, -1 if its guard has died too."""
        if status >= 0 and not os.WIFSIGNALED(status):
            return (
                f"the job ended its own process (pid {worker.pid}) with exit status {os.waitstatus_to_exitcode(status)}"
            )
        if status < 0:
            return f"the worker process (pid {worker.pid}) is gone, and so is what guarded it"
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        text = f"the worker process (pid {worker.pid}) was killed by {name}"
        kills, self._oom_kills = self._oom_kills, linux.oom_kills()
        if number == signal.SIGKILL and self._oom_kills > kills:
            text += ": the system ran out of memory"
        elif number == signal.SIGKILL and worker.memory_bytes > linux.memory_bytes() * 0.5:
            text += f", probably for want of memory: it used {worker.memory_bytes / 1e9:.1f} GB"
        return text
