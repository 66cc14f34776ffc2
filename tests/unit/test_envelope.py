"""Signatures, and the key that makes them."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from ipyjobs import ResultUnreadable, StoreError, Unverified
from ipyjobs.envelope import SEAL_BYTES, Key, Place, own_key

PLACE = Place("store", "job-1", "1.1", "result")


@pytest.fixture
def key() -> Key:
    return Key(bytes(range(32)))


def test_what_was_sealed_may_be_opened_in_its_place(key: Key) -> None:
    seal = key.seal(b"data", PLACE)

    key.check(seal, b"data", PLACE)

    assert len(seal) == SEAL_BYTES


@pytest.mark.parametrize("number", range(SEAL_BYTES))
def test_a_seal_with_any_byte_changed_is_refused(key: Key, number: int) -> None:
    seal = bytearray(key.seal(b"data", PLACE))
    seal[number] ^= 1

    with pytest.raises(Unverified, match="not opened"):
        key.check(bytes(seal), b"data", PLACE)


@pytest.mark.parametrize("data", [b"", b"dat", b"data ", b"Data"])
def test_other_data_is_refused(key: Key, data: bytes) -> None:
    with pytest.raises(Unverified, match="changed"):
        key.check(key.seal(b"data", PLACE), data, PLACE)


@pytest.mark.parametrize(
    "place",
    [
        PLACE._replace(store="other"), PLACE._replace(job="job-2"), PLACE._replace(attempt="1.2"),
        PLACE._replace(column="error"), Place("storej", "ob-1", "1.1", "result"),
        Place("store", "job-11.1", "", "result"),
    ],
)  # fmt: skip
def test_the_same_data_elsewhere_is_refused(key: Key, place: Place) -> None:
    with pytest.raises(Unverified, match="moved"):
        key.check(key.seal(b"data", PLACE), b"data", place)


@pytest.mark.parametrize("seal", [b"", b"\x80\x05K\x01.", bytes(SEAL_BYTES - 1), bytes(SEAL_BYTES + 1)])
def test_what_has_no_seal_is_refused(key: Key, seal: bytes) -> None:
    with pytest.raises(Unverified, match="no signature"):
        key.check(seal, b"data", PLACE)


def test_another_key_is_called_so(key: Key) -> None:
    with pytest.raises(Unverified, match="another key"):
        key.check(Key(bytes(32)).seal(b"data", PLACE), b"data", PLACE)


def test_another_pythons_data_are_refused_in_words(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipyjobs.envelope._HERE", (3, 99))
    seal = Key(bytes(range(32))).seal(b"data", PLACE)
    monkeypatch.undo()

    with pytest.raises(ResultUnreadable, match=rf"Python 3\.99, this is 3\.{sys.version_info.minor}") as caught:
        key.check(seal, b"data", PLACE)

    assert not isinstance(caught.value, Unverified)


def test_the_users_key_is_made_once_and_for_the_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    found: list[bytes] = []

    threads = [threading.Thread(target=lambda: found.append(own_key(folder).id)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len(set(found)) == 1
    assert [each.name for each in folder.iterdir()] == ["key"]
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len((folder / "key").read_bytes()) == 32


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "key").chmod(0o644)

    with pytest.raises(StoreError, match="others may read it"):
        own_key(tmp_path)


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    (tmp_path / "key").chmod(0o600)

    with pytest.raises(StoreError, match="is no key"):
        own_key(tmp_path)


def test_a_link_in_place_of_the_key_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(32))
    os.symlink(tmp_path / "elsewhere", tmp_path / "key")

    with pytest.raises(StoreError):
        own_key(tmp_path)
