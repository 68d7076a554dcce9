"""API tokens in the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits import API_TOKEN_LIFETIME_MS_MAX
from storage.catalog import Catalog, Change, User, api_tokens
from storage.catalog.api_tokens import is_valid
from storage.catalog.rows import ApiToken
from tests.acts import ACT


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


@pytest.fixture
def anna(catalog: Catalog) -> User:
    return catalog.add_user("anna", role="operator", password_hash="$argon2id$")


def _add(catalog: Catalog, user: User, number: int = 1, life_ms: int = 1000, name: str = "") -> ApiToken:
    return catalog.add_api_token(
        f"t{number}",
        token_hash=number.to_bytes(32, "big"),
        user=user,
        name=name or f"n{number}",
        role="viewer",
        scope=None,
        expires_at_ms=catalog._clock.now_ms() + life_ms,
    )


def test_found_by_hash_listed_used_and_ended(catalog: Catalog, clock: ManualClock, anna: User) -> None:
    made = _add(catalog, anna)
    assert catalog.find_api_token((1).to_bytes(32, "big")) == made
    assert catalog.find_api_token(bytes(32)) is None
    assert made.last_used_at_ms is None
    with catalog.transaction(ACT):
        catalog.touch_api_token("t1", address="192.0.2.1")
    assert Change("api_tokens", "t1") in catalog.last_changes
    used = catalog.get_api_token("t1")
    assert (used.last_used_at_ms, used.last_address) == (clock.now_ms(), "192.0.2.1")
    assert is_valid(used, clock.now_ms())
    assert not is_valid(used, used.expires_at_ms)
    revoked = catalog.revoke_api_token("t1")
    clock.advance(5)
    assert catalog.revoke_api_token("t1") == revoked
    assert not is_valid(revoked, 0)
    assert catalog.list_api_tokens("anna") == catalog.list_api_tokens() == [revoked]
    assert catalog.list_api_tokens("bob") == []
    with pytest.raises(NotFound):
        catalog.revoke_api_token("nothing")


@pytest.mark.parametrize("life_ms", [0, -1, API_TOKEN_LIFETIME_MS_MAX + 1])
def test_an_end_is_required_and_near(catalog: Catalog, anna: User, life_ms: int) -> None:
    with pytest.raises(UsageError) as refused:
        _add(catalog, anna, life_ms=life_ms)
    assert refused.value.code == "api_token_end_invalid"


def test_a_name_is_of_one_valid_token(catalog: Catalog, clock: ManualClock, anna: User) -> None:
    _add(catalog, anna, 1, name="grafana")
    with pytest.raises(Conflict):
        _add(catalog, anna, 2, name="grafana")
    clock.advance(1000)
    _add(catalog, anna, 2, name="grafana")
    assert catalog.revoke_api_tokens("anna") == 2
    assert catalog.revoke_api_tokens(None) == 0


def test_valid_ones_are_limited_and_ended_ones_forgotten(
    catalog: Catalog, clock: ManualClock, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_tokens, "API_TOKEN_PER_USER_COUNT_MAX", 2)
    monkeypatch.setattr(api_tokens, "API_TOKEN_KEPT_COUNT_MAX", 3)
    for number in range(1, 9):
        _add(catalog, anna, number)
        catalog.touch_api_token(f"t{number}", address="")
        clock.advance(1)
        catalog.revoke_api_token(f"t{number}")
    assert [each.token_id for each in catalog.list_api_tokens("anna")] == ["t8", "t7", "t6"]
    assert len(catalog.rows("SELECT * FROM api_token_uses")) == 3
    _add(catalog, anna, 10)
    _add(catalog, anna, 11)
    with pytest.raises(LimitExceeded):
        _add(catalog, anna, 12)


def test_no_secret_is_in_outbox_or_audit_in_clear(catalog: Catalog, anna: User) -> None:
    with catalog.transaction(ACT):
        _add(catalog, anna, 7)
    (entry,) = catalog.rows("SELECT * FROM audit WHERE object_kind = 'api_token'")
    assert (7).to_bytes(32, "big").hex() not in str(tuple(entry))
