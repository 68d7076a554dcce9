"""Whole boxes, real processes: a day that one box archived counts as safe once the other one has it, copied or made of the same log."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.core.clock import SystemClock
from replication.control import ask
from storage.archive.layout import MANIFEST_NAME
from tests.fleet_boxes import FleetBox
from tests.protocol.raw_client import RawClient

DAY_MS = 86_400_000
WITHIN_S = 300


def wait_for(found: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not found():
        assert time.monotonic() < deadline_s
        time.sleep(0.2)


def days_of(box: FleetBox) -> dict[str, Any]:
    state = trio.run(lambda: ask(box.folder / "run" / "replicator.sock", "status"))
    found: dict[str, Any] = next(each for each in state["blobs"] if each["kind"] == "day")
    return found


def archived(box: FleetBox) -> list[Path]:
    return sorted((box.data_dir / "archive").glob(f"[0-9]*/*/*/{MANIFEST_NAME}"))


def publish_old(box: FleetBox, token: bytes) -> None:
    at_ms = SystemClock().now_ms() - 4 * DAY_MS
    with RawClient(("127.0.0.1", box.port), 5) as client:
        client.connect_in_time("pump", username="pump", password=token, properties=b"")
        for n in range(50):
            client.publish("dm/pump/telemetry", b'{"ts":%d,"t":%d.5}' % (at_ms + n, n))


@pytest.mark.long
def test_a_day_from_before_the_other_box_joined_is_safe_after(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = FleetBox(tmp_path, "first"), FleetBox(tmp_path, "second")
        first.start_and_wait()
        stack.callback(first.stop)
        token = first.answer("device", "add", "pump")["token"]
        publish_old(first, token.encode())
        wait_for(lambda: archived(first))
        invitation = first.invite()
        wait_for(lambda: days_of(first)["count"] == 1)
        assert days_of(first)["safe_count"] == 0, "nobody else is there"
        joined = second.join(invitation)
        assert joined.exit_code == 0, joined.output
        second.start_and_wait()
        stack.callback(second.stop)
        wait_for(lambda: days_of(first)["safe_count"] == 1)
        copies = [path for path in (second.data_dir / "day_copies" / "blobs").glob("*/*") if path.is_file()]
        assert copies or archived(second)
        assert days_of(first)["unsafe_bytes"] == 0
