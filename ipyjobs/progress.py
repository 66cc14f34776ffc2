"""Progress bars of tqdm, read where they are drawn, so that plain loops fill their job's progress."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from types import ModuleType
from typing import Any

from ipyjobs.context import JobContext, running

_HOOKED = {"tqdm.std": "tqdm", "tqdm.notebook": "tqdm_notebook"}


def hook_tqdm() -> None:
    """Hook tqdm in this process: now where it is loaded, else when it will be. Doing it twice is harmless."""
    for name in _HOOKED:
        if name in sys.modules:
            _patch(sys.modules[name])
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing itself; lets the others find tqdm's modules and patches them once they have run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _HOOKED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _patch(module)

            loader.exec_module = exec_module
        return spec


def _patch(module: ModuleType) -> None:
    bar_class: Any = getattr(module, _HOOKED[module.__name__], None)
    if bar_class is None or getattr(bar_class, "_ipyjobs", False) is bar_class.__name__:
        return
    bar_class._ipyjobs = bar_class.__name__
    display: Callable[..., Any] = bar_class.display

    @wraps(display)
    def watched(bar: Any, *args: Any, **kwargs: Any) -> Any:
        job = running.get()
        if job is not None:
            _tell(job, bar)
        return display(bar, *args, **kwargs)

    bar_class.display = watched
    if module.__name__ == "tqdm.notebook":
        _keep_out_of_cells(bar_class)


def _keep_out_of_cells(bar_class: Any) -> None:
    """A notebook bar made inside a job would show up in whichever cell runs just then."""
    init: Callable[..., None] = bar_class.__init__

    @wraps(init)
    def quiet(bar: Any, *args: Any, **kwargs: Any) -> None:
        if running.get() is not None:
            kwargs["display"] = False
        init(bar, *args, **kwargs)

    bar_class.__init__ = quiet


def _tell(job: JobContext, bar: Any) -> None:
    """The first bar that opens speaks for the job until it closes; inner bars are silent."""
    speaker: Any = job.bar
    if speaker is None or getattr(speaker, "disable", True) or speaker is bar:
        job.bar = bar
    else:
        return
    shown = bar.format_dict
    total, done, rate = shown.get("total"), shown.get("n", 0), shown.get("rate")
    if not total:
        job.report(None, f"{shown.get('prefix') or ''}{done:,} {shown.get('unit', 'it')}")
        return
    if not rate and shown.get("elapsed"):
        rate = (done - shown.get("initial", 0)) / shown["elapsed"]
    left_s = max(0.0, (total - done) / rate) if rate else None
    job.report(min(1.0, max(0.0, done / total)), shown.get("prefix") or None, left_s=left_s)
