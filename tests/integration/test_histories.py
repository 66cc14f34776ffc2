"""Random histories of a whole engine, with a backend that does nothing by itself and a clock that we move.

After each step every invariant holds: statuses, slots, attempts, stories, who waits for whom.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from ipyjobs import AfterAnother, AfterOthers, Condition, Engine, EngineSetting, InvalidStateError, Job, Retry, Status
from ipyjobs.backends import Backend
from ipyjobs.execution import Call, Context
from ipyjobs.failure import Failure
from ipyjobs.pickling import Payload
from ipyjobs.preview import preview
from ipyjobs.status import TRANSITIONS


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes when we say so."""

    ahead_s = 0.0

    def time(self) -> float:
        return self.ahead_s


class Puppet(Backend):
    """Begins, ends and stops attempts when the test says so. `stubborn` ones can't be stopped, like threads."""

    name = "puppet"

    def __init__(self, *, stubborn: bool) -> None:
        super().__init__(None)
        self.stubborn = stubborn
        self.given: dict[Context, Call] = {}
        self.begun: set[Context] = set()
        self.to_stop: dict[Context, None] = {}
        self.wrong: list[str] = []

    def start(self, call: Call, context: Context) -> None:
        # Noted, not raised: the engine would take an exception for the job's.
        if any(payload is None or payload.load() != "value" for payload in call.upstream.values()):
            self.wrong.append(f"{call.name} was started without a value that it needs")
        if any(each.job_id == call.job_id for each in self.given.values()):
            self.wrong.append(f"{call.name} was started while an attempt of it is under way")
        self.given[context] = call

    def stop(self, context: Context) -> bool:
        self.to_stop[context] = None
        return not self.stubborn

    def over(self, context: Context) -> None:
        del self.given[context]
        self.begun.discard(context)
        self.to_stop.pop(context, None)

    async def close(self) -> None:
        for context in list(self.given):
            self.over(context)
            context.stopped()


class StubbornPuppet(Puppet):
    name = "stubborn"


class EagerPuppet(Puppet):
    """Takes attempts ahead: they wait behind the one they follow, as in a worker's socket."""

    name = "eager"

    def __init__(self) -> None:
        super().__init__(stubborn=False)
        self.forward = self
        self.behind: dict[Context, list[Context]] = {}

    def start(self, call: Call, context: Context) -> None:
        super().start(call, context)
        self.behind[context] = []

    def leaders(self) -> list[Context]:
        return [each for each in self.behind if each not in self.to_stop and len(self.behind[each]) < 2]

    def may_follow(self, packed: object, options: object, upstream: object) -> bool:
        return True

    def start_after(self, call: Call, context: Context, leader: Context) -> bool:
        super().start(call, context)
        self.behind[leader].append(context)
        return len(self.behind[leader]) < 2

    def flush(self) -> None:
        pass

    def take_back(self) -> None:
        for followers in self.behind.values():
            self.drop(followers)

    def drop(self, followers: list[Context]) -> None:
        for each in [each for each in followers if each not in self.to_stop]:
            followers.remove(each)
            super().over(each)
            each.taken_back()

    def over(self, context: Context) -> None:
        """What it is told of first must be told to the engine, then `step`."""
        super().over(context)
        for followers in self.behind.values():
            if context in followers:
                followers.remove(context)

    def step(self, context: Context, *, worker_lives: bool) -> None:
        """The attempt has ended: the next begins, or none does because the worker has gone."""
        followers = self.behind.pop(context, [])
        if worker_lives and followers:
            first, *others = followers
            self.behind[first] = others
            self.begun.add(first)
            first.started("somewhere")
        else:
            for each in followers:
                super().over(each)
                each.released("its worker went away")


class EagerJob(Job):
    backend_name = "eager"


class PuppetJob(Job):
    backend_name = "puppet"


class StubbornJob(Job):
    backend_name = "stubborn"


class Flag(Condition):
    """Holds when the test says so."""

    def __init__(self) -> None:
        self.holds = False

    def satisfy(self, engine: object) -> bool:
        return self.holds


