"""Jobs that have the engine to themselves."""

from __future__ import annotations

from ipyjobs.job import LocalJob


class MainJob(LocalJob):
    """Runs on the user's loop with the engine to itself: until it has ended nothing starts, and nothing can stop it.

    What runs already goes on. The function may be a coroutine function.
    """

    exclusive = True
