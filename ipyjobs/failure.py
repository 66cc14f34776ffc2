"""Exceptions as data: captured where they are raised, raised again where the result is asked for."""

from __future__ import annotations

import io
import linecache
import os
import pickle
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ipyjobs.errors import JobFailed, WorkerDied
from ipyjobs.revival import Shape, dismantle, revive, traceback_of

if TYPE_CHECKING:
    from ipyjobs.schema import ErrorRecord, FrameRecord

Link = Literal["", "cause", "context", "member"]

name_of_file: Callable[[str], str | None] | None = None
"""What a file of source is called for the reader: the notebook side says "In[3]" for a cell's; None where it isn't."""

SUMMARY = 300
FIRST, LAST = 50, 150
"""Frames kept of a traceback that is longer than both together."""
MOST = 100
"""Exceptions kept of one chain or group."""

_PACKAGE = os.path.dirname(__file__) + os.sep
_STDLIB = os.path.dirname(os.__file__) + os.sep
_IPYTHON_CELL = re.compile(r"<ipython-input-(\d+)-")
_KERNEL_CELL = re.compile(r"ipykernel_\d+[/\\]\d+\.py$")
_OMITTED = "<frames left out>"


@dataclass(frozen=True, slots=True)
class Frame:
    """One level of a traceback, as it was where the exception was raised. Columns count bytes of UTF-8."""

    file: str
    module: str
    function: str
    line: int
    end_line: int | None
    column: int | None
    end_column: int | None
    first_line: int = 1
    """Of the function."""


@dataclass(slots=True)
class Captured:
    """One exception of a chain, without the exception. Others are numbers in the list that holds them all."""

    type: str
    message: str
    notes: tuple[str, ...]
    frames: tuple[Frame, ...]
    """Outermost first."""
    suppress: bool
    cause: int | None = None
    context: int | None = None
    members: tuple[int, ...] = ()
    shape: Shape | None = field(default=None, repr=False)
    """What to make the exception of, where it can be made at all."""


class Failure:
    """How an attempt failed: an exception, what led to it, and their tracebacks."""

    __slots__ = ("_chain", "_error", "_errors", "_lock", "_traceback")

    def __init__(self, chain: list[Captured], errors: list[BaseException] | None = None) -> None:
        self._chain = chain
        self._errors = errors
        self._error = errors[0] if errors else None
        self._traceback: TracebackType | None = None if self._error is None else self._error.__traceback__
        self._lock = threading.Lock()

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Capture `error` as it stands; `exception` gives back this very object."""
        return cls(*_walk(_without_ours(error)))

    @classmethod
    def died(cls, message: str, kind: type[JobFailed] = WorkerDied) -> Failure:
        """A failure without an exception of its own: the work was killed, or went away."""
        return cls.of(kind(message))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Failure:
        """What `to_bytes` made. Runs no code of anybody's; only `exception` does."""
        chain: list[Captured] = []
        for type_, message, notes, frames, suppress, cause, context, members, shape in _PlainUnpickler(
            io.BytesIO(data)
        ).load():
            made = None if shape is None else Shape(*shape)
            places = tuple(Frame(*each) for each in frames)
            chain.append(Captured(type_, message, notes, places, suppress, cause, context, members, made))
        return cls(chain)

    def to_bytes(self) -> bytes:
        """All of it as bytes, which can be read without running any code."""
        chain = self._chain
        if self._errors is not None:
            chain = [replace(each, shape=dismantle(error)) for each, error in zip(chain, self._errors, strict=True)]
        return pickle.dumps([_plain(each) for each in chain], pickle.HIGHEST_PROTOCOL)

    @property
    def summary(self) -> str:
        """Type and text in one line: "ValueError: NaN in loss"."""
        return one_line(self._chain[0])

    def is_a(self, kind: type[BaseException]) -> bool:
        """Whether it is an exception of this kind; of one from another process only if it is no subclass of it."""
        if self._error is not None:
            return isinstance(self._error, kind)
        return self._chain[0].type == f"{kind.__module__}.{kind.__qualname__}"

    def exception(self) -> BaseException:
        """The exception to raise, the same object each time, with the traceback it had when it was captured."""
        with self._lock:
            if self._error is None:
                self._error = _rebuild(self._chain)
                self._traceback = self._error.__traceback__
        # Raising an exception adds frames to its traceback for good; they are not part of what happened.
        return self._error.with_traceback(self._traceback)

    def errors(self) -> tuple[ErrorRecord, ...]:
        """What happened, for the page: the exception first, then what led to it; source is read here and now."""
        from ipyjobs.schema import ErrorRecord  # slow to load, and a worker never needs it

        return tuple(
            ErrorRecord(
                type=captured.type,
                message=captured.message,
                notes=captured.notes,
                frames=tuple(_frame_record(each) for each in captured.frames if not _is_ours(each.file)),
                link=link,
            )
            for captured, link in _in_order(self._chain)
        )

    def text(self) -> str:
        """The traceback as Python prints it, without frames of ipyjobs."""
        return "".join(_text(self._chain, 0, set())).rstrip("\n")


