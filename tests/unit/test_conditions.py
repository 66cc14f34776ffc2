"""Conditions: whether they hold, and when it is worth asking again."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipyjobs.conditions import (
    AfterAnother,
    AfterOthers,
    AllSatisfied,
    AnySatisfied,
    Condition,
    is_ours,
    job_ids,
    needed_ids,
)  # fmt: skip
from ipyjobs.errors import InvalidOption
from ipyjobs.scheduling import Wakes
from ipyjobs.status import Status
from tests.times import Statuses


class Odd(Condition):
    def satisfy(self, engine: object) -> bool:
        return False


@pytest.mark.parametrize("status", Status)
def test_after_another_holds_once_the_other_has_ended(status: Status) -> None:
    assert AfterAnother("a").satisfy(Statuses(a=status)) is status.ended


def test_after_another_does_not_hold_for_an_unknown_job() -> None:
    assert AfterAnother("a").satisfy(Statuses()) is False


def test_only_the_wanted_ends_count() -> None:
    condition = AfterAnother("a", statuses=["done"])

    assert not condition.satisfy(Statuses(a=Status.FAILED))
    assert condition.satisfy(Statuses(a=Status.DONE))


@pytest.mark.parametrize("statuses", [["running"], ["nonsense"], [], "done!"])
def test_statuses_that_are_no_ends_are_refused(statuses: object) -> None:
    with pytest.raises(InvalidOption, match="done, failed, cancelled"):
        AfterAnother("a", statuses=statuses)  # type: ignore[arg-type]


def test_after_others_wants_all_or_any() -> None:
    engine = Statuses(a=Status.DONE, b=Status.RUNNING)

    assert not AfterOthers(["a", "b"]).satisfy(engine)
    assert AfterOthers(["a", "b"], mode="any").satisfy(engine)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InvalidOption, match="'all' or 'any'"):
        AfterOthers(["a"], mode="most")


def test_something_that_is_no_job_is_refused() -> None:
    with pytest.raises(InvalidOption, match="a job or its id"):
        AfterAnother(17)  # type: ignore[arg-type]


def test_operators_combine() -> None:
    both, either = AfterAnother("a") & AfterAnother("b"), AfterAnother("a") | AfterAnother("b")
    engine = Statuses(a=Status.DONE)

    assert isinstance(both, AllSatisfied)
    assert isinstance(either, AnySatisfied)
    assert not both.satisfy(engine)
    assert either.satisfy(engine)


def test_a_condition_that_only_satisfies_is_polled() -> None:
    assert Odd().wakes(Statuses()) is None
    assert AnySatisfied([AfterAnother("a"), Odd()]).wakes(Statuses()) is None
    assert AllSatisfied([AfterAnother("a"), Odd()]).wakes(Statuses(a=Status.DONE)) is None


def test_a_condition_of_the_users_own_is_not_asked_while_jobs_have_yet_to_end() -> None:
    asked = []

    class Mine(Condition):
        def satisfy(self, engine: object) -> bool:
            asked.append(1)
            return True

    condition = AllSatisfied([Mine(), AfterAnother("a")])

    assert not condition.satisfy(Statuses())
    assert condition.wakes(Statuses()) == Wakes(jobs=frozenset({"a"}), need=1)
    assert asked == []
    assert condition.satisfy(Statuses(a=Status.DONE))


def test_after_others_counts_down() -> None:
    wakes = AfterOthers(["a", "b", "c"]).wakes(Statuses(a=Status.DONE))

    assert wakes == Wakes(jobs=frozenset({"b", "c"}), need=2)


def test_user_code_is_told_from_ours() -> None:
    class Mine(AfterAnother):
        def satisfy(self, engine: object) -> bool:
            return True

    class Bare(Condition):
        pass

    assert is_ours(AfterAnother("a") & AfterOthers(["b"]))
    assert not is_ours(Bare())
    assert not is_ours(Mine("a"))
    assert not is_ours(AfterAnother("a") | Odd())


def test_jobs_named_anywhere_are_found() -> None:
    condition = AfterAnother("a") & (AfterOthers(["b", "c"]) | Odd())

    assert job_ids(condition) == ("a", "b", "c")
    assert needed_ids(condition) == ("a",)


NAMES = ["a", "b", "c", "d"]
leaves = st.one_of(
    st.builds(AfterAnother, st.sampled_from(NAMES)),
    st.builds(AfterOthers, st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)),
    st.builds(lambda ids: AfterOthers(ids, mode="any"), st.lists(st.sampled_from(NAMES), min_size=1, unique=True)),
)
trees = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.builds(AllSatisfied, st.lists(parts, min_size=1, max_size=3)),
        st.builds(AnySatisfied, st.lists(parts, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(condition=trees, order=st.permutations(NAMES))
def test_waking_when_told_never_misses_the_moment(condition: Condition, order: list[str]) -> None:
    engine = Statuses()
    wakes = condition.wakes(engine)
    assert wakes is not None
    left, need = set(wakes.jobs), wakes.need

    for job_id in order:
        engine.statuses[job_id] = Status.DONE
        if job_id in left:
            left.discard(job_id)
            need -= 1
        if need <= 0:
            if condition.satisfy(engine):
                return
            wakes = condition.wakes(engine)
            assert wakes is not None
            left, need = set(wakes.jobs), wakes.need
        else:
            assert not condition.satisfy(engine), "it held, and nobody would have asked"


@pytest.mark.parametrize(("first", "second"), list(product([True, False], repeat=2)))
def test_all_and_any_are_and_and_or(first: bool, second: bool) -> None:
    class Fixed(Condition):
        def __init__(self, value: bool) -> None:
            self.value = value

        def satisfy(self, engine: object) -> bool:
            return self.value

    assert AllSatisfied([Fixed(first), Fixed(second)]).satisfy(None) is (first and second)
    assert AnySatisfied([Fixed(first), Fixed(second)]).satisfy(None) is (first or second)
