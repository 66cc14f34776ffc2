"""Shell commands as jobs."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

from ipyjobs.conditions import Condition
from ipyjobs.context import current_job
from ipyjobs.daskjob import DaskJob
from ipyjobs.errors import CommandFailed, InvalidOption
from ipyjobs.job import Job, LocalJob, ProcessJob, ThreadJob
from ipyjobs.names import LONGEST, checked_name
from ipyjobs.options import seconds, yes_or_no
from ipyjobs.retry import Retry

if TYPE_CHECKING:
    from ipyjobs.engine import Engine

K = TypeVar("K", bound=Job)

GRACE_S = 5.0
SHELL = "/bin/sh"
CURRENT, CACHE = "$current_dir", "$cache_dir"

TAIL_BYTES = 2000
_TAIL_LINES = 10
_A_COMMAND = "a command: text for the shell, or a list of a program and its arguments"
_WAYS_OUT = {
    "stdout": "redirect_out_err=True, or a path, to have the output in files",
    "stderr": "redirect_out_err=True, or a path, to have the output in files",
    "stdin": "stdin=b'…', what the command is to read",
    "args": "the command itself, as first argument",
    "start_new_session": "nothing: each command has a session of its own",
    "process_group": "nothing: each command has a session of its own",
    "text": "nothing: output is kept as bytes, `job.log` gives both",
    "universal_newlines": "nothing: output is kept as bytes, `job.log` gives both",
    "encoding": "nothing: output is kept as bytes, `job.log` gives both",
    "errors": "nothing: output is kept as bytes, `job.log` gives both",
    "preexec_fn": "a shell command that does it: 'ulimit -v 1000000; make'",
}
_POPEN = ("cwd", "env", "executable", "shell", "umask")
_CODES = {
    124: "that is what `timeout` ends with when the time is up",
    126: "it was found, but may not be executed",
    127: "a command was not found",
}


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be run; plain enough to travel anywhere."""

    text: str
    """As the user wrote it."""
    arguments: tuple[str, ...]
    program: str
    """A path, or a name that is looked for in PATH."""
    cwd: str
    """An absolute path, or one of `CURRENT` and `CACHE`."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    alone: bool = False
    """Whether `env` is the whole environment."""
    umask: int = -1
    """-1: the present one."""
    shell: bool = False
    stdin: bytes | None = field(default=None, repr=False)
    grace_s: float = GRACE_S
    record: bool = True
    folder: str = ""
    """The job's own; may not be there yet."""

    def __repr__(self) -> str:
        return self.text