class Histories(RuleBasedStateMachine):
    jobs = Bundle("jobs")

    @initialize(limit=st.sampled_from([None, 1, 1, 2, 3]), queue=st.one_of(st.none(), st.integers(1, 2)))
    def begin(self, limit: int | None, queue: int | None) -> None:
        self.loop = Clock()
        self.engine = Engine(EngineSetting(max_jobs=limit, print_traceback=False, echo=False), threaded=False)
        self.puppets = (Puppet(stubborn=False), StubbornPuppet(stubborn=True), EagerPuppet())
        for each in self.puppets:
            self.engine.add_backend(each)
        self.flags: list[Flag] = []
        self.names = itertools.count(1)
        self.used: dict[str, tuple[int, int | None]] = {}

        async def start() -> None:
            self.engine.start()
            self.engine.set_limit(queue, queue="narrow")

        self.loop.run_until_complete(start())

    def do(self, action: Any) -> Any:
        """Call on the loop, then let everything settle."""

        async def run() -> Any:
            try:
                return action()
            finally:
                for _ in range(6):
                    await asyncio.sleep(0)

        return self.loop.run_until_complete(run())

    # -- what users do

    @rule(
        target=jobs, count=st.integers(1, 4), retries=st.integers(0, 2),
        kind=st.sampled_from([PuppetJob, StubbornJob, EagerJob, EagerJob]),
        delay_s=st.sampled_from([0.0, 1.0]), queue=st.sampled_from(["default", "narrow"]), priority=st.integers(-1, 1),
        timeout=st.sampled_from([None, None, 5.0]), needs=st.lists(jobs, max_size=2), after=st.lists(jobs, max_size=1),
        flagged=st.sampled_from([False, False, False, True]),
    )  # fmt: skip
    def submit(
        self, count: int, kind: type[Job], retries: int, delay_s: float, queue: str, priority: int,
        timeout: float | None, needs: list[Job], after: list[Job], flagged: bool,
    ) -> Any:  # fmt: skip
        made: list[Job] = []
        for _ in range(count):
            condition: Condition | None = AfterOthers([each.id for each in after]) if after else None
            if flagged:
                self.flags.append(Flag())
                condition = self.flags[-1] if condition is None else condition & self.flags[-1]
            if made:
                condition = AfterAnother(made[-1].id) if condition is None else condition & AfterAnother(made[-1].id)
            made.append(
                kind(
                    print,
                    (list(needs),),
                    name=f"j{next(self.names)}",
                    retries=Retry(retries, delay_s=delay_s),
                    queue=queue,
                    priority=priority,
                    timeout=timeout,
                    condition=condition,
                    wait_time_delta=1.0,
                )
            )
        self.do(lambda: self.engine.submit(*reversed(made)))
        return multiple(*made)

    @rule(target=jobs, count=st.integers(2, 6), queue=st.sampled_from(["default", "default", "narrow"]),
          priority=st.integers(0, 1), needs=st.lists(jobs, max_size=1))  # fmt: skip
    def submit_side_by_side(self, count: int, queue: str, priority: int, needs: list[Job]) -> Any:
        made = [
            EagerJob(print, tuple(needs), name=f"j{next(self.names)}", queue=queue, priority=priority)
            for _ in range(count)
        ]
        self.do(lambda: self.engine.submit(*made))
        return multiple(*made)

    @rule(job=jobs)
    def cancel(self, job: Job) -> None:
        before = job.status
        self.do(lambda: self.engine.cancel(job))
        assert job.status is before if before.ended else job.ended or job.cancel_requested

    @rule(job=jobs)
    def cancel_and_rerun(self, job: Job) -> None:
        self.do(lambda: self.engine.cancel(job))
        if job.ended:
            self.do(lambda: self.engine.rerun(job))

    @rule(some=st.lists(jobs, min_size=1, max_size=3, unique_by=id))
    def rerun(self, some: list[Job]) -> None:
        if all(job.ended for job in some):
            self.do(lambda: self.engine.rerun(*some))
            assert not any(job.status is Status.DONE for job in some)
        else:
            before = [job.status for job in some]
            try:
                self.do(lambda: self.engine.rerun(*some))
            except InvalidStateError:
                assert [job.status for job in some] == before, "all or none"
            else:
                raise AssertionError("a job that has not ended was run again")

    @rule(limit=st.one_of(st.none(), st.integers(1, 4)), queue=st.sampled_from([None, "narrow"]))
    def change_limit(self, limit: int | None, queue: str | None) -> None:
        self.do(lambda: self.engine.set_limit(limit, queue=queue))

    @precondition(lambda self: any(not flag.holds for flag in self.flags))
    @rule(data=st.data())
    def raise_flag(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([flag for flag in self.flags if not flag.holds])).holds = True

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        def move() -> None:
            self.loop.ahead_s += seconds

        self.do(move)

    # -- what backends say

    def attempts(self, *, begun: bool | None = None) -> list[tuple[Puppet, Context]]:
        return [
            (puppet, context)
            for puppet in self.puppets
            for context in puppet.given
            if begun is None or (context in puppet.begun) is begun
            if not self.ahead(puppet, context)
        ]

    def ahead(self, puppet: Puppet, context: Context) -> bool:
        return isinstance(puppet, EagerPuppet) and any(context in each for each in puppet.behind.values())

    @precondition(lambda self: self.attempts(begun=False))
    @rule(data=st.data())
    def it_begins(self, data: st.DataObject) -> None:
        puppet, context = data.draw(st.sampled_from(self.attempts(begun=False)))
        puppet.begun.add(context)
        self.do(lambda: context.started("somewhere"))

    @precondition(lambda self: self.attempts(begun=True))
    @rule(data=st.data(), outcome=st.sampled_from(["done", "failed", "died"]), twice=st.booleans())
    def it_ends(self, data: st.DataObject, outcome: str, twice: bool) -> None:
        puppet, context = data.draw(st.sampled_from(self.attempts(begun=True)))
        cancelled = next((job for job in self.engine.jobs.running.values() if self.is_of(context, job)), None)
        cancelled = cancelled if cancelled is not None and cancelled.cancel_requested else None
        puppet.over(context)

        def end() -> None:
            for _ in range(1 + twice):
                if outcome == "done":
                    context.done(Payload("value"), preview("value"))
                elif outcome == "failed":
                    context.failed(Failure.of(ValueError("no")))
                else:
                    context.failed(Failure.died("killed by SIGKILL"))
            if isinstance(puppet, EagerPuppet):
                puppet.step(context, worker_lives=outcome == "done")

        self.do(end)
        assert cancelled is None or cancelled.status is Status.CANCELLED, "who asked for a stop gets one"

    def is_of(self, context: Context, job: Job) -> bool:
        running = self.engine.flow.running.get(job.id)
        return running is context

    @rule(moves=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["done", "done", "failed"])), min_size=4))
    def work_goes_on(self, moves: list[tuple[int, str]]) -> None:
        """Several attempts begin and end, as they mostly do."""
        for number, outcome in moves:
            attempts = self.attempts()
            if not attempts:
                return
            puppet, context = attempts[number % len(attempts)]
            if context not in puppet.begun:
                puppet.begun.add(context)
                self.do(lambda context=context: context.started("somewhere"))
            else:
                puppet.over(context)
                self.do(lambda puppet=puppet, context=context, outcome=outcome: self.end(puppet, context, outcome))

    def end(self, puppet: Puppet, context: Context, outcome: str) -> None:
        if outcome == "done":
            context.done(Payload("value"), preview("value"))
        else:
            context.failed(Failure.of(ValueError("no")))
        if isinstance(puppet, EagerPuppet):
            puppet.step(context, worker_lives=outcome == "done")

    @precondition(lambda self: self.attempts(begun=False))
    @rule(data=st.data())
    def it_is_released(self, data: st.DataObject) -> None:
        puppet, context = data.draw(st.sampled_from(self.attempts(begun=False)))
        puppet.over(context)

        def release() -> None:
            context.released("its worker went away")
            if isinstance(puppet, EagerPuppet):
                puppet.step(context, worker_lives=False)

        self.do(release)

    @rule()
    def all_that_is_ahead_is_taken_back(self) -> None:
        self.do(self.engine.flow.ahead.take_back)

    @precondition(lambda self: any(puppet.to_stop for puppet in self.puppets))
    @rule(data=st.data())
    def it_is_stopped(self, data: st.DataObject) -> None:
        found = [(puppet, context) for puppet in self.puppets for context in puppet.to_stop]
        puppet, context = data.draw(st.sampled_from(found))
        puppet.over(context)

        def stop() -> None:
            context.stopped()
            if isinstance(puppet, EagerPuppet):
                puppet.step(context, worker_lives=False)

        self.do(stop)

    # -- what always holds

    @invariant()
    def every_job_is_where_its_status_says(self) -> None:
        if not hasattr(self, "engine"):
            return
        views = self.engine.flow.by_status
        for job in self.engine.jobs.values():
            assert [status for status, view in views.items() if job.id in view] == [job.status]
            assert (job.ended_at is not None) == job.ended
            assert not (job.ended and (job.cancel_requested or job.waiting_for or job.retry_at))

    @invariant()
    def slots_belong_to_the_attempts_that_are_under_way(self) -> None:
        if not hasattr(self, "engine"):
            return
        flow, scheduler = self.engine.flow, self.engine.scheduler
        ahead = {job_id for job_id, running in flow.running.items() if running.ahead}
        assert scheduler.ahead == ahead
        assert all(self.engine.jobs[job_id].status is Status.PENDING for job_id in ahead)
        assert scheduler.holding == set(flow.running) - ahead
        assert [wrong for puppet in self.puppets for wrong in puppet.wrong] == []
        assert len(flow.running) - len(ahead) == len(self.attempts()) == scheduler.total.used
        assert len(flow.running) == sum(len(puppet.given) for puppet in self.puppets)
        for name, count in scheduler.queues.items():
            holding = [running for running in flow.running.values() if not running.ahead]
            assert count.used == sum(running.job.queue == name for running in holding)

    @invariant()
    def no_limit_is_passed(self) -> None:
        """Unless it was lowered since."""
        if not hasattr(self, "engine"):
            return
        scheduler = self.engine.scheduler
        for name, count in [("", scheduler.total), *scheduler.queues.items()]:
            before, limit = self.used.get(name, (0, count.limit))
            lowered = limit != count.limit and (limit is None or (count.limit is not None and count.limit < limit))
            assert count.limit is None or count.used <= count.limit or count.used <= before or lowered
            self.used[name] = count.used, count.limit

    @invariant()
    def every_story_is_a_way_through_the_table(self) -> None:
        if not hasattr(self, "engine"):
            return
        for job in self.engine.jobs.values():
            at = Status.CREATED
            for event in job.story():
                assert event.before is at
                assert TRANSITIONS[event.before, event.verb] is event.after
                at = event.after
            assert at is job.status
            numbers = [event.number for event in job.story()]
            assert numbers == sorted(set(numbers))

    @invariant()
    def attempts_are_counted_and_bounded(self) -> None:
        if not hasattr(self, "engine"):
            return
        for job in self.engine.jobs.values():
            in_round = [each for each in job.attempts if each.round == job._round and each.outcome != "released"]
            assert len(in_round) <= job.retries + 1
            if job.status is Status.RUNNING:
                assert job.attempts[-1].ended_at is None
                assert job.attempts[-1].number == job.attempt
            if job.status is Status.DONE:
                assert job.attempts[-1].outcome == "done"
                assert job.result() == "value"

    @invariant()
    def a_value_was_there_for_whoever_started_with_it(self) -> None:
        if not hasattr(self, "engine"):
            return
        for job in self.engine.jobs.values():
            if job.status is Status.PENDING and job.id not in self.engine.flow.running:
                for each in job._upstream:
                    assert self.engine.jobs[each].status not in (Status.FAILED, Status.CANCELLED)

    @invariant()
    def nothing_that_could_start_is_left_behind(self) -> None:
        if not hasattr(self, "engine"):
            return
        scheduler = self.engine.scheduler
        for job in self.engine.jobs.pending.values():
            if job.waiting_for == "slot":
                queue, total = scheduler.queues[job.queue], scheduler.total
                assert (queue.limit is not None and queue.used >= queue.limit) or (
                    total.limit is not None and total.used >= total.limit
                )

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return

        async def stop() -> None:
            await self.engine.stop()

        self.loop.run_until_complete(stop())
        assert all(job.ended for job in self.engine.jobs.values())
        assert self.engine.scheduler.holding == frozenset()
        self.loop.close()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
