"""Every record is read by the mappings that were in force when it was read first, by a rebuild too."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from appliance.core.clock import SystemClock
from appliance.management.audit import Act
from appliance.management.mapping import FieldRule, TopicMapping
from appliance.pipeline.mapping_desk import MappingDesk
from appliance.pipeline.pipeline import Pipeline
from storage.catalog import AsyncCatalog
from storage.log.reader import LogReader
from storage.telemetry.database import run
from tests.integration.test_pipeline import Site, quick, site, until
from tests.log_kit import Record, append

__all__ = ["quick", "site"]
pytestmark = pytest.mark.usefixtures("quick")


def metrics(site: Site) -> list[tuple[str, float]]:
    with site.store.reading() as connection:
        return run(connection, "SELECT metric, num FROM v_readings ORDER BY ALL")


def has_come(pipeline: Pipeline, messages: int) -> bool:
    return pipeline.statistics().messages_total == messages


async def put_first(desk: MappingDesk, catalog: AsyncCatalog, rule: FieldRule) -> None:
    mapping = TopicMapping(pattern="plant/{device}/data", fields=(rule,))
    async with desk.changing() as record:
        await catalog.write(
            lambda c: (c.add_mapping(mapping, position=1), record(c)), by=Act(action="mapping.add")
        )


async def test_a_rebuild_reads_each_record_as_it_was_read_first(site: Site, tmp_path: Path) -> None:
    topic = b"plant/dev-1/data"
    expected: list[tuple[str, int]] = []
    before = "x"
    async with AsyncCatalog.opened(
        tmp_path / "catalog.db", clock=SystemClock(), node_id=bytes(16)
    ) as catalog:
        desk = await MappingDesk.opened(
            catalog, LogReader(tmp_path / "log"), [TopicMapping(pattern="plant/{device}/data")]
        )
        async with site.running(mappings=desk.sets) as pipeline:
            for number, name in enumerate(("a", "b", "c"), start=1):
                append(site.writer, [Record(b'{"x": %d}' % number, topic=topic)] * 3)
                expected += [(before, number)] * 3
                pipeline.grew()
                if number != 2:  # The second change comes while its records may still be unread.
                    await until(partial(has_come, pipeline, len(expected)))
                before = name
                await put_first(desk, catalog, FieldRule(path="x", metric=name))
            await until(lambda: pipeline.statistics().messages_total == 9)
            assert metrics(site) == sorted(expected)
            newest = site.live.newest("dev-1")
            assert {name: value.value for name, value in newest.items()} == {"x": 1, "a": 2, "b": 3}
        (tmp_path / "telemetry.duckdb").unlink()
        again = await MappingDesk.opened(
            catalog, LogReader(tmp_path / "log"), [TopicMapping(pattern="plant/{device}/data")]
        )
        async with site.running(mappings=again.sets) as pipeline:
            await until(lambda: pipeline.statistics().messages_total == 9)
            assert pipeline.statistics().batches_total >= 3
            assert metrics(site) == sorted(expected)
