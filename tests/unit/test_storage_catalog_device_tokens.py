"""Tokens of devices in the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, NotFound
from storage.catalog import Catalog


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def _hash(number: int) -> bytes:
    return bytes([number]) * 32


def test_two_tokens_are_valid_and_the_third_ends_the_first(catalog: Catalog, clock: ManualClock) -> None:
    catalog.add_device("d")
    for number in range(3):
        clock.advance(1)
        catalog.set_token("d", _hash(number))
    assert [token.token_hash for token in catalog.tokens_of("d")] == [_hash(2), _hash(1)]


def test_the_earlier_token_may_end_by_itself(catalog: Catalog, clock: ManualClock) -> None:
    catalog.add_device("d")
    catalog.set_token("d", _hash(1), expires_at_ms=clock.now_ms() + 10)
    clock.advance(1)
    catalog.set_token("d", _hash(2), old_valid_until_ms=clock.now_ms() + 1000)
    new, old = catalog.tokens_of("d")
    assert (new.expires_at_ms, old.expires_at_ms) == (None, clock.now_ms() + 9)


@pytest.mark.parametrize("state", ["rejected", "decommissioned"])
def test_tokens_end_with_the_device_and_none_is_given_then(catalog: Catalog, state: str) -> None:
    catalog.note_first_contact(["d"], at_ms=1)
    catalog.set_token("d", _hash(1))
    (catalog.reject_device if state == "rejected" else catalog.decommission_device)("d")
    assert catalog.tokens_of("d") == []
    with pytest.raises(Conflict) as refused:
        catalog.set_token("d", _hash(2))
    assert refused.value.code == f"device_{state}"


def test_a_token_belongs_to_one_device(catalog: Catalog) -> None:
    catalog.add_device("a")
    catalog.add_device("b")
    catalog.set_token("a", _hash(1))
    with pytest.raises(Conflict):
        catalog.set_token("b", _hash(1))


def test_a_token_is_taken_also_once_it_has_ended(catalog: Catalog) -> None:
    catalog.add_device("a")
    catalog.set_token("a", _hash(1))
    catalog.revoke_tokens("a")
    with pytest.raises(Conflict) as refused:
        catalog.set_token("a", _hash(1))
    assert refused.value.code == "token_taken"


def test_one_token_of_two_is_ended_by_an_id_that_tells_nothing_of_it(catalog: Catalog) -> None:
    catalog.add_device("d")
    catalog.set_token("d", _hash(1))
    catalog.set_token("d", _hash(2))
    old = next(token for token in catalog.tokens_of("d") if token.token_hash == _hash(1))
    assert old.token_id not in _hash(1).hex()
    catalog.revoke_token("d", old.token_id)
    assert [token.token_hash for token in catalog.tokens_of("d")] == [_hash(2)]
    with pytest.raises(NotFound) as refused:
        catalog.revoke_token("d", old.token_id)
    assert refused.value.code == "token_unknown"
