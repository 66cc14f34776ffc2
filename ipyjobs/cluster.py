"""What a user may give to say where Dask jobs run."""

from __future__ import annotations

from ipyjobs.errors import InvalidOption

_WANTED = (
    "a distributed.Client, a cluster that is running (its scheduler_address is known), "
    "or a scheduler's address such as 'tcp://10.0.0.1:8786'"
)


def checked_cluster(option: str, given: object) -> object:
    """`given` if it leads to a scheduler; None stands for a cluster of the engine's own.

    Raises
    ------
    InvalidOption
        It does not.
    """
    if given is None or is_client(given):
        return given
    address = given if isinstance(given, str) else getattr(given, "scheduler_address", None)
    if not isinstance(address, str) or "://" not in address:
        raise InvalidOption(option, given, _WANTED)
    return given


def is_client(given: object) -> bool:
    """Whether it is a client of Dask's; importing nothing to find out."""
    return any(each.__module__ == "distributed.client" and each.__name__ == "Client" for each in type(given).__mro__)
