"""Whether a JetStream cluster keeps what it acknowledges: its servers' own words, judged. Pure.

By default a server syncs its files every two minutes, and acknowledges before. When the power of all servers of a cluster went at once, most of what they
had acknowledged in that time was gone; with `sync_interval: always` nothing was. A client can't see that setting, a user of the system account
can (`$SYS.REQ.SERVER.PING.VARZ`). What is neither seen nor said by the operator (`sync=trust`) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from appliance.core.limits import MIB
from appliance.core.limits_jetstream import NATS_NEEDED_PAYLOAD_BYTES
from replication.tier.engine import TierUnfit

OLDEST: Final = (2, 11)
"""The first with batches of direct answers and consumers that give headers only as they are used here, still maintained in 2026."""
REPLICAS: Final = 3
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)")
_ALWAYS_HINT: Final = (
    "Write `sync_interval: always` into the jetstream block of every server, and start them again one by one."
)


def check_server(info: Mapping[str, Any]) -> None:
    """Whether a server that was connected to is new enough and takes the largest piece.

    Raises:
        TierUnfit: it is not.
    """
    found = _VERSION.match(str(info.get("version", "")))
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        raise TierUnfit(
            f"NATS server {info.get('version', 'of an unknown version')} is too old.",
            hint="Copies need 2.11 at least: older ones lose acknowledged messages when all servers lose power.",
        )
    most = info.get("max_payload", 0)
    if not isinstance(most, int) or most < NATS_NEEDED_PAYLOAD_BYTES:
        raise TierUnfit(
            f"The NATS server takes messages of {most} bytes at most, and the largest piece has {NATS_NEEDED_PAYLOAD_BYTES}.",
            hint="Set max_payload: 32MB on every server.",
        )


def stream_config(prefix: str, replicas: int) -> dict[str, Any]:
    """The stream as it is made where there is none."""
    return {
        "name": prefix,
        "description": "Copies of Homeport's logs",
        "subjects": [f"{prefix}.>"],
        "storage": "file",
        "num_replicas": replicas,
        "retention": "limits",
        "discard": "new",
        "max_age": 0,
        "max_bytes": -1,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "allow_direct": True,
        "deny_delete": False,
        "deny_purge": False,
    }


def check_stream(config: Mapping[str, Any], prefix: str, replicas: int) -> None:
    """Whether a stream that is there keeps what it takes.

    Raises:
        TierUnfit: it would lose something, or lacks what is used.
    """
    copies = config.get("num_replicas", 1)
    drops = [
        name
        for name in ("max_bytes", "max_msgs")
        if config.get(name, -1) > 0 and config.get("discard", "old") != "new"
    ]
    wrong = (
        "is in memory" if config.get("storage") != "file"
        else f"has {copies} copies and not {replicas}" if copies < replicas
        else "acknowledges before it has written (persist_mode)" if config.get("persist_mode", "default") not in ("", "default")
        else "removes what consumers have read (retention)" if config.get("retention", "limits") != "limits"
        else "removes what is old (max_age)" if config.get("max_age", 0) > 0
        else "removes the oldest when it is full (discard: old)" if drops
        else "keeps few messages of a subject (max_msgs_per_subject)" if config.get("max_msgs_per_subject", -1) > 0
        else "takes no message of the largest piece's size (max_msg_size)" if 0 <= config.get("max_msg_size", -1) < NATS_NEEDED_PAYLOAD_BYTES
        else "acknowledges nothing (no_ack)" if config.get("no_ack")
        else "takes nothing (sealed)" if config.get("sealed")
        else "gives nothing directly (allow_direct)" if not config.get("allow_direct")
        else f"does not take {prefix}.>" if f"{prefix}.>" not in (config.get("subjects") or ())
        else ""
    )  # fmt: skip
    if wrong:
        raise TierUnfit(
            f"The JetStream stream {prefix} {wrong}.",
            hint="Change it by `nats stream edit`, or name another one in the address: it is made as it should be.",
        )


def members_of(info: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the servers that hold the stream, by the answer of STREAM.INFO; none of a server that is alone."""
    cluster = info.get("cluster") or {}
    names = [str(cluster.get("leader") or "")] + [
        str(each.get("name", "")) for each in cluster.get("replicas") or ()
    ]
    return tuple(sorted({name for name in names if name}))


def check_synced(answers: Sequence[Mapping[str, Any]], members: Sequence[str]) -> None:
    """Whether those that hold the stream sync before they acknowledge, by what they say of themselves.

    One that is down says nothing and has no part in a quorum; it is looked at when it is back. So most of them must have answered.

    Args:
        answers: Of `$SYS.REQ.SERVER.PING.VARZ`.
        members: The names of those that hold the stream; without any all that answer count.
    Raises:
        TierUnfit: one does not, or too few have said anything.
    """
    seen: set[str] = set()
    for answer in answers:
        server, data = answer.get("server") or {}, answer.get("data") or {}
        name = str(server.get("name", ""))
        if members and name not in members:
            continue
        seen.add(name)
        config = (data.get("jetstream") or {}).get("config") or {}
        if config.get("sync_always") is not True:
            raise TierUnfit(
                f"The NATS server {name} acknowledges before its disk has it: a power cut would lose what it said was kept.",
                hint=_ALWAYS_HINT,
            )
        check_server({"version": data.get("version", ""), "max_payload": data.get("max_payload", 0)})
    if 2 * len(seen) <= len(members or [""]):
        raise TierUnfit(
            f"Of {len(members) or 1} NATS servers that hold the stream {len(seen)} said whether they sync before they acknowledge.",
            hint="system_user in the credentials must be a user of the system account, of the same cluster.",
        )


def unseen() -> TierUnfit:
    """Why a cluster is refused that nobody can look at."""
    return TierUnfit(
        "Nobody here can see whether the NATS servers sync before they acknowledge.",
        hint="Put system_user and system_password of the system account into the credentials, or add sync=trust to the address if all servers have `sync_interval: always`.",
    )


assert NATS_NEEDED_PAYLOAD_BYTES < 32 * MIB
