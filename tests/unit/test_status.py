"""The transition table."""

from __future__ import annotations

from itertools import product

import pytest

from ipyjobs.errors import IllegalMove
from ipyjobs.status import TRANSITIONS, Status, Verb, step


@pytest.mark.parametrize(("status", "verb"), sorted(set(product(Status, Verb)) - set(TRANSITIONS)))
def test_every_other_move_is_refused(status: Status, verb: Verb) -> None:
    with pytest.raises(IllegalMove, match=verb):
        step(status, verb)


@pytest.mark.parametrize(("status", "verb"), sorted(TRANSITIONS))
def test_every_move_leads_to_a_status(status: Status, verb: Verb) -> None:
    assert step(status, verb) in Status


def test_three_statuses_are_ends() -> None:
    assert [status.value for status in Status if status.ended] == ["done", "failed", "cancelled"]


def test_only_a_rerun_leads_out_of_an_end() -> None:
    assert {verb for (status, verb) in TRANSITIONS if status.ended} == {Verb.RERUN}
