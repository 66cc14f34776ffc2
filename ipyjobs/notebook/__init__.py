"""The extension: ``%load_ext ipyjobs`` starts an engine beside the kernel's loop and gives the notebook ``jobs``."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from traitlets import Bool, Enum, Integer, Unicode
from traitlets.config import SingletonConfigurable

from ipyjobs import failure
from ipyjobs.engine import Engine
from ipyjobs.engines import set_default_engine
from ipyjobs.errors import StoreError
from ipyjobs.notebook.display import register_displays, unregister_displays
from ipyjobs.settings import LEVELS, EngineSetting
from ipyjobs.status import Status
from ipyjobs.stores.sqlite import glance
from ipyjobs.verbs import AllJobs
from ipyjobs.version import __version__


class IPyJobs(SingletonConfigurable):
    """Settings of the notebook's engine, which hold at once.

    ``%config IPyJobs.max_jobs = 8`` in a cell, or ``c.IPyJobs.max_jobs = 8`` in ``ipython_config.py``.
    """

    max_jobs = Integer(20, allow_none=True, min=1, help="How many jobs may run at once; None: no limit.").tag(
        config=True
    )
    max_thread_jobs = Integer(None, allow_none=True, min=1, help="The same for thread jobs only.").tag(config=True)
    max_process_jobs = Integer(
        None, allow_none=True, min=1, help="The same for process jobs only; None: one for each usable CPU."
    ).tag(config=True)
    max_dask_jobs = Integer(None, allow_none=True, min=1, help="The same for Dask jobs only.").tag(config=True)
    store = Unicode(
        "user",
        allow_none=True,
        help="Where jobs are remembered beyond the kernel: 'user', a file, 'memory', or None: nowhere. "
        "Set it before the extension is loaded.",
    ).tag(config=True)
    echo = Bool(False, help="Also show what jobs print in the notebook.").tag(config=True)
    log_level: Any = Enum(
        LEVELS, "WARNING", allow_none=True, help="Log the life of jobs from this level; None: to sinks that were added."
    ).tag(config=True)
    engine: Engine | None = None

    def _apply(self, change: Any) -> None:
        engine = self.engine
        if engine is None:
            return
        if change.name in ("echo", "log_level"):
            setattr(engine.setting, change.name, change.new)
        elif change.name == "max_jobs":
            engine.set_limit(change.new)
        else:
            backend = change.name.removeprefix("max_").removesuffix("_jobs")
            limit = engine.backends["process"].limit if change.new is None and backend == "process" else change.new
            engine.set_limit(limit, backend=backend)


_names = ("max_jobs", "max_thread_jobs", "max_process_jobs", "max_dask_jobs", "echo", "log_level")


def load(ipython: Any) -> None:
    """Start the engine, or find it as it was left, and put ``jobs`` into the namespace."""
    config = IPyJobs.instance(parent=ipython)
    if config not in ipython.configurables:
        ipython.configurables.append(config)
    earlier = ""
    if config.engine is None:
        earlier = _earlier(config.store)
        config.engine = _engine(config)
        config.observe(config._apply, names=list(_names))
    engine = config.engine
    if not engine.alive:
        engine.start()
    engine.origin = lambda: engine.busy[1]
    set_default_engine(engine)
    hooks = _hooks_of(ipython, engine)
    for name, hook in hooks.items():
        ipython.events.register(name, hook)
    ipython.ipyjobs_hooks = hooks
    failure.name_of_file = lambda file: _cell_name(ipython, file)
    _wake_on_signals()
    register_displays(ipython)
    _announce(ipython, engine, earlier)


def unload(ipython: Any) -> None:
    """Take the extension's hooks and ``jobs`` away; the engine and its jobs go on, and `load` finds them again."""
    for name, hook in getattr(ipython, "ipyjobs_hooks", {}).items():
        ipython.events.unregister(name, hook)
    ipython.ipyjobs_hooks = {}
    unregister_displays(ipython)
    if isinstance(ipython.user_ns.get("jobs"), AllJobs):
        del ipython.user_ns["jobs"]


