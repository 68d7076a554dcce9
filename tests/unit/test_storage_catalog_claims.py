"""Claims: what one may be, its states, its pages, its end; and that it is never used more often than it may be."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, Unavailable, UsageError
from appliance.core.limits import CLAIM_LIFE_MS_MAX, CLAIM_USE_COUNT_MAX
from storage.catalog import Catalog
from storage.catalog import claims as module
from storage.catalog.claims import CLAIM_STATES, Claim, make_claim_id

HOUR_MS = 3_600_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def catalog(path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(path, clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def make(catalog: Catalog, clock: ManualClock, number: int = 1, **more: Any) -> Claim:
    fields: dict[str, Any] = {"life_ms": HOUR_MS, "created_by": "anna", **more}
    return catalog.create_claim(
        make_claim_id(clock.now_ms(), number.to_bytes(6)), bytes([number]) * 32, **fields
    )


def test_a_claim_is_as_it_was_made(catalog: Catalog, clock: ManualClock) -> None:
    with catalog.transaction():
        catalog.execute(
            "INSERT INTO groups (group_id, created_at_ms, updated_at_ms, origin, hlc) VALUES ('hall', 0, 0, ?, ?)",
            (catalog.origin, catalog.hlc),
        )
    claim = make(
        catalog, clock, name=" Hall 3 ", groups=["hall", "hall"], tags=["new"], adopt=True, use_count_max=40
    )
    assert catalog.find_claim(b"\x01" * 32) == catalog.get_claim(claim.claim_id) == claim
    assert (claim.name, claim.groups, claim.tags, claim.adopt) == ("Hall 3", ("hall",), ("new",), True)
    assert (claim.use_count, claim.use_count_max, claim.created_by) == (0, 40, "anna")
    assert catalog.find_claim(bytes(32)) is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"use_count_max": 0}, "claim_invalid"),
        ({"use_count_max": CLAIM_USE_COUNT_MAX + 1}, "claim_invalid"),
        ({"device_id": "pump", "use_count_max": 2}, "claim_invalid"),
        ({"device_id": "a/b"}, "device_id_invalid"),
        ({"device_id": "provision"}, "device_id_invalid"),
        ({"name": "x" * 201}, "claim_invalid"),
        ({"name": "a\nb"}, "claim_invalid"),
        ({"tags": ["x" * 65]}, "device_tags_invalid"),
        ({"groups": [str(n) for n in range(33)]}, "claim_invalid"),
        ({"life_ms": 0}, "claim_invalid"),
        ({"life_ms": CLAIM_LIFE_MS_MAX + 1}, "claim_invalid"),
    ],
)
def test_what_no_claim_can_be(
    catalog: Catalog, clock: ManualClock, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(UsageError) as refused:
        make(catalog, clock, **fields)
    assert refused.value.code == code
    assert refused.value.hint
    assert catalog.count_claims() == 0


def test_a_group_that_is_not_there(catalog: Catalog, clock: ManualClock) -> None:
    with pytest.raises(NotFound) as refused:
        make(catalog, clock, groups=["nowhere"])
    assert refused.value.code == "group_unknown"


def test_states_and_pages(catalog: Catalog, clock: ManualClock) -> None:
    expired = make(catalog, clock, 1, life_ms=1000)
    clock.advance(2000)
    valid, used, revoked = (make(catalog, clock, number) for number in (2, 3, 4))
    with catalog.transaction():
        catalog.count_claim_use(used.claim_id)
    assert catalog.revoke_claim(revoked.claim_id).revoked_at_ms == clock.now_ms()
    clock.advance(10)
    again = catalog.revoke_claim(revoked.claim_id)
    assert again.revoked_at_ms == clock.now_ms() - 10, "its end does not move"
    states = {"expired": expired, "valid": valid, "used_up": used, "revoked": revoked}
    for state in CLAIM_STATES:
        (found,) = catalog.list_claims(state=state).claims
        assert found.claim_id == states[state].claim_id
        assert found.state(clock.now_ms()) == state
        assert catalog.count_claims(state) == 1
    first = catalog.list_claims(limit=3)
    rest = catalog.list_claims(limit=3, cursor=first.next_cursor)
    ids = [claim.claim_id for claim in first.claims + rest.claims]
    assert ids == [each.claim_id for each in (revoked, used, valid, expired)]
    assert rest.next_cursor is None
    with pytest.raises(UsageError):
        catalog.list_claims(limit=0)
    for missing in (catalog.get_claim, catalog.revoke_claim):
        with pytest.raises(NotFound):
            missing("none")


def test_as_many_as_may_be_used(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLAIM_COUNT_MAX", 2)
    first = make(catalog, clock, 1)
    make(catalog, clock, 2)
    with pytest.raises(LimitExceeded):
        make(catalog, clock, 3)
    catalog.revoke_claim(first.claim_id)
    make(catalog, clock, 3)


def test_it_is_never_used_beyond_its_maximum(catalog: Catalog, clock: ManualClock, path: Path) -> None:
    """Eight connections at once, as processes have them, want 40 uses of a claim that has 15."""
    claim = make(catalog, clock, use_count_max=15)
    outcomes: list[bool] = []
    deadline = time.monotonic() + 60

    def use() -> None:
        other = Catalog.open(path, clock=clock, node_id=bytes(16))
        try:
            left = 5
            while left and time.monotonic() < deadline:
                try:
                    with other.transaction():
                        other.count_claim_use(claim.claim_id)
                    outcomes.append(True)
                except Conflict as error:
                    assert error.code == "claim_used_up"
                    outcomes.append(False)
                except Unavailable:
                    continue  # Eight writers on a slow disk: it waited for longer than the busy timeout, and changed nothing.
                left -= 1
        finally:
            other.close()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(outcomes), sum(outcomes)) == (40, 15)
    assert catalog.get_claim(claim.claim_id).use_count == 15
