import pytest

from tools.workplace import ROOT

pytest_plugins = ["pytester"]

LEAKY = """
import asyncio, subprocess, threading
import pytest

kept = []

def test_a_process_is_left():
    kept.append(subprocess.Popen(["sleep", "1"]))

def test_a_thread_is_left():
    threading.Thread(target=threading.Event().wait, args=(1,), name="stays").start()

def test_an_engine_thread_is_left():
    threading.Thread(target=threading.Event().wait, args=(1,), name="ipyjobs-engine", daemon=True).start()

async def test_a_task_is_left():
    kept.append(asyncio.create_task(asyncio.sleep(3)))
    await asyncio.sleep(0)

@pytest.fixture
async def owner():
    task = asyncio.create_task(asyncio.sleep(3))
    yield
    task.cancel()

async def test_clean(owner):
    thread = threading.Thread(target=threading.Event().wait, args=(0.05,))
    thread.start()
    subprocess.run(["true"], check=True)
"""


def test_what_a_test_leaves_behind_fails_that_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    pytester.makepyfile(LEAKY)
    pytester.makeconftest("""
pytest_plugins = ["tests.leaks"]

def pytest_configure():
    import tests.leaks
    tests.leaks.PATIENCE_S = 0.1
""")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    result = pytester.runpytest_subprocess("-o", "asyncio_mode=auto", "-p", "no:cacheprovider", timeout=30)

    result.assert_outcomes(passed=5, errors=4)
    result.stdout.fnmatch_lines([
        "left running: * sleep 1",
        "threads left running: stays",
        "threads left running: ipyjobs-engine",
        "tasks left pending: sleep",
    ])  # fmt: skip
