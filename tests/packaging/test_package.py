"""What `pip install ipyjobs` gets. Builds in isolation, so it needs the network or pip's cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.workplace import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BUNDLE = {"ipyjobs/widget/static/board.js", "ipyjobs/widget/static/board.css"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a wheel and an sdist: the wheel is made from the sdist, on a machine without node."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    _quiet([*build, "--sdist"], os.environ)
    (sdist,) = folder.glob("*.tar.gz")
    without_node = {**os.environ, "PATH": str(Path(sys.executable).parent)}
    _quiet([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder), str(sdist)], without_node)
    return folder


def test_an_sdist_holds_the_bundle_and_its_sources(built: Path):
    (path,) = built.glob("*.tar.gz")

    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    assert names >= BUNDLE | {"LICENSE", "README.md", "js/package.json", "js/package-lock.json", "pyproject.toml"}
    assert not [name for name in names if name.startswith((".venv", ".work", "js/node_modules"))]


def test_a_wheel_holds_the_package_and_the_bundle_only(built: Path):
    (path,) = built.glob("*.whl")

    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())

    assert names >= BUNDLE | {"ipyjobs/__init__.py", "ipyjobs/py.typed", "ipyjobs/version.py"}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"ipyjobs"}


def _quiet(command: list[str], env: os._Environ[str] | dict[str, str]) -> None:
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
