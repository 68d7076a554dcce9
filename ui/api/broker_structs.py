"""Queries and answers about the broker. Times are UTC milliseconds in `_at_ms`; counters (`_total`) begin when the broker starts."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from appliance.core.limits import (
    BROKER_PAGE_ITEM_COUNT_MAX,
    CLIENT_ID_BYTES_MAX,
    PAGE_ITEM_COUNT_DEFAULT,
    TOPIC_BYTES_MAX,
)
from ui.api.structs import Answer, Query

ClientId = Annotated[str, Meta(min_length=1, max_length=CLIENT_ID_BYTES_MAX)]
Topic = Annotated[str, Meta(min_length=1, max_length=TOPIC_BYTES_MAX)]
PageLimit = Annotated[int, Meta(ge=1, le=BROKER_PAGE_ITEM_COUNT_MAX)]
SearchText = Annotated[str, Meta(max_length=64)]


class Door(Answer, kw_only=True, frozen=True):
    """Where clients come in: the transport's name, where it listens ("" is not known), who is connected by it."""

    transport: str
    address: str
    connections: int
    accepted_total: int


class BrokerTraffic(Answer, kw_only=True, frozen=True):
    """Messages are PUBLISH packets; bytes are all of them, behind CONNECT."""

    received_messages_total: int
    acknowledged_messages_total: int
    delivered_messages_total: int
    refused_messages_total: int
    oversize_messages_total: int
    received_bytes_total: int
    sent_bytes_total: int


class BrokerRates(Answer, kw_only=True, frozen=True):
    """A second, over the last ten seconds at most; null until that is known."""

    received_messages_per_s: float | None
    delivered_messages_per_s: float | None
    received_bytes_per_s: float | None
    sent_bytes_per_s: float | None


class BrokerQueues(Answer, kw_only=True, frozen=True):
    """What waits for subscribers. Lagging ones were too slow for their queue and are fed from the log."""

    in_flight_messages: int
    queued_messages: int
    queued_bytes: int
    unsent_bytes: int
    lagging_subscribers: int
    lag_records_most: int


class BrokerSessions(Answer, kw_only=True, frozen=True):
    """Sessions that outlive their connections, and messages that their clients will not get: the oldest of full queues
    (`dropped`), those whose time was up (`expired`), and those that the log no longer had (`lost`).
    """

    durable: int
    away: int
    expired_sessions_total: int
    dropped_messages_total: int
    expired_messages_total: int
    lost_messages_total: int
    shared_subscriptions: int


class BrokerDisk(Answer, kw_only=True, frozen=True):
    """The disk that holds the log, and the broker's memory.

    `level` is ok, low, hold or read_only (docs/OPERATIONS.md), "" while it is not known; `held_clients` are not read from
    because of it.
    """

    level: str
    held_clients: int
    free_bytes: int
    total_bytes: int
    log_is_full: bool
    log_bytes: int
    memory_bytes: int


class BrokerLimit(Answer, kw_only=True, frozen=True):
    """A limit of the configuration: `in_use` is how much of it is taken now, `hits_total` how often it was reached."""

    key: str
    value: int
    unit: str
    in_use: int | None
    hits_total: int | None
    meaning: str


class Broker(Answer, kw_only=True, frozen=True):
    """The broker process. While it is not connected, the numbers are the last known."""

    connected: bool
    now_ms: int
    connections: int
    connections_most: int
    subscriptions: int
    retained_messages: int
    retained_bytes: int
    doors: tuple[Door, ...]
    traffic: BrokerTraffic
    rates: BrokerRates
    queues: BrokerQueues
    sessions: BrokerSessions
    disk: BrokerDisk
    limits: tuple[BrokerLimit, ...]
    refused_by_code: dict[str, int]
    closed_by_reason: dict[str, int]


class Client(Answer, kw_only=True, frozen=True):
    """A client that is connected, or whose session waits for it. `principal` is the device or application whose it is.

    What belongs to a connection is null while it has none. A session without `expires_at_ms` doesn't end by itself;
    `session_expiry_s` 0 ends with the connection, null never.
    """

    client_id: str
    principal: str
    is_connected: bool
    kind: str | None = None
    address: str | None = None
    transport: str | None = None
    version: str | None = None
    connected_at_ms: int | None = None
    last_packet_at_ms: int | None = None
    keep_alive_s: int | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None
    disconnected_at_ms: int | None = None
    expires_at_ms: int | None = None
    session_expiry_s: int | None
    subscriptions: int
    in_flight: int
    queued_messages: int
    queued_bytes: int
    unsent_bytes: int
    is_lagging: bool
    lag_records: int
    oversize_messages: int
    dropped_messages: int
    expired_messages: int
    lost_messages: int
    delivered_messages: int


class ClientPage(Answer, kw_only=True, frozen=True):
    """Clients in the order of their ids; `total` is how many match. Give `next_cursor` as `cursor`; null at the end."""

    clients: tuple[Client, ...]
    next_cursor: str | None
    total: int | None = None


class ClientSubscription(Answer, kw_only=True, frozen=True):
    """A subscription as it was granted."""

    topic_filter: str
    qos: int
    no_local: bool
    retain_as_published: bool
    identifiers: tuple[int, ...]


class ClientDetail(Client, kw_only=True, frozen=True):
    """A client with its subscriptions; `subscriptions_cut` when there are too many to be listed."""

    will_topic: str | None
    will_delay_s: int
    unacknowledged: int
    receive_maximum: int | None
    subscription_list: tuple[ClientSubscription, ...]
    subscriptions_cut: bool


class Kicked(Answer, kw_only=True, frozen=True):
    """The client whose connection was closed."""

    client_id: str


class SessionEnded(Answer, kw_only=True, frozen=True):
    """The client whose session was ended, and whether it was connected then."""

    client_id: str
    was_connected: bool


class ClientQuery(Query, kw_only=True, frozen=True):
    """Those with `q` in client id, principal or address; with `state` only the connected ones, or those that are away."""

    state: Literal["", "connected", "away"] = ""
    q: SearchText = ""
    cursor: Annotated[str, Meta(max_length=CLIENT_ID_BYTES_MAX)] = ""
    limit: PageLimit = PAGE_ITEM_COUNT_DEFAULT


class RetainedMessage(Answer, kw_only=True, frozen=True):
    """A retained message. `seq` is its position in the log, `payload` its beginning (base64), `client_id` its publisher."""

    seq: int
    topic: str
    client_id: str
    qos: int
    payload_bytes: int
    payload: bytes
    received_at_ms: int
    expires_at_ms: int | None


class RetainedPage(Answer, kw_only=True, frozen=True):
    """Retained messages, the newest first; a page may have fewer than asked for. `next_cursor` null is the end."""

    retained: tuple[RetainedMessage, ...]
    next_cursor: int | None
    total: int


class RetainedQuery(Query, kw_only=True, frozen=True):
    """Those with `q` in the topic (A to Z match a to z), before the position `cursor`."""

    q: SearchText = ""
    cursor: Annotated[int, Meta(ge=0)] | None = None
    limit: PageLimit = PAGE_ITEM_COUNT_DEFAULT


class ClearQuery(Query, kw_only=True, frozen=True):
    """The topic whose message goes; with `seq` only if it is still the message of that position."""

    topic: Topic
    seq: Annotated[int, Meta(ge=0)] | None = None


class Cleared(Answer, kw_only=True, frozen=True):
    """The topic that has no retained message any more, and the position of the one that it had."""

    topic: str
    seq: int
