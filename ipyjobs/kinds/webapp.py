"""Web apps as jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from ipyjobs.conditions import Condition
from ipyjobs.daskjob import DaskJob
from ipyjobs.errors import ForeignAddress, InvalidLauncher, InvalidOption
from ipyjobs.job import Job, LocalJob, ProcessJob, ThreadJob
from ipyjobs.kinds.command import CURRENT, GRACE_S, Command, check_there, command_of, first_word, kind_of
from ipyjobs.options import seconds, whole, yes_or_no
from ipyjobs.ports import EVERYWHERE, trouble
from ipyjobs.retry import Retry

if TYPE_CHECKING:
    from ipyjobs.engine import Engine

LOOPBACK = "127.0.0.1"
Launcher = Callable[[str, int], Any]


@dataclass(frozen=True, slots=True)
class Webapp:
    """What is to be served, and where; plain enough to travel anywhere."""

    ip: str
    port: int | None
    """None: one that is free when it starts."""
    inner: str
    """The backend that runs it."""
    within_s: float
    """How long it may take until it listens."""
    command: Command | None = None
    """With {ip} and {port} in it; None: the job's function is the launcher."""

    def __repr__(self) -> str:
        return f"{self.ip}:{'any port' if self.port is None else self.port}"

    def at(self, port: int) -> Command:
        """The command for a port."""
        assert self.command is not None
        places = {"{ip}": self.ip, "{port}": str(port)}

        def filled(text: str) -> str:
            # Not `format`: other braces in a command are the command's own.
            for place, value in places.items():
                text = text.replace(place, value)
            return text

        command = self.command
        return replace(
            command, text=filled(command.text), arguments=tuple(filled(each) for each in command.arguments),
            program=filled(command.program),
        )  # fmt: skip


