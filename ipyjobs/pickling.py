"""How functions, arguments and results travel between processes."""

from __future__ import annotations

# cloudpickle has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
import io
import pickle
import sys
import threading
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, cast

import cloudpickle

from ipyjobs.captures import argument_error, not_picklable, text_of, warn_of_captures
from ipyjobs.errors import ResultUnreadable

Buffer = bytes | bytearray | memoryview
"""Where a pickle may lie."""

_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
_NO_ARGUMENTS = pickle.dumps(((), {}), pickle.HIGHEST_PROTOCOL)


class FutureLike:
    """Stands, in the arguments of a job, for the value of another one; `job_id` says which."""

    __slots__ = ()
    job_id: str


class Packed(NamedTuple):
    """A call, ready to travel."""

    function: bytes
    arguments: bytes
    """The pickle of ``(args, kwargs)``."""
    upstream_ids: tuple[str, ...]
    """Jobs whose values the call needs, in the order met."""


_TO_BE_MADE = threading.Lock()
"""Stands for a payload's own lock: most are never loaded, or by one thread."""


class Payload:
    """A value held as an object, as a pickle or as both; loaded at most once, when first asked for, from any thread."""

    __slots__ = ("_buffers", "_data", "_error", "_lock", "_value")
    _value: object
    _data: Buffer | None
    _lock: threading.Lock | None
    _buffers: tuple[Buffer, ...]
    _error: ResultUnreadable | None

    def __init__(self, value: object) -> None:
        self._value = value
        self._data = None
        self._buffers = ()
        self._lock = None

    @classmethod
    def of_bytes(cls, data: Buffer, buffers: tuple[Buffer, ...] = ()) -> Payload:
        """A payload that holds a pickle and, where it was made with `buffer_callback`, its buffers."""
        payload = cls.__new__(cls)
        payload._value = None
        payload._data = data
        payload._buffers = buffers
        payload._error = None
        payload._lock = _TO_BE_MADE
        return payload

    def load(self) -> object:
        """The value.

        Raises
        ------
        ResultUnreadable
            The pickle cannot be loaded in this process; the cause says why.
        """
        lock = self._lock
        if lock is _TO_BE_MADE:
            with _TO_BE_MADE:
                if self._lock is _TO_BE_MADE:
                    self._lock = threading.Lock()
                lock = self._lock
        if lock is None:
            return self._value
        with lock:
            if self._lock is None:
                return self._value
            if self._error is not None:
                raise self._error
            try:
                self._value = loads(cast(Buffer, self._data), self._buffers)
            except Exception as error:
                self._error = _unreadable(error)
                raise self._error from error
            self._lock = None
            return self._value

    def data(self) -> bytes:
        """The value as one pickle, made once.

        Raises
        ------
        NotPicklable
            The value is held as an object, which cannot be pickled.
        """
        data = self.view()
        return data if isinstance(data, bytes) else bytes(data)

    def view(self) -> Buffer:
        """As `data`, but without a copy where the pickle is held in another kind of buffer."""
        if self._data is None or self._buffers:
            self._data = dump_result(self.load())
            self._buffers = ()
        return self._data

    @property
    def size_bytes(self) -> int | None:
        """Length of the pickle; None while there is only an object."""
        if self._data is None:
            return None
        return len(self._data) + sum(map(len, self._buffers))


def pack(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], shared: dict[Any, Any]
) -> Packed:
    """Make a call ready to travel; any `FutureLike` in it is replaced by its job's value where it is unpacked.

    Functions of `__main__` and of modules that no worker could import go by value, once for each `shared`.

    Raises
    ------
    NotPicklable
        Something cannot travel; `culprit` names it.

    Warns
    -----
    CaptureWarning
        The function takes a value above 10 MB along, or one that is named like a secret.
    """
    known = shared.get(id(function))
    if known is None:
        # The function is kept too: its id may be given to another one once it is gone.
        known = shared[id(function)] = (function, *_pack_function(function))
    _, code, upstream_ids = known
    if not args and not kwargs:
        return Packed(code, _NO_ARGUMENTS, upstream_ids)
    arguments = (args, dict(kwargs))
    if _is_plain(arguments):
        return Packed(code, pickle.dumps(arguments, pickle.HIGHEST_PROTOCOL), upstream_ids)
    try:
        data, more = _dumps(arguments)
    except Exception as error:
        raise argument_error(function, args, kwargs, error, _dump) from error
    return Packed(code, data, tuple(dict.fromkeys((*upstream_ids, *more))))


