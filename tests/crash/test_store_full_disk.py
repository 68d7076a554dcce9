"""The store's disk is really full: readings wait in the log, questions are answered, and all goes on by itself when there is space.

On a tmpfs of 24 MiB, which needs the right to mount; the log lies elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.pipeline import pipeline as module
from appliance.pipeline.live import LiveView
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.statistics import PipelineState
from storage.log.reader import LogReader
from storage.telemetry.database import run
from storage.telemetry.store import TelemetryStore
from tests.integration.test_pipeline import until
from tests.log_kit import Record, append, open_log
from tests.pipeline_kit import EveryDevice
from tests.small_disk import small_disk

NOW = 1_700_000_000_000
BALLAST_BYTES = 12 * 1024 * 1024
PER_BLOCK = 2_000


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    with small_disk(tmp_path / "small", size_mib=24) as mount:
        yield mount


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, ms in (("POLL_MS", 10), ("COMMIT_INTERVAL_MS_MIN", 5), ("INCIDENT_POLL_MS", 20)):
        monkeypatch.setattr(module, name, ms)
    monkeypatch.setattr("appliance.pipeline.breaker.DELAY_MS_MIN", 10)
    monkeypatch.setattr("appliance.pipeline.breaker.DELAY_MS_MAX", 200)


def stored(store: TelemetryStore) -> int:
    with store.reading() as connection:
        return int(run(connection, "SELECT count(*) FROM v_readings WHERE metric = 'n'")[0][0])


async def test_readings_wait_and_are_stored_when_there_is_space(small: Path, tmp_path: Path) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(BALLAST_BYTES))
    writer = open_log(tmp_path / "log")
    sent = 0

    def write() -> None:
        nonlocal sent
        texts = [os.urandom(60).hex() for _ in range(PER_BLOCK)]
        append(
            writer,
            [
                Record(b'{"ts":%d,"n":%d,"s":"%s"}' % (NOW + sent + at, at, text.encode()), at_ms=NOW + sent)
                for at, text in enumerate(texts)
            ],
        )
        sent += PER_BLOCK

    store = TelemetryStore.open(small / "telemetry.duckdb")
    reader = LogReader(tmp_path / "log")
    pipeline = Pipeline(
        reader=reader, store=store, mappings=[], directory=EveryDevice(), clock=SystemClock(),
        live=LiveView(SystemClock()), batch_messages_max=PER_BLOCK,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(pipeline.run)
        while pipeline.statistics().state is not PipelineState.WAITING:
            assert sent < 200 * PER_BLOCK, "the disk never got full"
            write()
            done = sent
            await until(
                lambda: (
                    pipeline.statistics().complete_seq > done  # noqa: B023
                    or pipeline.statistics().state is PipelineState.WAITING
                )
            )
        write()
        await until(lambda: pipeline.statistics().commit_failures_total >= 7)
        statistics = pipeline.statistics()
        assert "is full" in statistics.doing
        assert "tried again by itself" in statistics.doing
        assert statistics.behind_records >= PER_BLOCK
        assert statistics.behind_since_ms is not None
        searchable = stored(store)
        assert searchable == statistics.complete_seq - 1, "questions are answered meanwhile"
        assert store.set_aside_path is None
        ballast.unlink()
        await until(lambda: pipeline.statistics().state is PipelineState.RUNNING, 30)
        await until(lambda: pipeline.statistics().behind_records == 0, 30)
        assert stored(store) == sent
        assert store.set_aside_path is None, "a full disk is no damage"
        assert pipeline.statistics().behind_since_ms is None
        nursery.cancel_scope.cancel()
    store.close()
    reader.close()
    writer.close()
