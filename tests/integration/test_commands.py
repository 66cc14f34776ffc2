"""Shell commands as jobs: what goes in, what comes out, and that nothing of them is ever left."""

from __future__ import annotations

import asyncio
import os
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from ipyjobs import (
    CommandFailed,
    DaskJob,
    Engine,
    EngineSetting,
    InvalidOption,
    Job,
    JobFailed,
    JobLost,
    JobTimeout,
    LocalJob,
    ProcessJob,
    Status,
    SubprocessJob,
    ThreadJob,
)
from ipyjobs.backends.command import CommandBackend
from tests.integration.process_jobs import gone

FUSE_S = 20.0

# Starts a child and a daemon of its own session that ignore being asked to end, and a grandchild; prints all pids.
STUBBORN = f"""
exec {shlex.quote(sys.executable)} -c '
import os, signal, subprocess, sys, time
for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(each, signal.SIG_IGN)
read, write = os.pipe()
for alone in (False, True):
    if os.fork() == 0:
        if alone: os.setsid()
        if os.fork() == 0:
            os.write(write, b"%d\\n" % os.getpid())
            time.sleep(600)
        if alone: os._exit(0)
        os.write(write, b"%d\\n" % os.getpid())
        time.sleep(600)
found = b""
while found.count(b"\\n") < 3: found += os.read(read, 100)
print(os.getpid(), *found.decode().split(), sep="\\n", flush=True)
time.sleep(600)
'
""".replace("*found.split()", "*found.decode().split()")


