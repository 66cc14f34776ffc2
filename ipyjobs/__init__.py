"""Background jobs for notebooks, seen and steered where the work happens.

``%load_ext ipyjobs`` in a notebook gives you ``jobs``; ``with Engine() as engine`` does in a script.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipyjobs.conditions import AfterAnother as AfterAnother
    from ipyjobs.conditions import AfterClock as AfterClock
    from ipyjobs.conditions import AfterOthers as AfterOthers
    from ipyjobs.conditions import AfterTimepoint as AfterTimepoint
    from ipyjobs.conditions import AfterWeekday as AfterWeekday
    from ipyjobs.conditions import AllSatisfied as AllSatisfied
    from ipyjobs.conditions import AnySatisfied as AnySatisfied
    from ipyjobs.conditions import BeforeClock as BeforeClock
    from ipyjobs.conditions import BeforeTimepoint as BeforeTimepoint
    from ipyjobs.conditions import BeforeWeekday as BeforeWeekday
    from ipyjobs.conditions import BetweenClock as BetweenClock
    from ipyjobs.conditions import BetweenWeekday as BetweenWeekday
    from ipyjobs.conditions import Condition as Condition
    from ipyjobs.conditions import Cron as Cron
    from ipyjobs.conditions import EveryPeriod as EveryPeriod
    from ipyjobs.conditions import TimeCondition as TimeCondition
    from ipyjobs.conditions import after_clock as after_clock
    from ipyjobs.conditions import after_timepoint as after_timepoint
    from ipyjobs.conditions import after_weekday as after_weekday
    from ipyjobs.conditions import before_clock as before_clock
    from ipyjobs.conditions import before_timepoint as before_timepoint
    from ipyjobs.conditions import before_weekday as before_weekday
    from ipyjobs.conditions import between_clock as between_clock
    from ipyjobs.conditions import between_timepoint as between_timepoint
    from ipyjobs.conditions import between_weekday as between_weekday
    from ipyjobs.conditions import cron as cron
    from ipyjobs.conditions import daily as daily
    from ipyjobs.conditions import every as every
    from ipyjobs.conditions import hourly as hourly
    from ipyjobs.conditions import weekly as weekly
    from ipyjobs.context import TerminationFlag as TerminationFlag
    from ipyjobs.context import current_job as current_job
    from ipyjobs.context import report as report
    from ipyjobs.daskjob import DaskJob as DaskJob
    from ipyjobs.engine import Engine as Engine
    from ipyjobs.engines import get_default_engine as get_default_engine
    from ipyjobs.engines import set_default_engine as set_default_engine
    from ipyjobs.errors import CommandFailed as CommandFailed
    from ipyjobs.errors import CycleError as CycleError
    from ipyjobs.errors import DeadlockError as DeadlockError
    from ipyjobs.errors import EngineForked as EngineForked
    from ipyjobs.errors import EngineNotRunning as EngineNotRunning
    from ipyjobs.errors import ExecutorError as ExecutorError
    from ipyjobs.errors import ForeignAddress as ForeignAddress
    from ipyjobs.errors import IllegalMove as IllegalMove
    from ipyjobs.errors import InvalidLauncher as InvalidLauncher
    from ipyjobs.errors import InvalidOption as InvalidOption
    from ipyjobs.errors import InvalidStateError as InvalidStateError
    from ipyjobs.errors import IpyjobsError as IpyjobsError
    from ipyjobs.errors import JobCancelled as JobCancelled
    from ipyjobs.errors import JobFailed as JobFailed
    from ipyjobs.errors import JobLost as JobLost
    from ipyjobs.errors import JobNotFoundError as JobNotFoundError
    from ipyjobs.errors import JobTimeout as JobTimeout
    from ipyjobs.errors import NotPicklable as NotPicklable
    from ipyjobs.errors import RangeCheckError as RangeCheckError
    from ipyjobs.errors import ResultUnreadable as ResultUnreadable
    from ipyjobs.errors import StoreError as StoreError
    from ipyjobs.errors import StoreTooNew as StoreTooNew
    from ipyjobs.errors import StoreUnreadable as StoreUnreadable
    from ipyjobs.errors import TaskTerminationException as TaskTerminationException
    from ipyjobs.errors import Unverified as Unverified
    from ipyjobs.errors import WebappFailed as WebappFailed
    from ipyjobs.errors import WorkerDied as WorkerDied
    from ipyjobs.errors import WorkersBroken as WorkersBroken
    from ipyjobs.future import JobFuture as JobFuture
    from ipyjobs.hooks import hookimpl as hookimpl
    from ipyjobs.job import Job as Job
    from ipyjobs.job import LocalJob as LocalJob
    from ipyjobs.job import ProcessJob as ProcessJob
    from ipyjobs.job import ThreadJob as ThreadJob
    from ipyjobs.jobs import Jobs as Jobs
    from ipyjobs.kinds.command import SubprocessJob as SubprocessJob
    from ipyjobs.kinds.periodic import CronJob as CronJob
    from ipyjobs.kinds.periodic import SentinelJob as SentinelJob
    from ipyjobs.kinds.webapp import WebappJob as WebappJob
    from ipyjobs.log import logger as logger
    from ipyjobs.mainjob import MainJob as MainJob
    from ipyjobs.records import RunRecord as RunRecord
    from ipyjobs.retry import Retry as Retry
    from ipyjobs.settings import EngineSetting as EngineSetting
    from ipyjobs.status import Reason as Reason
    from ipyjobs.status import Status as Status
    from ipyjobs.streams import Stream as Stream
    from ipyjobs.tasks import AsyncTask as AsyncTask
    from ipyjobs.tasks import Task as Task
    from ipyjobs.tasks import launcher as launcher
    from ipyjobs.tasks import task as task
    from ipyjobs.verbs import const as const
    from ipyjobs.version import __version__ as __version__

# Where each public name lives. Loaded when first asked for: a worker that needs `report` must not pay for the engine.
_HOMES = {
    "AfterAnother": "conditions",
    "AfterClock": "conditions",
    "AfterOthers": "conditions",
    "AfterTimepoint": "conditions",
    "AfterWeekday": "conditions",
    "AllSatisfied": "conditions",
    "AnySatisfied": "conditions",
    "AsyncTask": "tasks",
    "BeforeClock": "conditions",
    "BeforeTimepoint": "conditions",
    "BeforeWeekday": "conditions",
    "BetweenClock": "conditions",
    "BetweenWeekday": "conditions",
    "CommandFailed": "errors",
    "Condition": "conditions",
    "Cron": "conditions",
    "CronJob": "kinds.periodic",
    "CycleError": "errors",
    "DaskJob": "daskjob",
    "DeadlockError": "errors",
    "Engine": "engine",
    "EngineForked": "errors",
    "EngineNotRunning": "errors",
    "EngineSetting": "settings",
    "EveryPeriod": "conditions",
    "ExecutorError": "errors",
    "ForeignAddress": "errors",
    "IllegalMove": "errors",
    "InvalidLauncher": "errors",
    "InvalidOption": "errors",
    "InvalidStateError": "errors",
    "IpyjobsError": "errors",
    "Job": "job",
    "JobCancelled": "errors",
    "JobFailed": "errors",
    "JobFuture": "future",
    "JobLost": "errors",
    "JobNotFoundError": "errors",
    "JobTimeout": "errors",
    "Jobs": "jobs",
    "LocalJob": "job",
    "MainJob": "mainjob",
    "NotPicklable": "errors",
    "ProcessJob": "job",
    "RangeCheckError": "errors",
    "Reason": "status",
    "ResultUnreadable": "errors",
    "Retry": "retry",
    "RunRecord": "records",
    "SentinelJob": "kinds.periodic",
    "Status": "status",
    "StoreError": "errors",
    "StoreTooNew": "errors",
    "StoreUnreadable": "errors",
    "Stream": "streams",
    "SubprocessJob": "kinds.command",
    "Task": "tasks",
    "TaskTerminationException": "errors",
    "TerminationFlag": "context",
    "ThreadJob": "job",
    "TimeCondition": "conditions",
    "Unverified": "errors",
    "WebappFailed": "errors",
    "WebappJob": "kinds.webapp",
    "WorkerDied": "errors",
    "WorkersBroken": "errors",
    "__version__": "version",
    "after_clock": "conditions",
    "after_timepoint": "conditions",
    "after_weekday": "conditions",
    "before_clock": "conditions",
    "before_timepoint": "conditions",
    "before_weekday": "conditions",
    "between_clock": "conditions",
    "between_timepoint": "conditions",
    "between_weekday": "conditions",
    "const": "verbs",
    "cron": "conditions",
    "current_job": "context",
    "daily": "conditions",
    "every": "conditions",
    "get_default_engine": "engines",
    "hookimpl": "hooks",
    "hourly": "conditions",
    "launcher": "tasks",
    "logger": "log",
    "report": "context",
    "set_default_engine": "engines",
    "task": "tasks",
    "weekly": "conditions",
}

__all__ = [
    "AfterAnother", "AfterClock", "AfterOthers", "AfterTimepoint", "AfterWeekday", "AllSatisfied", "AnySatisfied",
    "AsyncTask", "BeforeClock", "BeforeTimepoint", "BeforeWeekday", "BetweenClock", "BetweenWeekday", "CommandFailed",
    "Condition", "Cron", "CronJob", "CycleError", "DaskJob", "DeadlockError", "Engine", "EngineForked",
    "EngineNotRunning", "EngineSetting", "EveryPeriod", "ExecutorError", "ForeignAddress", "IllegalMove",
    "InvalidLauncher", "InvalidOption", "InvalidStateError", "IpyjobsError", "Job", "JobCancelled", "JobFailed",
    "JobFuture", "JobLost", "JobNotFoundError", "JobTimeout", "Jobs", "LocalJob", "MainJob", "NotPicklable",
    "ProcessJob", "RangeCheckError", "Reason", "ResultUnreadable", "Retry", "RunRecord", "SentinelJob", "Status",
    "StoreError", "StoreTooNew", "StoreUnreadable", "Stream", "SubprocessJob", "Task", "TaskTerminationException",
    "TerminationFlag", "ThreadJob", "TimeCondition", "Unverified", "WebappFailed", "WebappJob", "WorkerDied",
    "WorkersBroken", "__version__", "after_clock", "after_timepoint", "after_weekday", "before_clock",
    "before_timepoint", "before_weekday", "between_clock", "between_timepoint", "between_weekday", "const", "cron",
    "current_job", "daily", "every", "get_default_engine", "hookimpl", "hourly", "launcher", "logger", "report",
    "set_default_engine", "task", "weekly",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ipyjobs' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"ipyjobs.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def load_ipython_extension(ipython: Any) -> None:
    """Start the notebook's engine and put ``jobs`` into the namespace: ``%load_ext ipyjobs``."""
    from ipyjobs.notebook import load  # needs IPython, which a script does not

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take ``jobs`` away again; what runs goes on: ``%unload_ext ipyjobs``."""
    from ipyjobs.notebook import unload  # needs IPython, which a script does not

    unload(ipython)
