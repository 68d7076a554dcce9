"""Families of tokens in the catalog: one fresh refresh token each, bounded, ended for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.catalog import Catalog, Change, token_families
from tests.acts import ACT

LIFE_MS = 1_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def _hash(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _open(catalog: Catalog, clock: ManualClock, name: str, user_id: str = "anna", token: int = 1) -> None:
    catalog.open_family(
        name,
        user_id=user_id,
        refresh_hash=_hash(token),
        expires_at_ms=clock.now_ms() + LIFE_MS,
        address="a" * 99,
        agent="b" * 999,
    )


def test_each_refresh_token_counts_once(catalog: Catalog, clock: ManualClock) -> None:
    _open(catalog, clock, "f1")
    clock.advance(10)
    result = catalog.refresh(_hash(1), new_hash=_hash(2))
    assert (result.outcome, result.family and result.family.family_id) == ("rotated", "f1")
    family = catalog.find_family("f1")
    assert family
    assert (family.last_used_at_ms, len(family.address), len(family.agent)) == (clock.now_ms(), 64, 200)
    assert catalog.refresh(_hash(2), new_hash=_hash(3)).outcome == "rotated"
    with catalog.transaction(ACT):
        assert catalog.refresh(_hash(1), new_hash=_hash(4)).outcome == "reused"
    assert catalog.last_changes == (Change("token_families", "f1"),)
    assert catalog.refresh(_hash(3), new_hash=_hash(5)).outcome == "ended"
    assert catalog.refresh(_hash(9), new_hash=_hash(5)).outcome == "unknown"
    family = catalog.find_family("f1")
    assert family
    assert family.revoked_because == "refresh_token_reused"
    assert catalog.list_families() == []


def test_a_family_ends_once_and_with_its_time(catalog: Catalog, clock: ManualClock) -> None:
    _open(catalog, clock, "f1")
    _open(catalog, clock, "f2", token=2)
    assert catalog.end_family("f1", because="signed_out")
    assert not catalog.end_family("f1", because="again")
    assert not catalog.end_family("nothing", because="again")
    assert [each.family_id for each in catalog.list_families("anna")] == ["f2"]
    clock.advance(LIFE_MS)
    assert catalog.refresh(_hash(2), new_hash=_hash(3)).outcome == "ended"
    _open(catalog, clock, "f3", token=4)
    assert catalog.find_family("f1") is None
    assert catalog.family_of_refresh_token(_hash(2)) is None


def test_all_of_a_user_or_of_everybody_end_but_one(catalog: Catalog, clock: ManualClock) -> None:
    for number, user_id in enumerate(("anna", "anna", "bob")):
        _open(catalog, clock, f"f{number}", user_id, number)
    assert catalog.end_families("anna", because="x", keep="f0") == 1
    assert {each.family_id for each in catalog.list_families()} == {"f0", "f2"}
    assert catalog.end_families(None, because="x") == 2


def test_access_tokens_are_ended_one_by_one_and_stay_so_whatever_the_clock_does(
    catalog: Catalog, clock: ManualClock
) -> None:
    _open(catalog, clock, "f1")
    until_ms = clock.now_ms() + 100
    with catalog.transaction(ACT):
        assert catalog.revoke_access_token("t1", family_id="f1", expires_at_ms=until_ms)
    assert catalog.last_changes == (Change("token_families", "f1"),)
    assert not catalog.revoke_access_token("t1", family_id="f1", expires_at_ms=until_ms)
    assert not catalog.revoke_access_token("t2", family_id="nothing", expires_at_ms=until_ms)
    clock.advance(100_000)
    catalog.revoke_access_token("t3", family_id="f1", expires_at_ms=clock.now_ms() + 100)
    clock.advance(-100_000)
    family = catalog.find_family("f1")
    assert family
    assert family.revoked_tokens == {"t1", "t3"}
    catalog.end_family("f1", because="x")
    assert not catalog.revoke_access_token("t4", family_id="f1", expires_at_ms=clock.now_ms() + 100)
    clock.advance(LIFE_MS)
    _open(catalog, clock, "f2", token=2)
    assert catalog.rows("SELECT * FROM revoked_access_tokens") == []


def test_too_many_revoked_ones_end_the_sign_in(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_families, "REVOKED_TOKEN_PER_FAMILY_COUNT_MAX", 2)
    _open(catalog, clock, "f1")
    for number in range(3):
        assert catalog.revoke_access_token(f"t{number}", family_id="f1", expires_at_ms=clock.now_ms() + 1)
    family = catalog.find_family("f1")
    assert family
    assert (family.revoked_because, len(family.revoked_tokens)) == ("too_many_revoked", 2)


def test_used_refresh_tokens_and_families_are_bounded(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_families, "REFRESH_TOKEN_KEPT_COUNT_MAX", 3)
    monkeypatch.setattr(token_families, "TOKEN_FAMILY_PER_USER_COUNT_MAX", 2)
    monkeypatch.setattr(token_families, "TOKEN_FAMILY_COUNT_MAX", 3)
    _open(catalog, clock, "f1", token=100)
    for number in range(100, 110):
        clock.advance(1)
        assert catalog.refresh(_hash(number), new_hash=_hash(number + 1)).outcome == "rotated"
    assert len(catalog.rows("SELECT * FROM refresh_tokens")) == 4
    assert catalog.refresh(_hash(100), new_hash=_hash(1)).outcome == "unknown"
    for number in range(2, 5):
        clock.advance(1)
        _open(catalog, clock, f"f{number}", token=number)
    assert [each.family_id for each in catalog.list_families("anna")] == ["f4", "f3"]
    for number in range(5, 7):
        clock.advance(1)
        _open(catalog, clock, f"f{number}", "bob", token=number)
    assert [each.family_id for each in catalog.list_families()] == ["f6", "f5", "f4"]
    assert catalog.family_of_refresh_token(_hash(110)) is None