def _engine(config: IPyJobs) -> Engine:
    setting = EngineSetting(
        max_jobs=config.max_jobs,
        max_thread_jobs=config.max_thread_jobs,
        max_process_jobs=config.max_process_jobs,
        max_dask_jobs=config.max_dask_jobs,
        print_traceback=False,
        echo=config.echo,
        log_level=config.log_level,
        store=config.store or None,
    )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # A terminal: its loop stands still between prompts, so nothing of a job may need it.
        threaded = None
    else:
        threaded = True
    try:
        return Engine(setting, threaded=threaded).start()
    except StoreError as error:
        print(f"jobs are kept in memory only, and go with this kernel: {error}")
        return Engine(replace(setting, store=None), threaded=threaded).start()


def _earlier(store: str | None) -> str:
    """What there is of earlier sessions, in words; looked up before the engine starts, and only for a moment."""
    place = EngineSetting(store=store or None).place
    if place is None or place == "memory" or "://" in str(place):
        return ""
    found = glance(Path(place))
    if found is None or found.jobs == 0:
        return ""
    if found.jobs is None:  # there are too many to count them now
        return "jobs of earlier sessions: jobs.earlier"
    lost = f" ({found.lost:,} lost)" if found.lost else ""
    return f"{found.jobs:,} {'job' if found.jobs == 1 else 'jobs'} of earlier sessions{lost}: jobs.earlier"


def _announce(ipython: Any, engine: Engine, earlier: str) -> None:
    jobs = engine.jobs
    present = ipython.user_ns.get("jobs")
    taken = present is not None and not isinstance(present, AllJobs)
    if not taken:
        ipython.push({"jobs": jobs})
    limit = engine.max_jobs
    slots = "no limit on slots" if limit is None else f"{limit} slots"
    processes = engine.scheduler.backends["process"].limit
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    parts = [f"ipyjobs {__version__}", f"{slots}, {processes} processes", f"{memory:.0f} GB"]
    if jobs:
        parts.append(jobs.summary().strip("<>"))
    if earlier:
        parts.append(earlier)
    print(" · ".join(parts))
    if taken:
        print("the name `jobs` is taken in this notebook: `import ipyjobs; js = ipyjobs.get_default_engine().jobs`")


def _hooks_of(ipython: Any, engine: Engine) -> dict[str, Any]:
    def pre_run_cell(info: Any) -> None:
        # Not `execution_count`: IPython 9 has counted this cell already, IPython 8 has not.
        engine.busy = (time.time(), f"In[{len(ipython.history_manager.input_hist_parsed)}]")
        engine.notebook_changed()

    def post_run_cell(result: Any) -> None:
        engine.busy = (None, "")
        engine.notebook_changed()
        if isinstance(getattr(result, "error_in_exec", None), (KeyboardInterrupt, asyncio.CancelledError)):
            _say_what_goes_on(engine)

    # The cell that loads the extension is running already.
    engine.busy = (time.time(), f"In[{len(ipython.history_manager.input_hist_parsed) - 1}]")
    return {"pre_run_cell": pre_run_cell, "post_run_cell": post_run_cell}


def _say_what_goes_on(engine: Engine) -> None:
    """The stop button stopped a cell, which may have been waiting; its jobs go on."""
    active = [job for job in engine.flow.active if job.status in (Status.RUNNING, Status.PENDING)]
    if not active:
        return
    names = ", ".join(dict.fromkeys(job.name for job in active[:20]))
    if len(active) == 1:
        print(f"the cell was stopped; 1 job goes on: {names} (`jobs.cancel()` would stop it)")
    else:
        print(f"the cell was stopped; {len(active)} jobs go on: {names} (`jobs.cancel()` would stop them)")


def _cell_name(ipython: Any, file: str) -> str | None:
    named = ipython.compile.format_code_name(file)
    if named is None:
        return None
    label = named[1]
    return label if isinstance(label, str) else None


_wake_sockets: list[socket.socket] = []


def _wake_on_signals() -> None:
    """Have a signal wake the loop: on a quiet one ipykernel 7.4 handles the stop button up to three seconds late."""
    if _wake_sockets or threading.current_thread() is not threading.main_thread():
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    if before != -1:  # somebody takes care of it already
        signal.set_wakeup_fd(before)
        receiver.close()
        sender.close()
        return
    loop.add_reader(receiver, _swallow, receiver)
    _wake_sockets.extend((receiver, sender))


def _swallow(receiver: socket.socket) -> None:
    try:
        receiver.recv(4096)
    except BlockingIOError:
        return
