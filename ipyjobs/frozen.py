"""Jobs and tasks as they travel to another process: what a job was when it left, and the function of a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ipyjobs.errors import InvalidStateError
from ipyjobs.pickling import Payload


@dataclass(frozen=True)
class FrozenJob:
    """A snapshot of a job, found inside a worker where the job itself was captured."""

    id: str
    name: str
    status: str
    _payload: Payload | None = field(default=None, repr=False)

    def result(self) -> object:
        """The job's result.

        Raises
        ------
        InvalidStateError
            The job was not done when it was sent here.
        """
        if self._payload is None:
            raise InvalidStateError(f"job {self.name!r} was {self.status} when it was sent to this process")
        return self._payload.load()


def plain_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a task is in a worker, which has no engine: its function, called in place."""
    return function


@dataclass(frozen=True)
class AwaitedFunction:
    """What a task with `async_mode` is in a worker: its function, called in place, to be awaited."""

    function: Callable[..., Any]

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, and await what it gives if that is a coroutine."""
        value = self.function(*args, **kwargs)
        return await value if hasattr(value, "__await__") else value
