"""The devices of the browser tests: one in every state, one with hostile names, and dead letters."""

from __future__ import annotations

import argon2

from broker.bridge.statistics import BridgeStatistics
from storage.catalog import Catalog
from tests.broker_stand_in import away_row, client_row, retained_row
from tests.browser.node_kit import PASSWORD, Letter, LiveValue, TestNode
from tests.execution_kit import firmware
from tests.trace_kit import reading

HOSTILE_ID = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
HOSTILE_NAME = "</title><script>alert('name')</script>"
HOSTILE_METRIC = "<script>alert('metric')</script>_celsius"
HOSTILE_TEXT = '"><svg onload=alert(\'text\')><hx-partial hx-target="#main">gone</hx-partial>\u202e'
HOSTILE_TRACE_ID = "1" * 32
LOST_FOR_MS = 4_000_000
METRICS: tuple[tuple[str, float | str | bool, int], ...] = (
    ("temperature_celsius", 21.374, 0),
    ("humidity_percent", 43.2, 0),
    ("vibration_mm_per_second", 1.82, 1),
    ("supply.voltage_volts", 23.97, 2),
    ("cycles_count", 1_204_331, 0),
    ("running", True, 0),
    ("firmware", "v2.4.1", 0),
)
STATES = ("online", "online", "online", "sleeping", "offline", "lost")


def populate(node: TestNode) -> None:
    """Fill the catalog; made once."""
    password_hash = argon2.PasswordHasher(time_cost=1, memory_cost=64).hash(PASSWORD)
    now_ms = node.services.clock.now_ms()

    def write(catalog: Catalog) -> None:
        catalog.add_user("admin", role="admin", password_hash=password_hash)
        for index, _ in enumerate(STATES):
            catalog.add_device(f"press-{index}", name="Hall 2" if index % 2 else "")
        for serial in ("7d0e", "7d0f"):
            catalog.add_certificate(
                serial * 8,
                device_id="press-0",
                fingerprint="0" * 64,
                key_hash=f"{serial:0>64}",
                issuer_key_id="aa",
                issued_by="est",
                not_before_at_ms=now_ms,
                not_after_at_ms=now_ms + 90 * 86_400_000,
            )
        catalog.revoke_certificate("7d0e" * 8, because="keyCompromise")
        catalog.add_device("never-1")
        catalog.add_device(HOSTILE_ID, name=HOSTILE_NAME)
        catalog.note_first_contact(["newcomer-a", "newcomer-b"], at_ms=now_ms - 90_000)

    node.catalog(write)


