"""Erasures in the catalog: their states, and what the pipeline is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, NotFound, UsageError
from storage.catalog import Catalog


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def test_an_erasure_goes_from_requested_to_erased_to_complete(catalog: Catalog, clock: ManualClock) -> None:
    asked = catalog.request_erasure("pump-1", epoch=1, before_seq=50)
    assert (asked.state, asked.before_seq, asked.erased_at_ms) == ("requested", 50, None)
    assert catalog.erasures_in("requested") == [asked]
    clock.advance(1_000)
    erased = catalog.note_erased(asked.erasure_id, epoch=1, before_seq=70, reading_count=9)
    assert (erased.state, erased.before_seq, erased.reading_count) == ("erased", 70, 9)
    assert erased.erased_at_ms == asked.requested_at_ms + 1_000
    assert catalog.note_erased(asked.erasure_id, epoch=1, before_seq=99, reading_count=0) == erased
    clock.advance(1_000)
    complete = catalog.note_complete(asked.erasure_id)
    assert (complete.state, complete.completed_at_ms) == ("complete", asked.requested_at_ms + 2_000)
    assert catalog.note_complete(asked.erasure_id) == complete
    assert catalog.list_erasures(device_id="pump-1") == [complete]
    assert catalog.list_erasures(device_id="pump-2") == []


def test_the_pipeline_is_told_the_last_position_of_each_device(catalog: Catalog) -> None:
    first = catalog.request_erasure("pump-1", epoch=1, before_seq=50)
    assert catalog.erasures_for_pipeline() == {"pump-1": (1, 50)}
    catalog.note_erased(first.erasure_id, epoch=1, before_seq=60, reading_count=1)
    catalog.note_complete(first.erasure_id)
    catalog.request_erasure("pump-1", epoch=2, before_seq=5)
    catalog.request_erasure("pump-2", epoch=1, before_seq=7)
    assert catalog.erasures_for_pipeline() == {"pump-1": (2, 5), "pump-2": (1, 7)}


def test_what_can_not_be_erased_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UsageError):
        catalog.request_erasure("a/b", epoch=1, before_seq=1)
    catalog.request_erasure("pump-1", epoch=1, before_seq=1)
    with pytest.raises(Conflict) as twice:
        catalog.request_erasure("pump-1", epoch=1, before_seq=2)
    assert twice.value.code == "erasure_under_way"
    with pytest.raises(NotFound) as unknown:
        catalog.note_complete("nothing")
    assert unknown.value.code == "erasure_unknown"
    not_yet = catalog.erasures_in("requested")[0]
    assert catalog.note_complete(not_yet.erasure_id).state == "requested"
