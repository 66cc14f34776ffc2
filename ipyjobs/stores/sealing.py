"""What a job was given and what became of it, as sealed rows, and back. Slow: for the store's own thread."""

from __future__ import annotations

import hashlib
import inspect
import io
import pickle
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ipyjobs.envelope import Key, Place
from ipyjobs.errors import IpyjobsError, ResultUnreadable, Unverified
from ipyjobs.failure import Failure
from ipyjobs.pickling import Packed, Payload, dump_into
from ipyjobs.preview import Preview
from ipyjobs.stores.rows import ErrorRow, PayloadRow, ResultRow

CALL_BYTES = 16 << 20
"""Functions and arguments above this are not kept."""
RESULT_BYTES = 1 << 30
"""Neither are results above this."""
_SMALL_BYTES = 512
_RAW, _ZLIB = b"\x00", b"\x01"


class CallToKeep(NamedTuple):
    """What a job calls."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    packed: Packed | None


class KeptCall(NamedTuple):
    """What is kept of a call, or why it is not."""

    function_hash: str = ""
    arguments_hash: str = ""
    seal: bytes = b""
    note: str = ""


class TooLarge(Exception):
    """More bytes than may be kept."""


class Sealer:
    """Makes rows for one store with one key, and opens them.

    Parameters
    ----------
    key
        The user's.
    store_id
        `Store.id`.
    """

    def __init__(self, key: Key, store_id: str) -> None:
        self._key = key
        self._store_id = store_id

    # -- made

    def call(
        self, job_id: str, call: CallToKeep, functions: dict[int, tuple[Any, bytes]], payloads: dict[bytes, PayloadRow]
    ) -> KeptCall:
        """A job's call. `functions` and `payloads` live as long as one batch: each is made once for it."""
        found = call_bytes(call, functions)
        if isinstance(found, str):
            return KeptCall(note=found)
        function, arguments = found
        if function not in payloads:
            payloads[function] = _payload(function)
        if arguments not in payloads:
            payloads[arguments] = _payload(arguments)
        rows = payloads[function], payloads[arguments]
        place = Place(self._store_id, job_id, "", "call")
        hashes = rows[0].hash, rows[1].hash
        return KeptCall(*hashes, self._key.seal("".join(hashes).encode(), place))

    def result(self, job_id: str, round: int, attempt: int, payload: Payload, preview: Preview | None) -> ResultRow:
        """What a job returned. If that cannot be kept the row says why."""
        shown = ("", "", "") if preview is None else (preview.type, preview.short, preview.text)
        try:
            data = result_bytes(payload)
        except TooLarge:
            note = f"it is larger than {size_words(RESULT_BYTES)}"
        except Exception as error:  # foreign objects; the value is still in memory
            note = _one_line(error)
        else:
            seal = self._key.seal(data, self._place(job_id, round, attempt, "result"))
            return ResultRow(job_id, attempt, round, seal, data, "", len(data), "", *shown)
        return ResultRow(job_id, attempt, round, b"", None, "", 0, note, *shown)

    def error(self, job_id: str, round: int, attempt: int, failure: Failure) -> ErrorRow:
        """Why a job failed."""
        data = failure.to_bytes()
        seal = self._key.seal(data, self._place(job_id, round, attempt, "error"))
        return ErrorRow(job_id, attempt, round, seal, data, failure.text())

    # -- opened

    def opened_result(self, row: ResultRow) -> bytes:
        """The pickle of a result.

        Raises
        ------
        ResultUnreadable
            There is none, it is not genuine, or another Python's.
        """
        if row.data is None:
            raise ResultUnreadable(f"the result was not kept: {row.note or 'its bytes are gone'}")
        self._key.check(row.seal, row.data, self._place(row.job_id, row.round, row.attempt, "result"))
        return row.data

    def opened_error(self, row: ErrorRow) -> Failure:
        """Why a job failed; only its text, where its bytes are not genuine or another Python's."""
        try:
            self._key.check(row.seal, row.data, self._place(row.job_id, row.round, row.attempt, "error"))
            return Failure.from_bytes(row.data)
        except Exception as error:  # whatever the bytes are; the text is still worth having
            return Failure.died(f"{row.text}\n\n({error})")

    def opened_call(
        self, job_id: str, hashes: tuple[str, str], seal: bytes, find: Callable[[str], PayloadRow | None]
    ) -> tuple[bytes, bytes]:
        """Pickles of a function and of its arguments.

        Raises
        ------
        ResultUnreadable
            They are gone, not genuine, or another Python's.
        """
        self._key.check(seal, "".join(hashes).encode(), Place(self._store_id, job_id, "", "call"))
        found: list[bytes] = []
        for each in hashes:
            row = find(each)
            if row is None:
                raise ResultUnreadable("the call is no longer kept")
            data = _decompressed(row)
            if hashlib.sha256(data).hexdigest() != each:
                raise Unverified("the call is not what was signed here: it was changed; it was not opened")
            found.append(data)
        return found[0], found[1]

    def _place(self, job_id: str, round: int, attempt: int, column: str) -> Place:
        return Place(self._store_id, job_id, f"{round}.{attempt}", column)


