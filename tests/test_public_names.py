import importlib
import subprocess
import sys

import ipyjobs

# What others build on. A name that goes from here, or changes its meaning, needs a major version.
NAMES = [
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
# Slow or optional: nobody who only imports ipyjobs shall wait for them.
LAZY = [
    "alembic", "anywidget", "dask", "distributed", "IPython", "ipywidgets", "matplotlib", "numpy", "pandas",
    "sqlalchemy",
]  # fmt: skip


def test_the_public_names_are_these():
    assert sorted(ipyjobs.__all__) == sorted(NAMES)


def test_the_public_names_are_sorted():
    assert list(ipyjobs.__all__) == sorted(ipyjobs.__all__)


def test_every_public_name_is_there():
    missing = [name for name in ipyjobs.__all__ if not hasattr(importlib.import_module("ipyjobs"), name)]

    assert not missing


def test_importing_the_package_imports_nothing_slow():
    look = f"import sys, ipyjobs; print(*sorted(set({LAZY}) & sys.modules.keys()))"

    found = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)

    assert found.stdout.split() == []
