"""Conditions of time: when they hold, and that they say so in time."""

# ruff: noqa: DTZ001 - what a clock on the wall shows has no zone

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipyjobs import (
    AfterAnother,
    AfterClock,
    AfterTimepoint,
    AfterWeekday,
    AllSatisfied,
    AnySatisfied,
    BeforeClock,
    BeforeTimepoint,
    BeforeWeekday,
    BetweenWeekday,
    Condition,
    Cron,
    EveryPeriod,
    InvalidOption,
    Status,
    after_clock,
    before_weekday,
    between_clock,
    between_timepoint,
    between_weekday,
    cron,
    daily,
    every,
    hourly,
    weekly,
)
from ipyjobs.clocks import LOCAL, first_showing, shown, zone_of
from ipyjobs.combinations import NEVER, Moment, ahead, foresee, held, is_ours
from ipyjobs.scheduling import Wakes
from tests.times import BERLIN, Statuses, berlin, in_berlin

TZ = "Europe/Berlin"
POINT = datetime(2026, 3, 27, 12, 0, 0)
# Wednesday, 25 March 2026, is four days before summer time begins.
TABLE: list[tuple[Condition, str, bool]] = [
    (AfterClock("12:30", TZ), "2026-03-25 12:29:59", False),
    (AfterClock("12:30", TZ), "2026-03-25 12:30:00", True),
    (AfterClock("12:30", TZ), "2026-03-25 13:05:00", True),
    (AfterClock("12:30", TZ), "2026-03-25 23:59:59", True),
    (AfterClock("12:30", TZ), "2026-03-26 00:00:00", False),
    (AfterClock("12", TZ), "2026-03-25 12:00:00", True),
    (AfterClock("12:00:30", TZ), "2026-03-25 12:00:29", False),
    (AfterClock("12:00:30", TZ), "2026-03-25 12:00:30", True),
    (AfterClock("0", TZ), "2026-03-25 00:00:00", True),
    (BeforeClock("12:30", TZ), "2026-03-25 11:59:00", True),
    (BeforeClock("12:30", TZ), "2026-03-25 12:29:59", True),
    (BeforeClock("12:30", TZ), "2026-03-25 12:30:00", False),
    (BeforeClock("24:00", TZ), "2026-03-25 23:59:59", True),
    (between_clock("18:00", "24:00", TZ), "2026-03-25 17:59:59", False),
    (between_clock("18:00", "24:00", TZ), "2026-03-25 18:00:00", True),
    (between_clock("18:00", "24:00", TZ), "2026-03-25 20:45:10", True),
    (between_clock("18:00", "24:00", TZ), "2026-03-25 23:59:59", True),
    (between_clock("18:00", "24:00", TZ), "2026-03-26 00:00:00", False),
    (between_clock("22:00", "06:00", TZ), "2026-03-25 21:59:59", False),
    (between_clock("22:00", "06:00", TZ), "2026-03-25 23:00:00", True),
    (between_clock("22:00", "06:00", TZ), "2026-03-26 00:00:00", True),
    (between_clock("22:00", "06:00", TZ), "2026-03-26 05:59:59", True),
    (between_clock("22:00", "06:00", TZ), "2026-03-26 06:00:00", False),
    (AfterWeekday("Wednesday", TZ), "2026-03-24 23:59:59", False),
    (AfterWeekday("wed", TZ), "2026-03-25 00:00:00", True),
    (AfterWeekday("WED", TZ), "2026-03-29 23:59:59", True),
    (AfterWeekday("wed", TZ), "2026-03-30 00:00:00", False),
    (BeforeWeekday("wed", TZ), "2026-03-25 23:59:59", True),
    (BeforeWeekday("wed", TZ), "2026-03-26 00:00:00", False),
    (between_weekday("tue", "thu", TZ), "2026-03-26 23:59:59", True),
    (between_weekday("tue", "thu", TZ), "2026-03-27 00:00:00", False),
    (between_weekday("fri", "mon", TZ), "2026-03-26 23:59:59", False),
    (between_weekday("fri", "mon", TZ), "2026-03-29 12:00:00", True),
    (between_weekday("fri", "mon", TZ), "2026-03-30 23:59:59", True),
    (between_weekday("fri", "mon", TZ), "2026-03-31 00:00:00", False),
    (between_weekday("sun", "sun", TZ), "2026-03-29 12:00:00", True),
    (between_weekday("sun", "sun", TZ), "2026-03-30 00:00:00", False),
    (AfterTimepoint(POINT, TZ), "2026-03-27 11:59:59", False),
    (AfterTimepoint(POINT, TZ), "2026-03-27 12:00:00", True),
    (AfterTimepoint(POINT.replace(tzinfo=UTC)), "2026-03-27 12:59:59", False),
    (AfterTimepoint(POINT.replace(tzinfo=UTC)), "2026-03-27 13:00:00", True),
    (BeforeTimepoint(POINT, TZ), "2026-03-27 11:59:59", True),
    (BeforeTimepoint(POINT, TZ), "2026-03-27 12:00:00", False),
    (between_timepoint(POINT, POINT + timedelta(hours=1), TZ), "2026-03-27 12:30:00", True),
    (between_timepoint(POINT, POINT + timedelta(hours=1), TZ), "2026-03-27 13:00:00", False),
]


