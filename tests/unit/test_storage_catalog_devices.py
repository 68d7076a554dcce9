"""Devices in the catalog: their states, what is said of them, replacing, first contact, limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from storage.catalog import Catalog, Device
from storage.catalog import devices as module


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def _in_state(catalog: Catalog, state: str) -> None:
    if state == "active":
        catalog.add_device("d")
        return
    catalog.note_first_contact(["d"], at_ms=1)
    if state == "rejected":
        catalog.reject_device("d")
    if state == "decommissioned":
        catalog.decommission_device("d")


def test_a_registered_device(catalog: Catalog, clock: ManualClock) -> None:
    device = catalog.add_device("d", kind="application", access="site", name=" Board ", tags=("b", "a", "b"))
    now = clock.now_ms()
    assert device == Device(
        device_id="d",
        kind="application",
        access="site",
        state="active",
        name="Board",
        tags=("b", "a"),
        first_contact_at_ms=None,
        created_at_ms=now,
        updated_at_ms=now,
    )
    assert catalog.get_device("d") == device


@pytest.mark.parametrize(
    ("verb", "from_state", "to_state"),
    [
        ("adopt", "waiting", "active"),
        ("adopt", "rejected", "active"),
        ("adopt", "active", "active"),
        ("adopt", "decommissioned", None),
        ("reject", "waiting", "rejected"),
        ("reject", "rejected", "rejected"),
        ("reject", "active", None),
        ("reject", "decommissioned", None),
        ("decommission", "active", "decommissioned"),
        ("decommission", "waiting", "decommissioned"),
        ("decommission", "rejected", "decommissioned"),
        ("decommission", "decommissioned", "decommissioned"),
    ],
)
def test_the_states_of_a_device(catalog: Catalog, verb: str, from_state: str, to_state: str | None) -> None:
    verbs: dict[str, Callable[[str], Device]] = {
        "adopt": catalog.adopt_device,
        "reject": catalog.reject_device,
        "decommission": catalog.decommission_device,
    }
    _in_state(catalog, from_state)
    if to_state is None:
        with pytest.raises(Conflict) as refused:
            verbs[verb]("d")
        assert refused.value.code == f"device_{from_state}"
        assert catalog.get_device("d").state == from_state
    else:
        assert verbs[verb]("d").state == to_state


def test_an_unknown_device(catalog: Catalog) -> None:
    for verb in (
        catalog.get_device,
        catalog.adopt_device,
        catalog.reject_device,
        catalog.decommission_device,
    ):
        with pytest.raises(NotFound):
            verb("nobody")


def test_first_contact_takes_new_names_once_and_leaves_known_ones(catalog: Catalog) -> None:
    catalog.add_device("known")
    assert catalog.note_first_contact(["new", "known", "bad/id", "new"], at_ms=7) == ["new"]
    assert catalog.note_first_contact(["new"], at_ms=9) == []
    assert (catalog.get_device("new").state, catalog.get_device("new").first_contact_at_ms) == ("waiting", 7)
    assert catalog.get_device("known").state == "active"


def test_strangers_can_not_fill_the_catalog(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_DEVICE_COUNT_MAX", 3)
    assert catalog.note_first_contact([f"s{n}" for n in range(10)], at_ms=1) == ["s0", "s1", "s2"]
    assert catalog.note_first_contact(["s9"], at_ms=1) == []
    catalog.adopt_device("s0")
    assert catalog.note_first_contact(["s9"], at_ms=1) == ["s9"]


def test_devices_are_limited(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEVICE_COUNT_MAX", 2)
    catalog.add_device("a")
    catalog.add_device("b")
    with pytest.raises(LimitExceeded) as refused:
        catalog.add_device("c")
    assert refused.value.code == "device_count"


@pytest.mark.parametrize(
    "what",
    [
        {"name": "x" * 201},
        {"name": "a\nb"},
        {"tags": ("",)},
        {"tags": ("x" * 65,)},
        {"tags": tuple("abc" * 20) + tuple(str(n) for n in range(40))},
    ],
)
def test_names_and_tags_are_bounded(catalog: Catalog, what: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        catalog.add_device("d", **what)  # type: ignore[arg-type]


def test_counts(catalog: Catalog) -> None:
    catalog.add_device("a")
    catalog.note_first_contact(["b", "c"], at_ms=1)
    assert catalog.count_by_state() == {"active": 1, "waiting": 2, "rejected": 0, "decommissioned": 0}
    assert (catalog.count_devices(), catalog.count_devices(states=("waiting",), q="c", ids=["b", "c"])) == (
        3,
        1,
    )


@pytest.mark.parametrize("q", ["%", "_", "\\", "'; DROP TABLE devices; --"])
def test_a_search_text_is_only_text(catalog: Catalog, q: str) -> None:
    catalog.add_device("plain")
    assert catalog.list_devices(q=q).devices == ()
    catalog.add_device("odd", name=f"x{q}y")
    assert [device.device_id for device in catalog.list_devices(q=q).devices] == ["odd"]


def test_an_edit_changes_what_it_names_and_nothing_else(catalog: Catalog, clock: ManualClock) -> None:
    catalog.add_group("g")
    before = catalog.add_device("d", name="Pump", tags=("a",), serial="1")
    clock.advance(5)
    edited = catalog.edit_device("d", name=" Pump 2 ", groups=("g", "g"))
    assert (edited.name, edited.tags, edited.groups, edited.serial) == ("Pump 2", ("a",), ("g",), "1")
    assert edited.version > before.version
    assert edited.updated_at_ms == clock.now_ms()
    same = catalog.edit_device("d", name="Pump 2", tags=("a",), groups=("g",), serial="1")
    assert same.version == edited.version
    with pytest.raises(UsageError) as refused:
        catalog.edit_device("d", serial="x" * 129)
    assert refused.value.code == "device_serial_invalid"


def test_other_hardware_takes_over_the_id_and_no_credential_of_the_old_one(
    catalog: Catalog, clock: ManualClock
) -> None:
    catalog.add_device("d", name="Pump", tags=("a",), serial="old")
    catalog.set_token("d", bytes([1]) * 32)
    catalog.set_token("d", bytes([2]) * 32)
    clock.advance(5)
    replaced = catalog.replace_device("d", serial="new")
    assert (replaced.serial, replaced.replaced_at_ms) == ("new", clock.now_ms())
    assert (replaced.name, replaced.tags, replaced.state) == ("Pump", ("a",), "active")
    assert catalog.tokens_of("d") == []
    assert catalog.replace_device("d").serial == ""


@pytest.mark.parametrize("state", ["waiting", "rejected", "decommissioned"])
def test_only_an_active_device_is_replaced(catalog: Catalog, state: str) -> None:
    _in_state(catalog, state)
    if state == "waiting":
        catalog.set_token("d", bytes([1]) * 32)
    with pytest.raises(Conflict) as refused:
        catalog.replace_device("d")
    assert refused.value.code == f"device_{state}"
    assert catalog.get_device("d").replaced_at_ms is None


@pytest.mark.parametrize(
    ("verb", "because"), [("decommission", "cessationOfOperation"), ("replace", "superseded")]
)
def test_certificates_end_with_the_hardware(
    catalog: Catalog, clock: ManualClock, verb: str, because: str
) -> None:
    catalog.add_device("d")
    now_ms = clock.now_ms()
    catalog.add_certificate(
        serial="0a",
        device_id="d",
        fingerprint="0" * 64,
        key_hash="2" * 64,
        issuer_key_id="1" * 40,
        issued_by="api",
        not_before_at_ms=now_ms - 1,
        not_after_at_ms=now_ms + 86_400_000,
    )
    (catalog.decommission_device if verb == "decommission" else catalog.replace_device)("d")
    ended = catalog.get_certificate("0a")
    assert (ended.revoked_at_ms, ended.revoked_because) == (now_ms, because)
