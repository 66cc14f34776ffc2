"""Jobs that wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence


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
