"""How functions, arguments and results travel between processes."""

from __future__ import annotations
