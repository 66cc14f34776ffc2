"""The page for those who come from executor-engine: each of its blocks is a script that prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-executor-engine.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def name(block: str) -> str:
    return re.sub(r"\W+", "-", next(line for line in block.splitlines() if "ipyjobs" in line))


@pytest.mark.parametrize("block", BLOCKS, ids=name)
def test_a_block_prints_what_it_says(block: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(block, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )

    assert done.returncode == 0, done.stderr
    promised = re.findall(r"# → (.*)", block)
    printed = [line for line in done.stdout.splitlines() if line.strip()]
    assert [line for line in printed if line in promised] == promised, done.stdout + done.stderr


def test_the_page_has_blocks_that_promise_something() -> None:
    assert len(BLOCKS) >= 14
    assert all("# → " in block for block in BLOCKS)
