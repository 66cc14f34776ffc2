"""Run every check, or the stages named as arguments, and close with one line `N passed, M failed`.

A stage that fails does not stop those after it. All that runs here has its folders below `.work`.
"""

from __future__ import annotations

import functools
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

import install
import residue
from counting import Count, judged, read_junit, read_vitest
from workplace import BIN, NOTEBOOK, ROOT, WORK, Trouble, environment, run, told

REPORTS = WORK / "reports"
TOGETHER_S = 80 * 60  # all stages; a hanging test run shall still end with a closing line
STAGE_S = 15 * 60
LEAVING_S = 3.0  # what is on its way out when a stage ends has this long
# Folders of tests/ in the order in which they say most per second; one that is not named here comes before the last.
# Those that mostly wait for processes run side by side: a file at a time on each of as many runners.
SIDE_BY_SIDE = {"contracts": 3, "integration": 3, "chaos": 2, "browser": 2}
FOLDERS = ["unit", "contracts", "integration", "kernel"]
LAST = "browser"


class Run:
    """One run of the checks: its environment, its time, and what came of each stage."""

    def __init__(self) -> None:
        self.give_up_at = time.monotonic() + TOGETHER_S
        self.mark = secrets.token_hex(8)
        self.env = {**environment(), "IPYJOBS_CHECK": self.mark}
        if not sys.stdout.isatty():
            self.env["NO_COLOR"] = "1"
        self.no_chromium = ""

    def find_chromium(self) -> None:
        """Find Chromium, or install it; if it can't be had, the stage that needs it says so and fails."""
        try:
            self.env["IPYJOBS_CHROMIUM"] = install.chromium()
        except Trouble as trouble:
            self.no_chromium = str(trouble)

    def status(self, command: list[str], cwd: Path = ROOT) -> int:
        left_s = max(1.0, self.give_up_at - time.monotonic())
        return run(command, timeout_s=min(STAGE_S, left_s), env=self.env, cwd=cwd)

    def one(self, *commands: list[str], cwd: Path = ROOT) -> Count:
        """Count each command as one check."""
        statuses = [self.status(command, cwd) for command in commands]
        return Count(passed=statuses.count(0), failed=len(statuses) - statuses.count(0))

    def pytest(self, name: str, *arguments: str) -> Count:
        report = REPORTS / f"{name}.xml"
        report.unlink(missing_ok=True)
        command = [str(BIN / "python"), "-m", "pytest", "-q", "--durations=5", "--durations-min=2"]
        command.append("--continue-on-collection-errors")
        if runners := SIDE_BY_SIDE.get(name):
            command += [f"--numprocesses={runners}", "--dist=loadfile"]
        status = self.status([*command, f"--junitxml={report}", f"--basetemp={WORK / 'tmp' / name}", *arguments])
        return judged(status, read_junit(report))

    def vitest(self) -> Count:
        report = REPORTS / "vitest.json"
        report.unlink(missing_ok=True)
        reporters = ["--reporter=default", "--reporter=json", f"--outputFile.json={report}"]
        status = self.status(["npx", "--no-install", "vitest", "run", *reporters], cwd=install.JS)
        return judged(status, read_vitest(report))


def stages(here: Run) -> dict[str, Callable[[], Count]]:
    ruff, python = str(BIN / "ruff"), str(BIN / "python")
    found = {
        "ruff": lambda: here.one([ruff, "check", "--output-format=concise", "."], [ruff, "format", "--check", "."]),
        "pyright": lambda: here.one([str(BIN / "pyright"), "--pythonpath", python]),
        "tsc": lambda: here.one(["npm", "run", "--silent", "check"], cwd=install.JS),
        "vitest": here.vitest,
    }
    tests = ROOT / "tests"
    folders = {each.name for each in tests.iterdir() if any(each.rglob("test_*.py"))}
    loose = [str(path.relative_to(ROOT)) for path in sorted(tests.glob("test_*.py"))]
    for name in [*FOLDERS, *sorted(folders - {*FOLDERS, LAST})]:
        paths = [f"tests/{name}"] if name in folders else []
        if name == FOLDERS[0]:
            paths = [*loose, *paths, "ipyjobs"]
        if paths:
            found[name] = functools.partial(here.pytest, name, *paths)
    if any(NOTEBOOK.parent.glob("*.ipynb")):
        found["nbval"] = lambda: _nbval(here)
    if NOTEBOOK.exists():
        found["demo"] = lambda: _demo(here)
    if LAST in folders:
        found[LAST] = lambda: _browser(here)
    return found


def _nbval(here: Run) -> Count:
    rules = NOTEBOOK.parent / "sanitize.cfg"
    more = [f"--nbval-sanitize-with={rules}"] if rules.exists() else []
    # The kernel that nbval keeps for a notebook is none of ours to look for: without the project's own plugins.
    ours = ["-o", "addopts=", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "--nbval-cell-timeout=120"]
    return here.pytest("nbval", *ours, *more, "notebooks")


def _demo(here: Run) -> Count:
    return here.one(["env", "CI=true", sys.executable, str(ROOT / "tools/demo.py")])


def _browser(here: Run) -> Count:
    if here.no_chromium:
        print(f"ipyjobs: {here.no_chromium}", flush=True)
        return Count(failed=1)
    return here.pytest(LAST, f"tests/{LAST}")


def _left_running(here: Run) -> Count:
    """Count each process that a stage left behind as a failure, and end it."""
    mark = f"IPYJOBS_CHECK={here.mark}"
    give_up_at = time.monotonic() + LEAVING_S
    while (found := residue.processes(mark)) and time.monotonic() < give_up_at:
        time.sleep(0.1)  # no event tells of the end of a stranger's process
    for pid, command in found.items():
        print(f"left running: {pid} {command}", flush=True)
        residue.kill(pid)
    return Count(failed=len(found))


def _home_untouched(before: dict[str, float]) -> Count:
    changed = residue.differences(before, residue.home_listing())
    for path in changed:
        print(f"changed in the home folder: {path}", flush=True)
    return Count(failed=1) if changed else Count(passed=1)


def main() -> int:
    home_before = residue.home_listing()
    for folder in (REPORTS, WORK / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        install.ensure({"dev", "demo"})
    except Trouble as trouble:
        print(f"ipyjobs: {trouble}\n{Count(failed=1)}", flush=True)
        return 1
    here = Run()
    todo = stages(here)
    wanted = [name for argument in sys.argv[1:] for name in argument.replace(",", " ").split()]
    if unknown := [name for name in wanted if name not in todo]:
        raise Trouble(f"no stage is called {unknown[0]!r}; there are {', '.join(todo)}")
    if LAST in (wanted or todo):
        here.find_chromium()
    total, lines = Count(), []
    for name in wanted or todo:
        start = time.monotonic()
        print(f"\n== {name}", flush=True)
        count = todo[name]()
        count += _left_running(here)
        lines.append(f"{name:<12} {time.monotonic() - start:6.1f} s   {count}")
        total += count
    print("\n== residue", flush=True)
    total += _home_untouched(home_before)
    print("\n" + "\n".join(lines) + "\n", flush=True)
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    told(main)
