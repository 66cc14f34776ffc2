"""The live dashboard in a notebook, and the readable table that is saved beside it.

Importing this is cheap; `Dashboard` and `JobCard` import anywidget when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyjobs.widget.snapshot import as_html, as_text

if TYPE_CHECKING:
    from ipyjobs.widget.dashboard import Dashboard, JobCard

__all__ = ["Dashboard", "JobCard", "as_html", "as_text"]


def __getattr__(name: str) -> Any:
    if name in ("Dashboard", "JobCard"):
        from ipyjobs.widget import dashboard  # anywidget takes a quarter of a second to import

        return getattr(dashboard, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
