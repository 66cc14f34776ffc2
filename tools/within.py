"""Run a command as the checks are run: `.venv` first on PATH, nothing in the home folder."""

from __future__ import annotations

import os
import sys

import install
from workplace import environment, told


def main() -> None:
    install.ensure({"dev", "demo"})
    env = environment()
    os.execvpe(sys.argv[1], sys.argv[1:], env)


if __name__ == "__main__":
    told(main)
