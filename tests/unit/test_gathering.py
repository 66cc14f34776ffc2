"""Changes that become one batch: whatever order they are read in, the newest counts and nothing is left out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ipyjobs.status import Status, Verb
from ipyjobs.stores.gathering import Change, End, Gathering, batch_of
from ipyjobs.stores.rows import AttemptRow, Birth, State
from ipyjobs.stores.sealing import CallToKeep

BIRTH = Birth("a", "s", 1, "f", "ThreadJob", "thread", "default", None, "[]", 0, 0, "", 1.0, "{}", "[]", "[]", "")
CALL = CallToKeep(print, (), {}, None)


def state(status: Status, **changes: object) -> State:
    return State(status, None, None, 1, 1.0, None, None, None, "", "", "", 1, "", 0)._replace(**changes)


def event(verb: Verb) -> tuple[Any, ...]:
    return 1, 1.0, verb, Status.PENDING, Status.RUNNING, 1, None, ""


def attempt(number: int, outcome: str = "") -> AttemptRow:
    return AttemptRow("a", 1, number, 1.0, None, None, outcome, "", "", 0, "")


SUBMIT = Change(1, "a", state(Status.PENDING), 0, (event(Verb.SUBMIT),), None, (BIRTH, CALL), None)
START = Change(2, "a", state(Status.RUNNING), 1, (event(Verb.START),), attempt(1), None, None)
RETRY = Change(3, "a", state(Status.PENDING), 2, (event(Verb.RETRY),), attempt(1, "failed"), None, None)
TOUCH = Change(4, "a", state(Status.PENDING, note="n"), 3, (), attempt(2), None, None)


def gathered(*changes: Change) -> Gathering:
    gathering = Gathering()
    for each in changes:
        gathering.add(each)
    return gathering


@pytest.mark.parametrize("at", range(4))
def test_a_touch_that_is_read_too_early_replaces_nothing_older(at: int) -> None:
    changes = [SUBMIT, START, RETRY]
    changes.insert(at, TOUCH)

    batch = batch_of(gathered(*changes).first(10), None)

    assert batch.states["a"].note == "n"
    assert [each.verb for each in batch.events] == ["submit", "start", "retry"]
    assert [each.position for each in batch.events] == [0, 1, 2]
    assert {(each.number, each.outcome) for each in batch.attempts if each.outcome or each.number == 2} == {
        (1, "failed"), (2, ""),
    }  # fmt: skip
    newest = {each.number: each.outcome for each in batch.attempts}
    assert newest == {1: "failed", 2: ""}


def test_words_are_plain_text_for_the_database() -> None:
    batch = batch_of(gathered(SUBMIT, START).first(10), None)

    values = itertools.chain(batch.states["a"], *batch.events)
    assert {type(each) for each in values} <= {str, int, float, type(None)}


def test_a_job_that_is_removed_is_only_removed() -> None:
    batch = batch_of(gathered(SUBMIT, START._replace(removed=True, events=())).first(10), None)

    assert (list(batch.removed), batch.states, list(batch.events)) == (["a"], {}, [])


def test_a_rerun_makes_the_end_before_void() -> None:
    end = Change(3, "a", state(Status.DONE), 2, (event(Verb.FINISH),), attempt(1, "done"), None, End(None, None, None))
    again = Change(4, "a", state(Status.PENDING, round=2), 3, (event(Verb.RERUN),), attempt(1, "done"), None, None)

    gathering = gathered(SUBMIT, START, end)
    assert gathering.first(1)["a"].end is not None
    gathering.add(again)

    assert gathering.first(1)["a"].end is None
    assert list(batch_of(gathering.first(1), None).rerun) == ["a"]


def test_what_was_written_is_dropped_and_the_rest_stays() -> None:
    gathering = gathered(*(SUBMIT._replace(job_id=f"a{n}") for n in range(5)))

    gathering.drop(gathering.first(2))

    assert list(gathering.first(10)) == ["a2", "a3", "a4"]