@pytest.fixture(params=["threaded", "one loop", "without a guard"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    setting = EngineSetting(print_traceback=False, echo=False, cache_path=tmp_path / "cache")
    engine = Engine(setting, threaded=request.param == "threaded")
    if request.param == "without a guard":
        engine.add_backend(CommandBackend(guarded=False))
    engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.fixture
async def guarded() -> AsyncIterator[Engine]:
    """An engine on the loop of the test, for what only a guard can do."""
    engine = Engine(EngineSetting(print_traceback=False, echo=False), threaded=False).start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A command that reads it waits until the test opens it for writing."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


async def failure(job: Job) -> CommandFailed:
    await job.join(FUSE_S)
    error = job.exception()
    assert isinstance(error, CommandFailed), repr(job)
    return error


async def printed(job: Job) -> None:
    """Wait until the job has said something."""
    async with asyncio.timeout(FUSE_S):
        while not job.log.text():
            await asyncio.sleep(0.005)


async def printed_pids(job: Job, count: int) -> list[int]:
    """The first `count` numbers that the job prints, a line each."""
    async with asyncio.timeout(FUSE_S):
        while job.log.text().count("\n") < count:
            await asyncio.sleep(0.005)  # the test's own loop may be the engine's: only a pause lets it read
    return [int(each) for each in job.log.text().split()[:count]]


# -- what goes in


@pytest.mark.row("E-11")
async def test_a_text_is_a_shell_command(engine: Engine) -> None:
    job = engine.submit(SubprocessJob("X=ok && printf '%s\\n' b a $X | sort | tr '\\n' ' '", env={"IGNORED": "1"}))

    assert await job == 0
    assert job.log.text() == "a b ok "
    assert job.record().result == "0"
    assert job.attempts[0].worker.startswith("pid ")


@pytest.mark.row("E-11")
@pytest.mark.parametrize(
    ("cmd", "name"),
    [("echo hello | cat", "echo"), (["/bin/echo", 1], "/bin/echo"), ("  ls; pwd", "ls"), ("\x1b[31m", "command")],
)
async def test_a_command_is_called_by_its_first_word(cmd: Any, name: str) -> None:
    assert SubprocessJob(cmd).name == name
    assert SubprocessJob(cmd, name="other").name == "other"


@pytest.mark.row("E-11")
async def test_no_shell_sees_a_list(engine: Engine, tmp_path: Path) -> None:
    job = engine.submit(SubprocessJob(["printf", "%s,", "$HOME | cat; *", 3, tmp_path, b"bytes"]))
    await job

    assert job.log.text() == f"$HOME | cat; *,3,{tmp_path},bytes,"


async def test_the_words_of_a_text_go_to_a_program_without_a_shell(engine: Engine) -> None:
    job = engine.submit(SubprocessJob("printf '%s|' 'a b' $HOME", popen_kwargs={"shell": False}))
    await job

    assert job.log.text() == "a b|$HOME|"


@pytest.mark.parametrize("size", [3, 5_000_000])
async def test_a_command_reads_what_it_is_given(engine: Engine, size: int) -> None:
    text, raw = engine.submit(
        SubprocessJob("wc -c", stdin="x" * size), SubprocessJob("wc -c", stdin=b"\xff" * size)
    ).values()

    assert (await text, await raw) == (0, 0)
    assert text.log.text().split() == raw.log.text().split() == [str(size)]


async def test_a_command_need_not_read_what_it_is_given(engine: Engine) -> None:
    assert await engine.submit(SubprocessJob("exec <&-; sleep 0.01", stdin=b"x" * 1_000_000)) == 0


async def test_a_command_has_nothing_to_read_by_default(engine: Engine) -> None:
    assert await engine.submit(SubprocessJob("read line; test $? = 1")) == 0


@pytest.mark.row("E-60")
async def test_variables_are_added_to_the_present_environment(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await engine.submit(SubprocessJob("true"))
    monkeypatch.setenv("LATE", "late")
    added = engine.submit(SubprocessJob("echo $LATE $MORE $HOME", env={"MORE": 1}))
    whole = engine.submit(SubprocessJob("echo $LATE $MORE", popen_kwargs={"env": {"MORE": "2"}}))
    again = engine.submit(SubprocessJob("echo $LATE $MORE"))
    await asyncio.gather(added, whole, again)

    assert added.log.text().split() == ["late", "1", os.environ["HOME"]]
    assert (whole.log.text(), again.log.text()) == ("2\n", "late\n")


async def test_a_big_environment_and_long_arguments_arrive(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIG", "b" * 100_000)
    job = engine.submit(SubprocessJob(["sh", "-c", "echo ${#BIG} ${#1}", "sh", "x" * 100_000]))
    await job

    assert job.log.text() == "100000 100000\n"


@pytest.mark.row("E-60")
async def test_a_command_runs_where_it_is_told_to(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    jobs = [
        SubprocessJob("pwd"),
        SubprocessJob("pwd", target_dir="sub"),
        SubprocessJob("pwd", cwd=tmp_path / "sub"),
        SubprocessJob("pwd", popen_kwargs={"cwd": "sub"}),
        SubprocessJob("pwd", target_dir="$cache_dir"),
        SubprocessJob("pwd", change_dir=True),
    ]
    monkeypatch.chdir("/")
    monkeypatch.chdir("/usr")
    await engine.submit(*jobs)

    sub = str(tmp_path / "sub")
    assert [each.log.text().strip() for each in jobs[:4]] == ["/usr", sub, sub, sub]
    assert [each.log.text().strip() for each in jobs[4:]] == [str(each.cache_dir) for each in jobs[4:]]


@pytest.mark.row("E-60")
async def test_the_command_is_written_down(engine: Engine, tmp_path: Path) -> None:
    noted = engine.submit(SubprocessJob("echo 'a b' |\ncat"))
    listed = engine.submit(SubprocessJob(["echo", "a b"]))
    silent = engine.submit(SubprocessJob("true", record_cmd=False))
    await asyncio.gather(noted, listed, silent)

    assert not (tmp_path / "cache" / silent.id).exists()
    assert noted.cache_dir is not None
    assert listed.cache_dir is not None
    assert (noted.cache_dir / "command.sh").read_text() == "echo 'a b' |\ncat\n"
    assert (listed.cache_dir / "command.sh").read_text() == "echo 'a b'\n"


@pytest.mark.row("E-60")
async def test_output_goes_into_files_too(engine: Engine, tmp_path: Path) -> None:
    both = tmp_path / "made" / "both.txt"
    own = engine.submit(SubprocessJob("echo out; echo err >&2", redirect_out_err=True))
    one = engine.submit(SubprocessJob("echo out; echo err >&2", redirect_out_err=str(both)))
    await asyncio.gather(own, one)

    assert own.cache_dir is not None
    assert (own.cache_dir / "stdout.txt").read_text() == "out\n"
    assert (own.cache_dir / "stderr.txt").read_text() == "err\n"
    assert sorted(both.read_text().split()) == ["err", "out"]
    assert sorted(own.log.lines()) == ["err", "out"]


@pytest.mark.row("E-60")
async def test_popen_s_umask_and_executable_count(engine: Engine, tmp_path: Path) -> None:
    job = SubprocessJob(
        "echo $BASH_VERSION; touch made", cwd=tmp_path, popen_kwargs={"umask": 0o077, "executable": "/bin/bash"}
    )
    after = SubprocessJob("umask")
    await engine.submit(job)
    await engine.submit(after)

    assert job.log.text() > "3"
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
    mask = os.umask(0o022)
    os.umask(mask)
    assert int(after.log.text(), 8) == mask


@pytest.mark.row("E-60")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"popen_kwargs": {"stdout": -1}}, "redirect_out_err"),
        ({"popen_kwargs": {"stdin": -1}}, "stdin="),
        ({"popen_kwargs": {"start_new_session": True}}, "session of its own"),
        ({"popen_kwargs": {"bufsize": 0}}, "only cwd, env"),
        ({"popen_kwargs": {"umask": "022"}}, "0o777"),
        ({"cwd": ""}, "cwd=''"),
        ({"env": ["A=1"]}, "a dict"),
        ({"env": {"A=": 1}}, "without '='"),
        ({"stdin": 3}, "stdin=3"),
        ({"grace": -1}, "grace=-1"),
        ({"record_cmd": "no"}, "record_cmd='no'"),
        ({"base_class": Job}, "LocalJob, ThreadJob, ProcessJob"),
        ({"timeout": "1"}, "timeout='1'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        SubprocessJob("true", **options)


@pytest.mark.parametrize("cmd", ["", "  ", [], [""], ["a\0"], "a\0b", 3, None, b"ls", {"ls": 1}])
def test_a_command_that_is_none_is_refused(cmd: Any) -> None:
    with pytest.raises(InvalidOption, match="cmd="):
        SubprocessJob(cmd)


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        SubprocessJob("true", timeuot=1)


async def test_what_is_not_there_is_refused_when_it_is_submitted(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    for job, words in (
        (SubprocessJob(["no-such-program", "x"]), "'no-such-program'"),
        (SubprocessJob([tmp_path / "plain"]), "may not be executed"),
        (SubprocessJob("ls", cwd=tmp_path / "nowhere"), "nowhere"),
        (SubprocessJob("ls", popen_kwargs={"executable": "/no/shell"}), "/no/shell"),
    ):
        with pytest.raises(InvalidOption, match=words):
            engine.submit(job)

        assert job.status is Status.CREATED


async def test_what_another_job_makes_need_not_be_there_yet(engine: Engine, tmp_path: Path) -> None:
    make = engine.submit(
        SubprocessJob("mkdir made && printf '#!/bin/sh\\necho ran' > made/run && chmod +x made/run", cwd=tmp_path)
    )
    run = engine.jobs.options(after=make).sh(["./run"], cwd=tmp_path / "made")
    await run

    assert run.log.text() == "ran\n"


async def test_what_is_gone_when_it_starts_fails_the_job(engine: Engine, tmp_path: Path) -> None:
    first = engine.submit(SubprocessJob("true"))
    job = engine.jobs.options(after=first).sh("true", cwd=tmp_path / "nowhere")
    other = engine.jobs.options(after=first).sh(["no-such-program"])

    assert "nowhere: No such file or directory" in str(await failure(job))
    assert "no-such-program: No such file" in str(await failure(other))
    assert await engine.submit(SubprocessJob("true")) == 0


async def test_the_verb_takes_options_before_and_with_the_command(engine: Engine, tmp_path: Path) -> None:
    job = engine.jobs.options(group="shell", backend="process").sh("pwd", cwd=tmp_path, name="where")
    await job

    assert (job.group, job.name, job.backend, job.log.text()) == ("shell", "where", "process", f"{tmp_path}\n")


# -- how it ends


@pytest.mark.row("E-11")
async def test_another_exit_status_fails_the_job(engine: Engine) -> None:
    job = engine.submit(SubprocessJob("echo reading; seq 20 >&2; exit 3"))
    error = await failure(job)

    assert isinstance(error, subprocess.SubprocessError)
    assert isinstance(error, JobFailed)
    assert (error.code, error.command) == (3, "echo reading; seq 20 >&2; exit 3")
    assert error.stderr.splitlines() == [str(each) for each in range(11, 21)]
    assert "exit status 3; it said:\n11\n12" in str(error)
    assert job.error.startswith("CommandFailed: command 'echo reading; seq 20 >&2; exit 3' failed with exit status 3")
    with pytest.raises(CommandFailed):
        job.result()


@pytest.mark.row("F-07")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_command_that_a_signal_killed_has_failed(engine: Engine, number: signal.Signals) -> None:
    error = await failure(engine.submit(SubprocessJob(f"kill -{int(number)} $$")))

    assert error.code == -number
    assert f"was killed by {number.name}" in str(error)


@pytest.mark.parametrize(
    ("cmd", "words"),
    [
        ("no-such-program", "127 (a command was not found)"),
        ("/dev/null", "126 (it was found, but may not be executed)"),
        ("timeout 0.01 sleep 5", "124 (that is what `timeout`"),
        ("sh -c 'kill -9 $$'; exit $?", "137 (as shells say of SIGKILL: 128 + 9)"),
        ("exit 255", "255"),
    ],
)
async def test_some_exit_statuses_have_a_meaning(engine: Engine, cmd: str, words: str) -> None:
    assert words in str(await failure(engine.submit(SubprocessJob(cmd))))


async def test_a_failed_command_is_tried_again_and_can_be_run_again(engine: Engine, tmp_path: Path) -> None:
    job = engine.submit(SubprocessJob("echo x >> tries; test $(wc -l < tries) -ge 3", cwd=tmp_path, retries=1))
    await job.join(FUSE_S)
    assert [each.outcome for each in job.attempts] == ["failed", "failed"]

    job.rerun()

    assert await job == 0


async def test_callbacks_are_called(engine: Engine) -> None:
    seen: list[object] = []
    told = asyncio.Event()

    def tell(value: object) -> None:
        seen.append(value)
        told.set()

    assert await engine.submit(SubprocessJob("sleep 0.01", callback=seen.append)) == 0
    engine.submit(SubprocessJob("exit 4", error_callback=tell))
    await asyncio.wait_for(told.wait(), FUSE_S)

    assert seen[0] == 0
    assert isinstance(seen[1], CommandFailed)


async def test_a_command_of_an_earlier_session_can_be_run_again(tmp_path: Path) -> None:
    setting = EngineSetting(print_traceback=False, echo=False, store=tmp_path / "jobs.sqlite")
    async with Engine(setting) as engine:
        good = engine.submit(SubprocessJob("cat; echo $MORE", stdin="in\n", env={"MORE": 1}))
        bad = engine.submit(SubprocessJob(f"echo why >&2; test -e {tmp_path / 'there'}", base_class=ProcessJob))
        await failure(bad)
        assert await good == 0
        assert await engine.jobs.saved()
    (tmp_path / "there").touch()

    async with Engine(setting) as engine:
        earlier = [engine.jobs.earlier[each.id] for each in (good, bad)]
        assert [isinstance(each, SubprocessJob) for each in earlier] == [True, True]
        assert isinstance(earlier[1], ProcessJob)
        assert repr(earlier[0]) == repr(good)
        error = earlier[1].exception()
        assert isinstance(error, CommandFailed)
        assert (error.code, error.stderr) == (1, "why")
        await engine.rerun(*earlier)
        assert [await each for each in earlier] == [0, 0]
        assert earlier[0].log.text().endswith("in\n1\n")


# -- limits


@pytest.mark.row("E-12")
@pytest.mark.row("E-51")
@pytest.mark.parametrize("base", [LocalJob, ThreadJob, ProcessJob])
async def test_a_command_counts_as_its_base_class(engine: Engine, base: type[Job], fifo: Path) -> None:
    if base is not LocalJob:
        engine.set_limit(1, backend=base.backend_name)
    job = SubprocessJob(f"cat {fifo}", base_class=base)
    second = SubprocessJob("true", base_class=base)
    engine.submit(job)
    engine.submit(second)

    assert isinstance(job, base)
    assert isinstance(job, SubprocessJob)
    await job.wait_until_status("running", FUSE_S)
    assert engine.scheduler.backends[base.backend_name].used >= 1
    assert base is LocalJob or second.status is Status.PENDING
    other = ThreadJob if base is not ThreadJob else ProcessJob
    assert await engine.submit(SubprocessJob("true", base_class=other)) == 0
    fifo.write_bytes(b"")
    assert await second == 0


@pytest.mark.row("E-12")
async def test_a_command_may_run_on_a_dask_worker(tmp_path: Path) -> None:
    setting = EngineSetting(print_traceback=False, echo=False, max_dask_jobs=1, cache_path=tmp_path / "cache")
    async with Engine(setting) as engine:
        job = SubprocessJob(
            "cat; echo $MORE; pwd; echo err >&2", stdin="in\n", env={"MORE": 1}, base_class=DaskJob, cwd=tmp_path
        )
        failing = SubprocessJob("echo why >&2; exit 3", base_class=DaskJob)
        endless = SubprocessJob("echo $$; setsid sleep 600 & sleep 600", base_class=DaskJob)
        engine.submit(job, failing, endless)

        assert await job == 0
        assert isinstance(job, DaskJob)
        assert sorted(job.log.lines()) == sorted(["in", "1", str(tmp_path), "err"])
        assert job.cache_dir is not None
        assert (job.cache_dir / "command.sh").exists()
        assert (await failure(failing)).code == 3
        [pid] = await printed_pids(endless, 1)
        await endless.cancel()
        assert await gone(pid)


async def test_many_commands_leave_no_thread_and_no_descriptor(engine: Engine) -> None:
    await engine.submit(*[SubprocessJob("true") for _ in range(20)])
    process = psutil.Process()
    threads = threading.active_count()
    before = process.num_fds()

    jobs = engine.submit(*[SubprocessJob(f"echo {number}") for number in range(200)])
    await jobs

    assert [job.log.text() for job in jobs.values()] == [f"{number}\n" for number in range(200)]
    assert threading.active_count() <= threads
    assert process.num_fds() <= before + 4


# -- what it prints


async def test_output_is_there_while_the_command_runs(engine: Engine, fifo: Path) -> None:
    job = engine.submit(SubprocessJob(f"echo one; echo two >&2; cat {fifo}; echo three"))
    async with asyncio.timeout(FUSE_S):
        while sorted(job.log.lines()) != ["one", "two"]:
            await asyncio.sleep(0.005)

    await job.wait_until_status("running", FUSE_S)  # its output may be heard before that it has begun
    fifo.write_bytes(b"from the fifo\n")
    await job
    assert job.log.lines()[2:] == ["from the fifo", "three"]


@pytest.mark.row("F-16")
async def test_any_bytes_come_through(engine: Engine, tmp_path: Path) -> None:
    job = engine.submit(SubprocessJob("head -c 3000000 /dev/urandom | tee copy", cwd=tmp_path))
    await job

    assert job.log.read() == (tmp_path / "copy").read_bytes()


@pytest.mark.row("F-16")
@pytest.mark.slow
@pytest.mark.parametrize("source", ["/dev/zero", "/dev/urandom"])
async def test_a_gigabyte_without_a_line_costs_no_memory(engine: Engine, source: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    job = engine.submit(SubprocessJob(["head", "-c", "1000000000", source]))
    await job

    assert job.log.size == 1_000_000_000
    assert len(job.log.read(0, 100)) == 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


async def test_what_is_left_in_the_background_may_finish_what_it_says(engine: Engine) -> None:
    job = engine.submit(SubprocessJob("(sleep 0.05; echo late) & echo early"))
    await job

    assert job.log.lines() == ["early", "late"]


# -- stopping


async def test_cancelling_ends_even_what_does_not_want_to_end(guarded: Engine) -> None:
    job = guarded.submit(SubprocessJob(STUBBORN, grace=0.1))
    pids = await printed_pids(job, 4)

    await job.cancel()

    assert (job.status, job.reason) == (Status.CANCELLED, "user")
    assert not [each for each in pids if psutil.pid_exists(each)]


async def test_cancelling_asks_first(engine: Engine) -> None:
    job = engine.submit(SubprocessJob("trap 'echo bye; exit 0' TERM; echo up; while :; do :; done"))
    await printed(job)

    await job.cancel()

    assert job.status is Status.CANCELLED
    assert job.log.lines()[:2] == ["up", "bye"]


async def test_others_run_while_a_command_takes_its_time_to_end(engine: Engine, fifo: Path) -> None:
    job = engine.submit(SubprocessJob(f"trap 'cat {fifo}; exit' TERM; echo up; while :; do :; done", grace=FUSE_S))
    await printed(job)

    cancelling = job.cancel()

    assert job.cancel_requested
    assert await engine.submit(SubprocessJob("true")) == 0
    assert job.status is Status.RUNNING
    fifo.write_bytes(b"")
    await cancelling
    assert job.status is Status.CANCELLED


async def test_a_command_may_be_cancelled_before_it_has_begun(engine: Engine) -> None:
    for _ in range(20):
        job = engine.submit(SubprocessJob("sleep 600", grace=0))
        await job.cancel()

        assert job.status is Status.CANCELLED


async def test_time_that_is_up_ends_the_whole_tree(guarded: Engine) -> None:
    job = guarded.submit(SubprocessJob(STUBBORN, grace=0.1, timeout=1.0))
    pids = await printed_pids(job, 4)
    with pytest.raises(JobTimeout):
        await job

    assert not [each for each in pids if psutil.pid_exists(each)]
    assert job.attempts[0].outcome == "timeout"


async def test_what_a_command_leaves_behind_is_ended_with_it(engine: Engine) -> None:
    job = engine.submit(SubprocessJob("sleep 600 & echo $!"))
    await job

    assert await gone(int(job.log.text()))


async def test_a_daemon_is_ended_with_the_command_that_started_it(guarded: Engine) -> None:
    job = guarded.submit(SubprocessJob("setsid sh -c 'echo $$; exec sleep 600' & sleep 0.1", grace=0.1))
    await job

    assert not psutil.pid_exists(int(job.log.text()))


async def test_stopping_the_engine_ends_commands(engine: Engine) -> None:
    jobs = engine.submit(SubprocessJob("sleep 600 | cat"), SubprocessJob("trap '' TERM; while :; do sleep 0.1; done"))
    async with asyncio.timeout(FUSE_S):
        while len(jobs.running) < 2:
            await asyncio.sleep(0.005)
    begun = time.monotonic()

    await engine.stop()

    assert time.monotonic() - begun < 2.5
    assert [(job.status, job.reason) for job in jobs.values()] == [(Status.CANCELLED, "shutdown")] * 2
    engine.start()
    again = jobs[0].rerun()
    await jobs[0].wait_until_status("running", FUSE_S)
    await jobs[0].cancel()
    await again
    assert await engine.submit(SubprocessJob("true")) == 0


# -- who keeps it


async def test_a_command_has_a_session_of_its_own_and_begins_with_nothing_ignored(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    job = engine.submit(SubprocessJob("echo $$; ps -o sid= -p $$; grep -E 'Sig(Ign|Blk)' /proc/self/status"))
    await job

    own = Path("/proc/self/status").read_text()
    # Without a guard nobody gives up what this process happens to ignore: a nohup or a shell's & for all tests.
    unguarded = "without a guard" in request.node.name
    inherited = int(own.partition("SigIgn:")[2].split()[0], 16) if unguarded else 0
    pid, session, *masks = job.log.lines()
    assert int(session) == int(pid) != os.getsid(0)
    # Those above 31 are the C library's own.
    assert not [each for each in masks if int(each.split()[1], 16) & 0x7FFFFFFF & ~inherited]


async def test_memory_of_the_tree_is_shown(engine: Engine) -> None:
    hold = f"{sys.executable} -c 'x = bytearray(100_000_000); input()'"
    job = engine.submit(SubprocessJob(f"sleep 60 | {hold} & wait", grace=0))

    await job.wait_until(lambda job: (job.memory_bytes or 0) > 100_000_000, FUSE_S)

    await job.cancel()


async def test_a_killed_guard_fails_its_commands_and_is_replaced(guarded: Engine) -> None:
    job = guarded.submit(SubprocessJob(STUBBORN))
    pids = await printed_pids(job, 4)
    guard = psutil.Process().children()[0]

    guard.kill()
    await job.join(FUSE_S)

    assert isinstance(job.exception(), JobLost)
    assert "guard" in job.error
    assert await gone(guard.pid, *pids)
    assert await guarded.submit(SubprocessJob("true")) == 0


async def test_a_guard_that_cannot_start_fails_the_job_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no python today >&2; exit 1")
    broken.chmod(0o755)
    async with Engine(EngineSetting(print_traceback=False, echo=False)) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(broken))
            job = engine.submit(SubprocessJob("true"))
            await job.join(FUSE_S)

        assert isinstance(job.exception(), JobLost)
        assert "no python today" in str(job.exception())
        assert await engine.submit(SubprocessJob("true")) == 0


async def test_a_killed_keeper_fails_its_command_only(guarded: Engine) -> None:
    job = guarded.submit(SubprocessJob(STUBBORN))
    other = guarded.submit(SubprocessJob("echo up; sleep 600", grace=0))
    pids = await printed_pids(job, 4)
    keeper = psutil.Process(pids[0]).parent()
    assert keeper is not None

    keeper.kill()
    await job.join(FUSE_S)

    assert isinstance(job.exception(), JobLost)
    assert await gone(*pids)
    assert other.status is Status.RUNNING
    await other.cancel()


@pytest.mark.parametrize("seed", range(3))
async def test_every_command_ends_whatever_is_killed_meanwhile(guarded: Engine, seed: int) -> None:
    random = Random(seed)
    kernel = psutil.Process()

    for _ in range(6):
        cmds = [random.choice(["true", "exit 3", "sleep 600", "sleep 0.02 | cat"]) for _ in range(8)]
        jobs = guarded.submit(*[SubprocessJob(each, grace=0) for each in cmds])
        await asyncio.sleep(random.random() / 50)
        if victims := kernel.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                random.choice(victims).kill()
        await guarded.cancel(*[job for job in jobs.values() if job.cmd == "sleep 600"])
        await jobs.join(FUSE_S)

        assert all(job.ended for job in jobs.values())
    assert await guarded.submit(SubprocessJob("true")) == 0


async def test_guard_and_engine_share_one_process_with_workers(guarded: Engine) -> None:
    assert await guarded.submit(SubprocessJob("true")) == 0
    assert await guarded.submit(ProcessJob(os.getpid)) > 0
    assert await guarded.submit(SubprocessJob("true")) == 0

    assert len(psutil.Process().children()) == 1


async def test_a_forked_child_holds_no_end_of_a_command_s_pipes(guarded: Engine) -> None:
    job = guarded.submit(SubprocessJob("cat | wc -c", stdin=b"x" * 1_000_000))
    child = os.fork()
    if child == 0:
        time.sleep(1.0)
        os._exit(0)

    assert await job == 0
    assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
