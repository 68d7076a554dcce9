"""Sets of mappings in the catalog: written once, from a position on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LimitExceeded, StorageError
from appliance.management.mapping import TopicMapping
from storage.catalog import Catalog
from storage.catalog import mapping_sets as module


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    yield opened
    opened.close()


def one(name: str) -> tuple[TopicMapping, ...]:
    return (TopicMapping(pattern=f"{name}/{{device}}"),)


def test_the_first_set_holds_from_the_beginning_and_the_next_from_where_it_was_made(catalog: Catalog) -> None:
    first = catalog.put_mapping_set((3, 500), one("a"))
    assert first is not None
    assert (first.number, first.position) == (1, (0, 1))
    assert catalog.put_mapping_set((3, 600), one("a")) is None
    second = catalog.put_mapping_set((3, 700), one("b"))
    assert second is not None
    assert (second.number, second.position) == (2, (3, 700))
    assert catalog.put_mapping_set((3, 800), one("b")) is None
    again = catalog.put_mapping_set((1, 5), one("b"))
    assert again is not None, "the log of the second set is gone"
    assert (again.number, again.position) == (3, (1, 5))
    assert catalog.list_mapping_sets() == [first, second, again]
    assert catalog.list_mapping_sets(after=1) == [second, again]


def test_the_oldest_go_when_there_are_too_many_and_no_record_is_read_by_them(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAPPING_SET_COUNT_MAX", 3)
    for number in range(3):
        catalog.put_mapping_set((1, 100 * number), one(f"m{number}"))
    with pytest.raises(LimitExceeded) as full:
        catalog.put_mapping_set((1, 300), one("m3"), first_seq=99)
    assert full.value.code == "mapping_set_count"
    catalog.put_mapping_set((1, 300), one("m3"), first_seq=100)
    assert [(each.number, each.position) for each in catalog.list_mapping_sets()] == [
        (2, (0, 1)),
        (3, (1, 200)),
        (4, (1, 300)),
    ]


def test_a_set_is_bounded(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAPPING_SET_BYTES_MAX", 20)
    with pytest.raises(LimitExceeded) as large:
        catalog.put_mapping_set((1, 1), one("a" * 20))
    assert large.value.code == "mapping_set_bytes"


def test_a_set_of_a_newer_program_is_named(catalog: Catalog) -> None:
    catalog.put_mapping_set((1, 1), one("a"))
    with catalog.transaction():
        text = '[{"pattern": "a/{device}", "format": "morse"}]'
        catalog.execute("UPDATE mapping_sets SET mappings = ?, hlc = ?", (text, catalog.hlc))
    with pytest.raises(StorageError) as unreadable:
        catalog.list_mapping_sets()
    assert unreadable.value.code == "mapping_set_unreadable"
