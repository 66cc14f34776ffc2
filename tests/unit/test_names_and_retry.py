"""What jobs may be called, and how often they are tried."""

from __future__ import annotations

from functools import partial

import pytest

from ipyjobs.errors import InvalidOption
from ipyjobs.names import checked_name, checked_tags, name_of
from ipyjobs.retry import Retry


@pytest.mark.parametrize(
    "name", ["train", "lr=0.1 seed=0", "émile", "👩‍💻", "学习", "../../etc/passwd", "<img src=x>", "a'b\"c"]
)
def test_a_name_that_can_be_shown_is_kept_as_it_is(name: str) -> None:
    assert checked_name("name", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "a\x00b",
        "a\nb",
        "\x1b[31mred",
        "\u202etxt.exe",
        "\u2066x",
        "\u200b\u200d",
        "x" * 10_000,
        "a\u2028b",
        7,
        None,
    ],
)
def test_a_name_that_acts_or_is_invisible_or_endless_is_refused(name: object) -> None:
    with pytest.raises(InvalidOption, match="name="):
        checked_name("name", name)


def test_the_message_names_the_character_and_stays_short() -> None:
    with pytest.raises(InvalidOption, match=r"U\+202E") as caught:
        checked_name("name", "a\u202eb")
    assert len(str(caught.value)) < 200

    with pytest.raises(InvalidOption, match="10,002 characters|at most 500") as caught:
        checked_name("name", "x" * 10_000)
    assert len(str(caught.value)) < 300


def test_tags_are_kept_once_and_in_order() -> None:
    assert checked_tags(["b", "a", "b"]) == ("b", "a")


def test_one_tag_given_as_text_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidOption, match=r"\['nightly'\]"):
        checked_tags("nightly")


def test_callables_of_every_kind_have_a_name() -> None:
    class Model:
        def __call__(self) -> None: ...

    assert name_of(partial(partial(len), [])) == "len"
    assert name_of(Model()) == "Model"
    assert name_of(max) == "max"


def test_delays_grow_and_are_capped() -> None:
    retry = Retry(5, delay_s=1, backoff=3, max_delay_s=10)

    assert [retry.delay(n) for n in (1, 2, 3, 4)] == [1, 3, 9, 10]


def test_a_delay_too_large_for_a_float_is_capped_too() -> None:
    assert Retry(5, delay_s=1, backoff=10).delay(5000) == 3600


def test_jitter_moves_a_delay_by_at_most_its_part() -> None:
    delays = [Retry(1, delay_s=10, jitter=0.2).delay(1) for _ in range(200)]

    assert all(8 <= each <= 12 for each in delays)
    assert len(set(delays)) > 100


@pytest.mark.parametrize(
    "values",
    [
        {"times": -1},
        {"times": 1.5},
        {"times": 1e308},
        {"delay_s": -1},
        {"backoff": float("nan")},
        {"jitter": 2},
        {"times": True},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(InvalidOption):
        Retry(**values)  # type: ignore[arg-type]
