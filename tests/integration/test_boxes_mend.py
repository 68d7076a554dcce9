"""Two whole boxes, real processes: a bit that flips in a sealed segment of one is found, and had again from the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from storage.replicas.streams import StreamId
from tests.fleet_boxes import FleetBox
from tests.integration.test_boxes_copy import is_copied, publish
from tests.integration.test_broker_verbs import until
from tests.rot_kit import flip_frames

MENDED_WITHIN_S = 180.0
"""What scrubs found is looked at each minute."""


def wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + MENDED_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.2)


@pytest.mark.long
def test_a_bit_that_flips_is_found_and_mended_by_the_other_box(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = (
            FleetBox(tmp_path, name, more="[log]\nseal_after_s = 10\n") for name in ("first", "second")
        )
        first.start_and_wait()
        stack.callback(first.stop)
        joined = second.join(first.invite())
        assert joined.exit_code == 0, joined.output
        second.start_and_wait()
        stack.callback(second.stop)
        token = first.answer("device", "add", "panel", "--kind", "application", "--access", "site")["token"]
        log, stream = first.data_dir / "log" / "telemetry", StreamId(first.node_id, "telemetry")
        publish(first, token.encode(), 200)
        time.sleep(11)  # so old is a segment that the next record seals
        publish(first, token.encode(), 1)
        wait_for(lambda: list(log.glob("*.seg")))
        until(lambda: is_copied(first, second, stream))
        copy = second.data_dir / "replicas" / stream.node_id / "telemetry"
        path = min(log.glob("*.seg"))
        wait_for((copy / path.name).exists)

        good = path.read_bytes()
        flip_frames(path, 0)
        assert path.read_bytes() != good
        found = first.run("log", "scrub", "--now")
        assert found.exit_code == 9, found.output
        assert "damaged" in found.output
        wait_for(lambda: path.read_bytes() == good)
        assert first.run("log", "scrub", "--now").exit_code == 0
        assert first.answer("log", "verify")["ok"]
