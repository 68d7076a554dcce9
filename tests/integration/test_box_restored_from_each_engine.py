"""Whole boxes, real processes, each engine's real servers: a box alone is destroyed, another serves before it has the past, and is equal in the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from replication.tier.engines.credentials import Credentials
from storage.log.verify import verify
from tests.fleet.rig import within
from tests.fleet_boxes import FleetBox
from tests.integration.test_box_restored_from_peer import kill, publish
from tests.postgres_kit import PostgresServer, postgres_server
from tests.tier_servers import Region, jetstream_region, object_store_region

SERVED_S_MAX = 120
"""What is allowed for in a test beside others; the report has what it took alone."""
READINGS = 2_000


@contextmanager
def postgres_region(folder: Path, name: str) -> Iterator[Region]:
    (folder / name).mkdir()
    with postgres_server() as server:
        yield PostgresRegion(name, folder / name, server)


class PostgresRegion(Region):
    def __init__(self, name: str, folder: Path, server: PostgresServer) -> None:
        super().__init__(name, folder)
        self.server = server

    @property
    def address(self) -> str:
        return self.server.address("site_1")

    @property
    def credentials(self) -> Credentials:
        return self.server.credentials

    def switch_off(self) -> None:
        self.server.kill()

    def switch_on(self) -> None:
        self.server.start()


ENGINES: dict[str, Callable[[Path, str], AbstractContextManager[Region]]] = {
    "s3": object_store_region,
    "nats": jetstream_region,
    "postgresql": postgres_region,
}


def rows_of(box: FleetBox) -> list[str]:
    """All readings in a box's store."""
    return sorted(box.run("telemetry", "export", "sensor", "--format", "jsonl").stdout.splitlines())


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_it_serves_before_it_has_its_past_and_ends_row_for_row_equal(tmp_path: Path, engine: str) -> None:
    with ENGINES[engine](tmp_path, "eu") as region:
        more = region.config
        assert region.address.startswith(f"{engine}://")
        first = FleetBox(tmp_path, "first", more=more)
        first.start_and_wait()
        kit = tmp_path / "kit.txt"
        kit.write_text(first.run("recovery-kit", "show").output)
        token = first.answer("device", "add", "sensor")["token"]
        publish(first, token, 0, READINGS)
        within(60, lambda: len(rows_of(first)) == READINGS, "all readings are in the store")
        within(
            60, lambda: [each["lag_entries"] for each in first.answer("tier", "list")] == [0], "all is there"
        )
        before = rows_of(first)
        kill(first)
        shutil.rmtree(first.data_dir)

        began_s = time.monotonic()
        second = FleetBox(tmp_path, "second", more=more)
        done = second.answer("restore", "--from", region.address, "--kit", str(kit), "--without-past")
        assert (done["missing"], done["past"]) == ([], False)
        second.start_and_wait()
        try:
            assert publish(second, token, 10_000, 100) == 100
            served_s = time.monotonic() - began_s
            assert served_s < SERVED_S_MAX
            within(60, lambda: past_of(second) == "ready", "the past is here")
            past_s = time.monotonic() - began_s
            second.stop()
            second.start_and_wait()
            within(120, lambda: len(rows_of(second)) == READINGS + 100, "the past is in its place")
            print(
                f"{engine}: serves after {served_s:.1f} s, the past is here after {past_s:.1f} s, all rows after {time.monotonic() - began_s:.1f} s"
            )
            after = rows_of(second)
            assert set(before) <= set(after)
            assert len(set(after)) == READINGS + 100
            within(
                60,
                lambda: [each["lag_entries"] for each in second.answer("tier", "list")] == [0],
                "all is there again",
            )
            assert second.answer("tier", "list")[0]["fenced"] == 0
        finally:
            second.stop()
        assert verify(second.data_dir / "log" / "telemetry").ok


def past_of(box: FleetBox) -> str | None:
    """How the past of a box's log is: waiting, fetching or ready; None where none is to come."""
    past = box.answer("peer", "list")["past"]
    return None if past is None else str(past["state"])
