"""Jobs that wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ipyjobs.conditions import needed_ids
from ipyjobs.errors import CycleError
from ipyjobs.status import Status

if TYPE_CHECKING:
    from ipyjobs.flow import Flow
    from ipyjobs.job import Job


def refuse_cycles(flow: Flow, new: Sequence[Job]) -> None:
    """See to it that no job can wait for itself once `new` are taken in.

    Raises
    ------
    CycleError
        Some would wait for each other for ever.
    """
    if all(job._condition is None and not job._upstream for job in new):
        return
    needs: dict[str, tuple[str, ...]] = {}
    in_order = True
    for job in new:
        job_id = job._trait_values["id"]
        ids = job._upstream if job._condition is None else (*job._upstream, *needed_ids(job._condition))
        if flow.scheduler.watched(job_id) or not all(each in needs or each in flow.jobs for each in ids):
            in_order = False
        needs[job_id] = ids
    if in_order:  # each needs only such as were known before it, as is usual
        return

    def needed(job_id: str) -> Iterable[str]:
        if job_id in needs:
            return needs[job_id]
        job = flow.jobs.get(job_id)
        if job is None or job.status is not Status.PENDING:
            return ()
        return (*job._upstream, *needed_ids(job._condition))

    # A cycle can only be closed by a job that somebody waits for already.
    waited_for = {each for ids in needs.values() for each in ids}
    starts = [each for each in needs if each in waited_for or flow.scheduler.watched(each)]
    for cycle in find_cycle(starts, needed):
        known = {job.id: job.name for job in new}
        raise CycleError(cycle, [known.get(each) or flow.jobs[each].name for each in cycle])


def find_cycle(starts: Sequence[str], needs: Callable[[str], Iterable[str]]) -> list[list[str]]:
    """The first cycle that can be reached from `starts`, in order, as the only element; nothing if there is none.

    Depth first with three colours (Cormen et al., "Introduction to Algorithms", section 22.3), without recursion.
    """
    done: set[str] = set()
    for start in starts:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            job_id, leaving = stack.pop()
            if leaving:
                path.pop()
                on_path.discard(job_id)
                done.add(job_id)
            elif job_id in on_path:
                return [path[path.index(job_id) :]]
            elif job_id not in done:
                path.append(job_id)
                on_path.add(job_id)
                stack.append((job_id, True))
                stack.extend((each, False) for each in needs(job_id))
    return []
