"""How jobs look as the value of a cell: the live dashboard for many, a live card for one, text beside both."""

from __future__ import annotations

from typing import Any

from ipyjobs.job import Job
from ipyjobs.jobs import Jobs
from ipyjobs.widget.dashboard import Dashboard
from ipyjobs.widget.snapshot import as_html, as_text


def register_displays(ipython: Any) -> None:
    """Show `Job` and `Jobs` as widgets in this IPython, where it can show widgets."""
    if not hasattr(ipython, "kernel"):
        return
    formatter = ipython.display_formatter.mimebundle_formatter
    formatter.for_type(Job, _job_bundle)
    formatter.for_type(Jobs, _jobs_bundle)


def unregister_displays(ipython: Any) -> None:
    """Show them as plain text again."""
    formatter = ipython.display_formatter.mimebundle_formatter
    for kind in (Job, Jobs):
        formatter.pop(kind, None)
