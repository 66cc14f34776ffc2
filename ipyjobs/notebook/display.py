"""How jobs look as the value of a cell: the live dashboard for many, a live card for one, text beside both."""

from __future__ import annotations

from typing import Any

from ipyjobs.job import Job
from ipyjobs.jobs import Jobs
from ipyjobs.verbs import AllJobs


def register_displays(ipython: Any) -> None:
    """Show `Job` and `Jobs` as widgets in this IPython, if it is a kernel; a terminal shows text."""
    ipython.display_formatter.formatters["text/plain"].for_type(Jobs, _plain)
    if hasattr(ipython, "kernel"):
        ipython.display_formatter.mimebundle_formatter.for_type(Job, _job_bundle)
        ipython.display_formatter.mimebundle_formatter.for_type(Jobs, _jobs_bundle)


def unregister_displays(ipython: Any) -> None:
    """Show them as plain objects again."""
    ipython.display_formatter.formatters["text/plain"].pop(Jobs, None)
    for kind in (Job, Jobs):
        ipython.display_formatter.mimebundle_formatter.pop(kind, None)


def _plain(jobs: Jobs, printer: Any, cycle: bool) -> None:
    from ipyjobs.widget.snapshot import as_text

    printer.text(as_text([job.record() for job in jobs.values()]))


def _jobs_bundle(jobs: Jobs) -> Any:
    # anywidget takes a quarter of a second to import, which is not `%load_ext`'s to spend.
    from ipyjobs.widget.dashboard import Dashboard

    focus = None if isinstance(jobs, AllJobs) else jobs.keys()
    return Dashboard(jobs.engine, focus=focus)._repr_mimebundle_()


def _job_bundle(job: Job) -> Any:
    if job.engine is None:
        return {"text/plain": repr(job)}
    from ipyjobs.widget.dashboard import JobCard

    return JobCard(job.engine, job.id)._repr_mimebundle_()
