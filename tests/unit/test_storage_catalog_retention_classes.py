"""Retention classes in the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LimitExceeded, NotFound, UsageError
from appliance.management.retention import RetentionClass
from storage.catalog import Catalog
from storage.catalog import retention_classes as module


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    yield opened
    opened.close()


def kept(class_id: str, hot: int = 90, archive: int = 730) -> RetentionClass:
    return RetentionClass(class_id=class_id, metric=f"{class_id}*", hot_days=hot, archive_days=archive)


def ids(catalog: Catalog) -> list[str]:
    return [each.class_id for each in catalog.retention_classes()]


def test_classes_are_made_changed_moved_and_removed(catalog: Catalog) -> None:
    for name in ("a", "b", "c"):
        catalog.set_retention_class(kept(name))
    assert ids(catalog) == ["a", "b", "c"]
    catalog.set_retention_class(kept("c", hot=3), position=1)
    assert catalog.retention_classes()[0] == kept("c", hot=3)
    assert ids(catalog) == ["c", "a", "b"]
    catalog.set_retention_class(kept("c", hot=4))
    assert ids(catalog) == ["c", "a", "b"]
    catalog.remove_retention_class("a")
    assert ids(catalog) == ["c", "b"]
    catalog.set_retention_class(kept("d"), position=2)
    assert ids(catalog) == ["c", "d", "b"]


def test_setting_what_is_set_changes_nothing(catalog: Catalog) -> None:
    catalog.set_retention_class(kept("a"))
    before = catalog.rows("SELECT hlc FROM retention_classes")[0][0]
    catalog.set_retention_class(kept("a"), position=1)
    assert catalog.rows("SELECT hlc FROM retention_classes")[0][0] == before


def test_what_can_not_be_is_refused(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as refused:
        catalog.set_retention_class(kept("default"))
    assert refused.value.code == "retention_invalid"
    with pytest.raises(UsageError) as refused:
        catalog.set_retention_class(kept("a", archive=36_501))
    assert refused.value.code == "retention_invalid"
    with pytest.raises(NotFound) as unknown:
        catalog.remove_retention_class("a")
    assert unknown.value.code == "retention_unknown"
    monkeypatch.setattr(module, "RETENTION_CLASS_COUNT_MAX", 1)
    catalog.set_retention_class(kept("a"))
    with pytest.raises(LimitExceeded) as full:
        catalog.set_retention_class(kept("b"))
    assert full.value.code == "retention_class_count"
    catalog.set_retention_class(kept("a", hot=5))
