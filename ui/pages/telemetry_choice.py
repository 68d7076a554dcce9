"""What the page of readings shows: all of it stands in its URL, so that a link says the same to whoever opens it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from appliance.core.limits import (
    CHART_DEVICE_COUNT_MAX,
    CHART_METRIC_COUNT_MAX,
    DEVICE_ID_BYTES_MAX,
    METRIC_NAME_BYTES_MAX,
)
from ui.telemetry_question import AGGREGATIONS, Aggregation, check_range, is_relative, parse_when

FROM_DEFAULT: Final = "-24h"
FIELD_LENGTH_MAX: Final = 40
PRESETS: Final = (
    ("-15m", "15 min"),
    ("-1h", "1 h"),
    ("-6h", "6 h"),
    ("-24h", "24 h"),
    ("-7d", "7 days"),
    ("-30d", "30 days"),
    ("-90d", "90 days"),
    ("-365d", "1 year"),
)
WORDS: Final[dict[Aggregation, str]] = {
    "band": "mean, lowest to highest",
    "mean": "mean",
    "min": "lowest",
    "max": "highest",
    "sum": "sum",
    "count": "number of readings",
    "first": "first",
    "last": "last",
    "raw": "every reading",
}
_WITHOUT_OFFSET: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,3})?)?))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    label: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The URL's parameters. `from_` and `to` are text as it was typed, "" for now.

    Attributes:
        devices, metrics: Each once, at most as many as a page draws; `more` says that there were more.
        live: Whether the charts follow the clock. table: Whether numbers stand there instead of charts.
        q: What was searched for among the devices.
    """

    devices: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    from_: str = FROM_DEFAULT
    to: str = ""
    aggregation: Aggregation = "band"
    live: bool = False
    table: bool = False
    q: str = ""
    more: bool = False

    @classmethod
    def of(cls, query: QueryParams) -> Choice:
        """What means nothing is left out, so that an old link still shows something."""
        devices = _names(query.getlist("device"), DEVICE_ID_BYTES_MAX)
        metrics = _names(query.getlist("metric"), METRIC_NAME_BYTES_MAX)
        given = query.get("aggregation")
        aggregation: Aggregation = next((word for word in AGGREGATIONS if word == given), "band")
        return cls(
            devices=tuple(devices[:CHART_DEVICE_COUNT_MAX]),
            metrics=tuple(metrics[:CHART_METRIC_COUNT_MAX]),
            from_=query.get("from", "").strip()[:FIELD_LENGTH_MAX] or FROM_DEFAULT,
            to=query.get("to", "").strip()[:FIELD_LENGTH_MAX],
            aggregation=aggregation,
            live=query.get("live") == "1",
            table=query.get("view") == "table",
            q=query.get("q", "").strip()[:DEVICE_ID_BYTES_MAX],
            more=len(devices) > CHART_DEVICE_COUNT_MAX or len(metrics) > CHART_METRIC_COUNT_MAX,
        )

    @property
    def is_moving(self) -> bool:
        """Whether the range ends now, whenever that is."""
        return is_relative(self.from_) and self.to in ("", "now")

    def range_ms(self, now_ms: int) -> tuple[int, int]:
        """From and to in UTC ms.

        Raises:
            UsageError: `time_invalid`, `range_invalid`.
        """
        from_ms = parse_when(in_utc(self.from_), now_ms, name="from")
        to_ms = parse_when(in_utc(self.to), now_ms, name="to") if self.to else now_ms
        check_range(from_ms, to_ms)
        return from_ms, to_ms

    def pairs(self) -> list[tuple[str, str]]:
        """The parameters of a URL of this; what is as usual is left out."""
        pairs = [("device", name) for name in self.devices] + [("metric", name) for name in self.metrics]
        pairs.append(("from", self.from_))
        pairs += [("to", self.to)] * bool(self.to)
        pairs += [("aggregation", self.aggregation)] * (self.aggregation != "band")
        pairs += [("live", "1")] * self.live + [("view", "table")] * self.table
        return pairs

    def url(self, path: str = "/telemetry") -> str:
        """The address of a page like this one."""
        return f"{path}?{urlencode(self.pairs())}"

    def of_metric(self, metric: str) -> Choice:
        """The same devices and range with one metric, as its chart asks for it."""
        return replace(self, metrics=(metric,), live=False, table=False)

    def presets(self) -> tuple[Link, ...]:
        """Links to the usual ranges that end now."""
        return tuple(
            Link(
                label=label,
                url=replace(self, from_=text, to="").url(),
                current=self.from_ == text and self.is_moving,
            )
            for text, label in PRESETS
        )

    def export_url(self, format_: str, from_ms: int, to_ms: int) -> str:
        """The API's address of a file of the readings shown, whatever the page makes of them."""
        pairs = [("device", name) for name in self.devices] + [("metric", name) for name in self.metrics]
        return "/api/v1/telemetry/export?" + urlencode(
            [("format", format_), *pairs, ("from", str(from_ms)), ("to", str(to_ms))]
        )


def _names(given: Sequence[str], length_max: int) -> list[str]:
    return [name for name in dict.fromkeys(given) if 0 < len(name) <= length_max]


def in_utc(text: str) -> str:
    """A time as people type it, "2026-03-01" or "2026-03-01 10:00", which is UTC as all on the page; others as they are."""
    found = _WITHOUT_OFFSET.fullmatch(text)
    return f"{found[1]}T{found[2] or '00:00'}Z" if found else text
