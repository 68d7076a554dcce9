"""What a real mosquitto has kept is no sign of life when it comes over a bridge, whichever side the bridge is on."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.management.freshness import Freshness, freshness, value_freshness
from appliance.pipeline.live import LiveView
from storage.log.columns import FLAG_KEPT_COPY
from storage.log.reader import LogReader
from storage.telemetry.batch import Cursor
from tests.interop import brokers
from tests.interop.bridging import box, bridge_settings, client, eventually
from tests.interop.brokers import LiveBroker
from tests.pipeline_kit import Bench
from tests.ports import free_port

IN = 'direction = "in"\ntopic = "dm/#"\nqos = 1'
STALE_AFTER_MS = 60_000
A_DAY_AGO_MS = int(time.time() * 1_000) - 86_400_000


def flags_of(broker: LiveBroker) -> list[tuple[str, int, bool]]:
    """(topic, RETAIN, marked) of all readings in the log, in its order."""
    found = []
    with closing(LogReader(broker.folder / "data" / "log" / "telemetry")) as reader:
        for block in reader.read(1):
            columns = block.columns()
            for at, flags in enumerate(columns.flags):
                topic = columns.topics[columns.topic_index[at]].decode()
                if topic.startswith("dm/"):
                    found.append((topic, flags & 1, bool(flags & FLAG_KEPT_COPY)))
    return found


def live_of(broker: LiveBroker) -> tuple[LiveView, int]:
    """What the pages would show of the log, and the time of its newest record."""
    view, bench = LiveView(ManualClock()), Bench()
    with closing(LogReader(broker.folder / "data" / "log" / "telemetry")) as reader:
        blocks = reader.read(1)
    _, update = bench.builder.build(
        blocks, [block.columns() for block in blocks], Cursor(), lambda _device: True
    )
    view.apply(update)
    return view, blocks[-1].last_time_ms


def shown(view: LiveView, device: str, now_ms: int) -> tuple[Freshness, Freshness]:
    """Freshness of the device and of its one value."""
    value = view.newest(device)["t"]
    return (
        freshness(view.device(device).last_reading_at_ms, now_ms, STALE_AFTER_MS),
        value_freshness(value.counts_at_ms, now_ms, STALE_AFTER_MS),
    )


def reading(value: int, ts: int | None = None) -> bytes:
    return json.dumps({"t": value} if ts is None else {"ts": ts, "v": {"t": value}}).encode()


def check(broker: LiveBroker) -> None:
    """`kept` and `dated` came as copies only, `alive` once more with RETAIN since, `plain` without it."""
    marks = flags_of(broker)
    assert [mark for topic, _, mark in marks if "alive" in topic][-2:] == [True, False]
    assert {mark for topic, _, mark in marks if "kept" in topic or "dated" in topic} == {True}
    assert [(retain, mark) for topic, retain, mark in marks if "plain" in topic] == [(0, False)]
    view, now_ms = live_of(broker)
    assert shown(view, "kept", now_ms) == (Freshness.NEVER, Freshness.STALE)
    assert shown(view, "dated", now_ms) == (Freshness.NEVER, Freshness.STALE)
    assert view.newest("dated")["t"].counts_at_ms == A_DAY_AGO_MS
    assert shown(view, "alive", now_ms) == (Freshness.FRESH, Freshness.FRESH)
    assert shown(view, "plain", now_ms) == (Freshness.FRESH, Freshness.FRESH)
    assert view.newest("alive")["t"].value == 2


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_what_the_other_broker_kept_comes_over_our_bridge(tmp_path: Path, version: str) -> None:
    """MQTT 5.0 §3.8.4: a new subscription is sent the retained messages; §3.3.1.3: each with RETAIN."""
    with (
        brokers.mosquitto(tmp_path / "m", tls_listener=False) as remote,
        client(remote, "there") as there,
    ):
        there.publish("dm/kept/telemetry", reading(1), retain=True)
        there.publish("dm/dated/telemetry", reading(1, A_DAY_AGO_MS), retain=True)
        there.publish("dm/alive/telemetry", reading(1), retain=True)
        with box(tmp_path / "h", bridge_settings(remote.port, IN, more=f'version = "{version}"')) as homeport:
            homeport.wait_state("connected")
            eventually(lambda: homeport.report()["received_messages"] == 3, "the kept ones are here")
            # 3.1.1 has no words for it: what is published now comes without RETAIN, as to any subscriber.
            there.publish("dm/alive/telemetry", reading(2), retain=True)
            there.publish("dm/plain/telemetry", reading(1))
            eventually(lambda: homeport.report()["received_messages"] == 5, "the live ones are here")
            check(homeport.broker)


@pytest.mark.parametrize("version", ["mqttv311", "mqttv50"])
def test_what_mosquitto_kept_comes_over_its_own_bridge(tmp_path: Path, version: str) -> None:
    """mosquitto publishes what it has kept each time that its bridge connects; 2.0 does so twice after a start."""
    with brokers.homeport(tmp_path / "h") as homeport:
        who = homeport.credentials[0]
        # What the kit says otherwise, 0, mosquitto would say to us as its receive maximum, which MQTT 5 forbids.
        settings = f"""max_inflight_messages 20
connection up
address 127.0.0.1:{homeport.port}
remote_username {who.username}
remote_password {who.password}
remote_clientid mosquitto-bridge
bridge_protocol_version {version}
notifications false
restart_timeout 1
topic dm/# out 1
"""
        port = free_port()
        with brokers.mosquitto(tmp_path / "m", tls_listener=False, persistence=True, port=port) as first:
            with client(first, "there") as there:
                there.publish("dm/kept/telemetry", reading(1), retain=True)
                there.publish("dm/dated/telemetry", reading(1, A_DAY_AGO_MS), retain=True)
                there.publish("dm/alive/telemetry", reading(1), retain=True)
            first.stop()
        with (
            brokers.mosquitto(
                tmp_path / "m", tls_listener=False, persistence=True, port=port, settings=settings
            ) as mosquitto,
            client(mosquitto, "there") as there,
        ):
            eventually(
                lambda: len({topic for topic, *_ in flags_of(homeport)}) == 3, "the kept ones are here"
            )
            there.publish("dm/alive/telemetry", reading(2), retain=True)
            there.publish("dm/plain/telemetry", reading(1))
            eventually(
                lambda: flags_of(homeport)[-1] == ("dm/plain/telemetry", 0, False), "the live ones are here"
            )
            check(homeport)
