"""Bodies, queries and answers of the API. Times are UTC milliseconds in `_at_ms`; a null time is "never"."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.core.limits import (
    DEVICE_GROUP_COUNT_MAX,
    DEVICE_ID_BYTES_MAX,
    DEVICE_NAME_LENGTH_MAX,
    DEVICE_TAG_COUNT_MAX,
    DEVICE_TAG_LENGTH_MAX,
    GROUP_ID_LENGTH_MAX,
    PAGE_ITEM_COUNT_DEFAULT,
    PAGE_ITEM_COUNT_MAX,
    PASSWORD_LENGTH_MAX,
    QUERY_METRIC_COUNT_MAX,
    QUERY_POINT_COUNT_DEFAULT,
    QUERY_POINT_COUNT_MAX,
    SERIAL_LENGTH_MAX,
    USER_NAME_LENGTH_MAX,
)
from ui.telemetry_question import Aggregation

DeviceState = Literal["active", "waiting", "rejected", "decommissioned"]
Presence = Literal["online", "offline", "lost", "sleeping", "never_seen"]
Freshness = Literal["fresh", "late", "stale", "never"]
Quality = Literal["good", "uncertain", "bad"]
Scalar = float | int | str | bool | None

DeviceId = Annotated[str, Meta(min_length=1, max_length=DEVICE_ID_BYTES_MAX)]
DeviceName = Annotated[str, Meta(max_length=DEVICE_NAME_LENGTH_MAX)]
Serial = Annotated[str, Meta(max_length=SERIAL_LENGTH_MAX)]
Tag = Annotated[str, Meta(min_length=1, max_length=DEVICE_TAG_LENGTH_MAX)]
Tags = Annotated[tuple[Tag, ...], Meta(max_length=DEVICE_TAG_COUNT_MAX)]
GroupId = Annotated[str, Meta(min_length=1, max_length=GROUP_ID_LENGTH_MAX)]
GroupIds = Annotated[tuple[GroupId, ...], Meta(max_length=DEVICE_GROUP_COUNT_MAX)]
RoleName = Annotated[str, Meta(max_length=64)]
Limit = Annotated[int, Meta(ge=1, le=PAGE_ITEM_COUNT_MAX)]


class Answer(msgspec.Struct, kw_only=True, frozen=True):
    """Base of answers."""


class Request(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of bodies: an unknown member is an error, so that a misspelt one is not ignored."""


