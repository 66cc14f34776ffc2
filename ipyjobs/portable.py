"""What can be given away as bytes, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ipyjobs.job import Job


class Portable:
    """The part of a job that has to do with bytes."""

    __slots__ = ()

    def serialization(self) -> bytes:
        """All of the job as bytes, signed with this user's key; the engine stays behind.

        Raises
        ------
        NotPicklable
            Its result cannot travel.
        """
        from ipyjobs.parcel import packed  # which is above: it makes jobs

        return packed(cast("Job", self))

    @staticmethod
    def deserialization(data: bytes, trust: bool = False) -> Job:
        """The job that `serialization` made bytes of: id, status, result or exception, attempts and story.

        Parameters
        ----------
        data
            Loading a job's result runs whatever its bytes say, so they must be signed with this user's key.
        trust
            Take them all the same; only if you know who wrote them.

        Raises
        ------
        Unverified
            The bytes are not signed with this user's key.
        ResultUnreadable
            They are another Python's, or incomplete.
        """
        from ipyjobs.parcel import unpacked  # which is above: it makes jobs

        return unpacked(data, trust=trust)
