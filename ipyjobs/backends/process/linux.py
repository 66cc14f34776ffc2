"""What only Linux offers: sub-reapers, death signals, files in memory, and /proc."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
from _thread import allocate_lock
from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36
_CLONE_FS = 0x200
_NOTHING = bytearray(4)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def available() -> bool:
    """Whether this system has what a guard needs."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and os.path.exists("/proc/self/stat")


def become_subreaper() -> None:
    """From now on what descendants orphan becomes a child of this process, not of init."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the parent ends. Not inherited by children; look at `os.getppid()` afterwards."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)


def unread_output() -> bool:
    """Whether something that was printed on descriptor 1 or 2, both pipes, waits to be read."""
    count = bytearray(4)
    for descriptor in (1, 2):
        try:
            fcntl.ioctl(descriptor, termios.FIONREAD, count)
        except OSError:  # no longer a pipe, or a system that tells the reader only
            return True
        if count != _NOTHING:
            return True
    return False


def flush_stdio() -> None:
    """Write out what C libraries have printed; on a pipe they keep it for long."""
    _libc().fflush(None)


@cache
def _libc() -> Any:
    import ctypes  # only processes of ours need it

    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    import ctypes

    if _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def apart(call: Callable[[], T]) -> T:
    """Make a call in a thread whose working directory is its own; where that can't be, one such call at a time."""
    import threading  # the guard, which needs none of these, loads this module too
    from contextlib import nullcontext
    from contextvars import copy_context

    outcome: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        own = sys.platform == "linux" and _libc().unshare(_CLONE_FS) == 0
        try:
            with nullcontext() if own else _one_at_a_time:
                outcome.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
    thread.name = threading.current_thread().name + "-apart"
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


_one_at_a_time = allocate_lock()


def process_descriptor(pid: int) -> int:
    """A descriptor that becomes readable when the process ends, and cannot come to mean another one."""
    if sys.platform != "linux":
        raise NotImplementedError("process descriptors need Linux")
    return os.pidfd_open(pid)


def memory_file(name: str, data: bytes = b"") -> int:
    """Descriptor of a file that lives in memory only and holds `data`."""
    if sys.platform != "linux":
        raise NotImplementedError("files in memory need Linux")
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor


def parents() -> dict[int, int]:
    """The parent of every process there is."""
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _read(f"/proc/{name}/stat")):
            # The second field is the command in brackets, and may hold anything.
            found[int(name)] = int(stat[stat.rindex(b")") + 4 :].split(None, 1)[0])
    return found


def descendants(roots: Collection[int]) -> set[int]:
    """All that descend from `roots`, without them."""
    if _HAS_CHILDREN:
        found: set[int] = set()
        waiting = list(roots)
        while waiting:
            more = [each for each in children(waiting.pop()) if each not in found]
            found.update(more)
            waiting.extend(more)
        return found - set(roots)
    by_parent: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        by_parent.setdefault(parent, []).append(pid)
    tree = list(roots)
    for each in tree:  # grows while it is walked
        tree.extend(by_parent.get(each, ()))
    return set(tree) - set(roots)


def children(pid: int) -> list[int]:
    """The children of one process."""
    if not _HAS_CHILDREN:
        return [each for each, parent in parents().items() if parent == pid]
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(each) for thread in threads for each in _read(f"/proc/{pid}/task/{thread}/children").split()]


_HAS_CHILDREN = os.path.exists("/proc/thread-self/children")
"""A kernel may be built without; then all of /proc is read."""


def parent(pid: int) -> int:
    """The parent of a process; 0 if it is gone."""
    stat = _read(f"/proc/{pid}/stat")
    return int(stat[stat.rindex(b")") + 4 :].split(None, 1)[0]) if stat else 0


def freeze(roots: Iterable[int]) -> set[int]:
    """Stop whole trees, so that they can neither run away nor grow; the set of all that belong to them."""
    found: set[int] = set()
    fresh = set(roots)
    while fresh:
        for pid in fresh:
            send(pid, signal.SIGSTOP)
        found |= fresh
        fresh = descendants(found) - found
    return found


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # gone, or it has become somebody else's (setuid)
        return


def resident_bytes(pids: Iterable[int]) -> int:
    """Memory in use by the processes together; what they share counts for each."""
    return sum(int(statm.split()[1]) for pid in pids if (statm := _read(f"/proc/{pid}/statm"))) * _PAGE_BYTES


def marked(mark: str) -> list[int]:
    """Processes whose environment, as they were started, holds `mark`; not this one."""
    wanted = mark.encode()
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if pid != os.getpid() and wanted in _read(f"/proc/{pid}/environ")]


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts: list[bytes] = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except OSError:  # it ended while we read
        return b""
    finally:
        os.close(descriptor)


def started_at(pid: int) -> int:
    """When a process started, in ticks since the system did; with the pid it names a process for good. 0: unknown."""
    stat = _read(f"/proc/{pid}/stat")
    return int(stat[stat.rindex(b")") + 2 :].split()[19]) if stat else 0


def lives(pid: int) -> bool:
    """Whether a process is there, and has not ended; False where there is no way to know."""
    stat = _read(f"/proc/{pid}/stat")
    return bool(stat) and stat[stat.rindex(b")") + 2 :][:1] not in b"ZX"


def oom_kills() -> int:
    """How many processes this system has killed for want of memory, since it runs."""
    words = _read("/proc/vmstat").split()
    return int(words[words.index(b"oom_kill") + 1]) if b"oom_kill" in words else 0


def memory_bytes() -> int:
    """Memory of this machine."""
    words = _read("/proc/meminfo").split(None, 2)
    return int(words[1]) * 1024 if len(words) == 3 else sys.maxsize


def usable_cpus() -> int:
    """How many processors this process may keep busy: its affinity, and the limit of its control group."""
    affinity: object = getattr(os, "sched_getaffinity", None)
    count = len(os.sched_getaffinity(0)) if affinity is not None and sys.platform == "linux" else os.cpu_count() or 1
    quota = _quota()
    return max(1, count if quota is None else min(count, -int(-quota // 1)))


def _quota() -> float | None:
    """Processors that the control group allows: version 2, with all groups above, then version 1."""
    quotas: list[float] = []
    lines = _read("/proc/self/cgroup").decode().splitlines()
    group: str = next((line[3:] for line in lines if line.startswith("0::")), "/")
    while True:
        limit, _, period = _read(f"/sys/fs/cgroup{group.rstrip('/')}/cpu.max").decode().partition(" ")
        if limit.isdigit():
            quotas.append(int(limit) / int(period or 100_000))
        if group in ("/", ""):
            break
        group = os.path.dirname(group)
    limit = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").decode().strip()
    period = _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us").decode().strip()
    if limit.isdigit() and period.isdigit():
        quotas.append(int(limit) / int(period))
    return min(quotas) if quotas else None
