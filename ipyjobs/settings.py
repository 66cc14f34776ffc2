"""What an engine can be told when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ipyjobs.cluster import checked_cluster
from ipyjobs.errors import InvalidOption
from ipyjobs.scheduling import checked_limit
from ipyjobs.storage import user_store

Execution = Literal["main", "async", "thread", "process"]
LEVELS = ("DEBUG", "INFO", "WARNING")


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
    max_dask_jobs
        The same for Dask jobs only.
    dask
        Where Dask jobs run: a `distributed.Client`, a cluster that is running, or a scheduler's address. None: on a
        cluster of the engine's own on this machine, made with the first Dask job. See also `Engine.dask_client`.
    print_traceback
        Log the traceback of a job that failed. `jobs.engine` of a notebook doesn't: the dashboard shows it.
    echo
        Also pass on what jobs print. By default an engine in a script does, a notebook's doesn't.
    cache_path
        Folder for the jobs' logs and folders; by default one of the engine's own below the user's data folder (the
        environment variable ``IPYJOBS_DATA_DIR`` moves it), removed when the process ends. With a store, they stay
        beside it.
    kwargs_inject_key
        A local or thread job whose function has a parameter of this name gets the engine there.
    execution
        Where tasks run that don't say: "main", "async", "thread" or "process"; None: in processes.
    multilaunch
        Whether a task may start while an earlier run of it goes on, for tasks that don't say.
    func_run_id
        ``func_run_id(task, params)`` gives the id of a task's run; None: a UUID. `params` maps argument names to
        values.
    log_level
        "DEBUG" or "INFO": always log the life of jobs; "WARNING": never. None, the default: if a sink was added to
        `ipyjobs.logger`, which the one that loguru begins with is not.
    store
        Where jobs are remembered beyond the process: a file, a folder, an address such as ``sqlite:///jobs.sqlite``,
        "user" for the user's own (what ``%load_ext ipyjobs`` uses), "memory", or None: nowhere.
    cache_type
        Executor-engine's way to say it: "diskcache" means a store in `cache_path` (the user's own without one), "mem"
        and "none" mean none.

    Raises
    ------
    InvalidOption
        A limit is zero, negative or not a whole number; `dask` leads to no scheduler; there is no such execution, level
        or cache type; `cache_type` contradicts `store`.
    """

    max_jobs: int | None = 20
    max_thread_jobs: int | None = None
    max_process_jobs: int | None = None
    max_dask_jobs: int | None = None
    print_traceback: bool = True
    echo: bool = True
    cache_path: str | Path | None = None
    kwargs_inject_key: str = "__engine__"
    execution: Execution | None = None
    multilaunch: bool = True
    func_run_id: Callable[[Any, Mapping[str, Any]], object] | None = None
    log_level: str | None = None
    dask: Any = None
    store: str | Path | None = None
    cache_type: Literal["diskcache", "mem", "none"] | None = None

    def __post_init__(self) -> None:
        for option in ("max_jobs", "max_thread_jobs", "max_process_jobs", "max_dask_jobs"):
            checked_limit(option, getattr(self, option))
        checked_cluster("dask", self.dask)
        checked_execution(self.execution)
        if not isinstance(self.multilaunch, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption("multilaunch", self.multilaunch, "True or False")
        if self.func_run_id is not None and not callable(self.func_run_id):
            raise InvalidOption("func_run_id", self.func_run_id, "a function of task and params")
        if self.log_level is not None and self.log_level not in LEVELS:
            raise InvalidOption("log_level", self.log_level, "one of " + ", ".join(LEVELS) + ", or None")
        if self.cache_type not in (None, "diskcache", "mem", "none"):
            raise InvalidOption("cache_type", self.cache_type, "'diskcache', 'mem' or 'none'")
        if self.cache_type is not None and self.store is not None:
            raise InvalidOption("cache_type", self.cache_type, f"nothing beside store={str(self.store)!r}")

    @property
    def place(self) -> str | Path | None:
        """Where the store is; None if there is none."""
        if self.store == "user" or (self.cache_type == "diskcache" and self.cache_path is None):
            return user_store()
        if self.cache_type == "diskcache":
            return Path(self.cache_path or "") / "jobs" / "jobs.sqlite"
        return self.store


def checked_execution(execution: object) -> Execution | None:
    """`execution` if there is such a way to run a task, or None."""
    if execution is None or execution in get_args(Execution):
        return cast("Execution | None", execution)
    raise InvalidOption("execution", execution, "'main', 'async', 'thread' or 'process'")