class WebappJob(Job):
    """Serves a web app; runs until it is cancelled, and is `ready` when it answers at `address`.

    It takes a slot of its `base_class`, but none of the `max_jobs` that others need. The port is free again when the
    job has ended; run again, it may be another.

    Parameters
    ----------
    web_launcher
        A function that serves when it is called with an address and a port: ``def app(ip, port)``. Or a command, text
        or list, with ``{ip}`` and ``{port}`` in it.
    ip
        "127.0.0.1" or "localhost"; with `expose` also "0.0.0.0".
    port
        By default one that is free.
    base_class
        `LocalJob`, `ThreadJob`, `ProcessJob` or `DaskJob`: where a function runs, and whose limits count.
    check_times, check_delta
        It must listen within ``check_times * check_delta`` seconds, or it fails. It is looked for more often than that.
    callback, error_callback, retries, retry_time_delta, name, condition, wait_time_delta, redirect_out_err
        As for every job.
    expose
        Allow "0.0.0.0": anybody who can reach this machine can reach the app.
    target_dir, cwd, env, popen_kwargs, grace, record_cmd
        Of a command; see `SubprocessJob`.
    timeout, group, tags, priority, queue
        As for every job.

    Raises
    ------
    InvalidOption
        A value makes no sense; when it is submitted also if the port is taken. `ForeignAddress` for an address of
        another machine, `InvalidLauncher` for a launcher that is neither a function nor a command.
    """

    __slots__ = ()

    general_slot: ClassVar[bool] = False
    runs_on: ClassVar[str] = "webapp"

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if cls is not WebappJob:
            return super().__new__(cls)
        base = kwargs["base_class"] if "base_class" in kwargs else args[3] if len(args) > 3 else ProcessJob
        kind: type[Any] = kind_of(WebappJob, base)
        return super().__new__(kind)

    def __init__(
        self,
        web_launcher: Launcher | str | Sequence[Any],
        ip: str = LOOPBACK,
        port: int | None = None,
        base_class: type[Job] = ProcessJob,
        check_times: int = 6,
        check_delta: float = 1.0,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        retries: int | Retry = 0,
        retry_time_delta: float = 0.0,
        name: str | None = None,
        condition: Condition | None = None,
        wait_time_delta: float = 0.1,
        redirect_out_err: bool | str = False,
        *,
        expose: bool = False,
        target_dir: str | os.PathLike[str] = CURRENT,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, Any] | None = None,
        popen_kwargs: Mapping[str, Any] | None = None,
        grace: float = GRACE_S,
        record_cmd: bool = True,
        **options: Any,
    ) -> None:
        _check_address(ip, yes_or_no("expose", expose))
        if port is not None and not 1 <= whole("port", port) <= 65535:
            raise InvalidOption("port", port, "a number from 1 to 65535")
        if whole("check_times", check_times) < 1:
            raise InvalidOption("check_times", check_times, "a whole number from 1")
        within_s = check_times * seconds("check_delta", check_delta)
        command = None
        if not callable(web_launcher):
            command = replace(
                command_of(_template(web_launcher), target_dir if cwd is None else cwd, env, popen_kwargs or {}),
                grace_s=seconds("grace", grace), record=yes_or_no("record_cmd", record_cmd),
            )  # fmt: skip
            name = first_word(command) if name is None else name
        elif cwd is not None or env or popen_kwargs or target_dir != CURRENT:
            raise InvalidOption("web_launcher", web_launcher, "a command with cwd, env or popen_kwargs, not a function")
        webapp = Webapp(ip, port, "command" if command else self.backend_name, within_s, command)
        super().__init__(
            _no_function if command else cast("Launcher", web_launcher),
            (webapp,),
            callback=callback,
            error_callback=error_callback,
            retries=retries,
            retry_time_delta=retry_time_delta,
            name=name,
            condition=condition,
            wait_time_delta=wait_time_delta,
            redirect_out_err=redirect_out_err,
            **options,
        )
        if command:
            self.attrs["cmd"] = command.text

    @property
    def webapp(self) -> Webapp | None:
        """What is served, and where; None for one of an earlier session that was not run again."""
        return self.args[0] if self.args else None

    @property
    def ip(self) -> str:
        """Where it listens."""
        return self.webapp.ip if self.webapp else self.address.removeprefix("http://").rpartition(":")[0]

    @property
    def port(self) -> int | None:
        """Its port; None before it has one."""
        if self.address:
            return int(self.address.rpartition(":")[2])
        return self.webapp.port if self.webapp else None

    @property
    def attrs(self) -> dict[str, Any]:
        attrs = super().attrs
        if self.port is not None:
            attrs["address"] = f"{self.ip}:{self.port}"
        return attrs

    async def until_ready(self, timeout: float | None = None) -> str:
        """Wait until it answers; gives its address.

        Raises
        ------
        BaseException
            It has ended before it was ready: what it failed with.
        TimeoutError
            It was not ready within `timeout` seconds; it goes on.
        """
        await self.wait_until(lambda job: job.ready or job.ended, timeout)
        if self.ended and not self.ready:
            self.result()
        return self.address

    @property
    def _called_on(self) -> str:
        return self.webapp.inner if self.webapp else super()._called_on

    def _settle_in(self, engine: Engine) -> None:
        super()._settle_in(engine)
        webapp = cast("Webapp", self.args[0])
        if webapp.command is not None:
            webapp = replace(webapp, command=replace(webapp.command, folder=str(engine.folder / self.id)))
            self.args = (webapp,)
        if self.condition is None:  # else what it needs may be made, or the port given up, by jobs that it waits for
            if webapp.command is not None:
                check_there(webapp.at(webapp.port or 0))
            if webapp.port is not None and (why := trouble(webapp.ip, webapp.port)):
                raise InvalidOption("port", webapp.port, f"a port that is free, and {why}; None takes one that is")

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]} at {self.ip}:{self.port or '?'}>"


class LocalWebappJob(WebappJob, LocalJob):
    """A web app that is served by a coroutine function on the user's loop, or counts as a local job."""


class ThreadWebappJob(WebappJob, ThreadJob):
    """A web app that is served by a thread, or counts as a thread job."""


class ProcessWebappJob(WebappJob, ProcessJob):
    """A web app that is served by a worker process, or counts as a process job."""


class DaskWebappJob(WebappJob, DaskJob):
    """A web app that a Dask worker of this machine serves, or that counts as a Dask job."""


def _no_function(webapp: Webapp) -> None:
    """Stands for the function where there is a command."""


def _check_address(ip: object, expose: bool) -> None:
    if ip in (LOOPBACK, "localhost"):
        return
    if ip != EVERYWHERE:
        raise ForeignAddress("ip", ip, "127.0.0.1 or localhost: web apps are served on this machine only")
    if not expose:
        raise InvalidOption("ip", ip, "127.0.0.1; or expose=True, if all who can reach this machine may use the app")


def _template(launcher: object) -> str | list[object]:
    words: list[object] = []
    if isinstance(launcher, str):
        text = launcher
    elif isinstance(launcher, (list, tuple)):
        words = list(cast("Sequence[object]", launcher))
        text = " ".join(map(str, words))
    else:
        raise InvalidLauncher("web_launcher", launcher, "a function of (ip, port), or a command with {ip} and {port}")
    if "{ip}" not in text or "{port}" not in text:
        raise InvalidOption("web_launcher", text, "a command with {ip} and {port} in it")
    return words or text
