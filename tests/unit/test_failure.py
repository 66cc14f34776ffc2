"""Exceptions there and back, and how they read."""

from __future__ import annotations

import linecache
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ipyjobs import failure
from ipyjobs.errors import InvalidOption, JobFailed, JobLost, WorkerDied
from ipyjobs.failure import Failure


def caught(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def travelled(error: BaseException) -> Failure:
    return Failure.from_bytes(Failure.of(error).to_bytes())


class Odd(ValueError):
    """Its `__init__` has another signature than its `args`."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"{code} at {where}")
        self.code = code


class Told(Exception):
    """It says itself how to pickle it."""

    def __init__(self, a: int, b: int) -> None:
        self.sum = a + b

    def __reduce__(self) -> Any:
        return Told, (self.sum, 0)


class Slotted(Exception):
    __slots__ = ("extra",)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def divide() -> float:
    return 1 / 0


def chained() -> None:
    try:
        divide()
    except ZeroDivisionError as error:
        error.add_note("while dividing")
        raise Odd(7, where="home") from error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        KeyError("k"),
        OSError(2, "none", "file.txt"),
        SystemExit(3),
        StopIteration(5),
        UnicodeDecodeError("utf8", b"x", 0, 1, "bad"),
        ImportError("no", name="thing", path="/there"),
        SyntaxError("bad", ("f.py", 3, 1, "x y", 3, 2)),
        KeyboardInterrupt(),
        Odd(7, where="home"),
    ],
    ids=repr,
)
def test_an_exception_comes_back_as_it_was(error: BaseException) -> None:
    back = travelled(error).exception()

    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)
    for name in ("errno", "filename", "code", "value", "start", "name", "path", "lineno", "text"):
        assert getattr(back, name, None) == getattr(error, name, None)


def test_attributes_in_slots_and_ways_to_pickle_are_kept() -> None:
    slotted = Slotted("x")
    slotted.extra = 5

    assert travelled(slotted).exception().extra == 5  # type: ignore[attr-defined]
    assert travelled(Told(1, 2)).exception().sum == 3  # type: ignore[attr-defined]


def test_cause_notes_and_traceback_come_along() -> None:
    back = travelled(caught(chained)).exception()

    assert isinstance(back.__cause__, ZeroDivisionError)
    assert back.__suppress_context__
    assert back.__context__ is back.__cause__
    assert back.__cause__.__notes__ == ["while dividing"]
    assert [frame.name for frame in traceback.extract_tb(back.__traceback__)] == ["caught", "chained"]
    assert "1 / 0\n           ~~^~~" in "".join(traceback.format_exception(back))


def test_a_rebuilt_frame_begins_where_its_function_does() -> None:
    # What IPython shows of a cell is counted from there.
    level = travelled(caught(divide)).exception().__traceback__
    while level is not None and level.tb_frame.f_code.co_name != "divide":
        level = level.tb_next

    assert level is not None
    assert level.tb_frame.f_code.co_firstlineno == divide.__code__.co_firstlineno
    assert level.tb_lineno == level.tb_frame.f_lineno == divide.__code__.co_firstlineno + 1


def test_members_of_a_group_come_along() -> None:
    group = ExceptionGroup("two", [caught(divide), ExceptionGroup("inner", [Odd(1, where="x")])])  # type: ignore[list-item]

    back = travelled(group).exception()

    assert isinstance(back, ExceptionGroup)
    assert isinstance(back.exceptions[0], ZeroDivisionError)
    assert back.exceptions[0].__traceback__ is not None
    assert back.exceptions[1].exceptions[0].code == 1  # type: ignore[union-attr]


def test_the_same_object_comes_each_time_and_gains_no_frames_by_being_raised() -> None:
    for failed in (Failure.of(caught(divide)), travelled(caught(divide))):
        first = failed.exception()
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                raise failed.exception()

        assert failed.exception() is first
        assert len(traceback.extract_tb(first.__traceback__)) == 2


def test_in_this_process_the_very_exception_is_kept() -> None:
    error = caught(chained)

    assert Failure.of(error).exception() is error


def test_what_cannot_be_pickled_keeps_type_text_and_traceback() -> None:
    def fail() -> None:
        raise ValueError("text", threading.Lock())

    failed = travelled(caught(fail))

    assert isinstance(failed.exception(), JobFailed)
    assert str(failed.exception()).startswith("ValueError: ('text', <unlocked")
    assert (
        traceback.extract_tb(failed.exception().__traceback__)[-1].name
        == "test_what_cannot_be_pickled_keeps_type_text_and_traceback.<locals>.fail".rpartition(".")[2]
    )


def test_an_attribute_that_cannot_be_pickled_is_left_behind() -> None:
    error = Odd(7, where="home")
    error.lock = threading.Lock()  # type: ignore[attr-defined]

    back = travelled(error).exception()

    assert type(back) is Odd
    assert back.code == 7
    assert not hasattr(back, "lock")


def test_a_class_that_is_unknown_here_falls_back_to_text(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = travelled(Odd(7, where="home"))
    monkeypatch.delattr(sys.modules[__name__], "Odd")

    assert isinstance(failed.exception(), JobFailed)
    assert "7 at home" in str(failed.exception())


def test_an_exception_whose_text_raises_is_still_told() -> None:
    failed = travelled(caught(lambda: (_ for _ in ()).throw(Mute())))

    assert "__str__ raises RuntimeError" in failed.summary
    assert type(failed.exception()) is Mute


def test_a_long_recursion_is_bounded() -> None:
    def deeper(n: int) -> None:
        deeper(n + 1)

    failed = travelled(caught(lambda: deeper(0)))

    frames = failed.errors()[0].frames
    assert len(frames) == failure.FIRST + failure.LAST + 1
    assert "frames left out" in frames[failure.FIRST].function
    assert isinstance(failed.exception(), RecursionError)
    assert len(failed.to_bytes()) < 50_000


def test_chains_that_bite_their_tail_end() -> None:
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a

    failed = travelled(a)

    assert [each.message for each in failed.errors()] == ["a", "b"]
    assert failed.exception().__cause__.__cause__ is failed.exception()  # type: ignore[union-attr]
    assert "ValueError: a" in failed.text()


def test_a_summary_is_one_short_line() -> None:
    assert Failure.of(ValueError("NaN in loss")).summary == "ValueError: NaN in loss"
    assert Failure.of(KeyboardInterrupt()).summary == "KeyboardInterrupt"
    assert Failure.of(ValueError("a\n b" + "x" * 1000)).summary.startswith("ValueError: a bx")
    assert len(Failure.of(ValueError("x" * 1000)).summary) == 300


def test_errors_come_first_then_causes_with_their_links() -> None:
    errors = travelled(caught(chained)).errors()

    assert [(each.type.rpartition(".")[2], each.link) for each in errors] == [
        ("Odd", ""),
        ("ZeroDivisionError", "cause"),
    ]
    assert errors[1].notes == ("while dividing",)


def test_a_frame_shows_its_source_and_the_faulty_expression() -> None:
    frame = travelled(caught(divide)).errors()[0].frames[-1]

    number = divide.__code__.co_firstlineno + 1
    line = next(each for each in frame.lines if each.number == number)
    assert (frame.line, frame.function, frame.own) == (number, "divide", True)
    assert line.text[frame.column : frame.end_column] == "1 / 0"


@pytest.fixture
def cell() -> Iterator[str]:
    """File name of a cell, as ipykernel makes them, whose source is known only to this process."""
    name = "/tmp/ipykernel_4711/123.py"
    source = "def f():\n    é = 'é'; assert not é, 'ü'\n"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    yield name
    del linecache.cache[name]


def test_frames_in_cells_show_their_number_and_source(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("".join(linecache.cache[cell][2]), cell, "exec"), scope)  # type: ignore[misc]
    failed = travelled(caught(scope["f"]))
    assert failed.errors()[0].frames[-1].file == "In[?]"

    monkeypatch.setattr(failure, "name_of_file", {cell: "In[3]"}.get)

    frame = failed.errors()[0].frames[-1]
    assert (frame.file, frame.line, frame.own) == ("In[3]", 2, True)
    assert frame.lines[-1].text[frame.column : frame.end_column] == "assert not é, 'ü'"
    assert 'File "In[3]", line 2, in f' in failed.text()
    assert "assert not é" in "".join(traceback.format_exception(failed.exception()))


def test_library_frames_are_told_from_the_users() -> None:
    import json

    frames = Failure.of(caught(lambda: json.loads("{"))).errors()[0].frames

    assert [each.own for each in frames] == [True, True, False, False, False]


def test_frames_of_ours_are_hidden() -> None:
    class Bad:
        def __repr__(self) -> str:
            return str(1 / 0)

    failed = travelled(caught(lambda: InvalidOption("x", Bad(), "y")))

    files = [each.file for each in failed.errors()[0].frames]
    assert "errors.py" not in "".join(files) + failed.text()
    assert "__repr__" in failed.text()


def test_the_text_is_that_of_python() -> None:
    error = caught(chained)

    text = travelled(error).text()

    assert text == "".join(traceback.format_exception(error)).rstrip()


def test_a_death_has_no_exception_of_its_own() -> None:
    assert isinstance(Failure.died("killed by SIGKILL").exception(), WorkerDied)
    assert Failure.died("gone", JobLost).summary == "JobLost: gone"
    assert travelled(Failure.died("gone").exception()).text() == "ipyjobs.errors.WorkerDied: gone"


def test_reading_a_failure_runs_no_code_of_others() -> None:
    with pytest.raises(Exception, match="plain data only"):
        Failure.from_bytes(b"\x80\x04\x8c\x02os\x8c\x06system\x93.")
