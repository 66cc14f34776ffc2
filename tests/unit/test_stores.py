"""What is peculiar to the store that speaks SQL: its tables, its file, its versions."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from ipyjobs import InvalidOption
from ipyjobs.errors import StoreError, StoreTooNew, StoreUnreadable
from ipyjobs.stores import store_at
from ipyjobs.stores.rows import Batch, Birth, Choice, State
from ipyjobs.stores.sql import SqlStore
from ipyjobs.stores.sqlite import Sqlite, glance

BIRTH = Birth("a-1", "s1", 1, "f", "ThreadJob", "thread", "default", None, "[]", 0, 0, "", 1.0, "{}", "[]", "[]", "")
STATE = State("done", None, None, 1, 1.0, 2.0, 3.0, None, "", "", "", 1, "", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


def made(path: Path) -> None:
    store = store_at(path)
    store.open()
    store.write(Batch({"a-1": BIRTH}, {"a-1": STATE}))
    store.close()


def test_the_migrations_make_the_tables_that_are_used(path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine

    from ipyjobs.stores.tables import metadata

    made(path)

    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert differences == []


def test_statements_are_those_of_another_database_too() -> None:
    from sqlalchemy.dialects import postgresql

    from ipyjobs.stores import writing

    for make in (writing._add_jobs, writing._move_jobs, writing._add_events, writing._set_attempts):
        made, names = make("postgresql")
        text = str(made.compile(dialect=postgresql.dialect(), column_keys=list(names)))
        assert text.startswith(("INSERT INTO", "UPDATE"))


@pytest.mark.parametrize("where", ["jobs.sqlite", "sqlite:///{}/jobs.sqlite", "{}/jobs.sqlite", "{}"])
def test_a_store_is_found_by_path_folder_or_address(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert store_at(where.format(tmp_path)).place == str(tmp_path / "jobs.sqlite")


@pytest.mark.parametrize("where", ["", "redis://here", "sqlite://", "sqlite:///"])
def test_an_address_that_leads_nowhere_is_refused(where: str) -> None:
    with pytest.raises(InvalidOption, match="store="):
        store_at(where)


def test_a_store_is_for_this_user_only(path: Path) -> None:
    made(path)

    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.rglob("*")}
    assert modes.pop("jobs.sqlite") == 0o600
    assert modes.pop("jobs.files") == 0o700
    assert modes.pop("locks") == 0o700
    assert set(modes.values()) <= {0o600}


def test_a_store_of_a_newer_ipyjobs_is_refused_with_both_versions(path: Path) -> None:
    made(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    for act in (store_at(path).check, store_at(path).open, lambda: store_at(path).open(write=False)):
        with pytest.raises(StoreTooNew, match=r"9999.*0001") as caught:
            act()
        assert (caught.value.found, caught.value.known) == ("9999", "0001")


def test_a_damaged_file_is_named_and_can_be_moved_aside(path: Path) -> None:
    path.write_bytes(b"these are not the tables you are looking for" * 100)
    store = store_at(path)

    with pytest.raises(StoreUnreadable, match="jobs.sqlite"):
        store.open()
    aside = store.set_aside()

    assert aside is not None
    assert Path(aside).read_bytes().startswith(b"these are not")
    store.open()
    assert store.counts(Choice()) == {}
    store.close()


def test_where_there_is_none_nothing_is_read(path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        store_at(path).open(write=False)

    assert not path.exists()


def test_a_lost_page_hides_no_other_row(path: Path) -> None:
    store = store_at(path)
    store.open()
    births = {f"a-{n:04}": BIRTH._replace(id=f"a-{n:04}", number=n, name="x" * 400) for n in range(500)}
    store.write(Batch(births, dict.fromkeys(births, STATE)))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = bytearray(path.read_bytes())
    at = data.rindex(b"x" * 400) // 4096 * 4096
    data[at : at + 4096] = bytes(4096)
    path.write_bytes(data)

    store = store_at(path)
    store.open(write=False)
    ids = store.ids(Choice())
    found = store.jobs(ids)
    store.close()

    unreadable = [each for each in found.values() if not hasattr(each, "birth")]
    assert len(ids) == 500
    assert 0 < len(unreadable) < 50
    assert all("malformed" in each.why for each in unreadable)  # type: ignore[union-attr]


def test_a_file_that_no_row_names_is_swept_when_it_is_old(path: Path) -> None:
    import os

    store = SqlStore(Sqlite(path))
    store.open()
    old, young = store._files.keep(b"old"), store._files.keep(b"young")
    folder = path.with_name("jobs.files") / "results"
    os.utime(folder / old, (0, 0))

    store.expire(0.0, 100)

    assert [each.name for each in folder.iterdir()] == [young]
    with pytest.raises(StoreError, match="not the name"):
        store._files.read("../../jobs.sqlite")
    store.close()


def test_a_glance_counts_what_is_there_and_says_when_it_takes_too_long(path: Path) -> None:
    assert glance(path) is None
    store = store_at(path)
    store.open()
    births = {f"a-{n}": BIRTH._replace(id=f"a-{n}", number=n) for n in range(2_000)}
    states = dict.fromkeys(births, STATE) | {"a-1": STATE._replace(status="failed", reason="lost")}
    store.write(Batch(births, states))
    store.close()

    assert glance(path, 20) == (2_000, 1)
    assert glance(path, 0) == (None, 0)

    path.write_bytes(b"no store")
    assert glance(path) is None