def unpack(packed_function: Buffer, arguments: Buffer, upstream: Mapping[str, Payload]) -> tuple[Any, Any, Any]:
    """Function, args and kwargs of a call, as they were, with upstream values in place; for workers."""
    if upstream:
        function = _Unpickler(packed_function, (), upstream).load()
    else:
        function = pickle.loads(packed_function)
    return function, *unpack_arguments(arguments, upstream)


def unpack_arguments(arguments: Buffer, upstream: Mapping[str, Payload]) -> tuple[Any, Any]:
    """Args and kwargs of a call, with upstream values in place; for workers."""
    if upstream:
        args, kwargs = _Unpickler(arguments, (), upstream).load()
    elif arguments == _NO_ARGUMENTS:
        return (), {}
    else:
        args, kwargs = pickle.loads(arguments)
    return args, kwargs


def dump_result(
    value: object,
    what: str = "the result",
    way_out: str = "return plain data, or use `jobs.thread(…)` or `ThreadJob`",
) -> bytes:
    """The pickle of something a job returned.

    Raises
    ------
    NotPicklable
        It cannot travel; the culprit inside of it is named.
    """
    try:
        if _is_plain(value):
            return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        return _dumps(value)[0]
    except Exception as error:
        raise not_picklable(what, value, error, _dump, way_out) from error


def dump_into(file: io.BytesIO, value: object) -> None:
    """Write a pickle; raises whatever the value or the file raises."""
    if _is_plain(value):
        pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
    else:
        _Pickler(file).dump(value)


def loads(data: Buffer, buffers: tuple[Buffer, ...] = (), upstream: Mapping[str, Payload] | None = None) -> Any:
    """Load a pickle, leaving alone the classes that this process already has.

    cloudpickle, on loading an instance of a class that went out by value, replaces the methods of the very class in
    this process by copies with globals of their own, which no later cell can change.
    """
    return _Unpickler(data, buffers, upstream or {}).load()


def upstream_value(job_id: str) -> Any:
    """Stands in a pickle for the value of a job; only the unpickler of a worker knows it."""
    raise pickle.UnpicklingError(f"the value of job {job_id!r} is known only where the call that needs it runs")


