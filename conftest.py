"""For every test and doctest, however pytest is started: nothing goes into the home folder, nothing is left running."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.workplace import ROOT, isolated

os.environ.update(isolated(), JUPYTER_PREFER_ENV_PATH="1")

pytest_plugins = ["tests.leaks"]

BROWSER = ROOT / "tests" / "browser"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the browser tests out unless they are asked for: Playwright's loop stays on the thread until the end."""
    return True if collection_path == BROWSER and not _browser_wanted(config) else None


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [] if _browser_wanted(config) else ["without tests/browser: run them by themselves"]


def _browser_wanted(config: pytest.Config) -> bool:
    return any("browser" in argument for argument in config.args)
