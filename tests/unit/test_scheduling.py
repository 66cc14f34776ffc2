"""The scheduler alone: who may start, and when to look again."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from ipyjobs.errors import InvalidOption
from ipyjobs.scheduling import Line, Scheduler, Wakes

LINE = Line("thread", "default")


def scheduler_with(*ids: str, limit: int | None = None) -> Scheduler:
    scheduler = Scheduler(limit)
    for order, job_id in enumerate(ids):
        scheduler.add(job_id, LINE, order=order)
        scheduler.ready(job_id)
    return scheduler


def test_jobs_start_in_the_order_of_submission() -> None:
    assert scheduler_with("a", "b", "c").take() == ["a", "b", "c"]


def test_a_higher_priority_starts_first() -> None:
    scheduler = scheduler_with("a", "b")
    scheduler.add("urgent", LINE, priority=5, order=9)
    scheduler.ready("urgent")

    assert scheduler.take() == ["urgent", "a", "b"]


def test_a_priority_can_change_while_waiting_for_a_slot() -> None:
    scheduler = scheduler_with("a", "b", "c")

    scheduler.reprioritize("c", 1)

    assert scheduler.take() == ["c", "a", "b"]


def test_no_more_start_than_there_are_slots_and_a_released_slot_is_used_again() -> None:
    scheduler = scheduler_with("a", "b", "c", limit=2)
    assert scheduler.take() == ["a", "b"]
    assert scheduler.take() == []

    scheduler.release("a")

    assert scheduler.take() == ["c"]


def test_releasing_twice_frees_one_slot() -> None:
    scheduler = scheduler_with("a", "b", "c", limit=1)
    scheduler.take()

    scheduler.release("a")
    scheduler.release("a")

    assert scheduler.take() == ["b"]
    assert scheduler.take() == []


def test_a_full_line_does_not_hold_up_another() -> None:
    scheduler = Scheduler(10)
    scheduler.set_limit(1, queue="gpu")
    for order, (job_id, queue) in enumerate([("g1", "gpu"), ("g2", "gpu"), ("d1", "default")]):
        scheduler.add(job_id, Line("process", queue), order=order)
        scheduler.ready(job_id)

    assert scheduler.take() == ["g1", "d1"]


def test_a_queue_has_one_limit_over_all_backends() -> None:
    scheduler = Scheduler(10)
    scheduler.set_limit(1, queue="gpu")
    for order, backend in enumerate(["process", "thread"]):
        scheduler.add(backend, Line(backend, "gpu"), order=order)
        scheduler.ready(backend)

    assert scheduler.take() == ["process"]


def test_a_job_without_a_general_slot_starts_though_all_are_taken() -> None:
    scheduler = scheduler_with("a", limit=1)
    scheduler.take()
    scheduler.add("app", LINE, general=False)
    scheduler.ready("app")

    assert scheduler.take() == ["app"]


def test_one_task_has_one_limit_over_all_queues_and_other_tasks_go_on() -> None:
    scheduler = Scheduler(10)
    scheduler.set_limit(1, task="report")
    lines = {"r1": Line("thread", "a", "report"), "r2": Line("process", "b", "report"), "x": Line("thread", "a")}
    for order, (job_id, line) in enumerate(lines.items()):
        scheduler.add(job_id, line, order=order)
        scheduler.ready(job_id)

    assert scheduler.take() == ["r1", "x"]
    scheduler.release("r1")
    assert scheduler.take() == ["r2"]


def test_nothing_starts_while_an_exclusive_attempt_holds_its_slot() -> None:
    scheduler = scheduler_with("a", limit=10)
    scheduler.add("main", Line("local", "default"), order=1, exclusive=True)
    scheduler.add("b", LINE, order=2)
    scheduler.ready("main")
    scheduler.ready("b")

    assert scheduler.take() == ["a", "main"]
    assert scheduler.take() == []
    assert scheduler.alone == "main"
    scheduler.release("a")
    assert scheduler.take() == []
    scheduler.release("main")
    assert scheduler.take() == ["b"]
    assert scheduler.alone is None


def test_a_lowered_limit_stops_nothing_and_holds_for_the_next() -> None:
    scheduler = scheduler_with("a", "b", "c", "d", limit=3)
    scheduler.take()

    scheduler.set_limit(1)
    scheduler.release("a")
    scheduler.release("b")

    assert scheduler.take() == []
    scheduler.release("c")
    assert scheduler.take() == ["d"]


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2"])
def test_a_limit_that_makes_no_sense_is_refused(limit: object) -> None:
    with pytest.raises(InvalidOption, match="whole number from 1"):
        Scheduler().set_limit(limit)  # type: ignore[arg-type]


def test_a_job_after_many_is_asked_once() -> None:
    scheduler = Scheduler()
    others = [f"up{i}" for i in range(5000)]
    scheduler.add("last", LINE)
    scheduler.park("last", Wakes(frozenset(others), need=5000), now=0)
    asked = 0

    for each in others:
        scheduler.ended(each)
        asked += len(scheduler.due(0))

    assert asked == 1


def test_one_end_is_enough_where_any_is_wanted() -> None:
    scheduler = Scheduler()
    scheduler.add("x", LINE)
    scheduler.park("x", Wakes(frozenset({"a", "b"}), need=1), now=0)

    scheduler.ended("b")

    assert scheduler.due(0) == ["x"]


def test_an_alarm_rings_when_its_time_has_come_and_not_before() -> None:
    scheduler = Scheduler()
    scheduler.add("x", LINE)
    scheduler.park("x", Wakes(at=10.0), now=0)

    assert scheduler.next_at() == 10.0
    assert scheduler.due(9.9) == []
    assert scheduler.due(10.0) == ["x"]
    assert scheduler.next_at() is None


def test_a_poll_rings_after_its_interval() -> None:
    scheduler = Scheduler()
    scheduler.add("x", LINE)
    scheduler.park("x", Wakes(every=0.5), now=100)

    assert scheduler.next_at() == 100.5


def test_an_alarm_of_a_removed_job_is_forgotten() -> None:
    scheduler = Scheduler()
    scheduler.add("x", LINE)
    scheduler.park("x", Wakes(at=1.0), now=0)

    scheduler.remove("x")

    assert scheduler.next_at() is None
    assert scheduler.due(2.0) == []


def test_nobody_watches_for_a_removed_job() -> None:
    scheduler = Scheduler()
    scheduler.add("x", LINE)
    scheduler.park("x", Wakes(frozenset({"a"}), need=1), now=0)

    scheduler.remove("x")

    assert not list(scheduler.watched("a"))


def test_the_next_after_an_attempt_is_what_would_start_at_its_end() -> None:
    scheduler = scheduler_with("a", "b", "c", limit=1)
    scheduler.take()
    assert scheduler.next_after("a") == "b"
    scheduler.send_ahead("b")
    assert scheduler.next_after("a") == scheduler.next_after("b") == "c"
    assert scheduler.take() == []

    scheduler.release("a")
    scheduler.follow("b")

    assert (scheduler.holding, scheduler.ahead) == ({"b"}, frozenset())
    assert scheduler.take() == []


def test_an_exclusive_job_overtakes_what_is_ahead_and_never_follows() -> None:
    scheduler = scheduler_with("a", "b", limit=2)
    scheduler.set_limit(1, backend="thread")
    scheduler.take()
    scheduler.send_ahead("b")
    scheduler.add("main", Line("local", "default"), order=8, exclusive=True)
    scheduler.ready("main")

    assert scheduler.take() == ["main"]
    assert scheduler.overtaken
    scheduler.give_back("b")
    assert scheduler.next_after("a") is None
    scheduler.add("main too", LINE, priority=1, order=9, exclusive=True)
    scheduler.ready("main too")
    scheduler.release("main")
    assert scheduler.next_after("a") is None


def test_values_are_counted_down_without_asking() -> None:
    scheduler = Scheduler()
    scheduler.add("x", LINE)
    scheduler.count_down("x", ["a", "b"])
    assert scheduler.missing("x") == 2

    scheduler.ended("a")
    assert scheduler.take() == []
    scheduler.ended("b")

    assert scheduler.due(0) == []
    assert scheduler.counted_down == ["x"]
    assert scheduler.take() == ["x"]
    assert not scheduler.watched("a")


def test_a_removed_job_is_no_longer_counted_down() -> None:
    scheduler = Scheduler()
    scheduler.add("x", LINE)
    scheduler.count_down("x", ["a", "b"])

    scheduler.remove("x")
    scheduler.ended("a")

    assert not scheduler.watched("b")
    assert scheduler.take() == []


def test_what_is_given_back_waits_where_it_waited() -> None:
    scheduler = scheduler_with("a", "b", "c", limit=1)
    scheduler.take()
    scheduler.send_ahead("b")

    scheduler.give_back("b")
    scheduler.release("a")

    assert scheduler.take() == ["b"]


def test_nothing_of_another_line_follows() -> None:
    scheduler = scheduler_with("a", limit=1)
    scheduler.add("other", Line("process", "default"), order=7)
    scheduler.ready("other")
    scheduler.add("later", LINE, order=8)
    scheduler.ready("later")
    scheduler.take()

    assert scheduler.next_after("a") is None


def test_a_full_queue_keeps_nobody_else_from_following() -> None:
    scheduler = scheduler_with("a", limit=2)
    scheduler.set_limit(1, queue="narrow")
    for order, job_id in enumerate(("n1", "n2"), 2):
        scheduler.add(job_id, Line("thread", "narrow"), order=order)
        scheduler.ready(job_id)
    scheduler.add("later", LINE, order=8)
    scheduler.ready("later")
    assert scheduler.take() == ["a", "n1"]

    assert scheduler.next_after("a") == "later"
    assert scheduler.next_after("n1") == "n2"


def test_it_is_said_when_one_that_is_ahead_is_overtaken() -> None:
    scheduler = scheduler_with("a", "b", "c", limit=1)
    scheduler.take()
    scheduler.send_ahead("b")
    assert not scheduler.overtaken

    scheduler.add("urgent", LINE, priority=1, order=9)
    scheduler.ready("urgent")

    assert scheduler.overtaken


class Histories(RuleBasedStateMachine):
    """Random histories against a model that knows nothing but sets."""

    jobs = Bundle("jobs")

    @initialize(limit=st.one_of(st.none(), st.integers(1, 4)), queue=st.one_of(st.none(), st.integers(1, 3)))
    def begin(self, limit: int | None, queue: int | None) -> None:
        self.scheduler = Scheduler(limit)
        self.scheduler.set_limit(queue, queue="q1")
        self.limit, self.queue_limit = limit, queue
        self.line: dict[str, Line] = {}
        self.rank: dict[str, tuple[int, int]] = {}
        self.waits: dict[str, tuple[set[str], int, float | None]] = {}
        self.ready: set[str] = set()
        self.held: set[str] = set()
        self.exclusive: set[str] = set()
        self.scheduler.set_limit(1, task="sole")
        self.now = 0.0
        self.count = 0

    @rule(target=jobs, backend=st.sampled_from(["thread", "process"]), queue=st.sampled_from(["q1", "q2"]),
          task=st.sampled_from(["", "sole", "many"]), priority=st.integers(-1, 1),
          exclusive=st.integers(0, 7).map(lambda n: n == 0))  # fmt: skip
    def submit(self, backend: str, queue: str, task: str, priority: int, exclusive: bool) -> str:
        self.count += 1
        job_id = f"j{self.count}"
        self.line[job_id] = Line(backend, queue, task)
        self.rank[job_id] = (-priority, self.count)
        if exclusive:
            self.exclusive.add(job_id)
        self.scheduler.add(
            job_id, self.line[job_id], priority=priority, order=self.count, exclusive=job_id in self.exclusive
        )
        self.scheduler.ready(job_id)
        self.ready.add(job_id)
        return job_id

    @rule(target=jobs, others=st.lists(jobs, max_size=4, unique=True), any_of=st.booleans(),
          after=st.one_of(st.none(), st.floats(0, 5)))  # fmt: skip
    def submit_waiting(self, others: list[str], any_of: bool, after: float | None) -> str:
        self.count += 1
        job_id = f"j{self.count}"
        self.line[job_id] = Line("thread", "q1")
        self.rank[job_id] = (0, self.count)
        self.scheduler.add(job_id, self.line[job_id], order=self.count)
        need = 1 if any_of else len(others)
        at = self.now + after if after is not None else (None if others else self.now)
        self.scheduler.park(job_id, Wakes(frozenset(others), need=need, at=at), self.now)
        self.waits[job_id] = (set(others), len(others) - min(need, len(others)), at)
        return job_id

    @rule(job_id=consumes(jobs))
    def end(self, job_id: str) -> None:
        """It ends, whatever it was doing."""
        self.scheduler.remove(job_id)
        self.scheduler.release(job_id)
        self.scheduler.ended(job_id)
        self.ready.discard(job_id)
        self.held.discard(job_id)
        self.waits.pop(job_id, None)
        for others, _, _ in self.waits.values():
            others.discard(job_id)

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(limit=st.one_of(st.none(), st.integers(1, 4)))
    def change_limit(self, limit: int | None) -> None:
        self.scheduler.set_limit(limit)
        self.limit = limit

    @rule(job_id=jobs, priority=st.integers(-2, 2))
    def change_priority(self, job_id: str, priority: int) -> None:
        self.scheduler.reprioritize(job_id, priority)
        if job_id in self.ready or job_id in self.waits:
            self.rank[job_id] = (-priority, self.rank[job_id][1])

    @rule()
    def ask_and_start(self) -> None:
        due = self.scheduler.due(self.now)
        expected = {
            job_id
            for job_id, (others, spare, at) in self.waits.items()
            if (len(others) <= spare and (others or spare or at is None)) or (at is not None and at <= self.now)
        }
        assert set(due) >= {each for each in expected if each in self.waits}
        for job_id in due:
            assert job_id in self.waits, "only what is parked is asked"
            del self.waits[job_id]
            self.scheduler.ready(job_id)
            self.ready.add(job_id)
        before = len(self.held)
        alone = self.held & self.exclusive
        started = self.scheduler.take()
        assert not (alone and started), "nothing starts beside an exclusive one"
        assert not self.exclusive & set(started[:-1]), "after an exclusive one nothing starts"
        assert len(set(started)) == len(started)
        assert set(started) <= self.ready
        for line in set(self.line.values()):
            ranks = [self.rank[each] for each in started if self.line[each] == line]
            assert ranks == sorted(ranks), "within a line the best start first"
        self.ready -= set(started)
        self.held |= set(started)
        if self.limit is not None and started:
            assert len(self.held) <= self.limit
        assert before + len(started) == len(self.held)
        assert sum(1 for each in self.held if self.line[each].task == "sole") <= 1
        if self.held & self.exclusive:
            return
        # Nothing that could start was left behind.
        for job_id in self.ready:
            full = self.limit is not None and len(self.held) >= self.limit
            in_queue = sum(1 for each in self.held if self.line[each].queue == "q1")
            queue_full = (
                self.line[job_id].queue == "q1" and self.queue_limit is not None and in_queue >= self.queue_limit
            )
            sole = self.line[job_id].task == "sole" and any(self.line[each].task == "sole" for each in self.held)
            assert full or queue_full or sole

    @rule(data=st.data())
    def send_ahead(self, data: st.DataObject) -> None:
        """The next after an attempt starts with its slots, or is given back."""
        if not self.held:
            return
        leader = data.draw(st.sampled_from(sorted(self.held)))
        follower = self.scheduler.next_after(leader)
        assert follower is None or self.line[follower] == self.line[leader]
        if follower is None:
            return
        same_line = [each for each in self.ready if self.line[each] == self.line[leader]]
        assert follower == min(same_line, key=self.rank.__getitem__)
        self.scheduler.send_ahead(follower)
        if data.draw(st.booleans()):
            self.scheduler.release(leader)
            self.scheduler.follow(follower)
            self.held = self.held - {leader} | {follower}
            self.ready.discard(follower)
        else:
            self.scheduler.give_back(follower)

    @invariant()
    def slots_are_counted_right(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        assert self.scheduler.holding == self.held
        assert self.scheduler.total.used == len(self.held)
        for name, count in self.scheduler.backends.items():
            assert count.used == sum(1 for each in self.held if self.line[each].backend == name)
        for name, count in self.scheduler.queues.items():
            assert count.used == sum(1 for each in self.held if self.line[each].queue == name)
        for name, count in self.scheduler.tasks.items():
            assert count.used == sum(1 for each in self.held if self.line[each].task == name)
        assert len(self.held & self.exclusive) == (self.scheduler.alone is not None)

    @invariant()
    def watchers_wait(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        for job_id, (others, _, _) in self.waits.items():
            for each in others:
                # A job that was due already no longer watches; it is asked at the next `due`.
                assert job_id in self.scheduler.watched(each) or self.scheduler.missing(job_id) == 0


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
