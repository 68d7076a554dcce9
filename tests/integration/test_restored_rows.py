"""A box is killed under load and its disk deleted; what took its place has every row that the site's other box has, and no other.

`HOMEPORT_RESTORE_MIB` is how much log there is before (16 if not said; 1024 is the promise's figure). What it took is printed.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.replicas.streams import StreamId
from tests.fleet_boxes import FleetBox, joined_boxes
from tests.integration.test_box_restored_from_peer import head_of, kill
from tests.protocol import builder as b
from tests.protocol.raw_client import RawClient

MIB = 2**20
WANTED_MIB = int(os.environ.get("HOMEPORT_RESTORE_MIB", "16"))
PAD = "x" * 3_800
WINDOW = 100
DEADLINE_S = 1_200.0


def flood(box: FleetBox, token: str, first: int, go_on: Callable[[], bool]) -> int:
    """Publishes readings, many at a time, each batch acknowledged before the next; gives the number of the next one."""
    with RawClient(("127.0.0.1", box.port)) as client:
        client.connect_in_time("sensor", username="sensor", password=token.encode())
        while go_on():
            batch = [
                b.publish(
                    "dm/sensor/telemetry",
                    b'{"n":%d,"v":%d.5,"note":"%d %s"}' % (first + at, at, first + at, PAD.encode()),
                    qos=1,
                    packet_id=at + 1,
                )
                for at in range(WINDOW)
            ]
            client.send(*batch)
            for _ in batch:
                assert client.receive() is not None
            first += WINDOW
    return first


def rows_of(box: FleetBox) -> dict[tuple[Any, ...], tuple[int, int]]:
    """By series, how many rows a stopped box's store has and a digest of all of them."""
    with duckdb.connect(str(box.data_dir / "telemetry.duckdb"), read_only=True) as connection:
        found = connection.execute(
            "SELECT device, metric, count(*), bit_xor(hash(observed_at, num, text, quality)) FROM v_readings"
            " GROUP BY ALL"
        ).fetchall()
    return {(device, metric): (count, digest) for device, metric, count, digest in found}


def count_of(box: FleetBox) -> int:
    answer = box.answer("query", "SELECT count(*) AS n FROM readings WHERE metric = 'n'")
    return int(answer["rows"][0][0] if isinstance(answer["rows"][0], list) else answer["rows"][0]["n"])


def settled(*boxes: FleetBox) -> None:
    """All stores have the same rows, and no more come."""
    deadline_s = time.monotonic() + DEADLINE_S
    before: list[int] = []
    while time.monotonic() < deadline_s:
        counts = [count_of(box) for box in boxes]
        if len(set(counts)) == 1 and counts == before:
            return
        before = counts
        time.sleep(1)  # stores fill; there is a deadline
    raise AssertionError(f"the stores have {before} rows")


@pytest.mark.long
def test_every_row_is_there_again(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = joined_boxes(tmp_path, "first", "second")
        stack.callback(second.stop)
        kit = tmp_path / "kit.txt"
        kit.write_text(first.run("recovery-kit", "show").output)
        token = first.answer("device", "add", "sensor")["token"]
        telemetry = StreamId(first.node_id, "telemetry")
        copies = second.data_dir / "replicas" / first.node_id / "telemetry"
        left = [WANTED_MIB * MIB // (len(PAD) * WINDOW)]

        def is_more() -> bool:
            left[0] -= 1
            return left[0] >= 0

        began_s = time.monotonic()
        flood(first, token, 0, is_more)
        print(f"{WANTED_MIB} MiB of readings are acknowledged after {time.monotonic() - began_s:.0f} s")
        log = first.data_dir / "log" / "telemetry"
        deadline_s = time.monotonic() + DEADLINE_S
        while not head_of(copies, telemetry).is_same_place(head_of(log, telemetry)):
            assert time.monotonic() < deadline_s
            time.sleep(0.5)
        loading = threading.Thread(target=_load, args=(first, token), daemon=True)
        loading.start()
        time.sleep(2)
        kill(first)
        loading.join(30)
        shutil.rmtree(first.data_dir)

        began_s = time.monotonic()
        third = FleetBox(tmp_path, "third")
        done = third.answer("restore", "--from", f"127.0.0.1:{second.peer_port}", "--kit", str(kit))
        assert done["missing"] == []
        copied_s = time.monotonic() - began_s
        third.start_and_wait()
        stack.callback(third.stop)
        flood(third, token, 10_000_000, _times(1))
        served_s = time.monotonic() - began_s
        settled(third, second)
        whole_s = time.monotonic() - began_s
        report = third.run("drill", "--json")
        third.stop()
        second.stop()
        rows = rows_of(third)
        assert rows == rows_of(second)
        assert {metric for _, metric in rows} >= {"n", "v", "note"}
        print(
            f"copied after {copied_s:.1f} s, devices served after {served_s:.1f} s, all rows there after {whole_s:.1f} s:"
            f" {sum(count for count, _ in rows.values())} rows of {len(rows)} series are the same"
        )
        assert report.exit_code == 0, report.output
        third.start_and_wait()
        second.start_and_wait()


def _times(count: int) -> Callable[[], bool]:
    left = iter(range(count))
    return lambda: next(left, None) is not None


def _load(box: FleetBox, token: str) -> None:
    try:
        flood(box, token, 5_000_000, lambda: True)
    except (OSError, AssertionError):
        return  # it was killed
