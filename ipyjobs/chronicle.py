"""Tells what happens to jobs, and asks about it: plugins by their hooks, log sinks by messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ipyjobs.callbacks import go_on
from ipyjobs.events import Event
from ipyjobs.log import added_sinks, logger, sinks
from ipyjobs.status import Verb

if TYPE_CHECKING:
    from ipyjobs.engine import Engine
    from ipyjobs.hooks import Plugins
    from ipyjobs.job import Job

_DETAILS = frozenset({Verb.SUBMIT, Verb.RELEASE})
"""What is told at level DEBUG; all else is INFO."""
_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30}
_SAYS: dict[Verb, str] = {
    Verb.SUBMIT: "was submitted", Verb.START: "started", Verb.FINISH: "is done", Verb.FAIL: "failed",
    Verb.RETRY: "is tried again", Verb.RELEASE: "is started anew", Verb.LOSE: "was lost",
    Verb.CANCEL: "was cancelled", Verb.RERUN: "runs again",
}  # fmt: skip


class Chronicle:
    """Who wants to know about the jobs of one engine. While nobody does, it costs nothing for each job."""

    installed: bool | None = None
    """Whether installed packages name plugins; for all engines, as looking takes 5 ms."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._plugins: Plugins | None = None
        self._sinks: object = None
        self._wanted: str | None = None
        self._level = _LEVELS["WARNING"]
        self._tells_plugins = False
        self._last = 0
        self._since = 0.0

    # -- plugins, from any thread

    @property
    def plugins(self) -> Plugins:
        """The engine's plugins."""
        if self._plugins is None:
            from ipyjobs.hooks import Plugins  # pluggy is only needed where there are plugins

            self._plugins = Plugins(self._listen)
        return self._plugins

    def refused(self, hook: Literal["ipyjobs_submitting", "ipyjobs_cancelling"], jobs: Sequence[Job]) -> list[Job]:
        """The jobs of which a plugin says that it must not be."""
        plugins = self._plugins
        if plugins is None or not plugins.has(hook):
            return []
        return [job for job in jobs if any(each is False for each in plugins.call(hook, engine=self._engine, job=job))]

    def engine_starts(self) -> None:
        """Load the installed plugins, and say that the engine has started."""
        if self._plugins is None:
            if Chronicle.installed is None:
                from importlib.metadata import entry_points

                Chronicle.installed = bool(entry_points(group="ipyjobs"))
            if Chronicle.installed:
                self.plugins.load_installed()
        self._say("ipyjobs_starting")

    def engine_closes(self) -> None:
        """Say that the engine is about to be stopped."""
        self._say("ipyjobs_closing")

    def _say(self, hook: str) -> None:
        if self._plugins is not None:
            for _ in self._plugins.call(hook, engine=self._engine):
                pass

    # -- who listens

    def look(self) -> None:
        """Notice other sinks, or another level. Called with what the user does, so never between two jobs."""
        if sinks() is not self._sinks or self._engine.setting.log_level != self._wanted:
            self._listen()

    def _listen(self) -> None:
        self._sinks = sinks()
        self._wanted = wanted = self._engine.setting.log_level
        if wanted is not None:
            self._level = _LEVELS[wanted]
        else:
            self._level = min(added_sinks(), default=_LEVELS["WARNING"])
        self._tells_plugins = self._plugins is not None and self._plugins.has("ipyjobs_event")
        listeners = self._engine.flow.listeners
        listens = self._tells_plugins or self._level < _LEVELS["WARNING"]
        if listens and self._moved not in listeners:
            self._since = time.time()
            listeners.append(self._moved)
        elif not listens and self._moved in listeners:
            # Elsewhere somebody may just go through the list.
            engine = self._engine
            if engine.alive:
                engine.inbox.post(listeners.remove, self._moved)
            else:
                listeners.remove(self._moved)

    # -- what happens

    def _moved(self, job: Job) -> None:
        """On the engine's loop, whenever something about a job has changed."""
        last = job._story[-1] if job._story else None
        # Not every change is a move, and what was before anybody listened is nobody's business.
        if last is None or last[0] <= self._last or last[1] < self._since:
            return
        self._last = last[0]
        event = Event(*last)
        level = _LEVELS["DEBUG" if event.verb in _DETAILS else "INFO"]
        if self._tells_plugins or level >= self._level:
            self._engine.outbox.post(self._tell, job, event, level)

    def _tell(self, job: Job, event: Event, level: int) -> None:
        """On the user's loop: sinks and hooks are the user's code."""
        if level >= self._level:
            reason = f" ({event.reason})" if event.reason else ""
            attempt = f", attempt {event.attempt}" if event.attempt else ""
            bound = logger.bind(engine=self._engine.id, job=job.id, verb=str(event.verb), at=event.at)
            name = "DEBUG" if level == _LEVELS["DEBUG"] else "INFO"
            bound.log(name, "job {!r} {}{}{}{}", job.name, _SAYS[event.verb], reason, attempt,
                      f": {event.text}" if event.text else "")  # fmt: skip
        if self._tells_plugins and self._plugins is not None:
            for answer in self._plugins.call("ipyjobs_event", engine=self._engine, job=job, event=event):
                if asyncio.iscoroutine(answer):
                    go_on(answer, self._engine.outbox.loop, "ipyjobs_event")
