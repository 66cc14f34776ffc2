"""Run the first notebook, print its jobs and its best model, and serve JupyterLab on it.

With `CI=true` it ends after the table. The server comes first, so that the page is there soon.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import install
from workplace import BIN, NOTEBOOK, ROOT, WORK, Trouble, end, environment, free_port, quiet_lab, run, told

FIRST_PORT = 8888
START_TIMEOUT_S = 60
RUN_TIMEOUT_S = 600


def main() -> int:
    install.ensure({"demo"})
    if not NOTEBOOK.exists():
        raise Trouble(f"{NOTEBOOK.relative_to(ROOT)} is missing: this checkout is not complete")
    env = environment()
    if os.environ.get("CI") == "true":
        return _run_notebook(env)
    port, token = free_port(FIRST_PORT), secrets.token_hex(16)
    log = WORK / "demo" / "jupyterlab.log"
    server = _serve(env, port, token, log)
    url = f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK.name}?token={token}"
    try:
        _await_server(server, port, log)
        print(f"JupyterLab is up: {url}", flush=True)
        if status := _run_notebook(env):
            return status
        print(f"\n{url}", flush=True)
        print("Ctrl-C ends the server.", flush=True)
        return server.wait()
    finally:
        end(server, patience_s=10)


def _run_notebook(env: dict[str, str]) -> int:
    print(f"running {NOTEBOOK.relative_to(ROOT)} …", flush=True)
    return run([str(BIN / "python"), str(ROOT / "tools/headless.py"), str(NOTEBOOK)], env=env, timeout_s=RUN_TIMEOUT_S)


def _serve(env: dict[str, str], port: int, token: str, log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [
        str(BIN / "jupyter"), "lab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={NOTEBOOK.parent}",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    env = {**env, **quiet_lab(WORK / "home" / "jupyter" / "lab"), "JUPYTER_TOKEN": token}
    with log.open("wb") as out:
        return subprocess.Popen(
            command, cwd=NOTEBOOK.parent, env=env, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def _await_server(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)  # a server says nowhere else that it is up
    raise Trouble(f"JupyterLab did not start; its words are in {log.relative_to(ROOT)}")


if __name__ == "__main__":
    told(main)
