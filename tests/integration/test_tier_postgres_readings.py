"""Readings of sites as rows in a real PostgreSQL: each batch once, in partitions of days that go when they are too old."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
import trio

from appliance.management.readings import ValueKind
from replication.tier.engine import TierAway
from replication.tier.engines.address import parse_address
from replication.tier.engines.postgres import connection_of
from replication.tier.engines.postgres_readings import (
    Position,
    PostgresReadings,
    ReadingsBatch,
    ReadingsElsewhere,
    SeriesName,
    postgres_readings_in,
)
from storage.telemetry.batch import DAY_MS, NumberRows, TextRows
from tests.postgres_kit import PostgresServer, postgres_server
from tests.tier_kit import CATALOG, STREAM

NOON_MS = int(datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp() * 1_000)
SERIES = [
    SeriesName("d1", "temperature", ValueKind.NUMBER),
    SeriesName("d1", "on", ValueKind.BOOLEAN),
    SeriesName("d2", "state", ValueKind.TEXT),
]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


class Place:
    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.schema = f"site_{secrets.token_hex(4)}"

    def open(self) -> AbstractAsyncContextManager[PostgresReadings]:
        conninfo, schema = connection_of(
            parse_address(self.server.address(self.schema)), self.server.credentials
        )
        return postgres_readings_in(conninfo, schema)

    def rows(
        self, what: str = "site, device, metric, at, value, text, quality, kind", where: str = "true"
    ) -> list[tuple[Any, ...]]:
        return self.server.execute(
            f"SELECT {what} FROM {self.schema}.v_readings WHERE {where} ORDER BY at, device, metric"
        )

    def partitions(self) -> list[str]:
        found = self.server.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
            f" WHERE n.nspname = '{self.schema}' AND c.relkind = 'r' ORDER BY 1"
        )
        return [name for (name,) in found]


@pytest.fixture
def place(server: PostgresServer) -> Place:
    return Place(server)


def batch(
    before: int, after: int, *, at_ms: int = NOON_MS, site: str = "north", epoch: int = 1
) -> ReadingsBatch:
    return ReadingsBatch(
        site=site,
        stream=STREAM,
        before=Position(epoch if before else 0, before),
        after=Position(epoch, after),
        series=SERIES,
        numbers=NumberRows(
            np.array([1, 0, 0], np.uint32), np.array([at_ms, at_ms, at_ms + 1_500], np.int64),
            np.array([1.0, 21.5, -3.25]), np.array([0, 0, 2], np.uint8),
        ),
        texts=TextRows(np.array([2], np.uint32), np.array([at_ms + 7], np.int64), ["ready\x00 – läuft"], np.array([1], np.uint8)),
    )  # fmt: skip


async def test_rows_are_there_with_their_names_for_sql_over_all_sites(place: Place) -> None:
    async with place.open() as readings:
        assert await readings.readings_position(STREAM) == Position()
        assert await readings.put_readings(batch(0, 10))
        south = replace(batch(0, 5, at_ms=NOON_MS + 60_000, site="south"), stream=CATALOG)
        assert await readings.put_readings(south)
        assert await readings.readings_position(STREAM) == Position(1, 10)
        assert await readings.readings_position(CATALOG) == Position(1, 5)
    at = datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert place.rows(where="site = 'north'") == [
        ("north", "d1", "on", at, 1.0, None, "good", "boolean"),
        ("north", "d1", "temperature", at, 21.5, None, "good", "number"),
        (
            "north",
            "d2",
            "state",
            at.replace(microsecond=7_000),
            None,
            "ready\ufffd – läuft",
            "uncertain",
            "text",
        ),
        (
            "north",
            "d1",
            "temperature",
            at.replace(second=1, microsecond=500_000),
            -3.25,
            None,
            "bad",
            "number",
        ),
    ]
    assert place.rows("site, max(value)", "metric = 'temperature' GROUP BY site, at, device, metric")[-1] == (
        "south",
        -3.25,
    )


async def test_a_batch_that_comes_again_is_there_once(place: Place) -> None:
    async with place.open() as readings, place.open() as other:
        assert await readings.put_readings(batch(0, 10))
        assert not await other.put_readings(batch(0, 10))
        assert not await readings.put_readings(batch(0, 7))
        assert await other.put_readings(batch(10, 20))
        assert len(place.rows()) == 8
        for wrong in (batch(5, 30), batch(21, 30), batch(0, 30)):
            with pytest.raises(ReadingsElsewhere) as caught:
                await readings.put_readings(wrong)
            assert caught.value.position == Position(1, 20)
        assert len(place.rows()) == 8


async def test_of_two_that_upload_the_same_one_does(place: Place) -> None:
    won: list[bool] = []

    async def put(readings: PostgresReadings) -> None:
        won.append(await readings.put_readings(batch(0, 10)))

    async with place.open() as one, place.open() as other, trio.open_nursery() as nursery:
        for readings in (one, other, one, other):
            nursery.start_soon(put, readings)
    assert sorted(won) == [False, False, False, True]
    assert len(place.rows()) == 4


async def test_an_upload_that_is_given_up_is_whole_or_not_there(place: Place) -> None:
    async with place.open() as readings:
        await readings.put_readings(batch(0, 1))
        for number in range(1, 8):
            with trio.move_on_after(0.002 * number):
                await readings.put_readings(batch(number, number + 1))
            await readings.put_readings(batch(number, number + 1))
            assert len(place.rows()) == 4 * (number + 1)


async def test_days_have_partitions_and_go(place: Place) -> None:
    async with place.open() as readings:
        spread = batch(0, 10)
        spread.numbers.observed[:] = [NOON_MS - 2 * DAY_MS, 0, NOON_MS + DAY_MS]
        await readings.put_readings(spread)
        days = ["20261126", "20261128", "20261129"]
        assert place.partitions() == [
            *(f"readings_{day}" for day in days), "readings_before", *(f"texts_{day}" for day in days), "texts_before",
        ]  # fmt: skip
        assert len(place.rows()) == 4
        assert await readings.drop_before(date(2026, 11, 28)) == [date(2026, 11, 26)]
        assert [at.day for (at,) in place.rows("at")] == [28, 29]
        assert await readings.drop_before(date(2026, 11, 28)) == []
        late = batch(10, 20, at_ms=NOON_MS - 2 * DAY_MS)
        assert await readings.put_readings(late)
        assert "readings_20261126" in place.partitions()


async def test_a_reader_at_work_holds_no_upload_up(place: Place) -> None:
    async with place.open() as readings:
        await readings.put_readings(batch(0, 10))
        with place.server.session() as reader:
            reader.execute(f"SELECT count(*) FROM {place.schema}.v_readings")
            with trio.fail_after(8):  # a lock would be given up after 10 s
                await readings.put_readings(batch(10, 20, at_ms=NOON_MS + 5 * DAY_MS))
            reader.rollback()
    assert len(place.rows()) == 8


async def test_a_day_that_somebody_dropped_meanwhile_is_made_again(place: Place) -> None:
    async with place.open() as readings, place.open() as other:
        await readings.put_readings(batch(0, 10))
        await other.drop_before(date(2026, 12, 1))
        with pytest.raises(TierAway):
            await readings.put_readings(batch(10, 20))
        assert await readings.put_readings(batch(10, 20))
    assert len(place.rows()) == 4


async def test_a_question_of_one_series_reads_little(place: Place) -> None:
    """Rows lie by series, and BRIN tells in which blocks one may be."""
    count, names = 100_000, [SeriesName(f"d{number}", "t", ValueKind.NUMBER) for number in range(500)]
    numbers = NumberRows(
        np.arange(count, dtype=np.uint32) % len(names), NOON_MS + np.arange(count, dtype=np.int64),
        np.arange(count, dtype=np.float64), np.zeros(count, np.uint8),
    )  # fmt: skip
    async with place.open() as readings:
        await readings.put_readings(
            ReadingsBatch(
                site="north",
                stream=STREAM,
                before=Position(),
                after=Position(1, 9),
                series=names,
                numbers=numbers,
            )
        )
    place.server.execute(
        f"SELECT brin_summarize_new_values('{place.schema}.readings_20261128_at_series_idx')"
    )
    place.server.execute(f"ANALYZE {place.schema}.readings")
    place.server.execute(f"ANALYZE {place.schema}.series")
    ((plan,),) = place.server.execute(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON, TIMING OFF) SELECT * FROM {place.schema}.readings WHERE series = 250"
    )
    node = plan[0]["Plan"]
    assert node["Actual Rows"] == 200
    assert node["Shared Hit Blocks"] + node["Shared Read Blocks"] < 100  # of 640
