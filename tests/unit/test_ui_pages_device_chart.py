"""Which charts a page draws."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from starlette.datastructures import QueryParams

from ui.pages.device_chart import choose
from ui.pages.device_facts import numeric_metrics

NOW_MS = 1_700_000_000_000


@dataclass(frozen=True, kw_only=True)
class Newest:
    metric: str
    value: float | int | str | bool | None
    observed_at_ms: int = NOW_MS
    received_at_ms: int = NOW_MS
    quality: int = 0
    counts_at_ms: int | None = NOW_MS
    is_kept_copy: bool = False


def test_metrics_with_a_unit_are_drawn_first_and_text_never() -> None:
    values = [
        Newest(metric="a_on", value=True),
        Newest(metric="b_count", value=1),
        Newest(metric="c_volts", value=2.0),
    ]
    values += [Newest(metric="d", value=3), Newest(metric="e", value="text")]
    newest = {value.metric: value for value in values}
    assert numeric_metrics(newest) == ["c_volts", "b_count", "d", "a_on"]
    chart = choose("a", numeric_metrics(newest), QueryParams("metric=d&metric=e&metric=d&range=1h"))
    assert [m.name for m in chart.drawn] == ["d"]
    assert chart.range.key == "1h"
    assert choose("a", [], QueryParams("range=nonsense")).range.key == "24h"


@pytest.mark.parametrize(
    ("known_ms", "key"),
    [(0, "15m"), (900_000, "15m"), (900_001, "1h"), (8 * 3_600_000, "24h"), (10**12, "24h")],
)
def test_a_new_device_is_shown_over_the_time_it_is_known(known_ms: int, key: str) -> None:
    assert choose("a", [], QueryParams(""), known_ms=known_ms).range.key == key
    assert choose("a", [], QueryParams("range=7d"), known_ms=known_ms).range.key == "7d"