class SubprocessJob(Job):
    """Runs a command; its result is the return code 0.

    A job that runs in a shell or starts a program. It takes its slot from `base_class`, of which it is an instance,
    but no thread or worker: the command is a process of its own, which is ended with all it has started when the job
    is cancelled, when its time is up, and when the notebook's kernel is gone.

    Parameters
    ----------
    cmd
        A text is given to ``/bin/sh`` as it is: pipes, ``&&`` and ``$VARIABLES`` work. A list is a program and its
        arguments, which no shell sees.
    record_cmd
        Write the command to ``command.sh`` in the job's folder.
    base_class
        Whose limits count: `LocalJob`, `ThreadJob` or `ProcessJob`. With `DaskJob` it runs on a Dask worker.
    callback, error_callback, retries, retry_time_delta, name, condition, wait_time_delta
        As for every job. `name` is by default the first word of the command.
    redirect_out_err
        Also write what it prints to ``stdout.txt`` and ``stderr.txt`` in the job's folder, or to the file of this name.
    target_dir
        Where it runs: a path, "$current_dir" (where the notebook is when the command starts) or "$cache_dir" (the
        job's own folder).
    popen_kwargs
        Those of `subprocess.Popen` that make sense here: ``cwd``, ``env`` (the whole environment), ``executable``,
        ``shell``, ``umask``.
    cwd
        The same as `target_dir`.
    env
        Variables that are added to the present environment.
    stdin
        What the command reads, bytes or text. By default there is nothing to read.
    grace
        Seconds that it has to end when it is asked to (SIGTERM), before it is killed with all it has started.
    timeout, group, tags, priority, queue
        As for every job.

    Raises
    ------
    InvalidOption
        A value makes no sense; when it is submitted also if there is no such program or folder.
    """

    __slots__ = ()

    runs_on: ClassVar[str] = "command"

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if cls is not SubprocessJob:
            return super().__new__(cls)
        base = kwargs["base_class"] if "base_class" in kwargs else args[2] if len(args) > 2 else ThreadJob
        kind: type[Any] = kind_of(SubprocessJob, base)
        return super().__new__(kind)

    def __init__(
        self,
        cmd: str | os.PathLike[str] | Sequence[Any],
        record_cmd: bool = True,
        base_class: type[Job] = ThreadJob,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        retries: int | Retry = 0,
        retry_time_delta: float = 0.0,
        name: str | None = None,
        condition: Condition | None = None,
        wait_time_delta: float = 0.1,
        redirect_out_err: bool | str = False,
        target_dir: str | os.PathLike[str] = CURRENT,
        popen_kwargs: Mapping[str, Any] | None = None,
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, Any] | None = None,
        stdin: bytes | str | None = None,
        grace: float = GRACE_S,
        **options: Any,
    ) -> None:
        command = command_of(cmd, target_dir if cwd is None else cwd, env, popen_kwargs or {})
        if options.pop("change_dir", False):
            command = replace(command, cwd=CACHE)
        command = replace(
            command, stdin=_stdin(stdin), grace_s=seconds("grace", grace), record=yes_or_no("record_cmd", record_cmd)
        )
        super().__init__(
            run_command,
            (command,),
            callback=callback,
            error_callback=error_callback,
            retries=retries,
            retry_time_delta=retry_time_delta,
            name=first_word(command) if name is None else name,
            condition=condition,
            wait_time_delta=wait_time_delta,
            redirect_out_err=redirect_out_err,
            **options,
        )
        self.attrs.update(cmd=command.text, target_dir=command.cwd)

    @property
    def cmd(self) -> str:
        """The command, as it was given."""
        return str(self.attrs.get("cmd", self.name))

    @property
    def target_dir(self) -> str:
        """Where it runs: a path, "$current_dir" or "$cache_dir"."""
        return str(self.attrs.get("target_dir", CURRENT))

    def _settle_in(self, engine: Engine) -> None:
        super()._settle_in(engine)
        command = replace(cast("Command", self.args[0]), folder=str(engine.folder / self.id))
        self.args = (command,)
        if not self.runs_on:  # what it needs is elsewhere, but its folder is here
            if command.record:
                record(command)
        elif self.condition is None:  # else what it needs may be made by the jobs it waits for
            check_there(command)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]} {self.cmd!r}>"


class LocalSubprocessJob(SubprocessJob, LocalJob):
    """A command that counts as a local job."""


class ThreadSubprocessJob(SubprocessJob, ThreadJob):
    """A command that counts as a thread job."""


class ProcessSubprocessJob(SubprocessJob, ProcessJob):
    """A command that counts as a process job."""


class DaskSubprocessJob(SubprocessJob, DaskJob):
    """A command that a Dask worker runs, on the machine where that is."""

    runs_on: ClassVar[str] = ""