class Query(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of query strings."""


class Counts(Answer, kw_only=True, frozen=True):
    """Devices by their state in the catalog, and active ones by presence."""

    state: dict[DeviceState, int]
    presence: dict[Presence, int]


class BrokerState(Answer, kw_only=True, frozen=True):
    """The broker process; `statistics` are its own numbers."""

    connected: bool
    statistics: dict[str, Any]


class Backlog(Answer, kw_only=True, frozen=True):
    """Older records that follow while new readings are stored as they come: `records` are not in the store yet, `done` of `total`
    were read. `left_s` is how long the rest will take at the rate of the last minute."""

    records: int
    total: int
    done: int
    left_s: float | None


class PipelineState(Answer, kw_only=True, frozen=True):
    """How far the time-series store is behind the log. `breaker` is closed, open or half_open; `text` says it as the pages do,
    `doing` what is wrong and what is done about it, `behind_since_ms` from when on readings are missing. All records
    before `complete_seq` are in the store."""

    state: str
    text: str
    doing: str
    lag_s: float
    behind_records: int
    behind_since_ms: int | None
    complete_seq: int
    backlog: Backlog
    rows_total: int
    dead_letters_total: int
    dead_letters: int
    breaker: str


class RulesState(Answer, kw_only=True, frozen=True):
    """How rules and anomalies keep up with the readings. `state` is starting, up_to_date, rebuilding, waiting or failed; `text` says it with how
    far it is. `rebuild_s` is how long they took to be up to date after the last start, null until they are."""

    state: str
    text: str
    behind_records: int
    rebuild_s: float | None
    failures_total: int
    late_total: int


class ClockState(Answer, kw_only=True, frozen=True):
    """This box's clock. `doubt` says why it is not believed ("" when it is): `before` this program existed, leapt `back` or `ahead`.

    `off_by_ms` is how far it is ahead of what is believed (negative: behind). `synchronized` is the kernel's word, null where it has
    none. `steps_total` counts how often it was set since the node started, last by `last_step_ms`.
    """

    doubt: Literal["", "before", "back", "ahead"]
    text: str
    off_by_ms: int
    synchronized: bool | None
    steps_total: int
    last_step_ms: int | None


class Status(Answer, kw_only=True, frozen=True):
    """The node at a glance. `rules` is null where they are switched off."""

    node: str
    version: str
    now_ms: int
    clock: ClockState
    started_at_ms: int
    devices: Counts
    message_rate: float
    broker: BrokerState
    pipeline: PipelineState
    rules: RulesState | None
    tls_fingerprint: str
    tls_not_after_ms: int


class Device(Answer, kw_only=True, frozen=True):
    """A device: what the catalog holds and what is known of it now.

    `version` is another after every change of what the catalog holds. `replaced_at_ms` is when other hardware last took over the id.
    `watermark_at_ms` is the newest time of its readings by its own clock, which arrived at `watermark_received_at_ms`. `clock_offset_ms` is
    how far its clock is ahead of the box's (negative: behind), null while that can't be judged. `stale_after_ms` is the age of its
    newest reading from which on it is stale.
    """

    device_id: str
    kind: Literal["device", "application"]
    access: Literal["own", "site"]
    role: str
    state: DeviceState
    name: str
    tags: tuple[str, ...]
    groups: tuple[str, ...]
    serial: str
    first_contact_at_ms: int | None
    created_at_ms: int
    updated_at_ms: int
    replaced_at_ms: int | None
    version: str
    presence: Presence
    presence_since_ms: int | None
    presence_reason: str | None
    last_seen_at_ms: int | None
    last_reading_at_ms: int | None
    freshness: Freshness
    stale_after_ms: int
    watermark_at_ms: int | None
    watermark_received_at_ms: int | None
    clock_offset_ms: int | None
    clock: Literal["right", "wrong", "unknown"]
    address: str | None


class DeviceWithToken(Device, kw_only=True, frozen=True):
    """A device and its new token, which is shown this once; null when it got none.

    `connections_closed` is false when live connections with an ended token could not be cut because the broker is away;
    it cuts them off when it is back.
    """

    token: str | None
    connections_closed: bool = True


class DevicePage(Answer, kw_only=True, frozen=True):
    """Devices in the order of their ids. Give `next_cursor` as `cursor` for the next page; null at the end."""

    devices: tuple[Device, ...]
    next_cursor: str | None


class DeviceQuery(Query, kw_only=True, frozen=True):
    """Which devices: in any of these states and groups, with all of these tags, with this presence and serial, with `q` in id, name,
    serial or a tag.
    """

    state: tuple[DeviceState, ...] = ()
    presence: Presence | None = None
    kind: Literal["device", "application"] | None = None
    group: Annotated[tuple[GroupId, ...], Meta(max_length=DEVICE_GROUP_COUNT_MAX)] = ()
    tag: Annotated[tuple[Tag, ...], Meta(max_length=DEVICE_TAG_COUNT_MAX)] = ()
    serial: Serial = ""
    q: Annotated[str, Meta(max_length=200)] = ""
    cursor: Annotated[str, Meta(max_length=DEVICE_ID_BYTES_MAX)] | None = None
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class NewDevice(Request, kw_only=True, frozen=True):
    """A device to register. It gets a token at once."""

    device_id: DeviceId
    kind: Literal["device", "application"] = "device"
    access: Literal["own", "site"] = "own"
    role: RoleName = ""
    name: DeviceName = ""
    tags: Tags = ()
    groups: GroupIds = ()
    serial: Serial = ""


class AccessRequest(Request, kw_only=True, frozen=True):
    """What a device may publish and subscribe beside its own topics: everything (`site`), or what a `[[broker_role]]` opens."""

    access: Literal["own", "site"]
    role: RoleName = ""


class TokenRequest(Request, kw_only=True, frozen=True):
    """A new token for a device. The one before stays valid for `overlap_s` seconds (0 ends it at once)."""

    overlap_s: Annotated[int, Meta(ge=0, le=30 * 86_400)] = 86_400


class Newest(Answer, kw_only=True, frozen=True):
    """The newest value of a metric.

    `kept_copy`: it may be a copy that another broker kept, so its arrival doesn't make it fresh. `quality` is uncertain at best while
    the device's clock is judged wrong.
    """

    metric: str
    value: Scalar
    observed_at_ms: int
    received_at_ms: int
    quality: Quality
    freshness: Freshness
    kept_copy: bool


class NewestValues(Answer, kw_only=True, frozen=True):
    """The newest value of each of a device's metrics, in the order of their names."""

    device_id: str
    now_ms: int
    values: tuple[Newest, ...]


class TelemetryQuery(Query, kw_only=True, frozen=True):
    """A range of a device's metrics.

    `from` (included) and `to` (excluded; now if left out) are ISO 8601 with an offset, or UTC milliseconds.
    `interval_ms` is the width of a bucket for every aggregation but raw; about 480 buckets if left out. `limit` bounds the
    points per metric, and all metrics together have 100,000 at most.
    """

    metric: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...],
        Meta(min_length=1, max_length=QUERY_METRIC_COUNT_MAX),
    ]
    from_: Annotated[str, Meta(min_length=1, max_length=40)] = msgspec.field(name="from")
    to: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    aggregation: Aggregation = "raw"
    interval_ms: Annotated[int, Meta(ge=1, le=31 * 86_400_000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=QUERY_POINT_COUNT_MAX)] = QUERY_POINT_COUNT_DEFAULT


