"""Which archived days a node announces, and when a row goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import UsageError
from appliance.management.retention import Retention, default_class
from appliance.pipeline.keeper import Keeper
from appliance.run.day_announcing import LINEAGE_FILE, DayAnnouncing, compare, is_over, lineage_of
from storage.archive.index import newest_of_days
from storage.archive.manifest import ArchiveDamaged
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.archived_days import ArchivedDay
from storage.telemetry.batch import DAY_MS
from tests.archive_kit import TODAY, Filled, now_ms
from tests.unit.test_run_blob_wiring import DAY, OURS, Archive

LINEAGE, OTHER = "0" * 16, "1" * 16


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive", OURS)


def compared(
    archive: Archive, rows: list[ArchivedDay], over: frozenset[str] = frozenset()
) -> tuple[list[ArchivedDay], list[str]]:
    return compare(archive.root, OURS, LINEAGE, newest_of_days(archive.root), rows, over)


def test_a_day_is_announced_once_and_again_when_it_is_written_anew(archive: Archive) -> None:
    row = replace(archive.day(DAY, b"one"), content="1 h 1")
    assert compared(archive, []) == ([row], [])
    assert compared(archive, [row]) == ([], [])
    anew = replace(archive.day(DAY, b"two", generation=2), content="1 h 1")
    assert compared(archive, [row]) == ([anew], [])


def test_a_day_that_is_missing_keeps_its_row_until_its_time_is_over(archive: Archive) -> None:
    archive.root.mkdir()
    row = ArchivedDay(
        node_id=OURS, lineage=LINEAGE, day=DAY, generation=1, manifest_sha256="ab" * 32, manifest_bytes=1,
        total_bytes=2, content="", made_at_ms=1,
    )  # fmt: skip
    assert compared(archive, [row]) == ([], [])
    assert compared(archive, [row], frozenset({row.key})) == ([], [row.key])


def test_rows_of_a_lost_disk_stay_beside_those_of_the_new_one(archive: Archive) -> None:
    half = replace(archive.day(DAY, b"half"), content="1 h 1")
    lost = replace(half, lineage=OTHER, manifest_sha256="ab" * 32)
    assert compared(archive, [lost]) == ([half], [])
    again = replace(half, lineage=OTHER)
    assert compared(archive, [again]) == ([half], [again.key]), "the same generation is here again"


def test_a_day_is_over_when_no_class_keeps_it() -> None:
    row = ArchivedDay(
        node_id=OURS, lineage=LINEAGE, day=DAY, generation=1, manifest_sha256="ab" * 32, manifest_bytes=1,
        total_bytes=2, content="", made_at_ms=(DAY + 1) * 86_400_000,
    )  # fmt: skip
    kept = Retention((), default_class(10, 20))
    assert not is_over(row, DAY + 15, kept)
    assert is_over(row, DAY + 40, kept)
    assert not is_over(row, 0, kept), "nothing is late while no time can be believed"
    false = replace(row, day=3)
    assert not is_over(false, DAY + 15, kept)
    assert is_over(false, DAY + 40, kept)


def test_the_lineage_stays_and_what_is_none_is_said(archive: Archive) -> None:
    archive.root.mkdir()
    lineage = lineage_of(archive.root)
    assert lineage_of(archive.root) == lineage
    (archive.root / LINEAGE_FILE).write_text("no lineage")
    with pytest.raises(ArchiveDamaged) as caught:
        lineage_of(archive.root)
    assert caught.value.code == "archive_lineage_invalid"


def test_a_node_announces_its_own_days_and_takes_out_no_others(tmp_path: Path, archive: Archive) -> None:
    row = archive.day(DAY, b"one")
    catalog = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes.fromhex(OURS))
    try:
        catalog.announce_days([row, replace(row, day=DAY + 1)])
        assert [each.day for each in catalog.archived_days()] == [DAY + 1, DAY]
        catalog.announce_days([replace(row, generation=2)], [f"{row.key[:-10]}{'1970-01-01'}"])
        assert catalog.own_archived_days()[1] == replace(row, generation=2)
        catalog.announce_days([], [row.key])
        assert [each.day for each in catalog.own_archived_days()] == [DAY + 1]
        for wrong in (
            replace(row, node_id="bb" * 16),
            replace(row, manifest_sha256="AB" * 32),
            replace(row, lineage="short"),
            replace(row, generation=0),
            replace(row, total_bytes=row.manifest_bytes - 1),
        ):
            with pytest.raises(UsageError) as caught:
                catalog.announce_days([wrong])
            assert caught.value.code == "archived_day_invalid"
    finally:
        catalog.close()


class Conditions:
    async def retention(self) -> Retention:
        return Retention((), default_class(10, 20))


async def test_what_the_keeper_has_gets_into_the_catalog_and_out_of_it(tmp_path: Path) -> None:
    filled, clock = Filled(tmp_path), ManualClock(now_ms=now_ms())
    archive = Archive(filled.root, OURS)
    row = archive.day(TODAY - 1, b"one")
    views: dict[int, SimpleNamespace] = {}
    state = "starting"
    keeper = SimpleNamespace(
        statistics=lambda: SimpleNamespace(state=state),
        days=lambda: list(views.values()),
        believed=SimpleNamespace(look=clock.now_ms),
        steps=SimpleNamespace(root=filled.root, newest=newest_of_days(filled.root)),
    )
    async with AsyncCatalog.opened(
        tmp_path / "catalog.db", clock=clock, node_id=bytes.fromhex(OURS)
    ) as catalog:
        announcing = DayAnnouncing(
            bytes.fromhex(OURS), catalog, cast(Keeper, keeper), Conditions(), clock=clock
        )

        async def announced() -> list[tuple[int, int]]:
            rows = await catalog.read(lambda reader: reader.own_archived_days())
            return [(each.day, each.generation) for each in rows]

        assert not await announcing.look(), "nothing is known yet"
        state = "idle"
        views[row.day] = SimpleNamespace(day=row.day, generation=1, faults=())
        assert await announcing.look()
        assert await announced() == [(row.day, 1)]
        assert not await announcing.look(), "nothing is new"
        views[row.day].faults = (("default-000.parquet", "it is missing"),)
        assert await announcing.look()
        assert await announced() == [(row.day, 1)], "what rotted is what the copies are for"
        views.clear()
        clock.advance(15 * DAY_MS)
        assert await announcing.look()
        assert await announced() == [(row.day, 1)], "its time is not over"
        clock.advance(30 * DAY_MS)
        assert await announcing.look()
        assert await announced() == []
    filled.store.close()
