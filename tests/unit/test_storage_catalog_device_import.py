"""Rows of a list into the catalog: made, unchanged, differing, changed, refused, each by itself."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Unavailable
from appliance.core.limits import CATALOG_CHUNK_MS, CATALOG_CHUNK_ROW_COUNT_MAX
from appliance.management.device_csv import CsvRow
from appliance.management.import_report import RowResult
from storage.catalog import Catalog
from storage.catalog.device_import import ImportRules

TOKEN = secrets.token_hex(32)


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


RULES = ImportRules(
    scope=None,
    roles=frozenset({"reader"}),
    update=False,
    hash_token=_hash,
    new_token=None,
    dry_run=False,
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    opened.add_group("north")
    opened.add_group("south")
    yield opened
    opened.close()


def _row(**values: str) -> CsvRow:
    return CsvRow(line=2, values=values)


def _take(catalog: Catalog, by: ImportRules = RULES, /, **values: str) -> RowResult:
    with catalog.transaction():
        (result,) = catalog.import_rows([_row(**values)], by)
    return result


FULL = {
    "device_id": "d",
    "name": "Pump",
    "kind": "application",
    "access": "own",
    "role": "reader",
    "tags": "a|b c",
    "groups": "north|south",
    "serial": "7",
}


def test_a_device_is_made_once_and_then_unchanged(catalog: Catalog) -> None:
    assert _take(catalog, RULES, **FULL).outcome == "created"
    device = catalog.get_device("d")
    assert (device.name, device.kind, device.role, device.tags, device.groups, device.serial) == (
        "Pump",
        "application",
        "reader",
        ("a", "b c"),
        ("north", "south"),
        "7",
    )
    assert catalog.tokens_of("d") == []
    assert _take(catalog, RULES, **FULL).outcome == "unchanged"
    assert _take(catalog, device_id="d").outcome == "unchanged"
    assert catalog.get_device("d").version == device.version


@pytest.mark.parametrize(
    ("values", "column", "code"),
    [
        ({"device_id": "a/b"}, "device_id", "device_id_invalid"),
        ({"device_id": ""}, "device_id", "device_id_invalid"),
        ({"device_id": "x", "name": "n" * 201}, "name", "device_name_invalid"),
        ({"device_id": "x", "kind": "robot"}, "kind", "kind_invalid"),
        ({"device_id": "x", "access": "all"}, "access", "access_invalid"),
        ({"device_id": "x", "role": "nobody"}, "role", "role_unknown"),
        ({"device_id": "x", "role": "reader", "access": "site"}, "role", "role_with_site"),
        ({"device_id": "x", "tags": "t" * 65}, "tags", "device_tags_invalid"),
        ({"device_id": "x", "groups": "west"}, "groups", "group_unknown"),
        (
            {"device_id": "x", "groups": "|".join(f"g{n}" for n in range(33))},
            "groups",
            "device_groups_invalid",
        ),
        ({"device_id": "x", "serial": "s" * 129}, "serial", "device_serial_invalid"),
        ({"device_id": "x", "token": "weak"}, "token", "token_weak"),
        ({"device_id": "gone"}, "device_id", "device_decommissioned"),
        ({"device_id": "there", "kind": "application"}, "kind", "kind_differs"),
    ],
)
def test_a_row_that_can_not_be_used_says_where_and_why(
    catalog: Catalog, values: dict[str, str], column: str, code: str
) -> None:
    catalog.add_device("gone")
    catalog.decommission_device("gone")
    catalog.add_device("there")
    result = _take(catalog, RULES, **values)
    assert (result.outcome, result.line, result.column, result.code) == ("refused", 2, column, code)
    assert result.reason
    assert result.hint
    assert catalog.find_device("x") is None


def test_a_device_that_differs_is_reported_and_changed_only_when_asked_to(catalog: Catalog) -> None:
    catalog.add_device("d", name="Old", tags=("x",), serial="1")
    row = {"device_id": "d", "name": "New", "tags": "x", "groups": "north", "access": "site"}
    result = _take(catalog, RULES, **row)
    assert (result.outcome, result.column, result.code) == (
        "differs",
        "name, access, groups",
        "device_differs",
    )
    assert catalog.get_device("d").name == "Old"
    dry = replace(RULES, update=True, dry_run=True)
    assert _take(catalog, dry, **row).outcome == "updated"
    assert catalog.get_device("d").name == "Old"
    assert _take(catalog, replace(RULES, update=True), **row).outcome == "updated"
    device = catalog.get_device("d")
    assert (device.name, device.groups, device.access, device.serial) == ("New", ("north",), "site", "1")
    assert _take(catalog, RULES, **row).outcome == "unchanged"


def test_one_that_waits_is_adopted_by_an_update_only(catalog: Catalog) -> None:
    catalog.note_first_contact(["d"], at_ms=1)
    result = _take(catalog, device_id="d")
    assert (result.outcome, result.column) == ("differs", "state")
    assert _take(catalog, replace(RULES, update=True), device_id="d").outcome == "updated"
    assert catalog.get_device("d").state == "active"


def test_tokens_come_along_or_are_made(catalog: Catalog) -> None:
    assert _take(catalog, device_id="a", token=TOKEN).token is None
    assert catalog.tokens_of("a")[0].token_hash == _hash(TOKEN.encode())
    assert _take(catalog, device_id="a", token=TOKEN).outcome == "unchanged"
    shared = _take(catalog, device_id="b", token=TOKEN)
    assert (shared.outcome, shared.column, shared.code) == ("refused", "token", "token_taken")
    assert catalog.find_device("b") is None
    other = secrets.token_hex(32)
    assert _take(catalog, device_id="a", token=other).column == "token"
    assert _take(catalog, replace(RULES, update=True), device_id="a", token=other).outcome == "updated"
    assert [token.token_hash for token in catalog.tokens_of("a")] == [_hash(other.encode())]
    made = _take(catalog, replace(RULES, new_token=lambda: "fresh"), device_id="c")
    assert made.token == "fresh"
    assert catalog.tokens_of("c")[0].token_hash == _hash(b"fresh")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"device_id": "x", "groups": ""}, "groups_out_of_scope"),
        ({"device_id": "x", "groups": "north|south"}, "groups_out_of_scope"),
        ({"device_id": "theirs", "groups": "north"}, "device_exists"),
        ({"device_id": "mine", "groups": ""}, "groups_out_of_scope"),
        ({"device_id": "x", "groups": "north", "access": "site"}, "scope_too_narrow"),
        ({"device_id": "mine", "role": "reader"}, "scope_too_narrow"),
    ],
)
def test_somebody_limited_imports_into_their_groups_only(
    catalog: Catalog, values: dict[str, str], code: str
) -> None:
    catalog.add_device("theirs", groups=("south",))
    catalog.add_device("mine", groups=("north",))
    rules = replace(RULES, scope=frozenset({"north"}), update=True)
    assert _take(catalog, rules, **values).code == code
    assert _take(catalog, rules, device_id="x", groups="north").outcome == "created"


def test_a_dry_run_reads_only(catalog: Catalog, tmp_path: Path) -> None:
    reader = Catalog.open_read_only(tmp_path / "catalog.db", clock=ManualClock())
    rows = [_row(device_id="d"), _row(device_id="a/b")]
    results = reader.import_rows(rows, replace(RULES, dry_run=True, new_token=lambda: "x"))
    assert [(each.outcome, each.token) for each in results] == [("created", None), ("refused", None)]
    reader.close()


def test_a_chunk_ends_after_its_time_or_its_rows(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [_row(device_id=f"d{number}") for number in range(CATALOG_CHUNK_ROW_COUNT_MAX + 5)]
    with catalog.transaction():
        assert len(catalog.import_rows(rows, RULES)) == CATALOG_CHUNK_ROW_COUNT_MAX
    add_device = catalog.add_device

    def slow(*args: Any, **kwargs: Any) -> Any:
        clock.advance(CATALOG_CHUNK_MS // 2)
        return add_device(*args, **kwargs)

    monkeypatch.setattr(catalog, "add_device", slow)
    more = [_row(device_id=f"e{number}") for number in range(9)]
    with catalog.transaction():
        assert len(catalog.import_rows(more, RULES)) == 2


def test_a_catalog_that_fails_is_no_row_s_fault(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise Unavailable("locked", hint="wait", code="catalog_locked")

    monkeypatch.setattr(catalog, "find_device", fail)
    with pytest.raises(Unavailable), catalog.transaction():
        catalog.import_rows([_row(device_id="d")], RULES)
