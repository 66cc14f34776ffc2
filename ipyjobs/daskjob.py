"""Jobs that run on a Dask cluster."""

from __future__ import annotations

from ipyjobs.job import Job


class DaskJob(Job):
    """Runs on a Dask cluster: the engine's own, or that of `Engine.dask_client`. Needs ``ipyjobs[dask]``."""

    backend_name = "dask"
