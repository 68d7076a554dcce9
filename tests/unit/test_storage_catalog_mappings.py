"""Operators' mappings: order, words, limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LimitExceeded, NotFound, StorageError, UsageError
from appliance.management.mapping import FieldRule, TopicMapping
from storage.catalog import Catalog
from storage.catalog import mappings as module


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def mapping(name: str, **options: object) -> TopicMapping:
    return TopicMapping(pattern=f"{name}/{{device}}", **options)  # type: ignore[arg-type]


def order(catalog: Catalog) -> list[tuple[int, str]]:
    return [(each.position, each.mapping.pattern[0]) for each in catalog.list_mappings()]


def test_a_mapping_comes_back_whole(catalog: Catalog, clock: ManualClock) -> None:
    rules = (FieldRule(path="a.b", metric="c", scale=0.5, offset=1),)
    written = mapping("a", format="json", metric="front", fields=rules, only_fields=True)
    made = catalog.add_mapping(written, note="Two\nlines", random_bytes=lambda n: b"\x01" * n)
    assert made.mapping_id == "010101010101"
    assert (made.mapping, made.note, made.position) == (written, "Two\nlines", 1)
    clock.advance(5)
    edited = catalog.edit_mapping(made.mapping_id, mapping=mapping("b"))
    assert (edited.mapping, edited.note) == (mapping("b"), "Two\nlines")
    assert edited.version > made.version
    assert edited.updated_at_ms == made.updated_at_ms + 5
    assert catalog.edit_mapping(made.mapping_id, note="Two\nlines").version == edited.version
    assert catalog.mappings_in_force() == (mapping("b"),)


def test_order_is_kept_without_gaps(catalog: Catalog) -> None:
    ids = [catalog.add_mapping(mapping(name)).mapping_id for name in "abc"]
    first = catalog.add_mapping(mapping("d"), position=1)
    assert order(catalog) == [(1, "d"), (2, "a"), (3, "b"), (4, "c")]
    catalog.edit_mapping(ids[2], position=2)
    assert order(catalog) == [(1, "d"), (2, "c"), (3, "a"), (4, "b")]
    catalog.remove_mapping(first.mapping_id)
    assert order(catalog) == [(1, "c"), (2, "a"), (3, "b")]
    for position in (0, 4):
        with pytest.raises(UsageError) as refused:
            catalog.edit_mapping(ids[0], position=position)
        assert refused.value.code == "mapping_position_invalid"


def test_what_there_isn_t_is_not_found(catalog: Catalog) -> None:
    for call in (catalog.get_mapping, catalog.remove_mapping, catalog.edit_mapping):
        with pytest.raises(NotFound) as unknown:
            call("nowhere")
        assert unknown.value.code == "mapping_unknown"


def test_mappings_and_their_notes_are_limited(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAPPING_COUNT_MAX", 1)
    catalog.add_mapping(mapping("a"))
    with pytest.raises(LimitExceeded) as full:
        catalog.add_mapping(mapping("b"))
    assert full.value.code == "mapping_count"
    for note in ("x" * 1_001, "a\x07"):
        with pytest.raises(UsageError) as refused:
            catalog.add_mapping(mapping("c"), note=note)
        assert refused.value.code == "mapping_note_invalid"


@pytest.mark.parametrize("column", ["format = 'morse'", 'fields = \'{"only": true, "more": 1}\''])
def test_a_mapping_of_a_newer_program_is_named(catalog: Catalog, column: str) -> None:
    catalog.add_mapping(mapping("a"))
    with catalog.transaction():
        catalog.execute(f"UPDATE mappings SET {column}, hlc = ?", (catalog.hlc,))
    with pytest.raises(StorageError) as unreadable:
        catalog.list_mappings()
    assert unreadable.value.code == "mapping_unreadable"