@pytest.mark.row("F-01")
@pytest.mark.row("F-24")
@pytest.mark.row("E-17")
@pytest.mark.row("E-50")
@pytest.mark.parametrize(("condition", "at", "holds"), TABLE, ids=lambda value: str(value)[:60])
def test_a_condition_of_time_holds_from_one_moment_to_another(condition: Condition, at: str, holds: bool) -> None:
    assert condition.satisfy(Statuses(berlin(at))) is holds


@pytest.mark.row("E-50")
@pytest.mark.parametrize(
    ("make", "value"),
    [
        *((AfterClock, each) for each in ("", "25", "24:00:01", "12:60", "12:00:60", "noon", "1:2:3:4", "-1", "١٢")),
        *((AfterClock, each) for each in ("24:00", "12:", 12, None)),
        *((BeforeClock, each) for each in ("0", "00:00", "25:00")),
        *((lambda text: between_clock("9", text), each) for each in ("9:00", "x")),
        *((AfterWeekday, each) for each in ("", "m", "mond", "Montag", 1, None)),
        *((lambda text: BetweenWeekday("mon", text), each) for each in ("x",)),
        *((EveryPeriod, each) for each in ("", "d", "1", "0s", "-1h", "nans", "infd", "1w", "1 day")),
        *((EveryPeriod, each) for each in ("1e400s", 5, None)),
        *((AfterTimepoint, each) for each in ("2026-03-25", 1.0, POINT.date())),
        *((Cron, each) for each in ("", "* * * *", "61 * * * *", "0 0 30 2 *", "0 0 31 4,6 *", "* * * * * * *", None)),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name_when_it_is_given(make: Callable[[Any], object], value: object) -> None:
    with pytest.raises(ValueError, match="is not possible; expected") as caught:
        make(value)

    assert isinstance(caught.value, InvalidOption)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AfterClock("12", "Europe/Nowhere"), lambda: AfterWeekday("mon", ""), lambda: Cron("* * * * *", "../x"),
        lambda: AfterTimepoint(POINT, "x"), lambda: between_timepoint(POINT, POINT), lambda: EveryPeriod("1s", "yes"),
    ],
)  # fmt: skip
def test_zones_and_orders_that_do_not_exist_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidOption):
        make()


def test_a_zone_may_be_a_name_or_an_object() -> None:
    at = Statuses(berlin("2026-03-25 12:00"))

    assert AfterClock("12", TZ).satisfy(at)
    assert AfterClock("12", BERLIN).satisfy(at)
    assert not AfterClock("12", UTC).satisfy(at)


