"""Readings as the page of readings shows them: history for a chart's lines, rows for a table, what stands in a legend. Pure but for the
question itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.limits import (
    CHART_POINT_COUNT,
    CHART_RAW_POINT_COUNT_MAX,
    PICKER_METRIC_COUNT_MAX,
    QUERY_POINT_COUNT_MAX,
    TELEMETRY_TABLE_ROW_COUNT_MAX,
)
from appliance.management.units import unit_of
from ui.pages.charts import history_of
from ui.pages.device_facts import cut, newest_view, numeric_metrics
from ui.pages.format import duration_text, value_text
from ui.pages.telemetry_choice import Choice
from ui.pages.views import NewestView, Notice, dom_id
from ui.services import LiveView, PipelineStatistics, SeriesData, Services
from ui.store_words import store_state, store_text
from ui.telemetry_question import round_interval_ms

_ROLLED: Final = ("days", "hours", "minutes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One device in a chart: `number` says which colour and dash it has; `newest` is None where it has no value now."""

    device_id: str
    label: str
    url: str
    number: int
    newest: NewestView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric's chart; `unit` is of what is drawn, which of numbers of readings is none."""

    metric: str
    label: str
    unit: str
    src: str
    zoom: str
    lines: tuple[Line, ...]

    @property
    def legend_id(self) -> str:
        return dom_id("l", self.metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One time, and a text for each device: "" where there is no reading."""

    at_ms: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One metric as numbers; `note` says how wide a row's interval is, and what is missing."""

    label: str
    unit: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the store said to a question, and how long that took."""

    series: Sequence[SeriesData]
    interval_ms: int | None
    took_ms: int


async def ask(
    services: Services,
    series: Sequence[tuple[str, str]],
    choice: Choice,
    from_ms: int,
    to_ms: int,
    *,
    count_max: int,
) -> Answer:
    """Ask for series in round intervals, `count_max` points each at most.

    Raises:
        Unavailable: the store is away or slow. LimitExceeded: too many questions wait.
    """
    interval_ms = None
    if choice.aggregation != "raw":
        interval_ms = round_interval_ms(to_ms - from_ms, count_max)
        # Whole intervals, so that the first is no narrower than the others and nothing but rollups is needed.
        from_ms = from_ms // interval_ms * interval_ms
    began_mono_ms = services.clock.mono_ms()
    found = await services.telemetry.query_many(
        series,
        from_ms,
        to_ms,
        aggregation=choice.aggregation,
        interval_ms=interval_ms,
        limit_total=min(QUERY_POINT_COUNT_MAX, (count_max + 2) * len(series)),
    )
    return Answer(series=found, interval_ms=interval_ms, took_ms=services.clock.mono_ms() - began_mono_ms)


async def history(
    services: Services, metric: str, choice: Choice, from_ms: int, to_ms: int
) -> dict[str, Any]:
    """One metric of the chosen devices, with gaps marked: what js/chart.js calls History."""
    count_max = CHART_POINT_COUNT if choice.aggregation != "raw" else CHART_RAW_POINT_COUNT_MAX
    answer = await ask(
        services, [(device, metric) for device in choice.devices], choice, from_ms, to_ms, count_max=count_max
    )
    many = len(answer.series) > 1
    return history_of(
        [(cut(data.device)[0] if many else "", data) for data in answer.series],
        interval_ms=answer.interval_ms,
        range_ms=to_ms - from_ms,
        end_ms=None if choice.is_moving else to_ms,
        note=note_of(answer),
    )


def note_of(answer: Answer) -> str:
    """How long an answer took, what it was read from, and whether it is all of it."""
    read = answer.series[0].sources if answer.series else ()
    rolled = [word for word in read if word in _ROLLED]
    words = [f"{', '.join(rolled)} rolled up"] * bool(rolled)
    words += [
        text for word, text in (("readings", "single readings"), ("archive", "the archive")) if word in read
    ]
    parts = [
        " from ".join([f"read in {duration_text(answer.took_ms)}", *([" and ".join(words)] if words else [])])
    ]
    if any(one.truncated for one in answer.series):
        parts.append("cut off: there is more, choose a shorter range")
    return " · ".join(parts)


def figures(
    services: Services, choice: Choice, metrics: Sequence[str], device_urls: dict[str, str], now_ms: int
) -> tuple[Figure, ...]:
    """The charts of a page, and who is in each: all chosen devices, so that a colour means the same in all of them."""
    return tuple(
        Figure(
            metric=metric,
            label=cut(metric)[0],
            unit=_unit(metric, choice),
            src=choice.of_metric(metric).url("/telemetry/data"),
            zoom=choice.url(),
            lines=tuple(
                Line(
                    device_id=device_id,
                    label=cut(device_id)[0],
                    url=url,
                    number=number,
                    newest=_newest(services, device_id, metric, now_ms),
                )
                for number, (device_id, url) in enumerate(device_urls.items())
            ),
        )
        for metric in metrics
    )


def _newest(services: Services, device_id: str, metric: str, now_ms: int) -> NewestView | None:
    newest = services.live.newest(device_id).get(metric)
    if newest is None:
        return None
    return newest_view(device_id, newest, now_ms=now_ms, stale_after_ms=services.stale_after_ms_of(device_id))


async def tables(
    services: Services, choice: Choice, metrics: Sequence[str], from_ms: int, to_ms: int
) -> tuple[Table, ...]:
    """The same as numbers, in at most TELEMETRY_TABLE_ROW_COUNT_MAX rows for each metric; the newest first."""
    made = []
    for metric in metrics:
        answer = await ask(
            services,
            [(device, metric) for device in choice.devices],
            choice,
            from_ms,
            to_ms,
            count_max=TELEMETRY_TABLE_ROW_COUNT_MAX,
        )
        made.append(_table(metric, _unit(metric, choice), answer))
    return tuple(made)


def _table(metric: str, unit: str, answer: Answer) -> Table:
    columns = [_cells(data) for data in answer.series]
    times = sorted({at_ms for column in columns for at_ms in column}, reverse=True)
    is_cut = len(times) > 2 * TELEMETRY_TABLE_ROW_COUNT_MAX
    step = f"one row per {duration_text(answer.interval_ms)} · " if answer.interval_ms else ""
    return Table(
        label=cut(metric)[0],
        unit=unit,
        columns=tuple(cut(data.device)[0] for data in answer.series),
        rows=tuple(
            Row(at_ms=at_ms, cells=tuple(column.get(at_ms, "") for column in columns))
            for at_ms in times[: 2 * TELEMETRY_TABLE_ROW_COUNT_MAX]
        ),
        note=step + note_of(answer) + (" · the newest rows" if is_cut else ""),
    )


def _unit(metric: str, choice: Choice) -> str:
    return "" if choice.aggregation == "count" else unit_of(metric)


def _cells(data: SeriesData) -> dict[int, str]:
    texts = [cut(value)[0] if isinstance(value, str) else value_text(value) for value in data.value]
    if data.min:
        bounds = zip(data.min, data.max, strict=True)
        texts = [
            f"{text} ({value_text(low)} to {value_text(high)})"
            for text, (low, high) in zip(texts, bounds, strict=True)
        ]
    return dict(zip(data.at_ms, texts, strict=True))


def behind(pipeline: PipelineStatistics) -> Notice | None:
    """What to know before one looks for the newest readings: that they are safe, and not here yet."""
    word = store_state(pipeline)
    if word == "closed":
        return None
    return Notice(tone="bad" if word == "open" else "warn", text=f"{how_far_behind(word, pipeline)}.")


def how_far_behind(store_word: str, pipeline: PipelineStatistics) -> str:
    """How many records are not searchable yet, and how old the newest is that is; a sentence without its full stop."""
    text = store_text(store_word, pipeline.behind_records)
    since = (
        f"; the newest of those that are came {duration_text(pipeline.lag_s * 1_000)} ago"
        if pipeline.lag_s >= 1
        else ""
    )
    return f"{text[0].upper()}{text[1:]}{since}"


def metrics_to_choose(live: LiveView, devices: Sequence[str]) -> list[str]:
    """Metrics of any of the devices that can be drawn, those with a unit first; as many as a page offers."""
    newest = {name: value for device in devices for name, value in live.newest(device).items()}
    return numeric_metrics(newest)[:PICKER_METRIC_COUNT_MAX]
