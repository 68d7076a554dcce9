"""A device comes in by a claim: which device it becomes, what it is asked for once more, and who is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import HomeportError, LimitExceeded, UsageError
from appliance.core.limits import ENROLMENT_REPEAT_MS
from storage.catalog import Catalog, devices
from storage.catalog.claims import Claim, make_claim_id

CLAIM, KEY, OTHER_KEY = b"c" * 32, b"k" * 32, b"o" * 32


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def make(catalog: Catalog, token_hash: bytes = CLAIM, **more: Any) -> Claim:
    now_ms = catalog._clock.now_ms()
    fields: dict[str, Any] = {"life_ms": 60_000, "created_by": "anna", "adopt": True, **more}
    return catalog.create_claim(make_claim_id(now_ms, token_hash[:6]), token_hash, **fields)


def uses(catalog: Catalog, token_hash: bytes = CLAIM) -> int:
    claim = catalog.find_claim(token_hash)
    assert claim
    return claim.use_count


def refused(catalog: Catalog, key: bytes = KEY, token_hash: bytes = CLAIM, **more: Any) -> str:
    before = catalog.count_devices()
    claim = catalog.find_claim(token_hash)
    with pytest.raises(HomeportError) as error:
        catalog.enrol(token_hash, key, **more)
    assert error.value.hint
    assert catalog.count_devices() == before
    assert catalog.find_claim(token_hash) == claim, "no use was counted"
    return error.value.code


def test_a_device_comes_in_and_asks_once_more(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.execute(
            "INSERT INTO groups (group_id, created_at_ms, updated_at_ms, origin, hlc) VALUES ('hall', 0, 0, ?, ?)",
            (catalog.origin, catalog.hlc),
        )
    claim = make(catalog, tags=["new"], groups=["hall"], use_count_max=2)
    first = catalog.enrol(CLAIM, KEY, serial="SN-1")
    assert first.is_new
    assert (first.device.device_id, first.device.state, first.device.tags) == ("SN-1", "active", ("new",))
    row = catalog.row("SELECT serial, groups FROM devices WHERE device_id = 'SN-1'")
    assert tuple(row or ()) == ("SN-1", '["hall"]')
    again = catalog.enrol(CLAIM, KEY, serial="SN-1")
    assert not again.is_new
    assert again.device == first.device
    assert uses(catalog) == 1
    assert catalog.enrolled_by("SN-1") == claim.claim_id
    assert catalog.enrolled_by("other") is None
    assert catalog.enrol(CLAIM, OTHER_KEY, device_id="pump", serial="SN-2").device.device_id == "pump"
    assert refused(catalog, b"x" * 32, serial="SN-3") == "claim_used_up"


def test_it_waits_for_adoption_where_the_claim_says_so(catalog: Catalog) -> None:
    make(catalog, adopt=False, tags=["t"])
    first = catalog.enrol(CLAIM, KEY, serial="SN-1")
    assert (first.device.state, first.device.tags) == ("waiting", ("t",))
    assert first.device.first_contact_at_ms is not None
    catalog.adopt_device("SN-1")
    again = catalog.enrol(CLAIM, KEY, serial="SN-1")
    assert (again.device.state, again.is_new, uses(catalog)) == ("active", False, 1)


def test_who_asks_again_may_do_so_after_the_claims_end_but_not_after_its_revocation(
    catalog: Catalog, clock: ManualClock
) -> None:
    claim = make(catalog, adopt=False, use_count_max=5)
    catalog.enrol(CLAIM, KEY, serial="SN-1")
    clock.advance(120_000)
    assert not catalog.enrol(CLAIM, KEY, serial="SN-1").is_new
    assert refused(catalog, OTHER_KEY, serial="SN-2") == "claim_expired"
    catalog.revoke_claim(claim.claim_id)
    assert refused(catalog, serial="SN-1") == "claim_revoked"
    assert refused(catalog, token_hash=bytes(32), serial="SN-1") == "claim_unknown"


def test_asking_again_ends_an_hour_after_the_first_answer(catalog: Catalog, clock: ManualClock) -> None:
    make(catalog, adopt=False, use_count_max=5)
    catalog.enrol(CLAIM, KEY, serial="SN-1")
    clock.advance(10 * ENROLMENT_REPEAT_MS)
    catalog.adopt_device("SN-1")
    clock.advance(10 * ENROLMENT_REPEAT_MS)
    assert catalog.enrol(CLAIM, KEY, serial="SN-1").device.state == "active", "it has had no answer yet"
    clock.advance(ENROLMENT_REPEAT_MS - 1)
    catalog.enrol(CLAIM, KEY, serial="SN-1")
    clock.advance(1)
    assert refused(catalog, serial="SN-1") == "enrolment_over"


@pytest.mark.parametrize(
    ("because", "is_over"), [("superseded", False), ("keyCompromise", True), (None, True)]
)
def test_asking_again_ends_with_the_revocation_of_its_certificate(
    catalog: Catalog, because: str | None, is_over: bool
) -> None:
    make(catalog, use_count_max=5)
    catalog.enrol(CLAIM, KEY, serial="SN-1")
    with catalog.transaction():
        catalog.execute(
            "INSERT INTO certificates (serial, device_id, fingerprint, issuer_key_id, issued_by, not_before_at_ms, "
            "not_after_at_ms, issued_at_ms, revoked_at_ms, revoked_because, origin, hlc) "
            "VALUES ('1', 'SN-1', ?, 'ab', 'mqtt', 0, 1, ?, 1, ?, ?, ?)",
            ("0" * 64, catalog._clock.now_ms(), because, catalog.origin, catalog.hlc),
        )
    if is_over:
        assert refused(catalog, serial="SN-1") == "enrolment_over"
    else:
        assert not catalog.enrol(CLAIM, KEY, serial="SN-1").is_new


def test_asking_again_ends_when_other_hardware_takes_its_place(catalog: Catalog, clock: ManualClock) -> None:
    make(catalog, use_count_max=5)
    catalog.enrol(CLAIM, KEY, device_id="pump", serial="OLD")
    clock.advance(1)
    catalog.replace_device("pump", serial="NEW")
    assert refused(catalog, device_id="pump") == "enrolment_over"
    make(catalog, b"d" * 32, device_id="pump")
    clock.advance(1)
    assert catalog.enrol(b"d" * 32, OTHER_KEY, serial="NEW").is_new


def test_nobody_else_gets_a_device_that_has_come_in(catalog: Catalog) -> None:
    """The others of a batch hold the same claim, and know the serial number that is printed on it."""
    make(catalog, use_count_max=5)
    make(catalog, b"d" * 32, use_count_max=5)
    catalog.enrol(CLAIM, KEY, serial="SN-1")
    assert refused(catalog, OTHER_KEY, serial="SN-1") == "device_exists"
    assert refused(catalog, KEY, b"d" * 32, serial="SN-1") == "device_exists", "the same key, another claim"
    assert refused(catalog, KEY, serial="SN-2") == "key_in_use"
    assert refused(catalog, OTHER_KEY, device_id="pump", serial="SN-1") == "serial_in_use"


def test_devices_that_were_registered(catalog: Catalog) -> None:
    make(catalog, use_count_max=9)
    for device_id in ("free", "token", "gone"):
        catalog.add_device(device_id)
    catalog.set_token("token", bytes(32))
    catalog.decommission_device("gone")
    with catalog.transaction():
        catalog.execute(
            "UPDATE devices SET serial = 'SN-7', origin = ?, hlc = ? WHERE device_id = 'free'",
            (catalog.origin, catalog.hlc),
        )
    assert catalog.enrol(CLAIM, KEY, serial="SN-7").device.device_id == "free", "its serial number is known"
    assert refused(catalog, OTHER_KEY, device_id="token") == "device_exists"
    assert refused(catalog, OTHER_KEY, device_id="gone") == "device_decommissioned"


def test_one_that_an_operator_has_rejected(catalog: Catalog) -> None:
    make(catalog)
    catalog.note_first_contact(["pump"], at_ms=1)
    catalog.reject_device("pump")
    assert refused(catalog, device_id="pump") == "device_rejected"


def test_one_that_waits_since_its_first_contact_is_let_in_by_the_claim(catalog: Catalog) -> None:
    make(catalog)
    catalog.note_first_contact(["pump"], at_ms=1)
    assert catalog.enrol(CLAIM, KEY, device_id="pump").device.state == "active"


def test_a_claim_for_one_device_gives_it_to_other_hardware(catalog: Catalog) -> None:
    make(catalog)
    catalog.enrol(CLAIM, KEY, device_id="pump", serial="OLD")
    make(catalog, b"d" * 32, device_id="pump")
    assert refused(catalog, OTHER_KEY, b"d" * 32, device_id="valve") == "claim_other_device"
    taken = catalog.enrol(b"d" * 32, OTHER_KEY, serial="NEW")
    assert (taken.device.device_id, taken.is_new) == ("pump", True)
    assert not catalog.enrol(b"d" * 32, OTHER_KEY).is_new
    assert refused(catalog, KEY, serial="NEW") == "device_exists", "the old hardware"
    assert refused(catalog, b"x" * 32, b"d" * 32) == "claim_used_up"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "device_id_missing"),
        ({"serial": "x" * 129}, "device_serial_invalid"),
        ({"serial": "a\tb"}, "device_serial_invalid"),
        ({"serial": "a/b"}, "device_id_invalid"),
        ({"device_id": "provision"}, "device_id_invalid"),
    ],
)
def test_requests_that_make_no_sense(catalog: Catalog, fields: dict[str, str], code: str) -> None:
    make(catalog)
    with pytest.raises(UsageError) as error:
        catalog.enrol(CLAIM, KEY, **fields)
    assert error.value.code == code
    assert uses(catalog) == 0


def test_the_list_of_those_who_wait_is_full(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "WAITING_DEVICE_COUNT_MAX", 1)
    make(catalog, adopt=False, use_count_max=2)
    catalog.enrol(CLAIM, KEY, serial="SN-1")
    with pytest.raises(LimitExceeded) as error:
        catalog.enrol(CLAIM, OTHER_KEY, serial="SN-2")
    assert error.value.code == "waiting_full"
    assert uses(catalog) == 1


def test_no_secret_comes_into_the_audit(catalog: Catalog) -> None:
    make(catalog)
    catalog.enrol(CLAIM, KEY, serial="SN-1")
    written = "".join(str(row["after"]) for row in catalog.rows("SELECT after FROM audit"))
    assert "SN-1" in written
    assert CLAIM.hex() not in written
    assert KEY.hex() not in written


def test_a_device_whose_credentials_were_revoked_is_not_for_whoever_holds_a_batchs_claim(
    catalog: Catalog,
) -> None:
    """A stolen device has the batch's claim in its firmware: revoking its token must not open this way."""
    make(catalog, use_count_max=5)
    for device_id in ("by-token", "by-certificate"):
        catalog.add_device(device_id)
    catalog.set_token("by-token", bytes(32))
    catalog.revoke_tokens("by-token")
    catalog.add_certificate(
        "1",
        device_id="by-certificate",
        fingerprint="0" * 64,
        key_hash="1" * 64,
        issuer_key_id="ab",
        issued_by="est",
        not_before_at_ms=0,
        not_after_at_ms=2**42,
    )
    catalog.revoke_certificates_of("by-certificate", because="keyCompromise")
    assert refused(catalog, device_id="by-token") == "device_exists"
    assert refused(catalog, OTHER_KEY, device_id="by-certificate") == "device_exists"
    make(catalog, b"d" * 32, device_id="by-token")
    assert catalog.enrol(b"d" * 32, KEY).device.device_id == "by-token"


@pytest.mark.parametrize("more", [{"access": "site"}, {"role": "reader"}])
def test_a_batchs_claim_does_not_do_for_who_reaches_more_than_its_own(
    catalog: Catalog, more: dict[str, Any]
) -> None:
    """A list makes applications without tokens; whoever reads the claim out of a firmware must not come in as one."""
    catalog.add_device("scada", kind="application", serial="7", **more)
    make(catalog, use_count_max=9)
    assert refused(catalog, device_id="scada") == "device_exists"
    assert refused(catalog, serial="7") == "device_exists"
    make(catalog, b"d" * 32, device_id="scada")
    assert catalog.enrol(b"d" * 32, KEY).device.device_id == "scada"