# -- periods


@pytest.mark.row("E-50")
def test_a_period_holds_once_each_time_it_has_passed() -> None:
    engine = Statuses(1000.0)
    condition = EveryPeriod("10s")
    seen = []

    for at in (1000, 1009.9, 1010, 1010, 1019.9, 1020, 1025, 1030):
        engine.clock.pass_to(at)
        seen.append(condition.satisfy(engine))

    assert seen == [False, False, True, False, False, True, False, True]


def test_an_immediate_period_holds_at_the_start_too() -> None:
    engine = Statuses(1000.0)
    condition = EveryPeriod("0.5m", immediate=True)

    assert condition.satisfy(engine)
    assert not condition.satisfy(engine)
    assert condition.wakes(engine) == Wakes(at=1030.0)


def test_a_period_does_not_drift_and_makes_up_once() -> None:
    engine = Statuses(0.0)
    condition = every("10s")
    condition.satisfy(engine)
    held_at = []

    for at in (10.003, 20.009, 57.0, 57.5, 60.001, 70.0):
        engine.clock.pass_to(at)
        if condition.satisfy(engine):
            held_at.append(at)

    assert held_at == [10.003, 20.009, 57.0, 60.001, 70.0]


def test_a_period_goes_on_after_a_restart() -> None:
    engine = Statuses(berlin("2026-03-25 12:00"))
    condition = EveryPeriod("1h", last_submitted_at=datetime.fromtimestamp(berlin("2026-03-25 11:30"), UTC))

    assert not condition.satisfy(engine)
    assert condition.wakes(engine) == Wakes(at=pytest.approx(berlin("2026-03-25 12:30")))


def test_setting_the_clock_changes_no_period() -> None:
    engine = Statuses(berlin("2026-03-25 12:00"))
    condition = EveryPeriod("1h")
    condition.satisfy(engine)

    engine.clock.set_to(berlin("2026-03-20 07:00"))

    assert not condition.satisfy(engine)
    assert condition.wakes(engine) == Wakes(at=berlin("2026-03-20 08:00"))


@settings(max_examples=100, deadline=None)
@given(now=st.floats(1.7e9, 2.1e9), elapsed=st.floats(10, 1e7), period=st.sampled_from(["0.1s", "0.3s", "7m", "1d"]))
def test_a_period_has_passed_when_it_said_it_would(now: float, elapsed: float, period: str) -> None:
    condition = EveryPeriod(period)
    moment = Moment(Statuses(), now, elapsed)

    for _ in range(3):
        wakes = ahead(condition, moment)
        assert wakes is not None
        assert wakes.at is not None
        moment = moment.at(wakes.at)
        now_held = held(condition, moment)
        assert now_held is not None, "it would be asked again and again for a rounding error"
        condition.take(moment, now_held.parts[0])


def test_what_time_can_never_give_is_not_asked_for_again() -> None:
    engine = Statuses(berlin("2026-04-01 10:00"))
    over = BeforeTimepoint(POINT, TZ)

    assert over.wakes(engine) == NEVER
    assert (over & after_clock("12", TZ)).wakes(engine) == NEVER
    assert (over & AfterAnother("a")).wakes(engine) == NEVER
    assert (over | after_clock("12", TZ)).wakes(engine) == Wakes(at=berlin("2026-04-01 12:00"))


def run(condition: Condition, start: str, end: str) -> list[str]:
    """When a condition is taken in Berlin, if it is asked exactly when it says."""
    engine = Statuses(berlin(start))
    found = []
    for _ in range(1000):
        if condition.satisfy(engine):
            found.append(in_berlin(engine.clock.now()))
        wakes = condition.wakes(engine)
        assert wakes is not None
        assert wakes.every is None
        assert not wakes.jobs
        if wakes.at is None or wakes.at > berlin(end):
            return found
        assert wakes.at > engine.clock.now()
        engine.clock.pass_to(wakes.at)
    raise AssertionError("it polls")


