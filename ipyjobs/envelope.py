"""Signatures: bytes that could run code are opened only when this user's key vouches for them, where they are found.

A seal stands beside the bytes. It holds the version of the scheme, the key's id, the Python and cloudpickle versions
that made the bytes, and an HMAC-SHA256 (RFC 2104) over all of these, the place and the bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import cloudpickle

from ipyjobs.errors import ResultUnreadable, StoreError, Unverified
from ipyjobs.storage import config_folder

_SCHEME = 1
_HEAD = struct.Struct(">B8sBB16s")
_MAC_BYTES = 32
_KEY_BYTES = 32
_SMALL_BYTES = 1 << 16
"""Up to this, a copy costs less than two more calls."""
SEAL_BYTES = _HEAD.size + _MAC_BYTES
"""How long a seal is."""
_HERE = sys.version_info[:2]


class Place(NamedTuple):
    """Where sealed bytes belong; anywhere else they are refused."""

    store: str
    job: str
    attempt: str
    """Round and number."""
    column: str
    """What they are: "result", "error", "call"."""


class Key:
    """A user's secret, and what is made with it.

    Parameters
    ----------
    secret
        32 random bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self.id = hashlib.sha256(b"ipyjobs key" + secret).digest()[:8]
        self._secret = secret
        self._head = _HEAD.pack(_SCHEME, self.id, *_HERE, cloudpickle.__version__.encode()[:16])

    def seal(self, data: bytes | bytearray | memoryview, place: Place) -> bytes:
        """Vouch for `data` at `place`."""
        return self._head + self._mac(self._head, data, place)

    def check(self, seal: bytes, data: bytes | bytearray | memoryview, place: Place) -> None:
        """Return if `data` may be opened here.

        Raises
        ------
        Unverified
            Somebody else wrote it, or it was changed, or it belongs elsewhere.
        ResultUnreadable
            It is genuine, but another Python's, whose pickles this one may read wrongly.
        """
        what = place.column
        # A store that was made up may have anything in its columns.
        if not isinstance(seal, bytes) or len(seal) != SEAL_BYTES or isinstance(data, (str, int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise Unverified(f"the {what} has no signature; it was not opened")
        head, mac = seal[: _HEAD.size], seal[_HEAD.size :]
        scheme, key_id, *_ = _HEAD.unpack(head)
        if scheme != _SCHEME:
            raise Unverified(f"the {what} is signed in a way this ipyjobs does not know ({scheme}); it was not opened")
        if key_id != self.id:
            raise Unverified(f"the {what} was signed with another key: by another user or machine; it was not opened")
        if not hmac.compare_digest(mac, self._mac(head, data, place)):
            raise Unverified(f"the {what} is not what was signed here: it was changed or moved; it was not opened")
        check_python(seal, what)

    def _mac(self, head: bytes, data: bytes | bytearray | memoryview, place: Place) -> bytes:
        # Each part is led by its length, so that no two places read alike.
        where = "".join([f"{len(part)}:{part}" for part in place]).encode("utf-8", "surrogatepass")
        if len(data) < _SMALL_BYTES:
            return hmac.digest(self._secret, b"".join((head, where, data)), "sha256")
        mac = hmac.new(self._secret, head, hashlib.sha256)
        mac.update(where)
        mac.update(data)
        return mac.digest()


def check_python(seal: bytes, what: str) -> None:
    """Return if the bytes that `seal` stands beside were made by a Python like this one.

    Raises
    ------
    ResultUnreadable
        They were not: this one may read their pickles wrongly.
    """
    if len(seal) != SEAL_BYTES:
        raise Unverified(f"the {what} has no signature; it was not opened")
    _, _, major, minor, _ = _HEAD.unpack_from(seal)
    if (major, minor) != _HERE:
        here = ".".join(map(str, _HERE))
        raise ResultUnreadable(f"the {what} was written by Python {major}.{minor}, this is {here}; open it there")


_keys: dict[Path, Key] = {}
_loading = threading.Lock()


def own_key(folder: Path | None = None) -> Key:
    """The user's key, made when it is first needed: the file ``key`` in the configuration folder, for this user only.

    Raises
    ------
    StoreError
        It can't be made or read.
    """
    path = (folder or config_folder()) / "key"
    with _loading:
        key = _keys.get(path)
        if key is None:
            try:
                key = _keys[path] = Key(_read(path) or _make(path))
            except OSError as error:
                raise StoreError(f"the key {path} can't be used: {error}") from error
        return key


def _read(path: Path) -> bytes | None:
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(number)
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        if found.st_mode & 0o077:
            raise PermissionError(f"others may read it; make a new one: rm {path}")
        secret = os.read(number, _KEY_BYTES + 1)
    finally:
        os.close(number)
    if len(secret) != _KEY_BYTES:
        raise OSError(f"{path} is no key: it has {len(secret)} bytes, not {_KEY_BYTES}; remove it")
    return secret


def _make(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".key-{os.urandom(8).hex()}")
    number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(number, os.urandom(_KEY_BYTES))
        os.fsync(number)
    finally:
        os.close(number)
    try:
        # Two kernels may start at once: the first one's key is everybody's.
        os.link(new, path)
    except FileExistsError:
        pass
    finally:
        new.unlink()
    secret = _read(path)
    if secret is None:
        raise FileNotFoundError(path)
    return secret
