"""Web apps as jobs: their ports, when they are ready, and how they end."""

from __future__ import annotations

import asyncio
import http.server
import os
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipyjobs import (
    CommandFailed,
    Engine,
    EngineSetting,
    ForeignAddress,
    InvalidLauncher,
    InvalidOption,
    Job,
    LocalJob,
    ProcessJob,
    Status,
    ThreadJob,
    WebappFailed,
    WebappJob,
    WorkerDied,
)
from ipyjobs.backends.command import CommandBackend

FUSE_S = 30.0
SERVER = f"{sys.executable} -m http.server -b {{ip}} {{port}}"


@pytest.fixture(params=["threaded", "one loop", "without a guard"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    engine = Engine(EngineSetting(print_traceback=False, echo=False), threaded=request.param == "threaded")
    if request.param == "without a guard":
        engine.add_backend(CommandBackend(guarded=False))
    engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where web apps are started, with a page to serve."""
    (tmp_path / "page.txt").write_text("a page")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def serve(ip: str, port: int) -> None:
    print("serving", flush=True)
    http.server.ThreadingHTTPServer((ip, port), http.server.SimpleHTTPRequestHandler).serve_forever()


async def serve_on_loop(ip: str, port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.0 200 OK\r\n\r\na page")
        writer.close()

    async with await asyncio.start_server(answer, ip, port) as server:
        await server.serve_forever()


async def ready(job: Job) -> None:
    assert isinstance(job, WebappJob)
    assert await job.until_ready(FUSE_S) == job.address


async def page(job: Job) -> bytes:
    return await asyncio.to_thread(lambda: urllib.request.urlopen(f"{job.address}/page.txt", timeout=FUSE_S).read())


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.row("E-13")
@pytest.mark.row("E-12")
@pytest.mark.parametrize(
    ("base", "launcher"), [(ProcessJob, serve), (LocalJob, serve_on_loop), (ProcessJob, serve_on_loop)]
)
async def test_a_function_serves_until_it_is_cancelled(
    engine: Engine, folder: Path, base: type[Job], launcher: Any
) -> None:
    job = engine.submit(WebappJob(launcher, base_class=base))
    await ready(job)

    assert isinstance(job, base)
    assert isinstance(job, WebappJob)
    assert await page(job) == b"a page"
    assert job.status is Status.RUNNING
    assert job.name == launcher.__name__
    assert job.address == f"http://127.0.0.1:{job.port}"
    assert job.attrs["address"] == f"127.0.0.1:{job.port}"
    assert job.record().address == job.address
    await job.cancel()
    assert (job.status, job.ready) == (Status.CANCELLED, False)
    assert is_free(job.port or 0)


@pytest.mark.row("E-14")
@pytest.mark.parametrize("listed", [False, True])
async def test_a_command_serves_until_it_is_cancelled(engine: Engine, folder: Path, listed: bool) -> None:
    job = engine.submit(WebappJob(SERVER.split() if listed else SERVER, base_class=ThreadJob))
    await ready(job)

    assert isinstance(job, ThreadJob)
    assert await page(job) == b"a page"
    assert job.attrs["cmd"].replace("'", "") == SERVER
    await job.cancel()
    assert is_free(job.port or 0)


async def test_a_web_app_can_be_run_again(engine: Engine, folder: Path) -> None:
    job = engine.submit(WebappJob(SERVER))
    await ready(job)
    await job.cancel()

    job.rerun()

    await ready(job)
    assert await page(job) == b"a page"


async def test_a_web_app_of_an_earlier_session_can_be_run_again(folder: Path) -> None:
    setting = EngineSetting(print_traceback=False, echo=False, store=folder / "jobs.sqlite")
    async with Engine(setting) as engine:
        jobs = engine.submit(WebappJob(SERVER), WebappJob(serve))
        for job in jobs.values():
            await ready(job)
            await job.cancel()
        assert await engine.jobs.saved()

    async with Engine(setting) as engine:
        for job in engine.jobs.earlier.values():
            assert isinstance(job, WebappJob)
            assert job.port is None
            assert "WebappJob" in repr(job)
            await job.rerun()
            await ready(job)
            assert await page(job) == b"a page"
            await job.cancel()


@pytest.mark.row("E-61")
async def test_a_given_port_is_used_again_and_again(engine: Engine, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for _ in range(2):
        job = engine.submit(WebappJob(SERVER, "localhost", port))
        await ready(job)
        assert job.port == port
        assert job.address == f"http://localhost:{port}"
        with pytest.raises(InvalidOption, match=f"port={port}.*another web app has it"):
            engine.submit(WebappJob(serve, port=port))
        await job.cancel()


@pytest.mark.row("E-61")
async def test_a_port_that_is_taken_is_refused_when_it_is_submitted(engine: Engine, taken: int) -> None:
    job = WebappJob(serve, port=taken)
    with pytest.raises(InvalidOption, match=f"port={taken}.*another program has it"):
        engine.submit(job)

    assert job.status is Status.CREATED


async def test_a_port_that_is_taken_meanwhile_fails_the_job(engine: Engine, taken: int) -> None:
    first = engine.submit(ThreadJob(int))
    job = engine.jobs.options(after=first).webapp(SERVER, port=taken)
    await job.join(FUSE_S)

    assert isinstance(job.exception(), WebappFailed)
    assert f"port {taken}: another program has it" in job.error


@pytest.mark.row("E-61")
@pytest.mark.parametrize(
    ("launcher", "options", "kind", "words"),
    [
        (serve, {"ip": "192.0.2.1"}, NotImplementedError, "192.0.2.1"),
        (serve, {"ip": None}, NotImplementedError, "ip=None"),
        (serve, {"ip": "0.0.0.0"}, ValueError, "expose=True"),
        ("serve {port}", {}, ValueError, "with {ip} and {port}"),
        (["serve", "{ip}"], {}, ValueError, "with {ip} and {port}"),
        (3, {}, TypeError, "web_launcher=3"),
        (None, {}, TypeError, "web_launcher=None"),
        (serve, {"port": 0}, ValueError, "port=0"),
        (serve, {"port": 65536}, ValueError, "65535"),
        (serve, {"port": "80"}, ValueError, "port='80'"),
        (serve, {"check_times": 0}, ValueError, "check_times=0"),
        (serve, {"check_delta": -1}, ValueError, "check_delta=-1"),
        (serve, {"env": {"A": 1}}, ValueError, "not a function"),
        (serve, {"base_class": WebappJob}, ValueError, "LocalJob, ThreadJob, ProcessJob"),
    ],
)
def test_what_makes_no_sense_is_refused(
    launcher: Any, options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        WebappJob(launcher, **options)

    assert isinstance(caught.value, InvalidOption)
    assert kind is not NotImplementedError or isinstance(caught.value, ForeignAddress)
    assert kind is not TypeError or isinstance(caught.value, InvalidLauncher)


async def test_an_exposed_app_is_reached_through_loopback_too(engine: Engine, folder: Path) -> None:
    job = engine.submit(WebappJob(SERVER, "0.0.0.0", expose=True))
    await ready(job)

    assert job.address.startswith("http://127.0.0.1:")
    assert await page(job) == b"a page"
    assert job.note == ""
    await job.cancel()


async def test_an_app_that_exposes_itself_is_told_on(engine: Engine, folder: Path) -> None:
    job = engine.submit(WebappJob(f": {{ip}}; exec {sys.executable} -m http.server {{port}}"))
    await ready(job)

    await job.wait_until(lambda job: job.note, FUSE_S)

    assert "every address" in job.note
    await job.cancel()


async def test_other_braces_are_left_alone(engine: Engine, folder: Path) -> None:
    job = engine.submit(WebappJob(f"echo a b | awk '{{print $2}}'; exec {SERVER}"))
    await ready(job)

    assert job.log.lines()[0] == "b"
    await job.cancel()


@pytest.mark.row("E-61")
@pytest.mark.parametrize("launcher", ["echo started; sleep 600 # {ip} {port}", print], ids=["command", "function"])
async def test_an_app_that_does_not_listen_has_failed(engine: Engine, launcher: Any) -> None:
    job = engine.jobs.webapp(launcher, check_times=2, check_delta=0.1, grace=0)
    await job.join(FUSE_S)

    with pytest.raises(WebappFailed, match="listen"):
        await job.until_ready(FUSE_S)
    assert isinstance(job.exception(), WebappFailed)
    assert "127.0.0.1" in str(job.exception())
    assert "it said:" in str(job.exception())
    assert job.attempt == 1


async def test_somebody_else_s_listener_is_not_the_app(engine: Engine) -> None:
    job = engine.submit(WebappJob("sleep 600 # {ip} {port}", check_times=5, check_delta=0.1, grace=0))
    await job.wait_until(lambda job: job.address, FUSE_S)
    assert isinstance(job, WebappJob)
    with socket.create_server(("127.0.0.1", job.port or 0)):
        await job.join(FUSE_S)

    assert isinstance(job.exception(), WebappFailed)
    assert "but another program does" in str(job.exception())


@pytest.mark.parametrize(
    "cmd",
    [f"cd . && {SERVER}; true", f"({SERVER} & ) ; sleep 600", f"setsid {SERVER} & sleep 600"],
    ids=["shell", "orphan", "daemon"],
)
async def test_a_listener_may_be_any_process_of_the_tree(folder: Path, cmd: str) -> None:
    async with Engine(EngineSetting(print_traceback=False, echo=False)) as engine:
        job = engine.submit(WebappJob(cmd))
        await ready(job)

        assert await page(job) == b"a page"
        await job.cancel()
        assert is_free(job.port or 0)


async def test_an_app_that_dies_has_failed(engine: Engine, folder: Path) -> None:
    command = engine.submit(WebappJob(f"exec {SERVER}"))
    function = engine.submit(WebappJob(serve))
    for job, kind in ((command, CommandFailed), (function, WorkerDied)):
        await ready(job)
        await page(job)
        pid = int(job.attempts[-1].worker.removeprefix("pid "))

        os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(job.join(), 2.0)

        assert isinstance(job.exception(), kind)
        assert "SIGKILL" in job.error
        assert not job.ready
    assert "GET /page.txt" in str(command.exception())


async def test_an_app_that_ends_well_is_done(engine: Engine, folder: Path) -> None:
    code = (
        "import sys, http.server as h\n"
        "h.HTTPServer((sys.argv[1], int(sys.argv[2])), h.SimpleHTTPRequestHandler).handle_request()"
    )
    job = engine.submit(WebappJob([sys.executable, "-c", code, "{ip}", "{port}"]))
    await job.wait_until(lambda job: job.ready or job.ended, FUSE_S)
    await job.join(FUSE_S)

    # The look for the listener is its one request.
    assert job.status is Status.DONE


async def test_another_port_is_tried_when_the_first_one_is_taken(engine: Engine, folder: Path) -> None:
    taken = "{ echo 'OSError: Address already in use' >&2; exit 1; }"
    cmd = f"echo {{port}} >> ports; test $(wc -l < ports) -ge 3 || {taken}; exec {SERVER}"
    job = engine.submit(WebappJob(cmd))
    await ready(job)

    tried = [int(each) for each in (folder / "ports").read_text().split()]
    assert len(set(tried)) == 3
    assert job.port == tried[-1]
    assert (job.attempt, len(job.attempts)) == (1, 1)
    assert f"port {tried[0]} was taken" in job.log.text()
    await job.cancel()


async def test_an_app_takes_none_of_the_general_slots(engine: Engine, folder: Path) -> None:
    engine.max_jobs = 1
    engine.set_limit(1, backend="thread")
    first = engine.submit(WebappJob(SERVER, base_class=ThreadJob))
    second = engine.submit(WebappJob(SERVER, base_class=ThreadJob))
    await ready(first)

    assert second.status is Status.PENDING
    assert await engine.submit(LocalJob(int)) == 0
    await first.cancel()
    await ready(second)
    await second.cancel()


async def test_ready_says_whether_it_answers_now(engine: Engine) -> None:
    close, open_again, end = threading.Event(), threading.Event(), threading.Event()

    def app(ip: str, port: int) -> None:
        with socket.create_server((ip, port)):
            close.wait(FUSE_S)
        open_again.wait(FUSE_S)
        with socket.create_server((ip, port)):
            end.wait(FUSE_S)

    job = engine.submit(WebappJob(app, base_class=ThreadJob))
    await ready(job)
    close.set()
    await job.wait_until(lambda job: not job.ready, FUSE_S)
    open_again.set()
    await job.wait_until(lambda job: job.ready, FUSE_S)
    end.set()
    await job.join(FUSE_S)

    assert job.status is Status.DONE


async def test_stopping_the_engine_ends_apps(engine: Engine, folder: Path) -> None:
    job = engine.submit(WebappJob(SERVER))
    await ready(job)

    await engine.stop()

    assert (job.status, job.reason) == (Status.CANCELLED, "shutdown")
    assert is_free(job.port or 0)


async def test_the_verb_takes_options_before_and_with_the_launcher(engine: Engine, folder: Path) -> None:
    command = engine.jobs.options(group="apps").webapp(SERVER, name="files")
    function = engine.jobs.webapp(serve, check_times=20)
    await asyncio.gather(ready(command), ready(function))

    assert (command.group, command.name, command.backend) == ("apps", "files", "thread")
    assert function.backend == "process"
    await engine.cancel(command, function)
    assert not [each for each in psutil.Process().children(recursive=True) if "http.server" in " ".join(each.cmdline())]
