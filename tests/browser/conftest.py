from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, ViewportSize, expect, sync_playwright

from tests.browser.harness import FUSE_S, SHOTS, Lab, Notebook, launch, serve

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    with serve(folder) as lab:
        yield lab


@pytest.fixture(scope="session")
def context() -> Iterator[BrowserContext]:
    """One browser for all tests; what JupyterLab's pages are made of is fetched and compiled once."""
    expect.set_options(timeout=FUSE_S * 1000)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        size = ViewportSize(width=1280, height=1400)
        yield browser.new_context(viewport=size, timezone_id="UTC", reduced_motion="reduce")
        browser.close()


@pytest.fixture
def notebook(request: pytest.FixtureRequest, lab: Lab, context: BrowserContext) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook made of some cells: `notebook("1 + 1", "print()")`; if the test fails its picture is kept."""
    opened: list[Notebook] = []

    def open_notebook(*cells: str, host: str = "127.0.0.1") -> Notebook:
        name = f"{request.node.name}-{len(opened)}.ipynb".replace("/", "-")
        opened.append(Notebook.open(lab, context.new_page(), cells, name, host=host))
        return opened[-1]

    failed_before = request.session.testsfailed
    yield open_notebook
    for number, each in enumerate(opened):
        if request.session.testsfailed > failed_before:
            each.shot(f"failed-{request.node.name}-{number}")
        each.close()


def pytest_sessionstart() -> None:
    for old in SHOTS.glob("failed-*.png"):
        old.unlink()