def one_line(captured: Captured) -> str:
    """Type, without its module, and message, on one line of at most 300 characters."""
    name = captured.type.rpartition(".")[2]
    text = " ".join(f"{name}: {captured.message}".split()) if captured.message else name
    return text if len(text) <= SUMMARY else text[: SUMMARY - 1] + "…"


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"a failure holds plain data only, not {module_name}.{global_name}")


def _plain(each: Captured) -> tuple[Any, ...]:
    shape = each.shape
    frames = tuple(
        (f.file, f.module, f.function, f.line, f.end_line, f.column, f.end_column, f.first_line) for f in each.frames
    )
    made = None if shape is None else (shape.made_by_pickle, shape.kind, shape.values, shape.base_values, shape.state)
    return each.type, each.message, each.notes, frames, each.suppress, each.cause, each.context, each.members, made


def _walk(error: BaseException) -> tuple[list[Captured], list[BaseException]]:
    """Capture `error` and all that belongs to it, breadth first, each once, so that cycles end."""
    numbers = {id(error): 0}
    errors = [error]

    def number(other: BaseException | None) -> int | None:
        if other is None:
            return None
        if id(other) not in numbers:
            if len(errors) >= MOST:
                return None
            numbers[id(other)] = len(errors)
            errors.append(other)
        return numbers[id(other)]

    chain: list[Captured] = []
    for each in errors:  # grows while it is walked
        captured = _capture(each)
        captured.cause, captured.context = number(each.__cause__), number(each.__context__)
        members: tuple[BaseException, ...] = getattr(each, "exceptions", ()) if _is_group(each) else ()
        captured.members = tuple(i for i in map(number, members) if i is not None)
        chain.append(captured)
    return chain, errors


def _is_group(error: BaseException) -> bool:
    return isinstance(error, BaseExceptionGroup)


def _capture(error: BaseException) -> Captured:
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    notes: Any = getattr(error, "__notes__", ())
    notes = tuple(_safe(note) for note in notes) if type(notes) in (list, tuple) else ()
    return Captured(name, _safe(error), notes, _frames(error.__traceback__), error.__suppress_context__)


