"""The engines of this process: which one is meant when none is named, and that none outlives the process."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipyjobs.engine import Engine

engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_default: Engine | None = None


def get_default_engine() -> Engine:
    """The engine for whoever names none: the notebook's, the last one given to `set_default_engine`, or a new one."""
    global _default
    if _default is None:
        from ipyjobs.engine import Engine  # which is above: it enters itself here when it is made

        _default = Engine()
    return _default


def set_default_engine(engine: Engine) -> None:
    """Make `engine` the one that `get_default_engine` gives."""
    global _default
    _default = engine


def swap_default_engine(engine: Engine | None) -> Engine | None:
    """Make `engine` the default one; the one before, None if nobody has needed one yet."""
    global _default
    before, _default = _default, engine
    return before


@atexit.register
def _stop_all() -> None:
    for engine in list(engines):
        if engine.pid != os.getpid():
            continue
        if engine.has_thread:
            engine.stop()
        elif engine.recorder is not None:
            engine.recorder.finish(engine.grace_s)
