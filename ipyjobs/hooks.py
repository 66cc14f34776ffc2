"""What plugins can hear of and refuse: the hooks, and the manager that calls them. See https://pluggy.readthedocs.io."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

import pluggy

from ipyjobs.errors import InvalidOption
from ipyjobs.log import logger

if TYPE_CHECKING:
    from ipyjobs.engine import Engine
    from ipyjobs.events import Event
    from ipyjobs.job import Job

GROUP = "ipyjobs"
"""The entry points that name installed plugins, and what every hook's name begins with."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""For options of pluggy: ``@hookimpl(tryfirst=True)``. A hook without options needs no mark, its name is enough."""


class Hooks:
    """What a plugin may define. Each may leave out arguments that it doesn't need."""

    @hookspec
    def ipyjobs_submitting(self, engine: Engine, job: Job) -> bool | None:
        """A job is about to be taken in or run again; False refuses it: it is cancelled with reason "veto".

        On the thread that submits, which waits: be quick. For what a page asks, that is the engine's own thread.
        """

    @hookspec
    def ipyjobs_cancelling(self, engine: Engine, job: Job) -> bool | None:
        """Somebody wants to cancel or remove a job that has not ended; False refuses.

        On the thread that asks, as for `ipyjobs_submitting`. Timeouts, upstreams and the engine's end don't ask.
        """

    @hookspec
    def ipyjobs_event(self, engine: Engine, job: Job, event: Event) -> None:
        """A job has moved. On the user's loop, in order; may be a coroutine function."""

    @hookspec
    def ipyjobs_starting(self, engine: Engine) -> None:
        """The engine has started. On the thread that started it."""

    @hookspec
    def ipyjobs_closing(self, engine: Engine) -> None:
        """The engine is about to be stopped; its jobs still run. On the thread that stops it."""


class Plugins(pluggy.PluginManager):
    """The plugins of one engine: any objects or modules with hooks."""

    _names: ClassVar[tuple[str, ...]] = tuple(each for each in vars(Hooks) if each.startswith(GROUP + "_"))

    def __init__(self, changed: Any) -> None:
        super().__init__(GROUP)
        self.add_hookspecs(Hooks)
        self._changed = changed

    def register(self, plugin: Any, name: str | None = None) -> str | None:
        """Have the hooks of `plugin` called from now on.

        Raises
        ------
        InvalidOption
            It has a hook that there is not, or that is not possible.
        ValueError
            It, or another of its name, is registered already.
        """
        for each in dir(plugin):
            if each.startswith(GROUP + "_") and callable(getattr(plugin, each)):
                self._check(each, getattr(plugin, each))
        registered = super().register(plugin, name)
        self._changed()
        return registered

    def unregister(self, plugin: Any | None = None, name: str | None = None) -> Any:
        """Call the hooks of `plugin` no longer."""
        gone = super().unregister(plugin, name)
        self._changed()
        return gone

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None and name in self._names and inspect.isroutine(getattr(plugin, name, None)):
            return {}
        return options

    def has(self, hook: str) -> bool:
        """Whether any plugin has this hook."""
        return bool(getattr(self.hook, hook).get_hookimpls())

    def call(self, hook: str, **given: Any) -> Iterator[Any]:
        """Call a hook of all plugins, the latest first; the answers. One that raises is logged and stops no other."""
        for implementation in reversed(getattr(self.hook, hook).get_hookimpls()):
            try:
                yield implementation.function(*(given[each] for each in implementation.argnames))
            except Exception:
                logger.exception("plugin {!r}: {} raised", implementation.plugin_name, hook)

    def load_installed(self) -> None:
        """Register what installed packages name as entry points."""
        for each in entry_points(group=GROUP):
            try:
                self.register(each.load(), each.name)
            except Exception:  # somebody else's package must not keep the engine from starting
                logger.exception("plugin {!r} could not be loaded", each.name)

    def _check(self, name: str, hook: Any) -> None:
        if name not in self._names:
            raise InvalidOption("hook", name, "one of " + ", ".join(self._names))
        options: dict[str, Any] = getattr(hook, f"{GROUP}_impl", None) or {}
        if options.get("wrapper") or options.get("hookwrapper"):
            raise InvalidOption("hook", name, "a plain function: wrappers are not called")
        if name != "ipyjobs_event" and inspect.iscoroutinefunction(hook):
            raise InvalidOption("hook", name, "a plain function: only ipyjobs_event may be a coroutine function")
