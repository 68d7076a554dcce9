"""Failures, known addresses and used codes: counted, bounded, forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.limits import LOCKOUT_FORGET_MS
from appliance.management.lockout import UNLOCKED
from storage.catalog import Catalog, sign_ins


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def test_failures_are_counted_and_forgotten(catalog: Catalog, clock: ManualClock) -> None:
    for count in range(1, 4):
        assert catalog.note_failure("user:anna", free_count=2).failure_count == count
    assert catalog.lockout_of("user:anna").is_locked(clock.now_ms())
    assert catalog.lockout_of("address:192.0.2.1") == UNLOCKED
    lockouts = catalog.count_lockouts()
    assert (lockouts.remembered, lockouts.locked) == (1, 1)
    clock.advance(LOCKOUT_FORGET_MS)
    assert catalog.lockout_of("user:anna") == UNLOCKED
    assert catalog.note_failure("user:anna", free_count=2).failure_count == 1
    catalog.clear_failures("user:anna")
    assert catalog.count_lockouts().remembered == 0


def test_failures_are_bounded(catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_ins, "LOCKOUT_COUNT_MAX", 3)
    for number in range(6):
        clock.advance(1)
        catalog.note_failure(f"address:{number}", free_count=2)
    kept = [row[0] for row in catalog.rows("SELECT subject FROM lockouts ORDER BY subject")]
    assert kept == ["address:3", "address:4", "address:5"]


def test_addresses_are_known_and_bounded(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_ins, "SIGN_IN_ADDRESS_PER_USER_COUNT_MAX", 2)
    catalog.note_failure("user:anna", free_count=0)
    for number in range(4):
        clock.advance(1)
        catalog.note_sign_in("anna", f"192.0.2.{number}")
    assert catalog.lockout_of("user:anna") == UNLOCKED
    assert [catalog.has_signed_in_from("anna", f"192.0.2.{n}") for n in range(4)] == [
        False,
        False,
        True,
        True,
    ]
    assert not catalog.has_signed_in_from("bob", "192.0.2.3")
    assert catalog.last_sign_ins() == {"anna": clock.now_ms()}


def test_a_step_counts_once_and_none_before_it_any_more(catalog: Catalog) -> None:
    assert catalog.use_totp_step("anna", 100)
    assert not catalog.use_totp_step("anna", 100)
    assert not catalog.use_totp_step("anna", 99)
    assert catalog.use_totp_step("anna", 101)
    assert catalog.use_totp_step("bob", 100)


def test_who_is_gone_is_forgotten(catalog: Catalog) -> None:
    catalog.note_sign_in("anna", "192.0.2.1")
    catalog.use_totp_step("anna", 5)
    catalog.note_failure("user:anna", free_count=0)
    catalog.forget_sign_ins("anna")
    for table in ("sign_in_addresses", "totp_uses", "lockouts"):
        assert catalog.rows(f"SELECT * FROM {table}") == []
