"""What the endpoints about mappings take and answer."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from appliance.core.limits import (
    MAPPING_COUNT_MAX,
    MAPPING_FIELD_COUNT_MAX,
    MAPPING_NOTE_LENGTH_MAX,
    METRIC_NAME_BYTES_MAX,
    TRY_OUT_COUNT_MAX,
)
from ui.api.structs import Answer, Query, Request, Scalar

Pattern = Annotated[str, Meta(min_length=1, max_length=1024)]
Format = Literal["json", "text", "cbor", "msgpack", "senml", "senml_cbor"]
Name = Annotated[str, Meta(max_length=METRIC_NAME_BYTES_MAX)]
Position = Annotated[int, Meta(ge=1, le=MAPPING_COUNT_MAX)]
Note = Annotated[str, Meta(max_length=MAPPING_NOTE_LENGTH_MAX)]


class Field(Request, kw_only=True, frozen=True):
    """A field of a payload: its key path, the metric's name it gets, and number × scale + offset."""

    path: Name
    metric: Annotated[str, Meta(min_length=1, max_length=METRIC_NAME_BYTES_MAX)]
    scale: float = 1.0
    offset: float = 0.0


Fields = Annotated[tuple[Field, ...], Meta(max_length=MAPPING_FIELD_COUNT_MAX)]


class NewMapping(Request, kw_only=True, frozen=True):
    """A mapping to add, as the last one or at `position`. `only_fields`: fields that aren't listed are left out."""

    pattern: Pattern
    format: Format = "json"
    metric: Name = ""
    fields: Fields = ()
    only_fields: bool = False
    note: Note = ""
    position: Position | None = None


class MappingEdit(Request, kw_only=True, frozen=True):
    """What is to change of a mapping; what is left out stays."""

    pattern: Pattern | UnsetType = UNSET
    format: Format | UnsetType = UNSET
    metric: Name | UnsetType = UNSET
    fields: Fields | UnsetType = UNSET
    only_fields: bool | UnsetType = UNSET
    note: Note | UnsetType = UNSET
    position: Position | UnsetType = UNSET


class AnsweredField(Answer, kw_only=True, frozen=True):
    """As in `Field`."""

    path: str
    metric: str
    scale: float
    offset: float


class Mapping(Answer, kw_only=True, frozen=True):
    """A mapping that an operator wrote; `position` 1 is tried first."""

    mapping_id: str
    position: int
    pattern: str
    format: str
    metric: str
    fields: tuple[AnsweredField, ...]
    only_fields: bool
    note: str
    created_at_ms: int
    updated_at_ms: int
    version: str


class FixedMapping(Answer, kw_only=True, frozen=True):
    """A mapping of the configuration, or one that is always there; tried after those that operators wrote."""

    pattern: str
    format: str
    metric: str


class MappingList(Answer, kw_only=True, frozen=True):
    """All mappings in the order in which they are tried; the newest set holds from that record of the log on."""

    mappings: tuple[Mapping, ...]
    configured: tuple[FixedMapping, ...]
    defaults: tuple[FixedMapping, ...]
    set_number: int
    from_epoch: int
    from_seq: int


class TryQuery(Query, kw_only=True, frozen=True):
    """A mapping to try. Each `field` is a line such as `ENERGY.Power = power_kw * 0.001`.

    `source`: the newest messages of the log, or dead letters, that the pattern fits. `mapping_id`: instead of this one.
    """

    pattern: Pattern
    format: Format = "json"
    metric: Name = ""
    field: tuple[Annotated[str, Meta(max_length=600)], ...] = ()
    only_fields: bool = False
    position: Position | None = None
    mapping_id: Annotated[str, Meta(max_length=64)] = ""
    source: Literal["log", "dead_letters"] = "log"
    limit: Annotated[int, Meta(ge=1, le=TRY_OUT_COUNT_MAX)] = 20


class TriedRow(Answer, kw_only=True, frozen=True):
    """A reading that a message would give."""

    device: str
    metric: str
    observed_at_ms: int
    value: Scalar
    quality: Literal["good", "uncertain", "bad"]


class Tried(Answer, kw_only=True, frozen=True):
    """What would become of one message: `row_count` readings (the first are listed), or none for the reason given.

    `taken_by` is the pattern that is tried before and takes the topic. `payload` is its beginning, base64.
    """

    epoch: int
    seq: int
    received_at_ms: int
    topic: str
    payload: bytes
    payload_bytes: int
    fits: bool
    rows: tuple[TriedRow, ...]
    row_count: int
    reason: str
    hint: str
    detail: str
    taken_by: str


class TryOut(Answer, kw_only=True, frozen=True):
    """The messages tried, the newest first. `is_whole` is false when the look back ended at its limits."""

    messages: tuple[Tried, ...]
    fit_count: int
    looked_at: int
    is_whole: bool
