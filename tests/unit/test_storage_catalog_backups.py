"""Rows of backups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.catalog import backups as module
from storage.catalog.catalog import Catalog


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=1_000)


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    made = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield made
    made.close()


def finish(catalog: Catalog, begun: str, backup_id: str) -> None:
    catalog.finish_backup(begun, backup_id=backup_id, file_count=3, bytes_count=100, new_bytes=7)


def test_a_backup_gets_its_name_when_it_is_done(catalog: Catalog, clock: ManualClock) -> None:
    catalog.begin_backup("running", "/media/usb")
    (row,) = catalog.backups()
    assert (row.state, row.started_at_ms, row.finished_at_ms) == ("running", 1_000, None)
    clock.advance(500)
    finish(catalog, "running", "b1")
    assert catalog.backup("running") is None
    done = catalog.backup("b1")
    assert done is not None
    assert (done.state, done.finished_at_ms, done.file_count, done.bytes, done.new_bytes) == (
        "done", 1_500, 3, 100, 7,
    )  # fmt: skip


def test_one_that_failed_says_why(catalog: Catalog) -> None:
    catalog.begin_backup("a", "/x")
    catalog.fail_backup("a", "The disk is full.")
    (row,) = catalog.backups()
    assert (row.state, row.detail) == ("failed", "The disk is full.")


def test_what_a_node_left_running_failed(catalog: Catalog) -> None:
    catalog.begin_backup("a", "/x")
    catalog.begin_backup("b", "/x")
    finish(catalog, "b", "b1")
    assert catalog.fail_interrupted_backups() == 1
    assert {row.backup_id: row.state for row in catalog.backups()} == {"a": "failed", "b1": "done"}


def test_verified_or_not(catalog: Catalog, clock: ManualClock) -> None:
    catalog.begin_backup("a", "/x")
    finish(catalog, "a", "b1")
    catalog.verified_backup("b1", "A piece is missing.")
    found = catalog.backup("b1")
    assert found is not None
    assert (found.verified_at_ms, found.detail) == (None, "A piece is missing.")
    clock.advance(9)
    catalog.verified_backup("b1", "")
    found = catalog.backup("b1")
    assert found is not None
    assert (found.verified_at_ms, found.detail) == (1_009, "")


def test_the_newest_come_first_and_stay(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROW_COUNT_MAX", 2)
    for at in range(4):
        clock.advance(10)
        catalog.begin_backup(f"r{at}", "/x")
        finish(catalog, f"r{at}", f"b{at}")
    assert catalog.backups()[0].backup_id == "b3"
    assert len(catalog.backups(100)) <= 3
    assert catalog.forget_backup("b3")
    assert not catalog.forget_backup("b3")
