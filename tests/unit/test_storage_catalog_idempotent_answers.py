"""The table of answers to idempotent requests is bounded, and keeps the newest."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict
from appliance.core.limits import IDEMPOTENT_ANSWER_LIFETIME_MS
from storage.catalog import Catalog, idempotent_answers
from tests.acts import ACT


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=1_772_000_000_000)


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Catalog:
    return Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def put(catalog: Catalog, number: int, sealed: bytes = b"sealed") -> None:
    with catalog.transaction(ACT):
        catalog.take_idempotency_key(key(number), key(1000 + number))
    with catalog.transaction(ACT):
        catalog.keep_idempotent_answer(key(number), 201, sealed)


def test_a_key_is_taken_once_until_it_is_a_day_old(catalog: Catalog, clock: ManualClock) -> None:
    put(catalog, 1)
    found = catalog.idempotent_answer(key(1))
    assert found is not None
    assert (found.request_hash, found.status, found.sealed) == (key(1001), 201, b"sealed")
    with pytest.raises(Conflict) as refused, catalog.transaction(ACT):
        catalog.take_idempotency_key(key(1), key(1))
    assert refused.value.code == "idempotency_key_in_use"
    clock.advance(IDEMPOTENT_ANSWER_LIFETIME_MS)
    assert catalog.idempotent_answer(key(1)) is None
    put(catalog, 1)
    assert catalog.idempotent_numbers().count == 1


def test_it_is_bounded_in_number(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotent_answers, "IDEMPOTENT_ANSWER_COUNT_MAX", 5)
    for number in range(9):
        put(catalog, number)
        clock.advance(1)
    assert catalog.idempotent_numbers().count == 5
    assert catalog.idempotent_answer(key(3)) is None
    assert catalog.idempotent_answer(key(4)) is not None


def test_it_is_bounded_in_bytes(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotent_answers, "IDEMPOTENT_ANSWER_TOTAL_BYTES_MAX", 1_000)
    for number in range(9):
        put(catalog, number, bytes(300))
        clock.advance(1)
    numbers = catalog.idempotent_numbers()
    assert (numbers.count, numbers.size_bytes) == (4, 1_200)
    assert catalog.idempotent_answer(key(8)) is not None


def test_it_is_no_subject_of_the_audit_or_of_replication(catalog: Catalog) -> None:
    put(catalog, 1)
    assert catalog.outbox_count() == 0
    assert not catalog.rows("SELECT * FROM audit")
