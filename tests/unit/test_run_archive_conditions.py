"""What the keeper is told of the rest of the node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.core.clock import ManualClock
from appliance.core.config import StoreConfig
from appliance.management.retention import RetentionClass
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.statistics import PipelineState
from appliance.run.archive_conditions import ArchiveConditions
from storage.catalog import AsyncCatalog
from tests.acts import ACT


@dataclass(frozen=True)
class Now:
    state: PipelineState = PipelineState.RUNNING
    lag_s: float = 0.0
    behind_records: int = 0


@dataclass
class Scene:
    """A pipeline and a broker as a test says they are."""

    now: Now = field(default_factory=Now)
    connected: bool = True
    level: str = "ok"

    @property
    def statistics_of_broker(self) -> Mapping[str, Any]:
        return {"log": {"housekeeping": {"disk_level_name": self.level}}}

    def conditions(self, catalog: AsyncCatalog | None = None) -> ArchiveConditions:
        scene = self

        class Pipe:
            def statistics(self) -> Now:
                return scene.now

        class Broker:
            @property
            def connected(self) -> bool:
                return scene.connected

            @property
            def statistics(self) -> Mapping[str, Any]:
                return scene.statistics_of_broker

        return ArchiveConditions(
            StoreConfig(hot_days=10, archive_days=5),
            catalog=cast(AsyncCatalog, catalog),
            pipeline=cast(Pipeline, Pipe()),
            broker=Broker(),
            first_seq=lambda: 42,
        )


def test_readings_that_wait_come_first() -> None:
    scene = Scene()
    assert scene.conditions().wait_because() == ""
    scene.now = Now(lag_s=5.1, behind_records=900)
    assert scene.conditions().wait_because() == "900 records of the log are stored first."
    scene.now = replace(scene.now, state=PipelineState.WAITING)
    assert scene.conditions().wait_because() == "The store is waiting."


@pytest.mark.parametrize(
    ("level", "is_short", "waits"),
    [("ok", False, False), ("low", True, False), ("hold", True, False), ("read_only", False, True)],
)
def test_the_disk_has_its_say(level: str, is_short: bool, waits: bool) -> None:
    conditions = Scene(level=level).conditions()
    assert conditions.is_disk_short() is is_short
    assert (conditions.wait_because() == "The disk is full.") is waits
    away = Scene(level=level, connected=False).conditions()
    assert (away.is_disk_short(), away.wait_because()) == (False, "")


async def test_classes_and_erasures_are_the_catalogs(tmp_path: Path) -> None:
    opened = AsyncCatalog.opened(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    async with opened as catalog:
        conditions = Scene().conditions(catalog)
        vib = RetentionClass(class_id="vib", metric="vib_*", hot_days=1, archive_days=0)
        await catalog.write(lambda writer: writer.set_retention_class(vib), by=ACT)
        retention = await conditions.retention()
        assert retention.classes == (vib,)
        # What is in the store is in the archive at least as long.
        assert (retention.default.hot_days, retention.default.archive_days) == (10, 10)
        asked = await catalog.write(
            lambda writer: writer.request_erasure("d1", epoch=1, before_seq=5), by=ACT
        )
        assert await conditions.erasures_in("requested") == [asked]
        await conditions.note_erased(asked.erasure_id, epoch=1, before_seq=9, reading_count=3)
        (erased,) = await conditions.erasures_in("erased")
        assert (erased.before_seq, erased.reading_count) == (9, 3)
        await conditions.note_complete(asked.erasure_id)
        assert len(await conditions.erasures_in("complete")) == 1
        assert await conditions.first_seq() == 42
