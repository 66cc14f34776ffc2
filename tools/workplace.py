"""The checkout as a place to work in: its folders, its environment, its virtual environment's programs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work"
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
NOTEBOOK = ROOT / "notebooks" / "01-quickstart.ipynb"

# What programs would otherwise write below the home folder, and where it goes instead.
_PLACES = {
    "IPYJOBS_CONFIG_DIR": "ipyjobs/config",
    "IPYJOBS_DATA_DIR": "ipyjobs/data",
    "IPYTHONDIR": "ipython",
    "JUPYTERLAB_SETTINGS_DIR": "jupyter/lab/settings",
    "JUPYTERLAB_WORKSPACES_DIR": "jupyter/lab/workspaces",
    "JUPYTER_CONFIG_DIR": "jupyter/config",
    "JUPYTER_DATA_DIR": "jupyter/data",
    "JUPYTER_RUNTIME_DIR": "jupyter/runtime",
    "MPLCONFIGDIR": "matplotlib",
    "SCIKIT_LEARN_DATA": "scikit-learn",
    "XDG_CACHE_HOME": "xdg/cache",
    "XDG_CONFIG_HOME": "xdg/config",
    "XDG_DATA_HOME": "xdg/data",
    "XDG_STATE_HOME": "xdg/state",
}
# A user's own settings which would let the outside in, or make each start compile everything anew.
_UNSET = (
    "JUPYTER_CONFIG_PATH", "JUPYTER_PATH", "PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH",
    "PYTHONSTARTUP",
)  # fmt: skip


class Trouble(Exception):
    """Something that the user must see to; the text is one line that says what to do."""


def isolated() -> dict[str, str]:
    """Make the folders below `.work`, and return the variables that point there."""
    places = {name: WORK / "home" / place for name, place in _PLACES.items()}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {name: str(place) for name, place in places.items()}


def environment() -> dict[str, str]:
    """Return the environment in which notebooks, tests and servers run: `.venv` first, nothing in the home folder."""
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    return {
        **kept,
        **isolated(),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "VIRTUAL_ENV": str(VENV),
    }


def quiet_lab(folder: Path) -> dict[str, str]:
    """Make JupyterLab's settings in `folder`, without its question about news, and return the variables for them."""
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    if not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text('{"fetchNews": "false", "checkForUpdates": false}\n', encoding="utf-8")
    (folder / "workspaces").mkdir(exist_ok=True)
    return {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }


def free_port(first: int = 0) -> int:
    """Find a port on 127.0.0.1 that nobody listens on: `first` or one of the hundred after it; 0 takes any."""
    for port in range(first, first + 100) if first else [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Trouble(f"no free port between {first} and {first + 99} on 127.0.0.1: stop one of the servers there")


def run(command: list[str], *, timeout_s: float, env: dict[str, str] | None = None, cwd: Path = ROOT) -> int:
    """Run a program to its end in a session of its own, and return its exit status; 124 when it took too long."""
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        print(f"stopped after {timeout_s:.0f} s: {' '.join(command)}", flush=True)
        return 124
    finally:
        end(process)


def end(process: subprocess.Popen[bytes], patience_s: float = 5) -> None:
    """End a program that has a session of its own, and what is left of that session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        _signal(process, number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
    _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def told(main: Callable[[], int | None]) -> None:
    """Run a program's `main`; trouble becomes one line and exit status 1, Ctrl-C and kindly kills exit status 130."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # so that what was started is ended
    try:
        sys.exit(main())
    except Trouble as trouble:
        print(f"ipyjobs: {trouble}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
