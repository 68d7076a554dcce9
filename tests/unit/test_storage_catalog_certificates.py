"""Certificates in the catalog: which count, which are superseded, which a revocation list names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits import CERTIFICATE_COUNT_PER_DEVICE_AND_DAY_MAX, CERTIFICATE_KEEP_MS
from storage.catalog import Catalog, Certificate, CertificateCounts

DAY_MS = 86_400_000
LIFE_MS = 90 * DAY_MS


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    opened.add_device("pump")
    opened.add_device("fan")
    yield opened
    opened.close()


def add(
    catalog: Catalog,
    clock: ManualClock,
    serial: str,
    device_id: str = "pump",
    key: str = "aa",
    public_key: str = "",
) -> Certificate:
    now_ms = clock.now_ms()
    return catalog.add_certificate(
        serial,
        device_id=device_id,
        fingerprint="0" * 64,
        key_hash=f"{public_key or serial:0>64}",
        issuer_key_id=key,
        issued_by="est",
        not_before_at_ms=now_ms - 1,
        not_after_at_ms=now_ms + LIFE_MS,
    )


def test_a_certificate_is_noted(catalog: Catalog, clock: ManualClock) -> None:
    made = add(catalog, clock, "1f")
    assert catalog.get_certificate("1f") == made
    assert made.counts(clock.now_ms())
    assert made.state(clock.now_ms()) == "valid"
    clock.advance(LIFE_MS)
    assert made.state(clock.now_ms()) == "ended"
    assert catalog.find_certificate("2") is None
    with pytest.raises(NotFound) as missing:
        catalog.get_certificate("2")
    assert missing.value.code == "certificate_unknown"


def test_two_are_valid_and_the_oldest_is_superseded(catalog: Catalog, clock: ManualClock) -> None:
    for serial in ("1", "2", "3", "4"):
        add(catalog, clock, serial)
        clock.advance(1000)
    states = {each.serial: each.revoked_because for each in catalog.certificates_of("pump")}
    assert states == {"4": None, "3": None, "2": "superseded", "1": "superseded"}


def test_who_gets_none(catalog: Catalog, clock: ManualClock) -> None:
    with pytest.raises(NotFound):
        add(catalog, clock, "1", "nobody")
    catalog.note_first_contact(["new"], at_ms=clock.now_ms())
    with pytest.raises(Conflict) as waiting:
        add(catalog, clock, "1", "new")
    assert waiting.value.code == "device_waiting"
    catalog.decommission_device("fan")
    with pytest.raises(Conflict) as gone:
        add(catalog, clock, "1", "fan")
    assert gone.value.code == "device_decommissioned"
    add(catalog, clock, "1")
    with pytest.raises(Conflict) as taken:
        add(catalog, clock, "1")
    assert taken.value.code == "constraint_failed"


def test_a_device_that_asks_in_a_circle(catalog: Catalog, clock: ManualClock) -> None:
    for number in range(CERTIFICATE_COUNT_PER_DEVICE_AND_DAY_MAX):
        add(catalog, clock, f"{number:x}")
    with pytest.raises(LimitExceeded) as refused:
        add(catalog, clock, "ff")
    assert refused.value.code == "certificate_count"
    add(catalog, clock, "ff", "fan")
    clock.advance(DAY_MS + 1)
    add(catalog, clock, "fe")


def test_revoking_is_for_good(catalog: Catalog, clock: ManualClock) -> None:
    add(catalog, clock, "1")
    revoked = catalog.revoke_certificate("1", because="keyCompromise")
    assert (revoked.revoked_at_ms, revoked.revoked_because) == (clock.now_ms(), "keyCompromise")
    assert revoked.state(clock.now_ms()) == "revoked"
    clock.advance(1000)
    assert catalog.revoke_certificate("1", because="unspecified") == revoked
    with pytest.raises(NotFound):
        catalog.revoke_certificate("2", because="unspecified")


def test_all_of_a_device(catalog: Catalog, clock: ManualClock) -> None:
    add(catalog, clock, "1")
    add(catalog, clock, "2")
    add(catalog, clock, "3", "fan")
    assert catalog.revoke_certificates_of("pump", because="cessationOfOperation") == 2
    assert catalog.revoke_certificates_of("pump", because="cessationOfOperation") == 0
    assert {each.serial for each in catalog.revoked_certificates("aa", ended_after_ms=0)} == {"1", "2"}
    assert catalog.get_certificate("3").counts(clock.now_ms())


def test_one_that_has_ended_is_revoked_with_the_others(catalog: Catalog, clock: ManualClock) -> None:
    """The box's clock may have been ahead: then it is good again once that is set right, at the thief's."""
    add(catalog, clock, "1", public_key="e")
    now_ms, ends_ms = clock.now_ms(), catalog.get_certificate("1").not_after_at_ms
    clock.set_wall(ends_ms + 1)
    assert catalog.revoke_certificates_of("pump", because="keyCompromise") == 1
    with pytest.raises(Conflict) as refused:
        add(catalog, clock, "2", public_key="e")
    assert refused.value.code == "key_revoked"
    clock.set_wall(now_ms)
    assert not catalog.get_certificate("1").counts(clock.now_ms())


def test_a_revoked_key_is_nobodys_any_more(catalog: Catalog, clock: ManualClock) -> None:
    """Whoever stole it can't get another certificate for it, whatever else they have."""
    add(catalog, clock, "1", public_key="e")
    catalog.revoke_certificate("1", because="keyCompromise")
    for device_id in ("pump", "fan"):
        with pytest.raises(Conflict) as refused:
            add(catalog, clock, "2", device_id, public_key="e")
        assert refused.value.code == "key_revoked"


