"""What engine, guard, zygote and workers say to each other. Imports nothing that takes time.

Between engine and worker: frames on a stream. A frame is a kind, a small head (marshal: the fastest there is, and both
ends are the same Python) and a body of raw bytes. All else: one marshalled tuple a packet.
"""

from __future__ import annotations

import marshal
import os
import socket
import struct
import sys
from array import array
from typing import Any

HEADER = struct.Struct("<BxxxIQ")
"""Kind, bytes of head, bytes of body."""
MARK = struct.Struct("<Q")
"""In the page that all share: the number of the call that a worker has begun."""
SLOTS = 4096

CLAIM = struct.Struct("<Q")
"""A call that was sent ahead may be begun by the worker that has received its number in one of these, on the socket for
that; what the engine has taken out of the socket before, will not be."""

CALL, STEP, GO_ON, READY, STARTED, STALE, REPORT, YIELDING, YIELDED, DONE, FAILED = range(11)
"""The first three are the engine's. Of a call that has given a generator: a step to make, that there is one, a value.
The last two say that a call is over."""

TOKEN = "IPYJOBS_GUARD"
"""In the environment of all that descends from a guard; a guard inside of a guard adds its own."""

SMALL_BYTES = 1 << 16
"""A frame whose body is not longer goes in one piece."""
PART_BYTES = 1 << 18
"""What the loop moves at most in one go: about 0.2 ms."""

_RIGHTS_BYTES = socket.CMSG_SPACE(8 * 4) if hasattr(socket, "CMSG_SPACE") else 0
_PACKAGES = ("ipyjobs.backends", "ipyjobs.backends.process")

BOOT = """\
import marshal, os, sys, types
setup = marshal.loads(os.pread(int(sys.argv[1]), 1 << 30, 0))
{path}
sys.path.append(setup["root"])
import ipyjobs
for name, place in setup["packages"]:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [place]
from ipyjobs.backends.process.{module} import main
for name, place in setup["packages"]:
    del sys.modules[name]
if sys.path[-1] == setup["root"]:
    sys.path.pop()
main(setup, *map(int, sys.argv[2:]))
"""
"""Starts one of our processes. The packages are empty while it imports: the real ones bring asyncio and more along,
30 ms and 2 MB that no worker needs; whoever asks for them later gets them."""


def frame(kind: int, head: Any, *parts: Any) -> list[Any]:
    """A frame as a list of buffers, joined into one where it is small."""
    packed = marshal.dumps(head)
    size = sum(map(len, parts))
    start = HEADER.pack(kind, len(packed), size) + packed
    if size <= SMALL_BYTES:
        return [b"".join((start, *parts))]
    return [start, *parts]


def boot(module: str, path: str = 'sys.path[:] = setup["path"]') -> str:
    """The program that runs the `main` of one of our modules."""
    return BOOT.format(module=module, path=path)


def setup_of_this_process(preload: tuple[str, ...]) -> dict[str, Any]:
    """What a zygote must know of this process to be like it."""
    import ipyjobs

    package = os.path.abspath(ipyjobs.__path__[0])
    places = [(name, os.path.join(os.path.dirname(package), *name.split("."))) for name in _PACKAGES]
    return {
        "path": search_path(),
        "root": os.path.dirname(package),
        "packages": places,
        "environ": dict(environ()),
        "cwd": cwd(),
        "executable": sys.executable,
        "flags": flags(),
        "preload": list(preload),
    }


def environ() -> dict[bytes, bytes]:
    """The live environment as bytes; copying or comparing it costs a hundredth of what `os.environ` does."""
    return os.environ._data  # type: ignore[attr-defined,no-any-return]  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue, reportUnknownVariableType]


def search_path() -> list[str]:
    """Where this process finds modules. Some put paths there that are not strings."""
    return [os.fspath(each) for each in sys.path]


def cwd() -> str:
    """The present folder; empty where it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def flags() -> list[str]:
    """Options of this interpreter that its children should have, as multiprocessing does it."""
    import subprocess

    given: Any = getattr(subprocess, "_args_from_interpreter_flags", list)
    return list(given())


def send_packet(to: socket.socket, message: tuple[Any, ...], descriptors: tuple[int, ...] = ()) -> None:
    """Send one message, with descriptors, on a socket that keeps messages whole."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
    to.sendmsg([marshal.dumps(message)], rights)


def receive_packet(source: socket.socket) -> tuple[Any, ...] | None:
    """One message and, as its last item, the tuple of descriptors that came along; None at the end.

    Raises
    ------
    BlockingIOError
        There is none, and the socket does not block.
    """
    try:
        data, ancillary, _, _ = source.recvmsg(1 << 16, _RIGHTS_BYTES, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        # The other end died with messages of ours unread. That is said once, before its own last words.
        data, ancillary, _, _ = source.recvmsg(1 << 16, _RIGHTS_BYTES, socket.MSG_CMSG_CLOEXEC)
    if not data:
        return None
    descriptors: array[int] = array("i")
    for level, kind, rights in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(rights[: len(rights) - len(rights) % descriptors.itemsize])
    return (*marshal.loads(data), tuple(descriptors))
