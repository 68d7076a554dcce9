"""From an MQTT topic to a device and the front part of its metrics' names.

A pattern is a topic filter whose levels may also be `{device}` (exactly once) and `{metric}` or `{stream}` (at
most once): `site/+/dev/{device}/telemetry`, `tele/{device}/SENSOR`, `shop/{device}/{metric}`. What `{metric}`
matches, or else the mapping's `metric`, names a plain value, and stands with a dot before an object's keys.

The first mapping that matches wins; the configuration's come before the defaults. `dm/{device}/status` is
presence and can't be mapped to anything else. Must not know what is in a payload.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from math import isfinite
from typing import TYPE_CHECKING, Final

from appliance.core.errors import ConfigError
from appliance.core.limits import (
    DEVICE_ID_BYTES_MAX,
    MAPPING_FIELD_COUNT_MAX,
    METRIC_NAME_BYTES_MAX,
    TOPIC_LEVEL_COUNT_MAX,
    TOPIC_ROUTE_COUNT_MAX,
)

if TYPE_CHECKING:
    from appliance.management.typed import TypedShape

FORMATS: Final = ("json", "text", "cbor", "msgpack", "senml", "senml_cbor")
"""`text`: the whole payload is one value: a number, true, false, or else text. `cbor` and `msgpack` have the shapes of `json`."""

_DEVICE: Final = "{device}"
_METRIC: Final = ("{metric}", "{stream}")


def valid_device_id(device_id: str) -> bool:
    """Whether a topic level can name a device: 1..128 bytes of UTF-8, no control characters, no wildcards."""
    return (
        0 < len(device_id.encode("utf-8", "replace")) <= DEVICE_ID_BYTES_MAX
        and device_id.isprintable()
        and not set(device_id) & {"+", "#", "/"}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """What becomes of one field of a payload.

    Attributes:
        path: Its key path (`ENERGY.Power.0`), "" for a plain value.
        metric: The name it gets instead, behind the mapping's own front part.
        scale, offset: A number becomes number × scale + offset; texts and booleans stay as they are.
    """

    path: str
    metric: str
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMapping:
    """One `[[mapping]]` of the configuration, or one that an operator wrote.

    Args:
        pattern: Topic filter with `{device}` and at most one `{metric}` or `{stream}`.
        format: One of FORMATS.
        metric: Name for topics that carry one metric ("" is the same as None); not together with a `{metric}` level.
        fields: Fields that get another name or another unit. only_fields: The others are left out.
    Raises:
        ConfigError: the pattern can't work; the message says why.
    """

    pattern: str
    format: str = "json"
    metric: str | None = None
    fields: tuple[FieldRule, ...] = ()
    only_fields: bool = False
    _levels: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        levels = tuple(self.pattern.split("/"))
        object.__setattr__(self, "_levels", levels)
        problem = self._problem(levels)
        if problem:
            raise ConfigError(
                f"The topic mapping {self.pattern!r} can't be used: {problem}.",
                hint="A pattern looks like site/+/dev/{device}/telemetry.",
                code="mapping_invalid",
            )

    def _problem(self, levels: tuple[str, ...]) -> str:
        if self.format not in FORMATS:
            return f"format must be one of {', '.join(FORMATS)}"
        if len(levels) > TOPIC_LEVEL_COUNT_MAX:
            return f"it has more than {TOPIC_LEVEL_COUNT_MAX} levels"
        if levels.count(_DEVICE) != 1:
            return "exactly one level must be {device}"
        if "#" in levels[:-1]:
            return "# may only be the last level"
        metric_levels = sum(levels.count(name) for name in _METRIC)
        if metric_levels > 1:
            return "only one level may be {metric} or {stream}"
        if metric_levels and self.metric:
            return "it has a {metric} level and a metric as well"
        for level in levels:
            if level not in ("+", "#", _DEVICE, *_METRIC) and set(level) & set("+#{}"):
                return f"the level {level!r} mixes text and wildcards"
        if self.metric and not _is_name(self.metric):
            return "the metric holds a control character or is too long"
        return _problem_of_fields(self.fields, self.only_fields)

    def match(self, topic: str) -> tuple[str, str | None] | None:
        """The (device id, metric prefix or None) of a topic, or None when this mapping isn't for it.

        Wildcards at the first level don't match topics that start with $ (MQTT 5.0 §4.7.2).
        """
        levels = topic.split("/")
        wanted = self._levels
        if wanted[-1] == "#":
            wanted = wanted[:-1]
            if len(levels) < len(wanted):
                return None
        elif len(levels) != len(wanted):
            return None
        if topic.startswith("$") and levels[0] != self._levels[0]:
            return None
        device = prefix = None
        for want, level in zip(wanted, levels, strict=False):
            if want == _DEVICE:
                device = level
            elif want in _METRIC:
                prefix = level
            elif want not in ("+", level):
                return None
        if device is None or not valid_device_id(device) or prefix == "":
            return None
        return device, prefix or self.metric or None


def _is_name(name: str) -> bool:
    return name.isprintable() and 0 < len(name.encode("utf-8", "replace")) <= METRIC_NAME_BYTES_MAX


def _problem_of_fields(fields: tuple[FieldRule, ...], only_fields: bool) -> str:
    if only_fields and not fields:
        return "it lets no field through"
    if len(fields) > MAPPING_FIELD_COUNT_MAX:
        return f"it has more than {MAPPING_FIELD_COUNT_MAX} fields"
    for rule in fields:
        if rule.path and not _is_name(rule.path):
            return f"the field {rule.path[:40]!r} holds a control character or is too long"
        if not _is_name(rule.metric):
            return f"the name of the field {rule.path[:40]!r} is empty, too long or holds a control character"
        if not (isfinite(rule.scale) and isfinite(rule.offset)) or rule.scale == 0:
            return (
                f"the scale of the field {rule.path[:40]!r} must be a number and not 0, its offset a number"
            )
    for names in ([rule.path for rule in fields], [rule.metric for rule in fields]):
        for name in names:
            if names.count(name) > 1:
                return f"{name[:40]!r} stands in its fields twice"
    return ""


DEFAULT_MAPPINGS: Final = (
    TopicMapping(pattern="dm/{device}/telemetry"),
    TopicMapping(pattern="dm/{device}/telemetry/cbor", format="cbor"),
    TopicMapping(pattern="dm/{device}/telemetry/{stream}"),
    TopicMapping(pattern="dm/{device}/telemetry/{stream}/cbor", format="cbor"),
)
STATUS_MAPPING: Final = TopicMapping(pattern="dm/{device}/status")


class RouteKind(IntEnum):
    """What a topic is to the pipeline."""

    UNMAPPED = 0
    TELEMETRY = 1
    STATUS = 2


class Route:
    """Where a topic leads. One object per distinct topic, compared by identity, so it is a cheap dict key.

    Attributes:
        shape, misses, untyped: What typed.py knows of the topic's messages.
        source: Topic, device and prefix in one: two routes with the same one give their values the same names.
        mapping: The one that the topic fits; None for topics of no mapping, and for presence.
    """

    __slots__ = (
        "device",
        "format",
        "kind",
        "mapping",
        "misses",
        "prefix",
        "shape",
        "source",
        "topic",
        "untyped",
    )

    def __init__(
        self,
        *,
        kind: RouteKind,
        topic: str,
        device: str = "",
        prefix: str | None = None,
        format: str = "json",
        mapping: TopicMapping | None = None,
    ) -> None:
        self.kind = kind
        self.mapping = mapping
        self.topic = topic
        self.device = device
        self.prefix = prefix
        self.format = format
        self.source = f"{topic}\0{device}\0{prefix or ''}"
        self.shape: TypedShape | None = None
        self.misses = 0
        self.untyped = 0

    def metric_name(self, key: str) -> str | None:
        """The metric's full name: prefix and key joined by a dot; None when both are missing.

        Args:
            key: The key path within the payload; "" for a plain value.
        """
        if not key:
            return self.prefix
        return key if self.prefix is None else f"{self.prefix}.{key}"

    def __repr__(self) -> str:
        return f"Route({self.kind.name}, {self.topic!r}, device={self.device!r}, prefix={self.prefix!r})"


class TopicRouter:
    """Evaluates the mappings once per distinct topic; the cache is bounded and starts afresh when full.

    Args:
        mappings: In the order in which they are tried. defaults: Those that come after them.
    """

    def __init__(
        self,
        mappings: Iterable[TopicMapping] = (),
        *,
        defaults: Iterable[TopicMapping] = DEFAULT_MAPPINGS,
        route_count_max: int = TOPIC_ROUTE_COUNT_MAX,
    ) -> None:
        self._mappings = (*mappings, *defaults)
        self._routes: dict[bytes, Route] = {}
        self._route_count_max = route_count_max

    def route(self, topic: bytes) -> Route:
        """The route of a topic name as it stands in the log (UTF-8, checked by the broker)."""
        route = self._routes.get(topic)
        if route is None:
            if len(self._routes) >= self._route_count_max:
                self._routes.clear()
            route = self._routes[topic] = self._evaluate(topic.decode("utf-8", "replace"))
        return route

    def _evaluate(self, topic: str) -> Route:
        found = STATUS_MAPPING.match(topic)
        if found is not None:
            return Route(kind=RouteKind.STATUS, topic=topic, device=found[0])
        for mapping in self._mappings:
            found = mapping.match(topic)
            if found is not None:
                return Route(
                    kind=RouteKind.TELEMETRY,
                    topic=topic,
                    device=found[0],
                    prefix=found[1],
                    format=mapping.format,
                    mapping=mapping,
                )
        return Route(kind=RouteKind.UNMAPPED, topic=topic)
