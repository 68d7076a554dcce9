"""Signed-in browsers in the catalog: whoever keeps one in memory hears of its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.catalog import Catalog, Change, browser_sessions
from tests.acts import ACT


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    for user_id in ("anna", "bob"):
        opened.add_user(user_id, role="viewer", password_hash="$argon2id$")
    yield opened
    opened.close()


def _open(
    catalog: Catalog, clock: ManualClock, number: int, user_id: str = "anna", life_ms: int = 1000
) -> bytes:
    key = number.to_bytes(32, "big")
    catalog.open_session(key, user_id=user_id, expires_at_ms=clock.now_ms() + life_ms, address="", agent="")
    return key


def test_all_of_a_user_or_of_everybody_end_but_one(catalog: Catalog, clock: ManualClock) -> None:
    keys = [_open(catalog, clock, number) for number in range(3)]
    bobs = _open(catalog, clock, 9, "bob")
    with catalog.transaction(ACT):
        assert catalog.close_sessions("anna", keep=keys[1]) == 2
    assert set(catalog.last_changes) == {Change("browser_sessions", keys[n].hex()) for n in (0, 2)}
    assert {each.session_hash for each in catalog.list_sessions()} == {keys[1], bobs}
    assert [each.session_hash for each in catalog.list_sessions("anna")] == [keys[1]]
    assert catalog.close_sessions(None) == 2
    assert catalog.list_sessions() == []


def test_one_that_has_to_go_is_told_of_and_one_past_its_end_is_not_listed(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_sessions, "BROWSER_SESSION_COUNT_MAX", 2)
    first = _open(catalog, clock, 1)
    clock.advance(1)
    _open(catalog, clock, 2)
    clock.advance(1)
    with catalog.transaction(ACT):
        _open(catalog, clock, 3)
    assert Change("browser_sessions", first.hex()) in catalog.last_changes
    clock.advance(1000)
    assert catalog.list_sessions() == []
