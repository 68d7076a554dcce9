"""First contacts that show a key: the one that came first is the device, once it was adopted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotAuthorized, UsageError
from storage.catalog import Catalog
from storage.catalog.rows import RevokedBecause

KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    yield opened
    opened.close()


def test_it_waits_and_is_let_in_by_the_key_that_came_first(catalog: Catalog) -> None:
    assert catalog.meet("pump", KEY).state == "waiting"
    assert catalog.meet("pump", KEY).state == "waiting"
    with pytest.raises(NotAuthorized) as refused:
        catalog.meet("pump", OTHER)
    assert refused.value.code == "bad_credentials"
    catalog.adopt_device("pump")
    assert catalog.meet("pump", KEY).state == "active"
    with pytest.raises(NotAuthorized):
        catalog.meet("pump", OTHER)


def test_one_that_waits_since_its_first_contact_over_mqtt(catalog: Catalog) -> None:
    catalog.note_first_contact(["pump"], at_ms=1)
    assert catalog.meet("pump", KEY).first_contact_at_ms == 1
    with pytest.raises(NotAuthorized):
        catalog.meet("pump", OTHER)


def test_a_registered_device_is_nobodys_to_take(catalog: Catalog) -> None:
    catalog.add_device("pump")
    with pytest.raises(NotAuthorized):
        catalog.meet("pump", KEY)


@pytest.mark.parametrize("verb", ["reject_device", "decommission_device"])
def test_states_that_end_it(catalog: Catalog, verb: str) -> None:
    catalog.meet("pump", KEY)
    getattr(catalog, verb)("pump")
    with pytest.raises(Conflict) as refused:
        catalog.meet("pump", KEY)
    assert refused.value.code in ("device_rejected", "device_decommissioned")


def test_one_key_is_one_device(catalog: Catalog) -> None:
    catalog.meet("pump", KEY)
    with pytest.raises(Conflict) as refused:
        catalog.meet("fan", KEY)
    assert refused.value.code == "key_in_use"
    assert catalog.find_device("fan") is None


def test_ids_and_room(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.catalog.devices.WAITING_DEVICE_COUNT_MAX", 1)
    catalog.meet("pump", KEY)
    with pytest.raises(LimitExceeded) as full:
        catalog.meet("fan", OTHER)
    assert full.value.code == "waiting_full"
    with pytest.raises((UsageError, LimitExceeded)):
        catalog.meet("a/b", OTHER)


def test_the_key_ends_when_other_hardware_takes_the_devices_place(catalog: Catalog) -> None:
    catalog.meet("pump", KEY)
    catalog.adopt_device("pump")
    assert catalog.meet("pump", KEY).state == "active"
    catalog.replace_device("pump")
    with pytest.raises(NotAuthorized) as refused:
        catalog.meet("pump", KEY)
    assert refused.value.code == "bad_credentials"


@pytest.mark.parametrize(("because", "is_over"), [("superseded", False), ("keyCompromise", True)])
def test_the_key_ends_with_the_revocation_of_its_certificate(
    catalog: Catalog, because: RevokedBecause, is_over: bool
) -> None:
    catalog.meet("pump", KEY)
    catalog.adopt_device("pump")
    catalog.add_certificate(
        "1",
        device_id="pump",
        fingerprint="0" * 64,
        key_hash="1" * 64,
        issuer_key_id="ab",
        issued_by="est",
        not_before_at_ms=0,
        not_after_at_ms=2**42,
    )
    catalog.revoke_certificate("1", because=because)
    if is_over:
        with pytest.raises(NotAuthorized):
            catalog.meet("pump", KEY)
    else:
        assert catalog.meet("pump", KEY).state == "active"
