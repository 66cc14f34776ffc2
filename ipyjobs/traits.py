"""The two kinds of traits that a job has, what goes in and what comes out, and how changes are told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import traitlets
from traitlets.utils.bunch import Bunch

from ipyjobs.errors import InvalidStateError
from ipyjobs.log import logger
from ipyjobs.status import Status, checked_status

if TYPE_CHECKING:
    from ipyjobs.engine import Engine

_telling = threading.Lock()


class Field(traitlets.Any):
    """A trait that is always set, so that reading it is one look-up: the engine reads forty for each job."""

    def __get__(self, obj: Any, cls: type[Any] | None = None) -> Any:
        return self if obj is None else obj._trait_values[self.name]


class Input(Field):
    """What the user gives; read-only once the job was submitted."""

    def __set__(self, obj: Any, value: object) -> None:
        if obj._trait_values["status"] is not Status.CREATED:
            raise InvalidStateError(f"{self.name} of job {obj.name!r} was fixed when it was submitted; make a new job")
        super().__set__(obj, value)


class Outcome(Field):
    """What the engine says; read-only for everybody else."""

    def __init__(self, default: object = None) -> None:
        super().__init__(default, read_only=True, allow_none=True)

    def __set__(self, obj: Any, value: object) -> None:
        if self.name == "status":
            checked_status(value)
        raise InvalidStateError(f"{self.name} of job {obj.name!r} is set by its engine only; use its methods")


class Reactive(traitlets.HasTraits):
    """A model whose values the engine writes directly, and whose observers are called on the user's loop."""

    __slots__ = ()
    engine: Engine | None
    _unsaid: dict[str, object] | None
    """What changed since the observers were called, with the values before."""

    def observe(self, handler: Any, names: Any = traitlets.All, type: Any = "change") -> None:
        """As in traitlets; `handler` is called on the user's loop, where quick changes may come as one."""
        if isinstance(getattr(handler, "__self__", None), traitlets.link):
            raise TypeError("a job's traits change one way only: use `dlink((job, name), (widget, name))`, not `link`")
        super().observe(handler, names=names, type=type)

    def _set(self, changes: dict[str, Any]) -> None:
        """Write outcome traits. Only on the engine's loop, and only by the engine."""
        values = self._trait_values
        if self._trait_notifiers:
            everything = traitlets.All in self._trait_notifiers
            watched = changes if everything else changes.keys() & self._trait_notifiers.keys()
            with _telling:
                first = not self._unsaid
                unsaid = self._unsaid = self._unsaid or {}
                for name in watched:
                    unsaid.setdefault(name, values[name])
                values.update(changes)
                if first and unsaid and self.engine is not None:
                    self.engine.outbox.post(self._tell)
        else:
            values.update(changes)

    def _tell(self) -> None:
        """Call observers of what has changed. Only on the user's loop; one that raises stops no other."""
        with _telling:
            unsaid, self._unsaid = self._unsaid or {}, None
        for name, old in unsaid.items():
            new = self._trait_values[name]
            if old is new or old == new:
                continue
            change = Bunch(name=name, old=old, new=new, owner=self, type="change")
            for handler in self._handlers(name):
                try:
                    handler(change)
                except Exception:
                    logger.exception("ipyjobs: an observer of {!r} raised", name)

    def _handlers(self, name: str) -> list[Callable[[Any], object]]:
        found: list[Callable[[Any], object]] = []
        for key in (name, traitlets.All):
            for kind in ("change", traitlets.All):
                for given in self._trait_notifiers.get(key, {}).get(kind, ()):
                    decorated = isinstance(given, traitlets.EventHandler)  # a method of a subclass
                    handler = getattr(self, str(given.name)) if decorated else given
                    if handler not in found:
                        found.append(handler)
        return found
