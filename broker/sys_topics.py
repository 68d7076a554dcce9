"""The topics below `$SYS` and what they say, from the broker's numbers. Pure.

`$SYS/broker/…` has mosquitto's names and forms (mosquitto(8), "Broker status"), so that its tools and dashboards read
them; `$SYS/homeport/…` is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .load_average import LoadAverages

BROKER: Final = "$SYS/broker/"
HOMEPORT: Final = "$SYS/homeport/"
Statistics = Mapping[str, Mapping[str, Any]]
"""As `BrokerServer.statistics` gives them, and as `pipeline` what the node has told (told.py)."""


def totals(statistics: Statistics) -> dict[str, int]:
    """What grows for as long as the broker runs, by the topic below `$SYS/broker` that says how much.

    "Messages" without more are packets of every type, as in mosquitto's words.
    """
    plane, listeners, connections = (
        statistics["plane"],
        statistics["listeners"],
        statistics["connections"],
    )
    sessions = statistics["sessions"]
    dropped = connections["oversize_messages"] + sessions["dropped_messages"] + sessions["lost_messages"]
    publishes = plane["received_messages"] + plane["refused_messages"]
    connects = listeners["accepted"] + sum(listeners["refused_by_code"].values())
    answers = plane["acknowledged_messages"] + plane["refused_messages"] + plane["other_packets_sent"]
    return {
        "messages/received": publishes + plane["other_packets_received"] + connects,
        "messages/sent": answers + plane["delivered_messages"] + listeners["accepted"],
        "publish/messages/received": publishes,
        "publish/messages/sent": plane["delivered_messages"],
        "publish/messages/dropped": dropped + plane["missed_local_messages"],
        "publish/bytes/received": plane["received_publish_bytes"],
        "publish/bytes/sent": connections["delivered_bytes"],
        "bytes/received": plane["received_bytes"],
        "bytes/sent": connections["sent_bytes"],
        "sockets": listeners["sockets"],
        "connections": connects,
    }


LOAD_OF_TOTAL: Final = {
    "messages/received": "messages/received",
    "messages/sent": "messages/sent",
    "publish/messages/received": "publish/received",
    "publish/messages/sent": "publish/sent",
    "publish/messages/dropped": "publish/dropped",
    "bytes/received": "bytes/received",
    "bytes/sent": "bytes/sent",
    "sockets": "sockets",
    "connections": "connections",
}
"""Which topic below `$SYS/broker/load` has the moving averages of a total."""
ONLY_AS_LOAD: Final = frozenset({"sockets", "connections"})


def topics(
    statistics: Statistics, load: LoadAverages, *, version: str, uptime_s: int, now_ms: int
) -> dict[str, str]:
    """Every topic below $SYS with its payload.

    Args:
        load: Updated with `totals` of the same statistics, named by LOAD_OF_TOTAL.
        uptime_s: Since the broker started.
    """
    found = {BROKER + name: text for name, text in _broker(statistics, version, uptime_s).items()}
    found |= {
        BROKER + name: str(total) for name, total in totals(statistics).items() if name not in ONLY_AS_LOAD
    }
    found |= {f"{BROKER}load/{name}/{window}": f"{average:.2f}" for name, window, average in load.items()}
    found |= {HOMEPORT + name: text for name, text in _homeport(statistics, now_ms).items()}
    return found


def _broker(statistics: Statistics, version: str, uptime_s: int) -> dict[str, str]:
    plane, connections, retained, process = (
        statistics["plane"],
        statistics["connections"],
        statistics["retained"],
        statistics["process"],
    )
    sessions = statistics["sessions"]
    connected, away = str(plane["connections"]), str(sessions["away"])
    stored = str(retained["messages"] + sessions["waiting_messages"])
    return {
        "version": f"homeport version {version}",
        "uptime": f"{uptime_s} seconds",
        "clients/total": str(plane["connections"] + sessions["away"]),
        "clients/connected": connected,
        "clients/active": connected,
        "clients/disconnected": away,
        "clients/inactive": away,
        "clients/expired": str(sessions["expired_sessions"]),
        "clients/maximum": str(connections["connections_most"]),
        "messages/inflight": str(sessions["in_flight_messages"]),
        "messages/stored": stored,
        "store/messages/count": stored,
        "store/messages/bytes": str(retained["bytes"] + sessions["waiting_bytes"]),
        "retained messages/count": str(retained["messages"]),
        "subscriptions/count": str(plane["subscriptions"]),
        "shared_subscriptions/count": str(sessions["shared_subscriptions"]),
        "heap/current": str(process["memory_bytes"]),
        "heap/maximum": str(process["memory_bytes_most"]),
    }


def _homeport(statistics: Statistics, now_ms: int) -> dict[str, str]:
    plane, connections, log, process = (
        statistics["plane"],
        statistics["connections"],
        statistics["log"],
        statistics["process"],
    )
    found = {
        "time_ms": str(now_ms),
        "log/next_seq": str(log["next_seq"]),
        "log/epoch": str(log["epoch"]),
        "log/sealed_bytes": str(log["sealed_bytes"]),
        "log/bytes": str(log["housekeeping"]["log_bytes"]),
        "log/is_full": _flag(plane["log_is_full"]),
        "disk/level": log["housekeeping"]["disk_level_name"],
        "disk/free_bytes": str(process["disk_free_bytes"]),
        "disk/total_bytes": str(process["disk_total_bytes"]),
        "subscribers/lagging": str(plane["lagging_subscribers"]),
        "subscribers/lag_records": str(connections["lag_records_most"]),
    }
    pipeline = statistics["pipeline"]
    found |= {f"pipeline/{name}": str(pipeline.get(name, "unknown")) for name in ("lag_ms", "behind_records")}
    by_transport = plane["connections_by_transport"]
    found |= {
        f"connections/{name}": str(by_transport.get(name, 0))
        for name in statistics["listeners"]["accepted_by_transport"]
    }
    return found


def _flag(value: object) -> str:
    return "1" if value else "0"
