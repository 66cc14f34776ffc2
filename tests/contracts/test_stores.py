"""What every store does, whatever it is made of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipyjobs.stores import Store, store_at
from ipyjobs.stores.rows import (
    AttemptRow,
    Batch,
    Birth,
    Choice,
    ErrorRow,
    EventRow,
    PayloadRow,
    ResultRow,
    Session,
    State,
    StoredJob,
)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = store_at("memory" if request.param == "memory" else tmp_path / "jobs.sqlite")
    store.check()
    store.open()
    yield store
    store.close()


def birth(job_id: str = "a-1", **changes: object) -> Birth:
    made = Birth(
        job_id, "s1", 1, "train", "ProcessJob", "process", "default", None, "[]", 0, 0, "In[3]", 1000.0, "{}", "[]",
        "[]", "s1/1.log",
    )  # fmt: skip
    return made._replace(**changes)


def state(status: str = "running", **changes: object) -> State:
    ended_at = 1003.0 if status in ("done", "failed", "cancelled") else None
    made = State(status, None, None, 1, 1001.0, 1002.0, ended_at, None, "", "", "", 1, "", 0)
    return made._replace(**changes)


def result(job_id: str = "a-1", data: bytes | None = b"pickle", **changes: object) -> ResultRow:
    made = ResultRow(job_id, 1, 1, b"seal", data, "", len(data or b""), "", "int", "7", "7")
    return made._replace(**changes)


def only(store: Store, job_id: str = "a-1") -> StoredJob:
    job = store.jobs([job_id])[job_id]
    assert isinstance(job, StoredJob)
    return job


def test_what_was_written_is_read_as_it_was(store: Store) -> None:
    event = EventRow("a-1", 0, 1, 1000.5, "submit", "created", "pending", 0, None, "")
    attempt = AttemptRow("a-1", 1, 1, 1001.0, 1002.0, None, "", "", "pid 7", 0, "")
    batch = Batch({"a-1": birth()}, {"a-1": state()}, [event], [attempt], payloads=[PayloadRow("ff", 3, b"zzz")])

    refused = store.write(batch)

    job = only(store)
    assert not refused
    assert (job.birth, job.state, job.owner) == (birth(), state(), store.owner)
    assert (list(job.events), list(job.attempts), job.preview) == ([event], [attempt], None)
    assert store.payload("ff") == PayloadRow("ff", 3, b"zzz")
    assert (store.result("a-1"), store.error("a-1"), store.payload("00")) == (None, None, None)


def test_the_newest_state_counts_and_an_attempt_is_one_row(store: Store) -> None:
    attempt = AttemptRow("a-1", 1, 1, 1001.0, 1002.0, None, "", "", "pid 7", 0, "")
    store.write(Batch({"a-1": birth()}, {"a-1": state()}, attempts=[attempt]))

    ended = attempt._replace(ended_at=1003.0, outcome="done")
    store.write(Batch({}, {"a-1": state("done")}, attempts=[ended], results=[result()]))

    job = only(store)
    assert (job.state.status, list(job.attempts), job.preview) == ("done", [ended], ("int", "7", "7"))
    assert store.result("a-1") == result()


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_a_result_of_any_size_comes_back(store: Store, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)

    store.write(Batch({"a-1": birth()}, {"a-1": state("done")}, results=[result(data=data)]))

    row = store.result("a-1")
    assert row is not None
    assert row.data == data


def test_a_rerun_forgets_the_result_and_the_error_of_the_round_before(store: Store) -> None:
    big = result(data=bytes(2 << 20))
    store.write(Batch({"a-1": birth()}, {"a-1": state("done")}, results=[big]))
    store.write(Batch({"b-1": birth("b-1")}, {"b-1": state("failed")}, errors=[ErrorRow("b-1", 1, 1, b"s", b"d", "t")]))

    store.write(
        Batch({}, {each: state("pending", round=2, attempt=0) for each in ("a-1", "b-1")}, rerun=["a-1", "b-1"])
    )

    assert (store.result("a-1"), store.error("b-1"), only(store).state.round) == (None, None, 2)


def test_a_late_word_of_the_round_before_is_refused(store: Store) -> None:
    store.write(Batch({"a-1": birth()}, {"a-1": state("pending", round=2, attempt=0)}))

    refused = store.write(Batch({}, {"a-1": state("done")}, results=[result()]))

    assert refused == {"a-1"}
    assert (only(store).state.status, store.result("a-1")) == ("pending", None)


def test_of_a_job_that_was_never_told_of_nothing_is_written(store: Store) -> None:
    refused = store.write(Batch({}, {"x-1": state("done")}, results=[result("x-1")]))

    assert refused == {"x-1"}
    assert store.result("x-1") is None
    assert not store.jobs(["x-1"])


def test_jobs_are_listed_in_order_and_counted_by_status(store: Store) -> None:
    births = {
        f"a-{n}": birth(f"a-{n}", number=n, created_at=2000.0 - n, name=f"job {n % 2}", group="g" if n > 2 else None)
        for n in range(1, 6)
    }
    states = {each: state("done" if each < "a-3" else "running") for each in births}
    births["b-1"] = birth("b-1", session="s2", created_at=1.0)
    states["b-1"] = state("failed")
    store.write(Batch(births, states))

    assert store.ids(Choice()) == ["b-1", "a-5", "a-4", "a-3", "a-2", "a-1"]
    assert store.ids(Choice(), 1, 2) == ["a-5", "a-4"]
    assert store.ids(Choice(status="done", not_of=("s2",))) == ["a-2", "a-1"]
    assert store.ids(Choice(name="job 1", group="g")) == ["a-5", "a-3"]
    assert store.counts(Choice()) == {"done": 2, "running": 3, "failed": 1}
    assert store.counts(Choice(not_of=("s1",))) == {"failed": 1}
    assert (
        store.has("b-1", Choice()) and not store.has("b-1", Choice(not_of=("s2",))) and not store.has("c-1", Choice())
    )
    assert list(store.jobs(["a-1", "c-9", "a-2"])) == ["a-1", "a-2"]


def test_removed_jobs_are_gone_with_all_that_was_theirs(store: Store) -> None:
    shared = PayloadRow("ff", 1, b"z")
    births = {each: birth(each, function_hash="ff") for each in ("a-1", "a-2")}
    store.write(
        Batch(births, {each: state("done") for each in births}, payloads=[shared, PayloadRow("00", 1, b"z")],
              results=[result(data=bytes(2 << 20)), result("a-2")])
    )  # fmt: skip

    store.remove(["a-1"])

    assert (store.ids(Choice()), store.result("a-1"), store.result("a-2")) == (["a-2"], None, result("a-2"))
    assert store.payload("ff") == shared


def test_old_and_surplus_ended_jobs_expire_and_no_others(store: Store) -> None:
    births = {f"a-{n}": birth(f"a-{n}", number=n) for n in range(6)}
    states = {f"a-{n}": state("done", ended_at=1000.0 + n) for n in range(6)}
    states["a-0"] = state("running")
    store.write(Batch(births, states))

    assert store.expire(1002.0, most=100) == 1
    assert store.expire(0.0, most=3) == 2

    assert store.ids(Choice()) == ["a-0", "a-4", "a-5"]


def test_a_session_has_a_beginning_and_an_end(store: Store) -> None:
    session = Session("s1", store.owner, "here", 7, "train.ipynb", 1000.0, None)
    store.begin(session)
    assert store.sessions() == [session]

    before = time.time()
    store.end("s1")

    [ended] = store.sessions()
    assert ended.ended_at is not None
    assert before <= ended.ended_at <= time.time()
    assert store.alive(store.owner)
    assert not store.alive("nobody")


def test_text_of_every_kind_is_kept(store: Store) -> None:
    words = ["", "ä ☃ 𝄞", "'; DROP TABLE jobs; --", "%s %(name)s :name ?", "x" * 100_000, "a\x00b", "\n\r\t"]
    births = {f"a-{n}": birth(f"a-{n}", name=text, queue=text, group=text) for n, text in enumerate(words)}

    store.write(Batch(births, {each: state(error=births[each].name) for each in births}))

    assert [only(store, each).birth.name for each in births] == words
    assert [only(store, each).state.error for each in births] == words


def test_a_store_has_an_id_of_its_own(store: Store) -> None:
    other = store_at("memory")

    assert store.id
    assert store.id != other.id