def record(command: Command) -> None:
    """Write the command down in the job's folder."""
    os.makedirs(command.folder, mode=0o700, exist_ok=True)
    descriptor = os.open(os.path.join(command.folder, "command.sh"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, os.fsencode(command.text) + b"\n")
    finally:
        os.close(descriptor)


def kind_of(kind: type[K], base: object) -> type[K]:
    """The class of jobs that are both `kind` and `base`.

    Raises
    ------
    InvalidOption
        There is none.
    """
    for each in kind.__subclasses__():
        if base is each.__bases__[-1]:
            return each
    expected = ", ".join(each.__bases__[-1].__name__ for each in kind.__subclasses__())
    raise InvalidOption("base_class", base, f"one of {expected}")


def first_word(command: Command) -> str:
    """What a command is called by default."""
    words = command.text.split() if command.shell else command.arguments
    try:
        return checked_name("name", words[0][:LONGEST].rstrip(";&|") or words[0])
    except InvalidOption:
        return "command"


# -- checks


def command_of(cmd: object, cwd: object, env: Mapping[str, Any] | None, popen: Mapping[str, Any]) -> Command:
    """A command, made of what the user gave."""
    for each in popen:
        if each not in _POPEN:
            way_out = _WAYS_OUT.get(each, f"only {', '.join(_POPEN)}")
            raise InvalidOption("popen_kwargs", {each: popen[each]}, way_out)
    text, arguments = _arguments(cmd)
    shell = popen.get("shell", arguments is None)
    if arguments is None:
        arguments = (SHELL, "-c", text) if shell else tuple(shlex.split(text))
    elif shell:
        raise InvalidOption("popen_kwargs", {"shell": True}, "a text as command for a shell, not a list")
    program = str(popen.get("executable") or arguments[0])
    own, alone = env, False
    if popen.get("env") is not None:
        own, alone = {**popen["env"], **(env or {})}, True
    umask = popen.get("umask", -1)
    if type(umask) is not int or not -1 <= umask <= 0o777:
        raise InvalidOption("umask", umask, "a number from 0 to 0o777")
    return Command(
        text, arguments, program, _folder(popen.get("cwd") or cwd), _environment(own or {}), alone, umask, shell
    )


def _arguments(cmd: object) -> tuple[str, tuple[str, ...] | None]:
    """The command as text, and its words if it was given in words."""
    if isinstance(cmd, str):
        if not cmd.strip() or "\0" in cmd:
            raise InvalidOption("cmd", cmd, _A_COMMAND)
        return cmd, None
    path = _path(cmd)
    if path is None and (isinstance(cmd, (bytes, Mapping)) or not isinstance(cmd, Iterable)):
        raise InvalidOption("cmd", cast("object", cmd), _A_COMMAND)
    words = (path,) if path is not None else tuple(_word(each) for each in cast("Iterable[object]", cmd))
    if not words or not words[0] or any("\0" in each for each in words):
        raise InvalidOption("cmd", words, "a list that starts with a program, without NUL characters")
    return shlex.join(words), words


def _word(value: object) -> str:
    path = _path(value)
    if path is not None:
        return path
    return os.fsdecode(value) if isinstance(value, bytes) else str(value)


def _path(value: object) -> str | None:
    """The path, if it is an object that stands for one; texts are not."""
    return os.fsdecode(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else None


def _folder(cwd: object) -> str:
    path = cwd if isinstance(cwd, str) else _path(cwd)
    if not path or "\0" in path:
        raise InvalidOption("cwd", cwd, f"a path, {CURRENT!r} or {CACHE!r}")
    return path if path in (CURRENT, CACHE) else os.path.abspath(os.path.expanduser(path))


def _environment(env: object) -> dict[str, str]:
    if not isinstance(env, Mapping):
        raise InvalidOption("env", env, "a dict of names and values")
    found = {_word(name): _word(value) for name, value in cast("Mapping[object, object]", env).items()}
    for name, value in found.items():
        if not name or "=" in name or "\0" in name + value:
            raise InvalidOption("env", {name: value}, "names without '=', and no NUL characters")
    return found


def _stdin(stdin: object) -> bytes | None:
    if stdin is None or isinstance(stdin, bytes):
        return stdin
    if isinstance(stdin, (bytearray, memoryview)):
        return bytes(cast("bytes", stdin))
    if isinstance(stdin, str):
        return stdin.encode()
    raise InvalidOption("stdin", stdin, "bytes or text")


def check_there(command: Command) -> None:
    """Raise `InvalidOption` if the command's program or folder is not there."""
    cwd = os.getcwd() if command.cwd in (CURRENT, CACHE) else command.cwd
    if not os.path.isdir(cwd):
        raise InvalidOption("cwd", command.cwd, "a folder, and there is none of this name")
    if command.shell and command.program == SHELL:
        return
    path = command.env.get("PATH") or (os.defpath if command.alone else os.environ.get("PATH", os.defpath))
    where = command.program if os.sep not in command.program else os.path.join(cwd, command.program)
    if shutil.which(where, path=path) is None:
        there = os.path.exists(where)
        why = "and this file may not be executed" if there else "and there is none of this name"
        raise InvalidOption("cmd", command.program, f"a program, {why}")


# -- how it ended


def error_of(command: Command, status: int, out: bytes, err: bytes, *, memory: bool = False) -> CommandFailed:
    """Why a command failed.

    Parameters
    ----------
    status
        Its return code; negative: the number of the signal that killed it.
    out, err
        The end of what it printed.
    memory
        Whether the system has just killed somebody for want of memory.
    """
    said = last_lines(err) or last_lines(out)
    if status < 0:
        how = f"was killed by {signal_name(-status)}"
        if memory and -status == signal.SIGKILL:
            how += ": the system ran out of memory"
    else:
        how = f"failed with exit status {status}" + _hint(status)
    shown = command.text if len(command.text) <= 200 else command.text[:199] + "…"
    text = f"command {shown!r} {how}" + (f"; it said:\n{said}" if said else "")
    return CommandFailed(text, command=command.text, code=status, stderr=last_lines(err))


def refusal_of(command: Command, what: str, number: int) -> CommandFailed:
    """Why a command could not even be started."""
    why = os.strerror(number) if number else "unknown reason"
    culprit = command.cwd if what == "cwd" else command.program
    return CommandFailed(f"command {command.text[:200]!r} cannot be started: {culprit}: {why}", command=command.text)


def signal_name(number: int) -> str:
    """A signal's name, or its number."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def last_lines(data: bytes) -> str:
    """The last lines of what a command has printed."""
    return "\n".join(data.decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]).strip()


def _hint(status: int) -> str:
    if status in _CODES:
        return f" ({_CODES[status]})"
    if status > 128 and status - 128 in set(signal.Signals):
        return f" (as shells say of {signal_name(status - 128)}: 128 + {status - 128})"
    return ""


# -- where no backend of ours runs it


def run_command(command: Command) -> int:
    """Run a command where a job's function runs, for backends that know nothing of commands; see `SubprocessJob`.

    Raises
    ------
    CommandFailed
        Its return code is not 0.
    """
    process = _started(command)
    tails = [bytearray(), bytearray()]
    variables = [copy_context(), copy_context()]
    threads = [
        threading.Thread(target=context.run, args=(_pass_on, pipe, stream, tail), daemon=True)
        for context, pipe, stream, tail in zip(
            variables, (process.stdout, process.stderr), ("stdout", "stderr"), tails, strict=True
        )
    ]
    if command.stdin is not None:
        threads.append(threading.Thread(target=_feed, args=(process.stdin, command.stdin), daemon=True))
    for each in threads:
        each.start()
    try:
        status = _waited(process)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for each in threads:
            each.join(1.0)
    if status:
        raise error_of(command, status, bytes(tails[0]), bytes(tails[1]))
    return status


def _started(command: Command) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command.arguments,
            executable=command.program,
            cwd=place_of(command),
            env={**({} if command.alone else os.environ), **command.env},
            umask=command.umask,
            stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        what = "command" if os.path.isdir(place_of(command)) else "cwd"
        raise refusal_of(command, what, error.errno or 0) from None


def place_of(command: Command) -> str:
    """The folder a command runs in, as of now."""
    if command.cwd == CURRENT:
        return os.getcwd()
    if command.cwd == CACHE:
        os.makedirs(command.folder, exist_ok=True)
        return command.folder
    return command.cwd


def _waited(process: subprocess.Popen[bytes]) -> int:
    job = current_job()
    while True:
        try:
            return process.wait(0.5)
        except subprocess.TimeoutExpired:
            # No event tells a function that its job was cancelled.
            if job is not None and job.cancelled():
                process.terminate()


def _pass_on(pipe: IO[bytes], stream: str, tail: bytearray) -> None:
    while data := os.read(pipe.fileno(), 65536):
        tail += data[-TAIL_BYTES:]
        del tail[:-TAIL_BYTES]
        getattr(sys, stream).write(data.decode("utf-8", "replace"))


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with suppress(BrokenPipeError), pipe:
        pipe.write(data)
