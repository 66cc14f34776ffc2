"""A job as it travels to another process: what it was when it left."""

from __future__ import annotations

from dataclasses import dataclass, field

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