@pytest.mark.row("E-47")
def test_daily_after_noon_holds_once_a_day_at_noon() -> None:
    condition = daily.anew() & after_clock("12:00", TZ)

    assert run(condition, "2026-03-24 09:00", "2026-03-27 23:00") == [
        "Tue 24 12:00:00 +01", "Wed 25 12:00:00 +01", "Thu 26 12:00:00 +01", "Fri 27 12:00:00 +01",
    ]  # fmt: skip


@pytest.mark.row("E-47")
def test_daily_after_noon_that_starts_in_the_afternoon_waits_for_the_next_day() -> None:
    condition = daily.anew() & after_clock("12:00", TZ)

    assert run(condition, "2026-03-24 15:00", "2026-03-26 23:00") == ["Wed 25 15:00:00 +01", "Thu 26 15:00:00 +01"]


def test_hourly_between_times_keeps_its_hour_from_the_opening_on() -> None:
    condition = hourly.anew() & between_clock("18:00", "21:00", TZ)

    assert run(condition, "2026-03-24 09:20", "2026-03-24 23:00") == [
        "Tue 24 18:00:00 +01", "Tue 24 19:00:00 +01", "Tue 24 20:00:00 +01",
    ]  # fmt: skip


def test_two_periods_hold_at_the_times_of_either() -> None:
    condition = every("20m") | every("30m")

    assert [each[7:12] for each in run(condition, "2026-03-24 09:00", "2026-03-24 10:05")] == [
        "09:20", "09:30", "09:40", "10:00",
    ]  # fmt: skip


def test_weekly_is_seven_days() -> None:
    assert run(weekly.anew(), "2026-06-01 09:00", "2026-06-16 00:00") == ["Mon 08 09:00:00 +02", "Mon 15 09:00:00 +02"]


# -- summer time: Berlin skips 2:00 to 3:00 on 29 March 2026, and has 2:00 to 3:00 twice on 25 October


def test_a_cron_line_at_a_time_that_is_skipped_comes_when_it_is_skipped() -> None:
    assert run(cron("30 2 * * *", TZ), "2026-03-28 00:00", "2026-03-30 12:00") == [
        "Sat 28 02:30:00 +01", "Sun 29 03:00:00 +02", "Mon 30 02:30:00 +02",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["30 2 * * *", "0 30 2 * * *"])
def test_a_cron_line_at_a_time_that_is_shown_twice_comes_once(text: str) -> None:
    assert run(cron(text, TZ), "2026-10-24 00:00", "2026-10-26 12:00") == [
        "Sat 24 02:30:00 +02", "Sun 25 02:30:00 +02", "Mon 26 02:30:00 +01",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "end", "times"),
    [
        ("2026-03-29 01:10", "2026-03-29 04:00", ["01:30 +01", "03:00 +02", "03:30 +02", "04:00 +02"]),
        (
            "2026-10-25 01:40",
            "2026-10-25 03:10",
            ["02:00 +02", "02:30 +02", "02:00 +01", "02:30 +01", "03:00 +01"],
        ),
    ],
)
def test_a_cron_line_for_each_half_hour_comes_each_half_hour(start: str, end: str, times: list[str]) -> None:
    found = run(cron("*/30 * * * *", TZ), start, end)

    assert [each[7:12] + each[15:] for each in found] == times


@pytest.mark.parametrize(
    ("day", "opens"), [("2026-03-29", "03:00:00 +02"), ("2026-10-25", "02:30:00 +02"), ("2026-10-26", "02:30:00 +01")]
)
def test_a_window_opens_once_on_a_day_that_changes_the_clock(day: str, opens: str) -> None:
    engine = Statuses(berlin(f"{day} 00:00"))
    condition = after_clock("2:30", TZ)
    wakes = condition.wakes(engine)
    assert wakes is not None
    assert wakes.at is not None
    assert in_berlin(wakes.at)[7:] == opens

    for minutes in range(0, 60 * 20, 5):
        engine.clock.pass_to(wakes.at + 60 * minutes)
        assert condition.satisfy(engine)


