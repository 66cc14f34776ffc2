"""Ports of this machine: which are free, which are promised to a job, and who listens."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Collection

EVERYWHERE = "0.0.0.0"

_promised: set[int] = set()
_lock = threading.Lock()
_LISTENING = b"0A"
_TRIES = 50


def trouble(ip: str, port: int) -> str:
    """Why nobody could listen there now, in words; empty if somebody could."""
    with _lock:
        if port in _promised:
            return "another web app has it"
    try:
        with socket.socket() as probe:
            # As servers do: else a port is taken for a minute after its last connection was closed.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((ip, port))
    except OSError as error:
        return "another program has it" if error.errno == errno.EADDRINUSE else str(error.strerror or error)
    return ""


def promise(ip: str, port: int | None) -> int:
    """Take a port, a free one if `port` is None, out of what others are given until `give_back`.

    Raises
    ------
    OSError
        It is taken, or there is none.
    """
    if port is not None:
        why = trouble(ip, port)
        if why:
            raise OSError(errno.EADDRINUSE, f"port {port}: {why}")
        with _lock:
            _promised.add(port)
        return port
    # Those that are no use stay bound meanwhile, so that each try gives another.
    probes: list[socket.socket] = []
    try:
        for _ in range(_TRIES):
            probe = socket.socket()
            probes.append(probe)
            probe.bind((ip, 0))
            found: int = probe.getsockname()[1]
            with _lock:
                if found not in _promised:
                    _promised.add(found)
                    return found
    finally:
        for probe in probes:
            probe.close()
    raise OSError(errno.EADDRINUSE, f"no free port on {ip}")


def give_back(port: int) -> None:
    """The port may be given to others. Twice is harmless."""
    with _lock:
        _promised.discard(port)


def can_listen_be_seen() -> bool:
    """Whether this system tells who listens."""
    return os.path.exists("/proc/net/tcp")


def listeners(port: int) -> dict[str, str]:
    """Who listens on a port: for each socket, by its number, the address in the notation of /proc/net/tcp."""
    wanted = b":%04X " % port
    found: dict[str, str] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, "rb") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for line in lines:
            # Number, local address, remote address, state, queues, timer, retransmits, user, timeout, inode.
            if wanted not in line:
                continue
            words = line.split(None, 10)
            address, _, at = words[1].rpartition(b":")
            if int(at, 16) == port and words[3] == _LISTENING:
                found[words[9].decode()] = address.decode()
    return found


def owned(sockets: Collection[str], pids: Collection[int]) -> set[str]:
    """Those of the sockets, given by their numbers, that the processes hold open."""
    names = {f"socket:[{each}]": each for each in sockets}
    found: set[str] = set()
    for pid in pids:
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except OSError:  # it has ended, or is somebody else's
            continue
        for each in descriptors:
            try:
                target = os.readlink(f"/proc/{pid}/fd/{each}")
            except OSError:
                continue
            if target in names:
                found.add(names[target])
        if len(found) == len(names):
            break
    return found


def everywhere(address: str) -> bool:
    """Whether an address of `listeners` means every interface of the machine."""
    return not address.strip("0")
