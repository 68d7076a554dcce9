"""Ids of series."""

from __future__ import annotations

import pytest

from appliance.management.readings import ValueKind
from storage.telemetry import series as module
from storage.telemetry.batch import NewSeries
from storage.telemetry.series import SeriesCatalog


def test_ids_are_given_once_and_taken_once() -> None:
    catalog = SeriesCatalog([NewSeries(7, "d", "t", ValueKind.NUMBER)])
    assert catalog.id_of("d", "t", ValueKind.NUMBER) == 7
    assert catalog.id_of("d", "t", ValueKind.TEXT) == 8
    assert catalog.id_of("d", "t", ValueKind.TEXT) == 8
    assert catalog.take_new() == [NewSeries(8, "d", "t", ValueKind.TEXT)]
    assert catalog.take_new() == []
    assert len(catalog) == 2


def test_bounded_per_device_and_in_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERIES_PER_DEVICE_COUNT_MAX", 2)
    monkeypatch.setattr(module, "SERIES_COUNT_MAX", 3)
    catalog = SeriesCatalog()
    given = [
        catalog.id_of(*key, ValueKind.NUMBER)
        for key in (("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("c", "1"))
    ]
    assert given == [1, 2, None, 3, None]