class Series(Answer, kw_only=True, frozen=True):
    """Points of a metric: `at_ms[i]` and `value[i]`; `min` and `max` beside them for the aggregation band only."""

    metric: str
    at_ms: tuple[int, ...]
    value: tuple[Scalar, ...]
    min: tuple[float | None, ...] | None = None
    max: tuple[float | None, ...] | None = None
    truncated: bool = False


class Telemetry(Answer, kw_only=True, frozen=True):
    """The answer to a telemetry query; `truncated` series go on behind their last point."""

    device_id: str
    from_ms: int
    to_ms: int
    aggregation: Aggregation
    interval_ms: int | None
    series: tuple[Series, ...]


class DeadLetterQuery(Query, kw_only=True, frozen=True):
    """The newest first; `before` is the last page's `next_before`."""

    limit: Limit = PAGE_ITEM_COUNT_DEFAULT
    before: Annotated[str, Meta(pattern=r"^[0-9]{1,10}:[0-9]{1,20}$")] | None = None


class DeadLetter(Answer, kw_only=True, frozen=True):
    """A message that could not be turned into readings. `payload` is its beginning, base64; null if it wasn't kept."""

    epoch: int
    seq: int
    received_at_ms: int
    device: str
    topic: str
    client_id: str
    reason: str
    detail: str
    payload: bytes | None
    payload_bytes: int


class DeadLetterPage(Answer, kw_only=True, frozen=True):
    """Dead letters, the newest first."""

    dead_letters: tuple[DeadLetter, ...]
    next_before: str | None


class SetupState(Answer, kw_only=True, frozen=True):
    """Whether the box still waits for its admin, and whether there is a valid setup code to do it with."""

    needs_setup: bool
    code_valid: bool


class Claim(Request, kw_only=True, frozen=True):
    """Claim the box: the setup code that it printed, and the admin's name and password."""

    code: Annotated[str, Meta(min_length=1, max_length=64)]
    password: Annotated[str, Meta(min_length=1, max_length=4 * PASSWORD_LENGTH_MAX)]
    user_id: Annotated[str, Meta(min_length=1, max_length=USER_NAME_LENGTH_MAX)] = "admin"


class SetupCode(Answer, kw_only=True, frozen=True):
    """A new setup code; the one before is void."""

    code: str
    expires_in_s: int


class SignIn(Request, kw_only=True, frozen=True):
    """A user name and password, and the code of the second factor where there is one."""

    user_id: Annotated[str, Meta(min_length=1, max_length=USER_NAME_LENGTH_MAX)]
    password: Annotated[str, Meta(min_length=1, max_length=4 * PASSWORD_LENGTH_MAX)]
    code: Annotated[str, Meta(max_length=16)] = ""


class Session(Answer, kw_only=True, frozen=True):
    """Who is signed in. Unsafe methods need `csrf_token` in the header X-CSRF-Token (of a session; "" otherwise)."""

    user_id: str
    role: Literal["viewer", "operator", "installer", "admin"]
    via: Literal["session", "local", "bearer", "api_token"]
    csrf_token: str
