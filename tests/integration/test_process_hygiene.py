"""A reused or forked worker must not be seen: each test is a sentence of that promise."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import psutil
import pytest

from ipyjobs.backends.process import ProcessBackend
from tests.integration.process_jobs import echo, gone, opened, pid, run, sleep


@pytest.fixture
async def backend() -> AsyncIterator[ProcessBackend]:
    """An open backend with a guard, that runs one job at a time."""
    async with opened(1) as backend:
        yield backend
    assert not psutil.Process().children(recursive=True)


def surroundings() -> tuple[str, str | None, list[str]]:
    return str(Path.cwd()), os.environ.get("IPYJOBS_TEST"), list(sys.path)


async def test_a_worker_is_reused_when_a_job_ends_well(backend: ProcessBackend) -> None:
    assert await run(backend, pid).value() == await run(backend, pid).value()


async def test_a_job_starts_in_the_present_folder_environment_and_search_path(
    backend: ProcessBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (await run(backend, surroundings).value()) == (str(Path.cwd()), None, sys.path)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYJOBS_TEST", "é=1")
    monkeypatch.syspath_prepend("/nowhere")

    sys.path.append(tmp_path)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    cwd, variable, path = await run(backend, surroundings).value()
    assert (cwd, variable) == (str(tmp_path), "é=1")
    assert path == [str(each) for each in sys.path]
    monkeypatch.delenv("IPYJOBS_TEST")
    assert (await run(backend, surroundings).value())[1] is None


async def test_a_folder_that_is_gone_fails_the_job_and_says_so(
    backend: ProcessBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await run(backend, echo).value()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    backend.look_around()
    (tmp_path / "gone").rmdir()
    backend.look_around = lambda: None  # type: ignore[method-assign]

    with pytest.raises(FileNotFoundError, match="gone"):
        await run(backend, echo).value()


async def test_a_changed_environment_ends_workers_that_have_imported_with_the_old_one(
    backend: ProcessBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await run(backend, pid).value()

    monkeypatch.setenv("IPYJOBS_TEST", "1")

    assert await run(backend, pid).value() != before
    assert await gone(before)


async def test_a_module_is_preloaded_anew_when_the_environment_has_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "reads_environment.py").write_text("import os; seen = os.environ.get('IPYJOBS_TEST')")
    monkeypatch.syspath_prepend(str(tmp_path))
    async with opened(1, preload=("reads_environment",)) as backend:

        def seen() -> Any:
            return sys.modules["reads_environment"].seen  # type: ignore[attr-defined]

        assert await run(backend, seen).value() is None
        monkeypatch.setenv("IPYJOBS_TEST", "new")

        assert await run(backend, seen).value() == "new"


def draws() -> tuple[float, float]:
    import random

    import numpy as np

    return random.random(), np.random.random()  # noqa: NPY002  (the old generator is the one that is shared)


async def test_workers_draw_different_random_numbers_although_they_are_copies() -> None:
    async with opened(3, preload=("numpy", "random")) as backend:
        drawn = [await run(backend, draws, fresh=True).value() for _ in range(3)]

        assert len({each[0] for each in drawn}) == len({each[1] for each in drawn}) == 3


def seed() -> int:
    import random

    import numpy as np

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  (likewise)
    return os.getpid()


async def test_a_seed_does_not_reach_the_next_job(backend: ProcessBackend) -> None:
    drawn = []
    for _ in range(2):
        seeded = await run(backend, seed).value()
        drawn.append(await run(backend, draws).value())
        assert await run(backend, pid).value() == seeded

    assert drawn[0][0] != drawn[1][0]
    assert drawn[0][1] != drawn[1][1]


def imports(name: str) -> Any:
    return __import__(name).value


def count() -> int:
    """How often it was called, as far as its own module knows."""
    globals()["calls"] = globals().get("calls", 0) + 1
    return globals()["calls"]


def collect(value: int, into: list[int] = []) -> int:  # noqa: B006  (that is what is tested)
    into.append(value)
    return len(into)


async def test_a_function_that_is_sent_again_begins_anew(backend: ProcessBackend) -> None:
    """As if it were unpickled each time, although the worker may know it by then."""
    function = in_main(count)
    pids = {await run(backend, pid).value() for _ in range(2)}

    assert [await run(backend, function).value() for _ in range(4)] == [1, 1, 1, 1]
    assert [await run(backend, in_main(collect), 1).value() for _ in range(4)] == [1, 1, 1, 1]
    assert await run(backend, in_main(attributes)).value() == [] == await run(backend, in_main(attributes)).value()
    assert {await run(backend, pid).value()} == pids


def attributes() -> list[str]:
    """What an earlier call has left at the function itself."""
    import gc
    import sys
    from types import FunctionType

    code = sys._getframe().f_code
    mine = [each for each in gc.get_objects() if type(each) is FunctionType and each.__code__ is code]
    found = [name for each in mine for name in vars(each)]
    for each in mine:
        each.left = True  # type: ignore[attr-defined]
    return found


def in_main(function: FunctionType) -> FunctionType:
    """The function as if it were defined in a cell."""
    variables: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    made = FunctionType(function.__code__, variables, function.__name__, function.__defaults__)
    made.__module__ = "__main__"
    return made


async def test_a_worker_that_has_imported_a_file_which_has_changed_since_is_retired(
    backend: ProcessBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "edited.py").write_text("value = 1")
    assert await run(backend, imports, "edited").value() == 1
    before = await run(backend, pid).value()

    (tmp_path / "edited.py").write_text("value = 22")

    heard = run(backend, imports, "edited")
    assert await heard.value() == 22
    assert heard.events == ["started", "done"]
    assert await gone(before)


def leave_child() -> int:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid


def leave_thread() -> None:
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def leave_folder() -> None:
    os.chdir("/")


def leave_variable() -> None:
    os.environ["IPYJOBS_TEST"] = "left"


def leave_path() -> None:
    sys.path.append("/left")


@pytest.mark.parametrize("leave", [leave_child, leave_thread, leave_folder, leave_variable, leave_path])
async def test_a_worker_whose_job_left_something_behind_is_retired(
    backend: ProcessBackend, leave: Callable[[], Any]
) -> None:
    before = await run(backend, surroundings).value()

    heard = run(backend, leave)
    left = await heard.value()

    assert await gone(heard.pid)
    assert left is None or await gone(left)
    assert await run(backend, surroundings).value() == before


def leave_daemon() -> int:
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, b"%d" % os.getpid())
            sleep()
        os._exit(0)
    return int(os.read(read, 20))


async def test_a_daemon_that_a_job_left_is_ended(backend: ProcessBackend) -> None:
    assert await gone(await run(backend, leave_daemon).value())


def replace_streams() -> int:
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    return os.getpid()


def say() -> int:
    print("heard")
    return os.getpid()


async def test_replaced_streams_do_not_reach_the_next_job(backend: ProcessBackend) -> None:
    worker = await run(backend, replace_streams).value()

    heard = run(backend, say)

    assert await heard.value() == worker
    assert heard.output == b"heard\n"


async def test_a_job_that_failed_ends_its_worker(backend: ProcessBackend) -> None:
    heard = run(backend, lambda: 1 / 0)
    await heard.end()

    assert await gone(heard.pid)


async def test_a_fresh_job_has_a_worker_of_its_own(backend: ProcessBackend) -> None:
    pids = [await run(backend, pid, fresh=fresh).value() for fresh in (False, True, True, False)]

    assert len(set(pids)) >= 3
    assert await gone(pids[1], pids[2])


def read_all() -> str:
    return sys.stdin.read()


async def test_standard_input_is_empty(backend: ProcessBackend) -> None:
    assert await run(backend, read_all).value() == ""


async def test_a_new_worker_has_imported_little(backend: ProcessBackend) -> None:
    names = ("asyncio", "traitlets", "psutil", "loguru", "IPython", "numpy", "ipyjobs.engine", "ipyjobs.backends")
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec("import sys\ndef imported(names): return [name for name in names if name in sys.modules]", scope)

    assert await run(backend, scope["imported"], names).value() == []


def backends() -> str:
    from ipyjobs.backends import Backend

    return Backend.__name__


async def test_all_of_ipyjobs_can_be_imported_in_a_job(backend: ProcessBackend) -> None:
    assert await run(backend, backends).value() == "Backend"


def flags() -> tuple[Any, ...]:
    return sys.prefix, sys.flags.no_site, sys.flags.isolated, sys.argv, os.getsid(0) == os.getpid()


async def test_a_worker_is_a_python_like_the_users_own_in_a_session_of_its_own(backend: ProcessBackend) -> None:
    assert await run(backend, flags).value() == (sys.prefix, 0, 0, [""], True)


def shadow() -> str:
    import socket

    return socket.__file__


async def test_a_file_named_like_a_module_of_the_standard_library_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "marshal_.py").write_text("")
    (tmp_path / "select.py").write_text("raise RuntimeError('imported the user\\'s select')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    async with opened(1) as backend:
        assert "socket.py" in await run(backend, shadow).value()


def fork_and_report() -> int:
    from ipyjobs import report

    child = os.fork()
    if child == 0:
        for number in range(1000):
            report(number / 1000)
        os._exit(0)
    return os.waitpid(child, 0)[1]


async def test_a_forked_child_of_a_job_cannot_disturb_its_line(backend: ProcessBackend) -> None:
    heard = run(backend, fork_and_report)

    assert await heard.value() == 0
    assert heard.reports == []


def multiply() -> list[int]:
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(abs, [-1, -2])


async def test_multiprocessing_works_in_a_job(backend: ProcessBackend) -> None:
    assert await run(backend, multiply).value() == [1, 2]
