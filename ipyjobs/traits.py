"""The two kinds of traits that a job has: what goes in, and what comes out."""

from __future__ import annotations

from typing import Any

import traitlets

from ipyjobs.errors import InvalidStateError
from ipyjobs.status import Status


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