def enliven(node: TestNode) -> None:
    """Set live values and numbers to a known state, with times of now. Runs in the node's loop."""
    now_ms = node.services.clock.now_ms()
    node.live.forget()
    for index, presence in enumerate(STATES):
        seen_ms = now_ms - (1_000 if presence == "online" else LOST_FOR_MS)
        node.live.set_device(
            f"press-{index}",
            presence=presence,
            presence_since_ms=now_ms - LOST_FOR_MS,
            presence_reason="keep_alive" if presence == "lost" else "",
            last_seen_at_ms=seen_ms,
            last_reading_at_ms=seen_ms,
            address="192.0.2.7:40213",
            firmware=firmware("0" * 64, device_id=f"press-{index}", version="1.0"),
        )
    for metric, value, quality in METRICS:
        put(node, "press-0", metric, value, quality=quality)
    # One whose clock is wrong, with a value that another broker has kept.
    node.live.set_value(
        "press-1",
        LiveValue(
            metric="level_percent",
            value=71.0,
            observed_at_ms=now_ms,
            received_at_ms=now_ms,
            quality=1,
            is_kept_copy=True,
        ),
    )
    node.live.set_device(
        "press-1", clock_offset_ms=-5_400_000, expect_ms=600_000, watermark_at_ms=now_ms - 5_400_000
    )
    node.live.set_device(
        HOSTILE_ID, presence="online", presence_since_ms=now_ms, presence_reason=HOSTILE_TEXT
    )
    put(node, HOSTILE_ID, HOSTILE_METRIC, 21.5)
    put(node, HOSTILE_ID, "note", HOSTILE_TEXT)
    traces = reading("press-0", now_ms - 20_000) + reading(
        HOSTILE_ID, now_ms - 9_000, trace_id=HOSTILE_TRACE_ID, target=HOSTILE_TEXT, error=HOSTILE_TEXT
    )
    node.services.tracing.recorder.add(traces)
    node.live.rate = 482.0
    node.pipeline.numbers.dead_letters = 3
    node.pipeline.numbers.breaker = "closed"
    node.pipeline.numbers.behind_records = 0
    node.pipeline.numbers.lag_s = 0.05
    node.broker.connected = True
    times = {"connected_at_ms": now_ms - 7_200_000, "last_packet_at_ms": now_ms - 4_000}
    node.broker.clients = [
        client_row("dashboard", principal="grafana", kind="application", transport="tcp", is_lagging=True,
                   lag_records=88_000, in_flight=3, queued_messages=7_421, queued_bytes=1_230_000, subscriptions=2,
                   **times),
        *(client_row(f"press-{index}", subscriptions=1, **times) for index in range(5)),
        client_row(HOSTILE_ID, principal=HOSTILE_ID, version="3.1.1", keep_alive_s=0, **times),
        away_row("tablet", disconnected_at_ms=now_ms - 600_000, expires_at_ms=now_ms + 3_000_000),
    ]  # fmt: skip
    node.broker.subscriptions = {
        "dashboard": [
            {
                "topic_filter": "dm/+/telemetry/#",
                "qos": 1,
                "no_local": True,
                "retain_as_published": True,
                "identifiers": [4],
            },
            {
                "topic_filter": HOSTILE_TEXT,
                "qos": 0,
                "no_local": False,
                "retain_as_published": False,
                "identifiers": [],
            },
        ]
    }
    node.broker.retained = [
        retained_row(1, "dm/press-0/status", payload=b'{"state": "online"}', received_at_ms=now_ms - 90_000),
        retained_row(2, HOSTILE_TEXT, payload=HOSTILE_TEXT.encode(), client_id=HOSTILE_ID, received_at_ms=now_ms),
        retained_row(3, "plant/" + "line/" * 25 + "x", payload=bytes(range(200)), payload_bytes=4_000,
                     expires_at_ms=now_ms + 3_600_000),
    ]  # fmt: skip
    node.bridges = [
        BridgeStatistics(
            name="cloud",
            address="mqtt.example.com:8883",
            state="connected",
            since_ms=now_ms - LOST_FOR_MS,
            error=HOSTILE_TEXT,
            error_at_ms=now_ms - 2 * LOST_FOR_MS,
            acknowledged_messages=1_204_331,
        ),
        BridgeStatistics(
            name="hall",
            address="a-host-with-a-name-that-is-much-longer-than-usual.example.com:8883",
            state="waiting",
            since_ms=now_ms - 90_000,
            error="a-host-with-a-name-that-is-much-longer-than-usual.example.com:8883 can't be reached: Connection refused.",
            hint=HOSTILE_TEXT,
            retry_at_ms=now_ms + 200_000,
            lag_records=12_345,
            lag_ms=90_000,
            gone_records=7,
        ),
    ]
    node.telemetry.letters = [
        Letter(
            seq=9, received_at_ms=now_ms, device="press-1", payload=HOSTILE_TEXT.encode(), payload_bytes=60
        ),
        Letter(seq=8, received_at_ms=now_ms, topic=HOSTILE_TEXT, detail=HOSTILE_TEXT, reason="no_values"),
        Letter(
            seq=7, received_at_ms=now_ms, payload=bytes(range(128, 160)), payload_bytes=32, reason="bad_utf8"
        ),
    ]


def put(node: TestNode, device_id: str, metric: str, value: float | str | bool, *, quality: int = 0) -> None:
    """A reading that arrived just now. Runs in the node's loop."""
    now_ms = node.services.clock.now_ms()
    node.live.set_value(
        device_id,
        LiveValue(metric=metric, value=value, observed_at_ms=now_ms, received_at_ms=now_ms, quality=quality),
    )
