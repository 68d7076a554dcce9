"""The words of a reading: its quality, the kind of its value, and why a message gave none.

Pure constants; everything that decodes, stores or shows readings agrees on them here. Must not know where
messages come from or where rows go.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

Scalar = float | int | bool | str
"""What a metric can hold. Numbers are stored as doubles: an integer beyond 2**53 loses its last digits."""


class Quality(IntEnum):
    """How far a reading may be trusted (OPC's three, DEVICES.md's `q`)."""

    GOOD = 0
    UNCERTAIN = 1
    """The device said `est`, sent no time, or its clock was absurd: the time is the time of arrival."""
    BAD = 2


QUALITY_OF_WORD: Final[dict[object, Quality]] = {
    "good": Quality.GOOD,
    "est": Quality.UNCERTAIN,
    "bad": Quality.BAD,
}
"""DEVICES.md, telemetry: `q: good|est|bad`."""


class ValueKind(IntEnum):
    """The type of a series. A metric that changes its type gets a second series, so columns stay typed."""

    NUMBER = 0
    BOOLEAN = 1
    """Stored as 0.0 or 1.0; the series says that the API must answer true or false."""
    TEXT = 2


KIND_OF_TYPE: Final[dict[type, ValueKind]] = {
    int: ValueKind.NUMBER,
    float: ValueKind.NUMBER,
    bool: ValueKind.BOOLEAN,
    str: ValueKind.TEXT,
}


class Reason(StrEnum):
    """Why a record became a dead letter. Stable: shown, counted and filtered by this word."""

    BAD_JSON = "bad_json"
    BAD_CBOR = "bad_cbor"
    BAD_MSGPACK = "bad_msgpack"
    BAD_SENML = "bad_senml"
    BAD_UTF8 = "bad_utf8"
    BAD_VALUE = "bad_value"
    TOO_DEEP = "too_deep"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    NO_VALUES = "no_values"
    NO_METRIC = "no_metric"
    BAD_METRIC_NAME = "bad_metric_name"
    TOO_MANY_METRICS = "too_many_metrics"
    TOO_MANY_POINTS = "too_many_points"
    TOO_MANY_SERIES = "too_many_series"
    TEXT_TOO_LONG = "text_too_long"
    BAD_POINT = "bad_point"
    BAD_TS = "bad_ts"
    BAD_SEQ = "bad_seq"
    BAD_BOOT_ID = "bad_boot_id"
    BAD_QUALITY = "bad_quality"
    SEQ_TOO_OLD = "seq_too_old"
    BAD_STATUS = "bad_status"
    BAD_SESSION_RECORD = "bad_session_record"
    UNKNOWN_DEVICE = "unknown_device"


HINT_OF_REASON: Final[dict[Reason, str]] = {
    Reason.BAD_JSON: 'The payload is not JSON: fix the device, or map its topic with format = "text".',
    Reason.BAD_CBOR: "The payload is not CBOR (RFC 8949): fix the device, or the format of its topic's mapping.",
    Reason.BAD_MSGPACK: "The payload is not MessagePack: fix the device, or the format of its topic's mapping.",
    Reason.BAD_SENML: "The payload is not SenML (RFC 8428): fix the device, or the format of its topic's mapping.",
    Reason.BAD_UTF8: "The payload is not UTF-8 text: fix the device's encoding.",
    Reason.BAD_VALUE: "A value is neither a number, true, false, text nor null (bytes, dates and the like have no place).",
    Reason.TOO_DEEP: "Objects are nested deeper than 16 levels: send flatter objects.",
    Reason.PAYLOAD_TOO_LARGE: "The payload is larger than is decoded: send fewer points in one message.",
    Reason.NUMBER_OUT_OF_RANGE: "A number does not fit a 64-bit float: fix the device.",
    Reason.NO_VALUES: "The message holds no value (nulls and empty objects only).",
    Reason.NO_METRIC: "A plain value needs a metric: give the topic's mapping a metric or a {metric} level.",
    Reason.BAD_METRIC_NAME: "A key is empty, holds a control character or is longer than 256 bytes with its prefix.",
    Reason.TOO_MANY_METRICS: "One point has more than 1,024 values: split it.",
    Reason.TOO_MANY_POINTS: "One message has more than 10,000 points: split it.",
    Reason.TOO_MANY_SERIES: "The device has used up its metric names: does it put an id or a time into its keys?",
    Reason.TEXT_TOO_LONG: "A text value is longer than 64 KiB.",
    Reason.BAD_POINT: "An array may hold points only, each an object.",
    Reason.BAD_TS: "`ts` must be a number: milliseconds since 1970, UTC.",
    Reason.BAD_SEQ: "`seq` must be a whole number from 0 to 2^63 - 1.",
    Reason.BAD_BOOT_ID: "`boot_id` must be text or a whole number, at most 64 bytes.",
    Reason.BAD_QUALITY: "`q` must be good, est or bad.",
    Reason.SEQ_TOO_OLD: "So many gaps lie behind this `seq` that it can't be told from a duplicate any more.",
    Reason.BAD_STATUS: "A status must be an object whose state is online, offline or sleeping.",
    Reason.BAD_SESSION_RECORD: "A session record of the log can't be read: run `homeport log verify`.",
    Reason.UNKNOWN_DEVICE: 'The device is not in the catalog: add it, or set devices.first_contact = "wait".',
}


class Refusal(NamedTuple):
    """A message that gives no rows: the reason, and what exactly was wrong (may be empty)."""

    reason: Reason
    detail: str = ""
