"""What jobs log: sends handlers that hold a stream from before jobs were told apart through the dispatcher above it."""

from __future__ import annotations

import logging
from typing import Any

from ipyjobs.log import sinks


def follow(stream: object, dispatcher: Any) -> None:
    """Have handlers of `logging` and loguru that write to `stream` write to the `Dispatcher` that lies over it.

    They keep their levels, formats and filters, and outside of jobs their output goes where it went. A handler of our
    own beside them would print twice, and on the root logger it would turn `logging.basicConfig` off.
    """
    loggers: list[Any] = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    for each in loggers:
        for handler in list(getattr(each, "handlers", ())):
            if getattr(handler, "stream", None) is stream and hasattr(handler, "setStream"):
                handler.setStream(dispatcher)
    for each in dict(sinks() or {}).values():
        # Loguru (0.7) has no public way to say where a sink writes; should this change, such sinks stay as they are.
        sink = getattr(each, "_sink", None)
        if getattr(sink, "_stream", None) is stream:
            setattr(sink, "_stream", dispatcher)  # noqa: B010 - not ours, so not declared
