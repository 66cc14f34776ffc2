"""Bytes that could run code are opened only where this user's key vouches for them."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ipyjobs import (
    Engine,
    EngineSetting,
    InvalidStateError,
    Job,
    Jobs,
    ResultUnreadable,
    Status,
    ThreadJob,
    Unverified,
)

Change = Callable[[sqlite3.Connection, bytes], object]


class Bomb:
    """A pickle of it makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def fail(text: str) -> None:
    raise ValueError(text)


def made(path: Path) -> list[str]:
    """Ids of two jobs that are done and one that has failed."""
    with Engine(EngineSetting(store=path, echo=False, print_traceback=False)) as engine:
        jobs = [ThreadJob(str, ("one",)), ThreadJob(str, ("two",)), ThreadJob(fail, ("three",))]
        engine.submit(*jobs)
        engine.wait()
        assert engine.wait_saved(20)
    return [each.id for each in jobs]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "the-bomb-went-off"


@pytest.fixture
def bomb(marker: Path) -> bytes:
    return pickle.dumps(Bomb(marker))


def change(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


FORGERIES = {
    "other bytes": "UPDATE results SET data = :bomb WHERE job_id = :one",
    "other bytes without a seal": "UPDATE results SET data = :bomb, seal = x'' WHERE job_id = :one",
    "a seal of zeros": "UPDATE results SET data = :bomb, seal = zeroblob(length(seal)) WHERE job_id = :one",
    "a seal cut short": "UPDATE results SET seal = substr(seal, 1, 20) WHERE job_id = :one",
    "bytes cut short": "UPDATE results SET data = substr(data, 1, 3) WHERE job_id = :one",
    "another job's result": "UPDATE results SET (seal, data) = (SELECT seal, data FROM results WHERE job_id = :two) "
    "WHERE job_id = :one",
    "another attempt's result": "UPDATE results SET attempt = 2 WHERE job_id = :one",
    "another round's result": "UPDATE results SET round = 2 WHERE job_id = :one",
    "an error as a result": "UPDATE results SET (seal, data) = (SELECT seal, data FROM errors WHERE job_id = :three) "
    "WHERE job_id = :one",
    "another store": "UPDATE about SET value = 'other' WHERE name = 'id'",
    "an unknown scheme": "UPDATE results SET seal = x'ff' || substr(seal, 2) WHERE job_id = :one",
    "text in place of bytes": "UPDATE results SET data = 'text' WHERE job_id = :one",
    "a file outside": "UPDATE results SET data = NULL, file = '../../../etc/passwd' WHERE job_id = :one",
    "a file that is not there": "UPDATE results SET data = NULL, file = '00000000000000000000000000000000.result' "
    "WHERE job_id = :one",
    "no bytes": "UPDATE results SET data = NULL WHERE job_id = :one",
}  # fmt: skip


@pytest.mark.row("F-18")
@pytest.mark.parametrize("statement", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_or_moved_result_is_not_opened(path: Path, marker: Path, bomb: bytes, statement: str) -> None:
    one, two, three = made(path)
    connection = sqlite3.connect(path)
    with connection:
        named = {"bomb": bomb, "one": one, "two": two, "three": three}
        assert connection.execute(statement, {k: v for k, v in named.items() if f":{k}" in statement}).rowcount > 0
    connection.close()

    jobs = Jobs(path)
    job = jobs[one]

    assert (job.status, job.record().result) == (Status.DONE, "'one'")
    for _ in range(2):
        with pytest.raises(Exception, match="not opened|can't be read|is not the name|not kept") as caught:
            job.result()
        assert "ipyjobs" in type(caught.value).__module__
    if "other'" not in statement:
        assert jobs[two].result() == "two"
    assert not marker.exists()


def test_a_store_of_another_users_key_is_not_opened_but_read(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYJOBS_CONFIG_DIR", str(tmp_path / "theirs"))
    one, _, three = made(path)
    monkeypatch.setenv("IPYJOBS_CONFIG_DIR", str(tmp_path / "mine"))

    jobs = Jobs(path)

    with pytest.raises(Unverified, match="another key"):
        jobs[one].result()
    error = jobs[three].exception()
    assert "ValueError: three" in str(error) and "another key" in str(error)
    assert jobs[three].error == "ValueError: three"


def test_a_forged_error_is_shown_by_its_text(path: Path, marker: Path, bomb: bytes) -> None:
    _, _, three = made(path)
    change(path, "UPDATE errors SET data = ?", bomb)

    job = Jobs(path)[three]

    assert "ValueError: three" in str(job.exception())
    assert not isinstance(job.exception(), ValueError)
    assert not marker.exists()


CALLS = [
    "UPDATE payloads SET data = ?",
    "UPDATE payloads SET data = ? WHERE hash IN (SELECT arguments_hash FROM jobs)",
    "UPDATE jobs SET call_seal = x'' WHERE ? IS NOT NULL",
    "UPDATE jobs SET function_hash = arguments_hash WHERE ? IS NOT NULL",
    "UPDATE jobs SET arguments_hash = (SELECT arguments_hash FROM jobs j WHERE status = 'failed') WHERE ? IS NOT NULL",
]


@pytest.mark.parametrize("statement", CALLS)
@pytest.mark.parametrize("prefix", [b"\x00", b"\x01"])
def test_a_forged_call_is_not_run(path: Path, marker: Path, bomb: bytes, statement: str, prefix: bytes) -> None:
    one, *_ = made(path)
    change(path, statement, prefix + bomb)

    with Engine(EngineSetting(store=path, echo=False)) as engine:
        job = engine.jobs.earlier[one]
        with pytest.raises(InvalidStateError, match="can't be rerun: .*not opened|can't be rerun: the call"):
            job.rerun()
        assert job.status is Status.DONE

    assert not marker.exists()


@pytest.mark.row("F-19")
@pytest.mark.parametrize("log", ["/etc/passwd", "../../../../../../etc/passwd", "..", ""])
def test_a_log_elsewhere_is_not_read(path: Path, log: str) -> None:
    one, *_ = made(path)
    change(path, "UPDATE jobs SET log = ? WHERE id = ?", log, one)

    with pytest.raises(InvalidStateError):
        _ = Jobs(path)[one].log


ROWS = {
    "status": "x", "tags": "{", "created_at": "yesterday", "options": "[1]", "upstream": "7", "round": "many",
    "retries": -1, "reason": "because", "described": "[1]",
}  # fmt: skip


@pytest.mark.row("F-18")
@pytest.mark.parametrize("column", ROWS)
def test_a_row_that_makes_no_sense_is_shown_as_unreadable_beside_the_others(path: Path, column: str) -> None:
    one, two, three = made(path)
    change(path, f"UPDATE jobs SET {column} = ? WHERE id = ?", ROWS[column], one)

    jobs = Jobs(path)

    by_id = {job.id: job for job in jobs.values()}
    assert set(by_id) == {one, two, three}
    assert by_id[one].name == "unreadable" and by_id[one].error.startswith("unreadable: ")
    with pytest.raises(ResultUnreadable, match="can't be read"):
        by_id[one].result()
    assert by_id[two].result() == "two"


def serialized(path: Path) -> tuple[Job, bytes]:
    with Engine(EngineSetting(store=path, echo=False)) as engine:
        job = engine.submit(ThreadJob(str, ("one",)))
        engine.wait()
    return job, job.serialization()


@pytest.mark.row("E-53")
def test_a_job_as_bytes_keeps_what_became_of_it(path: Path) -> None:
    with Engine(EngineSetting(echo=False, print_traceback=False)) as engine:
        done = engine.submit(ThreadJob(str, ("one",), name="first", tags=("t",)))
        failed = engine.submit(ThreadJob(fail, ("three",)))
        created = ThreadJob(str, ("two",))
        engine.wait()
        copies = [Job.deserialization(each.serialization()) for each in (done, failed, created)]

        assert [each.id for each in copies] == [done.id, failed.id, created.id]
        assert [each.status for each in copies] == [Status.DONE, Status.FAILED, Status.CREATED]
        assert all(each.engine is None for each in copies)
        assert copies[0].result() == "one" and copies[0].name == "first" and copies[0].tags == ("t",)
        assert copies[0].story() == done.story()
        error = copies[1].exception()
        assert type(error) is ValueError and error.args == ("three",)


@pytest.mark.row("E-53")
def test_a_job_from_bytes_can_be_run_by_another_engine(path: Path) -> None:
    _, data = serialized(path)

    with Engine(EngineSetting(echo=False)) as engine:
        copy = Job.deserialization(data)
        copy.engine = engine
        copy.rerun()
        assert engine.wait_job(copy) == "one"


@pytest.mark.row("E-53")
@pytest.mark.parametrize(
    "forge",
    [
        lambda data, bomb: bomb,
        lambda data, bomb: b"",
        lambda data, bomb: data[:-1],
        lambda data, bomb: data + b"x",
        lambda data, bomb: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data, bomb: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
        lambda data, bomb: data[:14] + data[73:],
        lambda data, bomb: data[:73] + bomb,
        lambda data, bomb: data.replace(b"ipyjobs job 1", b"ipyjobs job 2"),
    ],
)
def test_bytes_that_were_changed_are_no_job(
    path: Path, marker: Path, bomb: bytes, forge: Callable[[bytes, bytes], bytes]
) -> None:
    _, data = serialized(path)

    with pytest.raises(Unverified, match="not opened"):
        Job.deserialization(forge(data, bomb))

    assert not marker.exists()


@pytest.mark.row("E-53")
def test_foreign_bytes_are_a_job_only_where_they_are_trusted(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYJOBS_CONFIG_DIR", str(tmp_path / "theirs"))
    job, data = serialized(path)
    monkeypatch.setenv("IPYJOBS_CONFIG_DIR", str(tmp_path / "mine"))

    with pytest.raises(Unverified, match="another key"):
        Job.deserialization(data)

    assert Job.deserialization(data, trust=True).result() == job.result()
    with pytest.raises(ResultUnreadable, match="no whole job"):
        Job.deserialization(data[:90], trust=True)


@pytest.mark.row("E-53")
def test_bytes_of_another_python_are_refused_in_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, data = serialized(path)
    monkeypatch.setattr("ipyjobs.envelope._HERE", (3, 99))

    for trust in (False, True):
        with pytest.raises(ResultUnreadable, match=r"written by Python 3\.\d+, this is 3\.99"):
            Job.deserialization(data, trust=trust)