class _Pickler(cloudpickle.Pickler):
    """cloudpickle, which also replaces futures, and sends by value what a worker could not import.

    A `persistent_id` would be called for every single object; this is called only for those without a fast path in C.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.upstream_ids: dict[str, None] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, FutureLike):
            self.upstream_ids[obj.job_id] = None
            return upstream_value, (obj.job_id,)
        if isinstance(obj, (FunctionType, type)):
            _send_by_value_if_unimportable(obj.__module__)
        elif isinstance(obj, CodeType):
            reduced: Any = self.dispatch_table[CodeType](obj)
            return _code_with_its_file(obj, *reduced)
        return super().reducer_override(obj)


def _code_with_its_file(code: CodeType, make: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    # cloudpickle 3.1.3 leaves the file out, to have equal pickles of equal functions; without it a traceback could not
    # show the lines of the cell.
    return make, tuple(code.co_filename if each == "<dynamic-code>" else each for each in args)


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: Buffer, buffers: tuple[Buffer, ...], upstream: Mapping[str, Payload]) -> None:
        super().__init__(io.BytesIO(data) if isinstance(data, bytes) else _Reader(data), buffers=buffers)
        self._upstream = upstream
        self._had: set[int] = set()

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name.startswith("cloudpickle."):
            if global_name in ("_make_skeleton_class", "_make_skeleton_enum"):
                return self._skeleton(super().find_class(module_name, global_name))
            if global_name == "_class_setstate":
                return self._fill(super().find_class(module_name, global_name))
        elif global_name == "upstream_value" and module_name == __name__:
            return self._value
        return super().find_class(module_name, global_name)

    def _value(self, job_id: str) -> Any:
        return self._upstream[job_id].load() if job_id in self._upstream else upstream_value(job_id)

    def _skeleton(self, make: Callable[..., type]) -> Callable[..., type]:
        known: Mapping[str, type] = getattr(cloudpickle.cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})

        def skeleton(*args: Any) -> type:
            before = {id(known[each]) for each in args if isinstance(each, str) and each in known}
            made = make(*args)
            self._had |= before & {id(made)}
            return made

        return skeleton

    def _fill(self, setstate: Callable[[type, Any], type]) -> Callable[[type, Any], type]:
        return lambda made, state: made if id(made) in self._had else setstate(made, state)


class _Reader:
    """A buffer read as a file without copying it first, as `BytesIO` does for all but bytes."""

    def __init__(self, data: bytearray | memoryview) -> None:
        self._data = memoryview(data).cast("B")
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        stop = len(self._data) if size < 0 else self._at + size
        part = bytes(self._data[self._at : stop])
        self._at += len(part)
        return part

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        part = self._data[self._at : self._at + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def readline(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n") and (more := self.read(1)):
            line += more
        return bytes(line)


def _dumps(value: object) -> tuple[bytes, tuple[str, ...]]:
    with io.BytesIO() as file:
        pickler = _Pickler(file)
        pickler.dump(value)
        return file.getvalue(), tuple(pickler.upstream_ids)


def _dump(value: object) -> int:
    return len(_dumps(value)[0])


def _is_plain(value: Any, depth: int = 4) -> bool:
    """Whether plain pickle may do it: scalars, and tuples, lists and dicts of them.

    Anything else may hold a function or class of `__main__`, which plain pickle sends by name, to fail in the worker.
    """
    kind: type = type(value)
    if kind in _PLAIN:
        return True
    if depth == 0:
        return False
    if kind is tuple or kind is list:
        return _PLAIN.issuperset(map(type, value)) or all(_is_plain(each, depth - 1) for each in value)
    if kind is dict:
        return _PLAIN.issuperset(map(type, value)) and _is_plain([*value.values()], depth)
    return False


def _pack_function(function: Callable[..., Any]) -> tuple[bytes, tuple[str, ...]]:
    if _goes_by_name(function):
        return pickle.dumps(function, pickle.HIGHEST_PROTOCOL), ()
    try:
        data, upstream_ids = _dumps(function)
    except Exception as error:
        raise not_picklable("the function", function, error, _dump) from error
    warn_of_captures(function, len(data), _dump)
    return data, upstream_ids


def _goes_by_name(function: Callable[..., Any]) -> bool:
    if not isinstance(function, (FunctionType, BuiltinFunctionType)) or "." in function.__qualname__:
        return False
    name = cast("str | None", function.__module__)
    if name is None or name == "__main__":
        return False
    _send_by_value_if_unimportable(name)
    return name not in _sent_by_value() and getattr(sys.modules.get(name), function.__name__, None) is function


_checked: set[str] = {"__main__", "builtins"}


def _sent_by_value() -> set[str]:
    return cloudpickle.list_registry_pickle_by_value()


def _send_by_value_if_unimportable(name: str | None) -> None:
    """Look once for each module whether a worker with this process's `sys.path` finds it."""
    if name is None or name in _checked:
        return
    _checked.add(name)
    module = sys.modules.get(name)
    if isinstance(module, ModuleType) and not _is_importable(module, name):
        cloudpickle.register_pickle_by_value(module)


def _is_importable(module: ModuleType, name: str) -> bool:
    spec = module.__spec__
    if spec is None:
        return False
    if spec.origin in ("built-in", "frozen") or name in sys.stdlib_module_names:
        return True
    parent = sys.modules.get(name.rpartition(".")[0])
    path: Any = getattr(parent, "__path__", None)
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(name, path)
        except Exception:  # a finder of somebody else's; what it cannot say, it does not say against the module
            return True
        if found is not None:
            return found.origin == spec.origin
    return False


def _unreadable(error: Exception) -> ResultUnreadable:
    hint = "make the class or module known in this process, then rerun the job"
    return ResultUnreadable(f"the value cannot be loaded here: {type(error).__name__}: {text_of(error)}; {hint}")
