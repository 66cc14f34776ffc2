"""Where this process is: the folder, environment and search path that its process jobs start with."""

from __future__ import annotations

import sys

from ipyjobs.backends.process import wire


class Surroundings:
    """What was there at the last look, and how often it has changed."""

    def __init__(self) -> None:
        self.version = 0
        self.imports = 0
        """Version of what imports depend on: environment and search path."""
        self.sent: tuple[dict[bytes, bytes], str, list[str]] = ({}, "", [])
        """Environment, folder and search path, as a worker is told."""
        self._path: list[str] = []

    def changed(self) -> bool:
        """Whether something is not as it was at the last `update`."""
        environ, cwd, _ = self.sent
        return wire.environ() != environ or wire.cwd() != cwd or sys.path != self._path

    def update(self) -> bool:
        """Look anew.

        Returns
        -------
        bool
            Whether environment or search path have changed. Libraries read these when they are imported: who has
            imported any is of no use any more.
        """
        environ, _, path = self.sent
        self.version += 1
        differs = wire.environ() != environ or sys.path != self._path
        if differs:
            self.imports += 1
            environ, self._path, path = dict(wire.environ()), list(sys.path), wire.search_path()
        self.sent = environ, wire.cwd(), path
        return differs