def test_a_key_of_an_image_serves_one_device(catalog: Catalog, clock: ManualClock) -> None:
    add(catalog, clock, "1", public_key="e")
    with pytest.raises(Conflict) as refused:
        add(catalog, clock, "2", "fan", public_key="e")
    assert refused.value.code == "key_in_use"
    assert "pump" in refused.value.message
    for serial in ("3", "4"):  # A device may keep its key; the first certificate is superseded then.
        add(catalog, clock, serial, public_key="e")
    assert catalog.get_certificate("1").revoked_because == "superseded"


def test_what_a_revocation_list_names(catalog: Catalog, clock: ManualClock) -> None:
    add(catalog, clock, "1", key="aa")
    add(catalog, clock, "2", key="bb")
    for serial in ("1", "2"):
        catalog.revoke_certificate(serial, because="superseded")
    ends_ms = catalog.get_certificate("1").not_after_at_ms
    assert [each.serial for each in catalog.revoked_certificates("aa", ended_after_ms=ends_ms - 1)] == ["1"]
    assert catalog.revoked_certificates("aa", ended_after_ms=ends_ms) == []


def test_what_ended_long_ago_is_forgotten(catalog: Catalog, clock: ManualClock) -> None:
    add(catalog, clock, "1")
    clock.advance(LIFE_MS + CERTIFICATE_KEEP_MS)
    add(catalog, clock, "2")
    assert [each.serial for each in catalog.certificates_of("pump")] == ["2", "1"]
    clock.advance(1)
    add(catalog, clock, "3")
    assert [each.serial for each in catalog.certificates_of("pump")] == ["3", "2"]


def test_pages(catalog: Catalog, clock: ManualClock) -> None:
    for number in range(5):
        add(catalog, clock, f"{number:x}", "pump" if number % 2 else "fan")
        clock.advance(1000 * (number % 2))
    seen: list[str] = []
    cursor = None
    while True:
        page = catalog.list_certificates(cursor=cursor, limit=2)
        seen += [each.serial for each in page.certificates]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ["0", "1", "2", "3", "4"]


def test_filters(catalog: Catalog, clock: ManualClock) -> None:
    add(catalog, clock, "1")
    clock.advance(30 * DAY_MS)
    add(catalog, clock, "2")
    add(catalog, clock, "3", "fan")
    catalog.revoke_certificate("2", because="unspecified")
    with catalog.transaction():
        catalog.execute(
            "UPDATE devices SET groups = '[\"hall\"]', origin = ?, hlc = ? WHERE device_id = 'fan'",
            (catalog.origin, catalog.hlc),
        )

    def serials(**filters: object) -> list[str]:
        page = catalog.list_certificates(**filters)  # type: ignore[arg-type]
        return [each.serial for each in page.certificates]

    assert serials(device_id="pump") == ["1", "2"]
    assert serials(state="valid") == ["1", "3"]
    assert serials(state="revoked") == ["2"]
    assert serials(ends_before_ms=clock.now_ms() + LIFE_MS) == ["1"]
    assert serials(groups={"hall", "yard"}) == ["3"]
    assert serials(groups=set()) == []
    clock.advance(60 * DAY_MS)
    assert serials(state="ended") == ["1"]
    assert serials(state="valid", device_id="pump") == []


@pytest.mark.parametrize(
    "wish", [{"limit": 0}, {"limit": 1001}, {"cursor": "x"}, {"cursor": "99999999999999999-1"}]
)
def test_wishes_that_make_no_sense(catalog: Catalog, wish: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        catalog.list_certificates(**wish)  # type: ignore[arg-type]


def test_counts_and_whom_to_remind_of(catalog: Catalog, clock: ManualClock) -> None:
    first = add(catalog, clock, "1")
    add(catalog, clock, "2", "fan")
    catalog.revoke_certificate("2", because="unspecified")
    assert catalog.count_certificates(remind_before_ms=15 * DAY_MS) == CertificateCounts(
        valid=1, revoked=1, first_ends_at_ms=first.not_after_at_ms, devices_ending=0, devices_ended=0
    )
    clock.advance(80 * DAY_MS)
    assert catalog.count_certificates(remind_before_ms=15 * DAY_MS).devices_ending == 1
    clock.advance(11 * DAY_MS)
    ended = catalog.count_certificates(remind_before_ms=15 * DAY_MS)
    assert (ended.valid, ended.devices_ending, ended.devices_ended) == (0, 0, 1)
    add(catalog, clock, "3")
    assert catalog.count_certificates(remind_before_ms=15 * DAY_MS).devices_ended == 0
    catalog.decommission_device("pump")
    clock.advance(89 * DAY_MS)
    assert catalog.count_certificates(remind_before_ms=15 * DAY_MS).devices_ending == 0
