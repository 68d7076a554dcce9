"""Two whole boxes of one site, real processes: a device that goes from one to the other, and what both then know of it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fleet_boxes import FleetBox, joined_boxes
from tests.integration.test_broker_verbs import until
from tests.protocol.raw_client import RawClient

NOW_MS = 1_790_000_000_000


def publish(box: FleetBox, token: str, numbers: range) -> None:
    """Numbered readings of one boot."""
    with RawClient(("127.0.0.1", box.port), 5) as client:
        client.connect_in_time("press-4", username="press-4", password=token.encode(), properties=b"")
        for n in numbers:
            body = {"seq": n, "boot_id": "b1", "ts": NOW_MS + n, "v": {"t": n + 0.5}}
            client.publish("dm/press-4/telemetry", json.dumps(body).encode())


def values(box: FleetBox) -> list[float]:
    sql = "SELECT value FROM readings WHERE device = 'press-4' AND metric = 't' ORDER BY value"
    answer = box.answer("query", sql)
    return [row[0] for row in answer["rows"]]


def has(box: FleetBox, wanted: list[float]) -> bool:
    return values(box) == wanted


def is_known(box: FleetBox) -> bool:
    found: list[dict[str, Any]] = box.answer("device", "list")["devices"]
    return any(each["device_id"] == "press-4" for each in found)


@pytest.mark.long
def test_a_device_that_moves_is_one_device_on_both_boxes(tmp_path: Path) -> None:
    with ExitStack() as stack:
        boxes = joined_boxes(tmp_path, "first", "second")
        for box in boxes:
            stack.callback(box.stop)
        first, second = boxes
        token = first.answer("device", "add", "press-4")["token"]
        until(lambda: is_known(second))

        publish(first, token, range(1, 11))
        # What the first one had acknowledged is sent again to the second, as by a device that was cut off before it knew.
        publish(second, token, range(6, 16))
        wanted = [n + 0.5 for n in range(1, 16)]
        for box in boxes:
            until(partial(has, box, wanted))

        # A store that is lost is built anew from all of the site's logs, in the same order.
        second.stop()
        (second.data_dir / "telemetry.duckdb").unlink()
        (second.data_dir / "telemetry.duckdb.wal").unlink(missing_ok=True)
        assert (second.data_dir / "site" / "order").exists()
        second.start_and_wait()
        until(partial(has, second, wanted))
