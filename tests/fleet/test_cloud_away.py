"""The cloud is out of reach for ten minutes, behind a slow line and a quick one: what was missed comes oldest first, within the budget, once.

Everything is real: `homeport run` in a network namespace, a token bucket on the wire (`tc tbf`), an object store.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from appliance.identity.keys import SiteKeys
from replication.tier.keys import SiteTierKeys
from replication.tier.pieces import PieceName
from storage.replicas.streams import StreamId
from tests.fleet.network import Wire, WiredBox, wire
from tests.fleet.relay import out_of
from tests.fleet.rig import register, within
from tests.tier_servers import ObjectStoreRegion, object_store_region

pytestmark = pytest.mark.long
METRIC = "temperature_celsius"
AWAY_S = 600.0
BEFORE_S = 45.0
STORE_PORT = 9000
DRAINED_S = 400.0
PIECE_BYTES_ALLOWED = 256 * 1024
"""What may be under way beyond the budget at any moment: it is counted once it has arrived."""


@dataclass(frozen=True)
class Line:
    """What it carries, and at once; what the box may take of it, and what its devices send."""

    rate: str
    burst: str
    kib_s: int
    devices: int
    per_s: float


class LastingBox(WiredBox):
    last_resort_s = 2_400.0


@contextmanager
def reached(region: ObjectStoreRegion, namespace: str, folder: Path) -> Iterator[None]:
    """The region's store at 10.77.0.2 in a namespace."""
    host, _, port = region.server.endpoint.removeprefix("http://").partition(":")
    path = folder / "store.sock"
    token: list[trio.lowlevel.TrioToken] = []
    ended = trio.Event()

    async def serve() -> None:
        token.append(trio.lowlevel.current_trio_token())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(out_of, path, host, int(port)))
            await ended.wait()
            nursery.cancel_scope.cancel()

    outside = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    outside.start()
    within(60, path.exists, "the socket is there")
    script = Path(__file__).with_name("relay.py")
    inside = subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, str(script), f"10.77.0.2:{STORE_PORT}", str(path)]
    )
    try:
        yield
    finally:
        inside.kill()
        inside.wait()
        token[0].run_sync_soon(ended.set)
        outside.join(30)


def configure(box: WiredBox, region: ObjectStoreRegion, line: Line) -> None:
    section = region.config.replace(region.server.endpoint, f"http://10.77.0.2:{STORE_PORT}")
    with box.config.open("a") as file:
        file.write(f"[tier]\nkib_s = {line.kib_s}\n{section}")


@pytest.mark.parametrize(
    "line",
    [
        Line(rate="50kbit", burst="4kb", kib_s=4, devices=2, per_s=0.5),
        Line(rate="50mbit", burst="64kb", kib_s=2_048, devices=20, per_s=5),
    ],
    ids=lambda line: line.rate,
)
def test_ten_minutes_without_the_cloud_are_made_good(tmp_path: Path, line: Line) -> None:
    with ExitStack() as stack:
        between = stack.enter_context(wire())
        region = stack.enter_context(object_store_region(tmp_path, "eu"))
        stack.enter_context(reached(region, between.other, tmp_path))
        box = LastingBox(tmp_path, "box", between.one, "10.77.0.1")
        configure(box, region, line)
        between.slow(line.rate, burst=line.burst)
        box.start_and_wait()
        stack.callback(box.stopped)
        watched(box, region, between, line, tmp_path)


def watched(box: WiredBox, region: ObjectStoreRegion, between: Wire, line: Line, folder: Path) -> None:
    """Devices send all the time; the wire is cut and comes back."""
    credentials = folder / "devices.json"
    made = register(box, line.devices)
    credentials.write_text(json.dumps([{"username": d.username, "password": d.password} for d in made]))
    credentials.chmod(0o600)
    sending = box.devices(credentials, rate=line.per_s, seconds=BEFORE_S + AWAY_S + 60, seed=7)
    stream = StreamId(box.node_id, "telemetry")
    began_s = time.monotonic()
    within(BEFORE_S * 4, lambda: region.pieces(stream), "the region has something")
    time.sleep(max(0.0, BEFORE_S - (time.monotonic() - began_s)))
    between.cut()
    cut_s = time.monotonic()
    # What was on the wire when it was cut may have arrived; from then on nothing does.
    time.sleep(5)
    before = region.pieces(stream)
    while (away_s := time.monotonic() - cut_s) < AWAY_S:
        time.sleep(min(10.0, AWAY_S - away_s + 0.1))
    assert region.pieces(stream) == before, "nothing reached it"
    rpo_ms = box.replication()["rpo_ms"]
    assert rpo_ms > (AWAY_S - 60) * 1_000, "what came in meanwhile is only here"
    between.heal()
    between.slow(line.rate, burst=line.burst)
    healed_s = time.monotonic()
    seen: list[tuple[float, list[PieceName]]] = []
    ends: list[int] = []

    def is_drained() -> bool:
        seen.append((time.monotonic() - healed_s, region.pieces(stream)))
        if sending.poll() is None:
            return False
        state = box.replication()
        ends.append(next(held["next_seq"] for held in state["held"] if held["name"] == "telemetry"))
        return bool(state["tier"][0]["lag_entries"] == 0)

    within(DRAINED_S, is_drained, "the region has all")
    text, _ = sending.communicate(timeout=60)
    report = json.loads(text)
    assert report["ok"], report["failures"]
    for _, names in seen:  # oldest first: at no moment is there anything behind something that is lacking
        assert names[0].first_seq == 1
        assert all(later.follows(earlier) for earlier, later in pairwise(names))
    had = sum(name.size_bytes for name in before)
    for at_s, names in seen:
        arrived = sum(name.size_bytes for name in names) - had
        assert arrived <= line.kib_s * 1_024 * (at_s + 2) + PIECE_BYTES_ALLOWED, (
            f"over the budget after {at_s:.0f} s"
        )
    opening = SiteTierKeys(SiteKeys.load_existing(box.data_dir).derive, 1).opening(stream)
    names = region.verified(stream, opening)
    # What comes after the devices' end (that they have gone, for one) may be on its way still.
    assert names[0].first_seq == 1
    assert names[-1].next_seq >= ends[-1]
    assert sum(name.next_seq - name.first_seq for name in names) == names[-1].next_seq - 1, (
        "nothing is there twice"
    )
    box.has_each_reading_once(METRIC, report["acknowledged"])
    caught_up_s = next(at_s for at_s, found in seen if found[-1].last_at_ms >= report_end(before, rpo_ms))
    print(
        f"{line.rate}: {AWAY_S:.0f} s away, RPO {rpo_ms / 1_000:.0f} s; what was missed was there {caught_up_s:.0f} s later,"
        f" {sum(name.size_bytes for name in names) - had} bytes in {len(names) - len(before)} pieces, {report['acknowledged']} readings once"
    )


def report_end(before: list[PieceName], rpo_ms: int) -> int:
    """By the box's clock, the end of what was missed."""
    return before[-1].last_at_ms + rpo_ms
