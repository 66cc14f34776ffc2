"""The logger of ipyjobs itself: loguru's, so sinks and formats are set the loguru way. See https://loguru.readthedocs.io."""

from __future__ import annotations

from loguru import logger

__all__ = ["logger"]
