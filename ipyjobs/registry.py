"""The tasks of an engine, by name."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ipyjobs.log import logger

if TYPE_CHECKING:
    from ipyjobs.tasks import Task

    AnyTask = Task[...]
else:
    AnyTask = Any


class Tasks(Mapping[str, AnyTask]):
    """Which task is meant by a name. A task enters itself with its first job, or where it is given the engine."""

    def __init__(self) -> None:
        self._by_name: dict[str, AnyTask] = {}
        self._known: weakref.WeakSet[AnyTask] = weakref.WeakSet()

    def register(self, task: AnyTask) -> None:
        """Enter a task under its name; of two with one name the latest wins. Doing it twice is harmless."""
        if task in self._known:
            return
        self._known.add(task)
        before = self._by_name.get(task.name)
        if before is not None and _place(before) != _place(task):  # a cell that was run again has the same place
            logger.warning(
                "two tasks have the name {!r}: {} and now {}; give one another name", task.name, _place(before),
                _place(task),
            )  # fmt: skip
        self._by_name[task.name] = task

    def __getitem__(self, name: str) -> AnyTask:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._by_name))

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"<tasks: {', '.join(self._by_name)}>"


def _place(task: AnyTask) -> str:
    function = task.function
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"
