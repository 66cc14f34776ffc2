"""How many checks passed and failed, as the tools' own reports say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __iadd__(self, other: Count) -> Count:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        return self

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def read_junit(report: Path) -> Count:
    """Count the tests in a JUnit file; one that failed and whose teardown failed too is one."""
    if not report.exists():
        return Count()
    outcomes: dict[tuple[str | None, str | None], set[str]] = {}
    for case in ET.parse(report).iter("testcase"):
        outcomes.setdefault((case.get("classname"), case.get("name")), set()).update(each.tag for each in case)
    count = Count()
    for tags in outcomes.values():
        if tags & {"failure", "error"}:
            count.failed += 1
        elif "skipped" in tags:
            count.skipped += 1
        else:
            count.passed += 1
    return count


def read_vitest(report: Path) -> Count:
    """Count the tests in what vitest's JSON reporter wrote."""
    if not report.exists():
        return Count()
    said = json.loads(report.read_text(encoding="utf-8"))
    return Count(said["numPassedTests"], said["numFailedTests"], said["numPendingTests"] + said["numTodoTests"])


def judged(status: int, count: Count) -> Count:
    """Count a program that says it failed, or that ran nothing, as a failure even when no test of it failed."""
    if (status or not count.passed) and not count.failed:
        print(f"ended with exit status {status}, {count.passed} passed and no failed test", flush=True)
        return Count(count.passed, count.failed + 1, count.skipped)
    return count
