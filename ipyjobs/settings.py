"""What an engine can be told when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ipyjobs.scheduling import checked_limit


@dataclass
class EngineSetting:
    """How an engine works.

    Parameters
    ----------
    max_jobs
        How many jobs may run at once on all backends together; None: no limit.
    max_thread_jobs
        The same for thread jobs only.
    max_process_jobs
        The same for process jobs only; None: as many as this process may use CPUs (affinity and cgroup count).
    print_traceback
        Log the traceback of a job that failed. `jobs.engine` of a notebook doesn't: the dashboard shows it.
    echo
        Also pass on what jobs print. By default an engine in a script does, a notebook's doesn't.
    cache_path
        Folder for the jobs' logs and folders; by default one of the engine's own below the user's data folder (the
        environment variable ``IPYJOBS_DATA_DIR`` moves it), removed when the process ends.
    kwargs_inject_key
        A local or thread job whose function has a parameter of this name gets the engine there.

    Raises
    ------
    InvalidOption
        A limit is zero, negative or not a whole number.
    """

    max_jobs: int | None = 20
    max_thread_jobs: int | None = None
    max_process_jobs: int | None = None
    print_traceback: bool = True
    echo: bool = True
    cache_path: str | Path | None = None
    kwargs_inject_key: str = "__engine__"

    def __post_init__(self) -> None:
        for option in ("max_jobs", "max_thread_jobs", "max_process_jobs"):
            checked_limit(option, getattr(self, option))