def call_bytes(call: CallToKeep, functions: dict[int, tuple[Any, bytes]]) -> tuple[bytes, bytes] | str:
    """Pickles of a function and of its arguments; or why there are none."""
    try:
        return _packed(call, functions)
    except TooLarge:
        return _what_is_too_large(call)
    except Exception as error:  # foreign objects; the job itself runs without having to be kept
        return _one_line(error)


def result_bytes(payload: Payload) -> bytes:
    """The pickle of a result.

    Raises
    ------
    TooLarge
        It has more bytes than may be kept.
    """
    if payload.size_bytes is None:
        return _dumped(payload.load(), RESULT_BYTES)
    if payload.size_bytes > RESULT_BYTES:
        raise TooLarge
    return payload.data()


def size_words(size_bytes: int) -> str:
    """A number of bytes as people say it: "2.1 GB"."""
    size = float(size_bytes)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


class _Bounded(io.BytesIO):
    """Takes so many bytes and no more, so that a value of gigabytes is not pickled only to be thrown away."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._left = most

    def write(self, data: Any, /) -> int:
        self._left -= getattr(data, "nbytes", None) or len(data)
        if self._left < 0:
            raise TooLarge
        return super().write(data)


_NO_ARGUMENTS = pickle.dumps(((), {}), pickle.HIGHEST_PROTOCOL)


def _dumped(value: object, most: int) -> bytes:
    if value is None or type(value) in (bool, float):
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    with _Bounded(most) as file:
        dump_into(file, value)
        return file.getvalue()


def _packed(call: CallToKeep, functions: dict[int, tuple[Any, bytes]]) -> tuple[bytes, bytes]:
    if call.packed is not None:
        if max(len(call.packed.function), len(call.packed.arguments)) > CALL_BYTES:
            raise TooLarge
        return call.packed.function, call.packed.arguments
    known = functions.get(id(call.function))
    if known is None:
        known = functions[id(call.function)] = (call.function, _dumped(call.function, CALL_BYTES))
    if not call.args and not call.kwargs:
        return known[1], _NO_ARGUMENTS
    return known[1], _dumped((call.args, dict(call.kwargs)), CALL_BYTES)


def _payload(data: bytes) -> PayloadRow:
    small = len(data) < _SMALL_BYTES
    kept = _RAW + data if small else _ZLIB + zlib.compress(data, 1)
    return PayloadRow(hashlib.sha256(data).hexdigest(), len(data), kept)


def _decompressed(row: PayloadRow) -> bytes:
    if row.data[:1] == _RAW:
        return row.data[1:]
    # Never more than could have been put in: a few crafted bytes could become all of the memory.
    try:
        return zlib.decompressobj().decompress(row.data[1:], CALL_BYTES + 1)
    except zlib.error as error:
        raise Unverified(f"the call was changed ({error}); it was not opened") from error


def _what_is_too_large(call: CallToKeep) -> str:
    try:
        names = list(inspect.signature(call.function).parameters)
    except (TypeError, ValueError):
        names = []
    positional = [(names[n] if n < len(names) else f"number {n + 1}", each) for n, each in enumerate(call.args)]
    for name, value in (*positional, *call.kwargs.items()):
        try:
            _dumped(value, CALL_BYTES)
        except TooLarge:
            return f"argument {name!r} is {_size_of(value)}"
        except Exception:  # foreign objects; another argument may be the one
            continue
    return f"its function and arguments are together more than {size_words(CALL_BYTES)}"


def _size_of(value: Any) -> str:
    size = getattr(value, "nbytes", None)
    if not isinstance(size, int):
        size = len(value) if isinstance(value, (bytes, bytearray, str)) else None
    return f"more than {size_words(CALL_BYTES)}" if size is None else size_words(size)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    text = text if isinstance(error, IpyjobsError) else f"{type(error).__name__}: {text}"
    return text if len(text) <= 300 else text[:299] + "…"
