"""Answers about bridges. Times are UTC milliseconds; counters begin when the bridge process starts."""

from __future__ import annotations

from ui.api.structs import Answer


class BridgeTopic(Answer, kw_only=True, frozen=True):
    """What crosses: `local_prefix` + X here is `remote_prefix` + X there."""

    direction: str
    topic: str
    qos: int
    local_prefix: str
    remote_prefix: str


class Bridge(Answer, kw_only=True, frozen=True):
    """A bridge: where to, how it does, what went wrong last, what has crossed."""

    name: str
    address: str
    tls: bool
    version: str
    state: str
    since_ms: int | None
    error: str
    hint: str
    code: str
    error_at_ms: int | None
    retry_at_ms: int | None
    connects: int
    in_flight: int
    lag_records: int
    lag_ms: int
    sent_messages: int
    sent_bytes: int
    acknowledged_messages: int
    received_messages: int
    received_bytes: int
    refused_messages: int
    dropped_messages: int
    expired_messages: int
    looped_messages: int
    gone_records: int
    topics: list[BridgeTopic]


class Bridges(Answer, kw_only=True, frozen=True):
    """All bridges, in the order of the configuration."""

    bridges: list[Bridge]