def test_a_point_in_time_that_is_skipped_has_come_when_the_clock_skips_it() -> None:
    condition = AfterTimepoint(datetime(2026, 3, 29, 2, 30), TZ)

    assert condition.wakes(Statuses(berlin("2026-03-29 00:00"))) == Wakes(at=berlin("2026-03-29 03:00"))


@pytest.mark.parametrize("name", ["America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "Australia/Lord_Howe", "UTC"])
def test_each_day_of_each_zone_begins_where_the_day_before_ends(name: str) -> None:
    zone = zone_of(name)
    day = datetime(2011, 12, 1)

    for _ in range(400):
        begin = first_showing(day, zone)
        assert shown(begin, zone) >= day > shown(begin - 1, zone)
        day += timedelta(days=1)


# -- crontab lines


def test_cron_times_that_were_missed_are_made_up_for_once() -> None:
    engine = Statuses(berlin("2026-03-25 09:01"))
    condition = cron("*/5 * * * *", TZ)
    assert not condition.satisfy(engine)

    engine.clock.pass_to(berlin("2026-03-25 17:02"))

    assert condition.satisfy(engine)
    assert not condition.satisfy(engine)
    assert condition.wakes(engine) == Wakes(at=berlin("2026-03-25 17:05"))


def test_cron_times_outside_of_a_window_are_skipped_and_not_made_up_for() -> None:
    condition = cron("0 9 * * *", TZ) & before_weekday("fri", TZ)

    assert [each[:12] for each in run(condition, "2026-03-25 12:00", "2026-03-31 12:00")] == [
        "Thu 26 09:00", "Fri 27 09:00", "Mon 30 09:00", "Tue 31 09:00",
    ]  # fmt: skip


def test_cron_in_a_window_is_not_asked_while_that_is_closed() -> None:
    engine = Statuses(berlin("2026-03-25 09:00:30"))
    condition = cron("* * * * *", TZ) & between_clock("18:00", "24:00", TZ)
    assert not condition.satisfy(engine)

    assert condition.wakes(engine) == Wakes(at=berlin("2026-03-25 18:00"))

    engine.clock.pass_to(berlin("2026-03-25 18:00"))
    assert condition.satisfy(engine)


def test_a_cron_time_waits_for_a_job_that_it_is_joined_to() -> None:
    engine = Statuses(berlin("2026-03-25 11:00"))
    condition = cron("0 12 * * *", TZ) & AfterAnother("a")
    condition.satisfy(engine)
    engine.clock.pass_to(berlin("2026-03-25 12:20"))
    assert not condition.satisfy(engine)
    assert condition.wakes(engine) == Wakes(jobs=frozenset({"a"}), need=1)

    engine.statuses["a"] = Status.DONE

    assert condition.satisfy(engine)
    assert not condition.satisfy(engine)


@pytest.mark.parametrize(("back", "next_time"), [("11:00", "13:00"), ("2026-03-20 11:30", "12:00")])
def test_a_clock_that_is_set_back_a_little_repeats_no_cron_times(back: str, next_time: str) -> None:
    engine = Statuses(berlin("2026-03-25 12:30"))
    condition = cron("0 * * * *", TZ)
    condition.satisfy(engine)
    day = back[:10] if len(back) > 5 else "2026-03-25"

    engine.clock.set_to(berlin(f"{day} {back[-5:]}"))

    assert not condition.satisfy(engine)
    wakes = condition.wakes(engine)
    assert wakes is not None
    assert wakes.at == berlin(f"{day} {next_time}")


def test_a_rare_cron_line_is_found() -> None:
    wakes = cron("0 0 29 2 *", TZ).wakes(Statuses(berlin("2026-03-25 12:30")))

    assert wakes == Wakes(at=berlin("2028-02-29 00:00"))


# -- this machine's own zone


@pytest.fixture
def in_berlin_here() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = TZ
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@pytest.mark.parametrize(("start", "end"), [("2026-03-28 00:00", "2026-03-30"), ("2026-10-24 00:00", "2026-10-26")])
@pytest.mark.parametrize("text", ["30 2 * * *", "*/20 1-3 * * *", "15 */3 * * *"])
@pytest.mark.usefixtures("in_berlin_here")
def test_the_machines_own_zone_changes_its_clock_too(text: str, start: str, end: str) -> None:
    assert run(cron(text), start, end) == run(cron(text, TZ), start, end) != []


@pytest.mark.usefixtures("in_berlin_here")
@pytest.mark.parametrize("hours", range(0, 72, 1))
def test_the_machines_own_zone_shows_what_its_clock_shows(hours: int) -> None:
    for start in ("2026-03-28 12:00", "2026-10-24 12:00"):
        at = berlin(start) + hours * 3600

        local, there = datetime.fromtimestamp(at, LOCAL), datetime.fromtimestamp(at, BERLIN)

        assert (local.replace(tzinfo=None), local.fold) == (there.replace(tzinfo=None), there.fold)
        assert local.utcoffset() == there.utcoffset()
        assert local.timestamp() == at


# -- never late, never polling

CLOCKS = st.sampled_from(["0:30", "2:00", "2:30", "3:00", "9", "12:00", "18:00:30", "23:59"])
DAYS = st.sampled_from(["mon", "wed", "sat", "sun"])
STARTS = st.sampled_from(["2026-03-28 20:00", "2026-10-24 20:00", "2026-06-10 08:15"])
time_leaves = st.one_of(
    st.builds(AfterClock, CLOCKS, st.just(TZ)),
    st.builds(BeforeClock, CLOCKS, st.just(TZ)),
    st.builds(between_clock, CLOCKS, st.just("4:15"), st.just(TZ)),
    st.builds(AfterWeekday, DAYS, st.just(TZ)),
    st.builds(BeforeWeekday, DAYS, st.just(TZ)),
    st.builds(between_weekday, DAYS, st.sampled_from(["tue", "sun"]), st.just(TZ)),
    st.builds(
        lambda kind, hours: kind(datetime(2026, 3, 28, 12) + timedelta(hours=hours), TZ),
        st.sampled_from([AfterTimepoint, BeforeTimepoint]),
        st.integers(0, 48),
    ),
    st.builds(EveryPeriod, st.sampled_from(["7m", "1h", "1.5h", "1d"]), st.booleans()),
    st.builds(Cron, st.sampled_from(["30 2 * * *", "*/20 * * * *", "5 */2 * * sun", "0 9 * * mon-fri"]), st.just(TZ)),
)
job_leaves = st.builds(AfterAnother, st.sampled_from(["a", "b"]))


def combined(leaves: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    return st.recursive(
        leaves,
        lambda parts: st.one_of(
            st.builds(AllSatisfied, st.lists(parts, min_size=1, max_size=3)),
            st.builds(AnySatisfied, st.lists(parts, min_size=1, max_size=3)),
        ),
        max_leaves=5,
    )


@settings(max_examples=80, deadline=None)
@given(condition=combined(time_leaves), start=STARTS, offset_s=st.integers(0, 30 * 3600), looks=st.integers(1, 6))
def test_times_are_foretold_and_never_late(condition: Condition, start: str, offset_s: int, looks: int) -> None:
    assert is_ours(condition)
    condition = condition.anew()
    moment = Moment(Statuses(), berlin(start) + offset_s, 500.0)

    for _ in range(looks):
        for hold in now.parts if (now := held(condition, moment)) is not None else ():
            hold.condition.take(moment, hold)
        wakes = ahead(condition, moment)
        assert wakes is not None
        assert wakes.every is None
        assert not wakes.jobs
        if held(condition, moment) is None:
            _nothing_holds_between(condition, moment, wakes.at)
        if wakes.at is None:
            assert wakes == NEVER
            return
        assert wakes.at > moment.now
        moment = moment.at(wakes.at)


def _nothing_holds_between(condition: Condition, moment: Moment, until: float | None) -> None:
    end = moment.now + 4 * 86400 if until is None else until - 0.01
    span = min(end - moment.now, 9 * 86400)
    for number in range(1, 50):
        between = moment.at(moment.now + span * number / 49)
        assert held(condition, between) is None, "it held, and nobody would have asked"


@settings(max_examples=80, deadline=None)
@given(
    condition=combined(st.one_of(time_leaves, job_leaves)),
    start=STARTS,
    ends=st.tuples(st.integers(1, 40 * 3600), st.integers(1, 40 * 3600)),
)
def test_times_and_jobs_together_are_never_late(condition: Condition, start: str, ends: tuple[int, int]) -> None:
    begin = berlin(start)
    end_of = dict(zip("ab", (begin + each for each in ends), strict=True))
    last = begin + 50 * 3600

    asked_at = _when_asked(condition.anew(), begin, end_of, last)
    looked_at = _when_looked_at(condition.anew(), begin, end_of, last)

    assert asked_at <= looked_at


def _when_asked(condition: Condition, now: float, end_of: dict[str, float], last: float) -> float:
    """The moment at which a condition holds that is asked only when it says."""
    engine = Statuses(now)
    for _ in range(500):
        if condition.satisfy(engine):
            return engine.clock.now()
        wakes = condition.wakes(engine)
        assert wakes is not None
        assert wakes.every is None
        need, events = wakes.need, sorted(
            [(at, job_id) for job_id, at in end_of.items() if job_id not in engine.ends]
            + ([(wakes.at, "")] if wakes.at is not None else [])
        )  # fmt: skip
        for at, job_id in events:
            if at > last:
                return last
            engine.clock.pass_to(at)
            if job_id:
                engine.statuses[job_id], engine.ends[job_id] = Status.DONE, at
                need -= job_id in wakes.jobs
            if not job_id or (job_id in wakes.jobs and need <= 0):
                break
        else:
            return last
    raise AssertionError("it polls")


def _when_looked_at(condition: Condition, begin: float, end_of: dict[str, float], last: float) -> float:
    """The first of many moments at which a condition holds that is looked at all the time."""
    engine = Statuses(begin)
    moments = {begin + 1800.0 * number for number in range(int((last - begin) / 1800))} | set(end_of.values())
    for at in sorted(moments):
        engine.clock.pass_to(at)
        for job_id, end in end_of.items():
            if end <= at:
                engine.statuses[job_id], engine.ends[job_id] = Status.DONE, end
        if held(condition, Moment.of(engine)) is not None:
            return at
    return last


@settings(max_examples=100, deadline=None)
@given(condition=combined(time_leaves), start=STARTS)
def test_what_is_foreseen_comes_true(condition: Condition, start: str) -> None:
    moment = Moment(Statuses(), berlin(start), 500.0)
    held(condition, moment)

    at = foresee(condition, moment)

    assert at is None or held(condition, moment.at(at)) is not None


@settings(max_examples=100, deadline=None)
@given(text=CLOCKS, at=st.integers(int(berlin("2026-05-01")), int(berlin("2026-09-01"))))
def test_after_a_time_of_day_is_what_the_clock_on_the_wall_says(text: str, at: int) -> None:
    hour, minute, second = ([int(each) for each in text.split(":")] + [0, 0])[:3]
    wall = datetime.fromtimestamp(at, BERLIN)

    holds = AfterClock(text, TZ).satisfy(Statuses(at))

    assert holds is ((wall.hour, wall.minute, wall.second) >= (hour, minute, second))
