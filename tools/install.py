"""Make `.venv` and the dashboard's bundle, and nothing twice: each step leaves a stamp of what it was made from.

Run as a program it makes everything that `make test` needs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from workplace import BIN, ROOT, VENV, WORK, Trouble, told

JS = ROOT / "js"
BUNDLE = [ROOT / "ipyjobs/widget/static/board.js", ROOT / "ipyjobs/widget/static/board.css"]
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 20


def ensure(extras: set[str]) -> None:
    """Install what is missing or out of date: the bundle, `.venv`, the package with its `extras`."""
    _check_python()
    _build_bundle()
    _make_venv()
    _install_package(extras)


def chromium() -> str:
    """Return the path of a Chromium; with apt and as root, install one first."""
    if given := os.environ.get("IPYJOBS_CHROMIUM"):
        return given
    if found := _chromium():
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Trouble("Chromium is missing: install Debian's package chromium, or set IPYJOBS_CHROMIUM to its path")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _step("refreshing apt's lists", ["apt-get", "update", "-q"], env=quiet)
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"]
    _step("installing chromium", install, env=quiet)
    if found := _chromium():
        return found
    raise Trouble("apt installed chromium, but no program of that name is on PATH")


def _chromium() -> str | None:
    return next((path for name in CHROMIUMS if (path := shutil.which(name))), None)


def _check_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        here = ".".join(map(str, sys.version_info[:3]))
        raise Trouble(f"python3 is {here}: install Python 3.11 or newer, or say `make PYTHON=python3.12 …`")
    if importlib.util.find_spec("venv") is None or (
        importlib.util.find_spec("ensurepip") is None and importlib.util.find_spec("pip") is None
    ):
        raise Trouble("python3 has no pip: install pip and venv (Debian: python3-pip python3-venv)")


def _check_node() -> str:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Trouble(f"node or npm is missing: install Node.js {OLDEST_NODE} or newer with npm")
    version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(re.sub(r"^v(\d+).*", r"\1", version)) < OLDEST_NODE:
        raise Trouble(f"node is {version}: install Node.js {OLDEST_NODE} or newer")
    return version


def _build_bundle() -> None:
    packages = [JS / "package.json", JS / "package-lock.json"]
    if not packages[0].exists():
        raise Trouble("js/package.json is missing: this checkout is not complete")
    node = _check_node()
    modules = _Stamp("npm", [node, *_digests(packages)], targets=[JS / "node_modules"])
    if not modules.fresh():
        _step("installing npm packages", ["npm", "ci", "--no-audit", "--no-fund"], cwd=JS)
        modules.write()
    sources = [path for path in JS.rglob("*") if "node_modules" not in path.parts and path.is_file()]
    bundle = _Stamp("bundle", _digests(sorted(sources)), targets=BUNDLE)
    if not bundle.fresh():
        _step("building the dashboard", ["npm", "run", "build"], cwd=JS)
        bundle.write()


def _make_venv() -> None:
    stamp = _Stamp("venv", [sys.version, os.path.realpath(sys.executable), str(ROOT)], targets=[BIN / "python"])
    if stamp.fresh():
        return
    make = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if importlib.util.find_spec("ensurepip"):
        _step("making .venv", make)
    else:  # Debian without python3-venv
        _step("making .venv", [*make, "--without-pip"])
        _step("putting pip into it", [sys.executable, "-m", "pip", "--python", str(BIN / "python"), "install", "pip"])
    stamp.write()
    _Stamp("package", [], targets=[]).path.unlink(missing_ok=True)


def _install_package(extras: set[str]) -> None:
    made_from = _digests([ROOT / "pyproject.toml", ROOT / "ipyjobs/version.py"])
    for more in ([], ["dev"]):  # what is there may hold more extras than are asked for
        if _Stamp("package", [*made_from, *sorted(extras | set(more))], targets=[BIN / "python"]).fresh():
            return
    pip = [str(BIN / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    _step("installing Python packages", [*pip, "-e", f".[{','.join(sorted(extras))}]"])
    _Stamp("package", [*made_from, *sorted(extras)], targets=[]).write()


class _Stamp:
    """A note of what something was made from; fresh while that has not changed and what was made is still there."""

    def __init__(self, name: str, made_from: Iterable[str], targets: list[Path]) -> None:
        self.path = WORK / "stamps" / name
        self._text = json.dumps(list(made_from), indent=1)
        self._targets = targets

    def fresh(self) -> bool:
        there = self.path.exists() and all(target.exists() for target in self._targets)
        return there and self.path.read_text(encoding="utf-8") == self._text

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self._text, encoding="utf-8")


def _digests(paths: list[Path]) -> list[str]:
    there = [path for path in paths if path.exists()]
    return [f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in there]


def _step(what: str, command: list[str], *, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    print(f"{what} …", end=" ", flush=True)
    start = time.monotonic()
    done = subprocess.run(
        command, check=False, cwd=cwd, env=env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    print(f"{time.monotonic() - start:.0f} s", flush=True)
    if done.returncode:
        print(done.stdout[-8000:], flush=True)
        raise Trouble(f"{what} failed ({command[0]} ended with {done.returncode}); its words are above")


def main() -> None:
    ensure({"dev", "demo"})


if __name__ == "__main__":
    told(main)