def _safe(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # the user's own __str__
        return f"<its text cannot be read: __str__ raises {type(error).__name__}>"


def _frames(at: TracebackType | None) -> tuple[Frame, ...]:
    levels: list[TracebackType] = []
    while at is not None:
        levels.append(at)
        at = at.tb_next
    if len(levels) <= FIRST + LAST:
        return tuple(map(_frame, levels))
    gap = Frame(_OMITTED, "", f"{len(levels) - FIRST - LAST:,} frames left out", 0, None, None, None)
    return (*map(_frame, levels[:FIRST]), gap, *map(_frame, levels[-LAST:]))


def _frame(level: TracebackType) -> Frame:
    code = level.tb_frame.f_code
    position = next(islice(code.co_positions(), level.tb_lasti // 2, None), None) if level.tb_lasti >= 0 else None
    line, end_line, column, end_column = position or (None, None, None, None)
    module = level.tb_frame.f_globals.get("__name__")
    function = getattr(code, "co_qualname", code.co_name)
    function = function.rpartition("<locals>.")[2]
    if line != level.tb_lineno:
        end_line = column = end_column = None
    number = level.tb_lineno or 0  # pyright: ignore[reportUnnecessaryComparison]  (None for code without lines)
    module = module if isinstance(module, str) else ""
    first_line = code.co_firstlineno
    return Frame(code.co_filename, module, function, number, end_line, column, end_column, first_line)


def _is_ours(file: str) -> bool:
    return file.startswith(_PACKAGE)


def _without_ours(error: BaseException) -> BaseException:
    at = error.__traceback__
    while at is not None and at.tb_next is not None and _is_ours(at.tb_frame.f_code.co_filename):
        at = at.tb_next
    if at is not None and not _is_ours(at.tb_frame.f_code.co_filename):
        error.__traceback__ = at
    return error


def _in_order(chain: list[Captured]) -> Iterator[tuple[Captured, Link]]:
    """The exception first, then what led to it, nearest first; members follow their group."""
    seen = {0}
    waiting: list[tuple[int, Link]] = [(0, "")]
    while waiting:
        number, link = waiting.pop(0)
        captured = chain[number]
        yield captured, link
        after: list[tuple[int | None, Link]] = [(each, "member") for each in captured.members]
        if captured.cause is not None:
            after.append((captured.cause, "cause"))
        elif not captured.suppress:
            after.append((captured.context, "context"))
        fresh: list[tuple[int, Link]] = [(each, how) for each, how in after if each is not None and each not in seen]
        seen.update(each for each, _ in fresh)
        waiting[:0] = fresh


def _shown(file: str) -> str:
    if name_of_file is not None and (name := name_of_file(file)) is not None:
        return name
    if match := _IPYTHON_CELL.search(file):
        return f"In[{match[1]}]"
    return "In[?]" if _KERNEL_CELL.search(file) else file


def _is_own(file: str) -> bool:
    parts = f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}"
    return not (file.startswith((_STDLIB, "<frozen ", _OMITTED)) or any(part in file for part in parts))


def _frame_record(frame: Frame) -> FrameRecord:
    from ipyjobs.schema import FrameRecord, LineRecord  # slow to load, and a worker never needs it

    source = linecache.getlines(frame.file) if frame.line else []
    first, last = max(1, frame.line - 2), min(len(source), frame.line + 1)
    lines = tuple(LineRecord(number, source[number - 1].rstrip("\n")) for number in range(first, last + 1))
    column, end = frame.column, frame.end_column
    if not 0 < frame.line <= len(source) or column is None or end is None:
        column = end = None
    else:
        raw = source[frame.line - 1].encode()
        column = len(raw[:column].decode(errors="replace"))
        stop = raw[:end] if frame.end_line == frame.line else raw.rstrip()
        end = len(stop.decode(errors="replace"))
    return FrameRecord(_shown(frame.file), frame.line, frame.function, _is_own(frame.file), lines, column, end)


_BECAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING = "\nDuring handling of the above exception, another exception occurred:\n\n"


def _text(chain: list[Captured], number: int, seen: set[int]) -> Iterator[str]:
    if number in seen:
        return
    seen.add(number)
    captured = chain[number]
    if captured.cause is not None and captured.cause not in seen:
        yield from (*_text(chain, captured.cause, seen), _BECAUSE)
    elif captured.cause is None and not captured.suppress and captured.context not in (None, *seen):
        yield from (*_text(chain, captured.context, seen), _DURING)
    frames = [each for each in captured.frames if not _is_ours(each.file)]
    if frames:
        yield "Traceback (most recent call last):\n"
        yield from traceback.StackSummary.from_list([_summary(each) for each in frames]).format()
    yield f"{captured.type}: {captured.message}\n" if captured.message else f"{captured.type}\n"
    yield from (f"{note}\n" for note in captured.notes)
    for count, member in enumerate(captured.members, 1):
        yield f"  -- member {count} of {len(captured.members)} --\n"
        for part in _text(chain, member, seen):
            yield "".join(f"  | {line}" for line in part.splitlines(keepends=True))


def _summary(frame: Frame) -> traceback.FrameSummary:
    return traceback.FrameSummary(
        _shown(frame.file),
        frame.line,
        frame.function,
        lookup_line=False,
        line=linecache.getline(frame.file, frame.line),
        end_lineno=frame.end_line,
        colno=frame.column,
        end_colno=frame.end_column,
    )


def _rebuild(chain: list[Captured]) -> BaseException:
    """Make the exceptions anew, members before their groups."""
    made: dict[int, BaseException] = {}

    def make(number: int) -> BaseException:
        if number in made:
            return made[number]
        captured = chain[number]
        members = [make(each) for each in captured.members if each > number]
        try:
            error = None if captured.shape is None else revive(captured.shape, captured.message, members)
        except Exception:  # the user's class is unknown here, or has a mind of its own; its text is still worth having
            error = None
        made[number] = error if error is not None else JobFailed(one_line(captured))
        return made[number]

    for number, captured in enumerate(chain):
        error = make(number)
        error.__traceback__ = traceback_of([each for each in captured.frames if not _is_ours(each.file) and each.line])
        if captured.notes and not hasattr(error, "__notes__"):
            error.__notes__ = list(captured.notes)
    for number, captured in enumerate(chain):
        error = made[number]
        error.__cause__ = None if captured.cause is None else made[captured.cause]
        error.__context__ = None if captured.context is None else made[captured.context]
        error.__suppress_context__ = captured.suppress
    return made[0]
