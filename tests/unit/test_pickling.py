"""What travels, what is refused and how it is named, and what loading leaves alone."""

from __future__ import annotations

import functools
import math
import pickle
import subprocess
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from ipyjobs import pickling
from ipyjobs.captures import CaptureWarning
from ipyjobs.errors import NotPicklable, ResultUnreadable
from ipyjobs.pickling import FutureLike, Packed, Payload, loads, pack, unpack


class Future(FutureLike):
    __slots__ = ("job_id",)

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id


def add(x: Any, y: Any = 0) -> Any:
    return x + y


def call(packed: Packed, **upstream: Any) -> Any:
    values = {name: Payload.of_bytes(pickle.dumps(value)) for name, value in upstream.items()}
    function, args, kwargs = unpack(packed.function, packed.arguments, values)
    return function(*args, **kwargs)


def of_main(source: str) -> dict[str, Any]:
    """What a cell with `source` defines, with `__main__` as its module."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(source, scope)
    return scope


@pytest.mark.parametrize(
    "function",
    [
        add,
        lambda x, y: x + y,
        functools.partial(add),
        [1].__class__.__add__,
        types.MethodType(lambda self, x, y: x + y, 1),
    ],
    ids=["function", "lambda", "partial", "slot wrapper", "bound method"],
)
def test_any_kind_of_function_travels(function: Any) -> None:
    assert call(pack(function, ([1], [2]), {}, {})) == [1, 2]


def test_a_function_of_main_goes_by_value_and_works_where_main_is_another_one(tmp_path: Path) -> None:
    square = of_main("import math\ndef square(x): return math.pow(x, 2)")["square"]
    packed = pack(square, (3,), {}, {})
    code = "import pickle, sys; f = pickle.loads(bytes.fromhex(sys.argv[1])); print(f(3))"

    printed = subprocess.check_output([sys.executable, "-c", code, packed.function.hex()], text=True)

    assert printed == "9.0\n"


def test_what_goes_by_value_keeps_the_name_of_its_file() -> None:
    def outer() -> Any:
        def inner() -> None: ...

        return inner

    outer.__module__ = "__main__"
    function, _, _ = unpack(pack(outer, (), {}, {}).function, pickle.dumps(((), {})), {})

    assert [function.__code__.co_filename, function().__code__.co_filename] == [__file__] * 2


def test_a_function_of_a_module_that_no_worker_could_import_goes_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("made_on_the_fly")
    exec("def double(x): return 2 * x", vars(module))
    monkeypatch.setitem(sys.modules, "made_on_the_fly", module)
    packed = pack(vars(module)["double"], (4,), {}, {})

    monkeypatch.delitem(sys.modules, "made_on_the_fly")

    assert call(packed) == 8


def test_a_function_of_a_module_goes_by_name() -> None:
    assert b"add" in (packed := pack(add, (), {}, {})).function
    assert len(packed.function) < 100


def test_one_submit_pickles_its_function_once_and_the_next_one_anew() -> None:
    scope = of_main("factor = 2\ndef scale(x): return factor * x")
    shared: dict[Any, Any] = {}
    first, second = (pack(scope["scale"], (1,), {}, shared) for _ in range(2))
    scope["factor"] = 3

    later = pack(scope["scale"], (1,), {}, {})

    assert first.function is second.function
    assert (call(first), call(later)) == (2, 3)


def test_futures_are_found_wherever_they_stand_and_replaced_by_values() -> None:
    a, b, c = Future("a"), Future("b"), Future("c")
    holder = types.SimpleNamespace(deep=[{"x": (c,)}])
    packed = pack(lambda *args, **kwargs: (args, kwargs), (a, [b, {"k": a}]), {"holder": holder}, {})

    args, kwargs = call(packed, a=1, b=2, c=3)

    assert packed.upstream_ids == ("a", "b", "c")
    assert args == (1, [2, {"k": 1}])
    assert kwargs["holder"].deep == [{"x": (3,)}]


def test_a_future_captured_by_the_function_is_replaced_too() -> None:
    packed = pack(functools.partial(add, Future("a")), (1,), {}, {})

    assert packed.upstream_ids == ("a",)
    assert call(packed, a=41) == 42


def test_a_future_loaded_elsewhere_says_so() -> None:
    packed = pack(add, (Future("a"),), {}, {})

    with pytest.raises(pickle.UnpicklingError, match="'a'"):
        pickle.loads(packed.arguments)


LOCK = threading.Lock()


class Holder:
    def __init__(self, part: object) -> None:
        self.part = part


def capturing(con: object) -> Any:
    def f() -> object:
        return con

    return f


@pytest.mark.parametrize(
    ("function", "args", "culprit"),
    [
        (add, ({"lock": LOCK},), r"argument 'x' \(a _thread.lock inside dict key 'lock'\)"),
        (add, (1, LOCK), r"argument 'y' \(_thread.lock\)"),
        (add, ([0, {"a": LOCK}],), r"argument 'x' \(a _thread.lock inside item 1, dict key 'a'\)"),
        (add, (Holder(LOCK),), r"argument 'x' \(a _thread.lock inside attribute 'part'\)"),
        (math.hypot, (LOCK,), r"argument 1 \(_thread.lock\)"),
        (capturing(LOCK), (), r"the function's captured variable 'con' \(_thread.lock\)"),
        (functools.partial(add, LOCK), (), r"the function \(a _thread.lock inside partial's arguments"),
    ],
)
def test_what_cannot_travel_is_named_with_a_way_out(function: Any, args: Any, culprit: str) -> None:
    with pytest.raises(NotPicklable, match=culprit) as caught:
        pack(function, args, {}, {})

    assert "jobs.thread" in str(caught.value)


def test_a_keyword_and_a_global_that_cannot_travel_are_named() -> None:
    scope = of_main("def f(): return con")
    scope["con"] = LOCK

    with pytest.raises(NotPicklable, match="global variable 'con'"):
        pack(scope["f"], (), {}, {})
    with pytest.raises(NotPicklable, match="argument 'y'"):
        pack(add, (1,), {"y": LOCK}, {})


def test_a_secret_and_a_heavy_value_taken_along_are_named_in_one_warning_for_each_submit() -> None:
    scope = of_main("def f(x): return API_KEY, data")
    scope |= {"API_KEY": "abc", "data": b"0" * 11_000_000, "tokenizer": "no secret"}
    shared: dict[Any, Any] = {}

    with pytest.warns(CaptureWarning, match="'API_KEY'.*'data' of 11 MB") as caught:
        [pack(scope["f"], (each,), {}, shared) for each in (1, 2)]

    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_an_ordinary_function_warns_of_nothing() -> None:
    scope = of_main("limit = 3\nmonkey = 'key'\ndef f(x, token_count=3): return limit, monkey")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pack(scope["f"], (), {}, {})


def test_loading_leaves_the_classes_alone_that_are_already_here() -> None:
    scope = of_main("bias = 1\nclass Point:\n    def move(self): return bias")
    point = scope["Point"]
    before = dict(vars(point))
    make = pack(point, (), {}, {})
    # The worker: it makes the class anew, and returns an instance by value.
    code = (
        "import cloudpickle, pickle, sys\n"
        "sys.stdout.write(cloudpickle.dumps(pickle.loads(bytes.fromhex(sys.argv[1]))()).hex())"
    )
    returned = bytes.fromhex(subprocess.check_output([sys.executable, "-c", code, make.function.hex()], text=True))

    instance = loads(returned)

    assert type(instance) is point
    assert all(vars(point)[name] is value for name, value in before.items())
    assert point.move.__globals__ is scope
    scope["bias"] = 2
    assert instance.move() == 2


def test_plain_cloudpickle_would_not_leave_them_alone() -> None:
    """The trap that `loads` is for; when this fails, `loads` may go."""
    point = of_main("class Point:\n    def move(self): pass")["Point"]
    move = point.move
    data = cloudpickle.dumps(point())

    pickle.loads(data)

    assert point.move is not move


def test_a_class_that_is_new_here_is_filled() -> None:
    code = "import cloudpickle\nclass New:\n    def f(self): return 5\nprint(cloudpickle.dumps(New()).hex())"
    data = bytes.fromhex(subprocess.check_output([sys.executable, "-c", code], text=True))

    assert loads(data).f() == 5


def test_a_payload_is_loaded_once_from_many_threads() -> None:
    payload = Payload.of_bytes(pickle.dumps([1, 2]))
    barrier = threading.Barrier(8)
    loaded: list[object] = []

    def load() -> None:
        barrier.wait()
        loaded.append(payload.load())

    threads = [threading.Thread(target=load) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert loaded[0] == [1, 2]
    assert all(each is loaded[0] for each in loaded)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_payload_may_lie_in_any_buffer(kind: Any) -> None:
    data = pickle.dumps({"a": b"x" * 200_000}, 5)

    payload = Payload.of_bytes(kind(data))

    assert payload.size_bytes == len(data)
    assert payload.load() == {"a": b"x" * 200_000}
    assert payload.data() == data


def test_a_payload_with_buffers_out_of_band_is_one_pickle_when_asked() -> None:
    buffers: list[Any] = []
    data = pickle.dumps(pickle.PickleBuffer(bytearray(b"abc")), 5, buffer_callback=buffers.append)

    payload = Payload.of_bytes(data, tuple(bytes(each.raw()) for each in buffers))

    assert bytes(payload.load()) == b"abc"  # type: ignore[call-overload]
    assert pickle.loads(payload.data()) == b"abc"


def test_a_payload_that_cannot_be_loaded_says_so_each_time() -> None:
    payload = Payload.of_bytes(b"cno_such_module\nThing\n.")

    for _ in range(2):
        with pytest.raises(ResultUnreadable, match="no_such_module"):
            payload.load()


def test_a_payload_of_an_object_is_pickled_when_asked() -> None:
    payload = Payload({"a": 1})

    assert payload.size_bytes is None
    assert pickle.loads(payload.data()) == {"a": 1}
    with pytest.raises(NotPicklable, match="the result"):
        Payload(LOCK).data()


def test_plain_pickle_is_for_scalars_only() -> None:
    scope = of_main("class Thing: pass")

    assert pickling._is_plain((1, [2.0, {"a": None}]))  # pyright: ignore[reportPrivateUsage]
    assert not pickling._is_plain(([scope["Thing"]()],))  # pyright: ignore[reportPrivateUsage]
    assert type(call(pack(lambda x: x, (scope["Thing"](),), {}, {}))) is scope["Thing"]
