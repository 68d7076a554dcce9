"""What the topics below $SYS say, and that docs/SYS_TOPICS.md names each of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from broker.load_average import LoadAverages
from broker.sys_topics import LOAD_OF_TOTAL, topics, totals

DOCS = Path(__file__).parents[2] / "docs" / "SYS_TOPICS.md"
STATISTICS: dict[str, dict[str, Any]] = {
    "plane": {
        "connections": 3, "connections_by_transport": {"tcp": 3}, "subscriptions": 7, "received_messages": 100, "received_bytes": 9_000,
        "received_publish_bytes": 8_000, "acknowledged_messages": 90, "delivered_messages": 40, "refused_messages": 5,
        "other_packets_received": 11, "other_packets_sent": 12, "missed_local_messages": 2,
        "lagging_subscribers": 1, "log_is_full": True,
    },
    "connections": {
        "connections_most": 8, "sent_bytes": 700, "delivered_bytes": 600, "oversize_messages": 1,
        "in_flight_messages": 6, "queued_messages": 10, "queued_bytes": 55, "lag_records_most": 33,
    },
    "sessions": {
        "durable": 4, "away": 2, "waiting_messages": 10, "waiting_bytes": 55, "in_flight_messages": 6,
        "dropped_messages": 2, "expired_messages": 9, "lost_messages": 1, "expired_sessions": 3, "shared_subscriptions": 5,
    },
    "listeners": {"accepted": 20, "sockets": 30, "accepted_by_transport": {"tcp": 1, "tls": 2, "unix": 1, "ws": 1, "wss": 1},
        "refused_by_code": {"bad_credentials": 3, "timeout": 1}},
    "pipeline": {"lag_ms": 1_250},
    "retained": {"messages": 5, "bytes": 45},
    "process": {"memory_bytes": 1000, "memory_bytes_most": 2000, "disk_free_bytes": 10, "disk_total_bytes": 20},
    "log": {"next_seq": 501, "epoch": 2, "sealed_bytes": 64,
            "housekeeping": {"log_bytes": 99, "disk_level_name": "hold"}},
}  # fmt: skip


def said() -> dict[str, str]:
    load = LoadAverages()
    load.update(
        {LOAD_OF_TOTAL[name]: n for name, n in totals(STATISTICS).items() if name in LOAD_OF_TOTAL}, 0
    )
    return topics(STATISTICS, load, version="1.2", uptime_s=61, now_ms=1_700_000_000_000)


def test_each_number_is_what_its_topic_means() -> None:
    found = said()
    expected = {
        "version": "homeport version 1.2", "uptime": "61 seconds", "clients/connected": "3", "clients/maximum": "8",
        "clients/total": "5", "clients/disconnected": "2", "clients/expired": "3", "shared_subscriptions/count": "5",
        "messages/received": "140", "messages/sent": "167", "publish/messages/received": "105",
        "publish/messages/sent": "40", "publish/messages/dropped": "6", "publish/bytes/received": "8000",
        "bytes/received": "9000", "bytes/sent": "700", "publish/bytes/sent": "600", "messages/stored": "15", "store/messages/count": "15",
        "store/messages/bytes": "100", "messages/inflight": "6", "retained messages/count": "5",
        "subscriptions/count": "7", "heap/current": "1000", "heap/maximum": "2000", "load/sockets/5min": "0.00",
    }  # fmt: skip
    assert {name: found[f"$SYS/broker/{name}"] for name in expected} == expected
    ours = {
        "log/next_seq": "501",
        "log/is_full": "1",
        "log/bytes": "99",
        "disk/level": "hold",
        "pipeline/lag_ms": "1250",
        "pipeline/behind_records": "unknown",
        "subscribers/lag_records": "33",
        "connections/tcp": "3",
        "connections/tls": "0",
    }
    assert {name: found[f"$SYS/homeport/{name}"] for name in ours} == ours


def test_the_document_names_every_topic_and_no_other() -> None:
    text = DOCS.read_text(encoding="utf-8")
    described = set()
    for root in ("broker", "homeport"):
        table = text.split(f"Below `$SYS/{root}/`")[1].split("\n\n")[0]
        for row in re.findall(r"(?m)^\| (`.*?`) \|", table):
            described |= {f"$SYS/{root}/{name}" for name in re.findall(r"`([^`]+)`", row)}
    windows = {
        name.replace("/+", f"/{window}")
        for name in described
        for window in (("1min", "5min", "15min") if name.endswith("/+") else ("",))
    }
    assert windows == set(said())
