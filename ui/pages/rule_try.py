"""Trying a rule on its page: the alarms that it would have raised, counted, drawn and listed. Nothing is saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from appliance.alarms.rule_try import TriedAlarm, TryOut
from appliance.core.errors import HomeportError, NotFound
from appliance.management.rule import RuleDefinition
from appliance.management.units import unit_of
from ui.pages.alarm_marks import Span, mark_of
from ui.pages.format import count_text, duration_text, iso_text, plural, visible
from ui.pages.rule_editor import RANGES, editor, form_sent
from ui.pages.rule_sentence import limits_of
from ui.pages.shell import Shell, problem_text
from ui.pages.telemetry_choice import Choice
from ui.problem import status_of
from ui.rule_tries import try_rule

FIGURE_COUNT_MAX: Final = 3
ROW_COUNT_MAX: Final = 50
_DAY_MS: Final = 86_400_000
_SPANS_MS: Final = {"24h": _DAY_MS, "7d": 7 * _DAY_MS}
_NAMELESS: Final = "a rule that is tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRow:
    """An alarm that the rule would have raised; `lasted` in words."""

    where: str
    from_ms: int
    lasted: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedFigure:
    """A series with what would have been; `marks` and `limits` are JSON."""

    metric: str
    label: str
    unit: str
    src: str
    marks: str
    limits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedView:
    """What a try came to."""

    count: int
    range_word: str
    says: str
    figures: tuple[TriedFigure, ...]
    rows: tuple[TriedRow, ...]


async def try_out(shell: Shell, request: Request) -> Response:
    """`POST /alarms/rules/try` with the editor's fields and range: the editor with what it would have raised."""
    form, rule_id = await form_sent(request)
    sent = (await request.form()).get("range", "24h")
    range_key = sent if isinstance(sent, str) and sent in RANGES else "24h"
    services = shell.services
    rule = await services.catalog.read(lambda catalog: catalog.get_rule(rule_id)) if rule_id else None
    try:
        definition = form.definition(name=form.clean_name() or _NAMELESS)
        to_ms = services.clock.now_ms()
        tried, series = await try_rule(services, definition, to_ms - _SPANS_MS[range_key], to_ms)
    except NotFound:
        raise
    except HomeportError as error:
        return await editor(
            shell,
            request,
            form,
            rule=rule,
            problem=problem_text(error),
            status=status_of(error),
            range_key=range_key,
        )
    view = view_of(tried, definition, form.clean_name() or "It", series, range_key)
    return await editor(shell, request, form, rule=rule, tried=view, range_key=range_key)


def view_of(
    tried: TryOut, definition: RuleDefinition, name: str, series: Sequence[tuple[str, str]], range_key: str
) -> TriedView:
    """What a try came to, for its page.

    Args:
        series: What it was tried on: the first one is drawn where nothing was found.
    """
    drawn = [
        each
        for each, _ in Counter(
            (alarm.key.device_id, alarm.key.series)
            for alarm in tried.alarms
            if alarm.key.device_id and alarm.key.series
        ).most_common(FIGURE_COUNT_MAX)
    ]
    return TriedView(
        count=tried.count,
        range_word=f"last {RANGES[range_key]}",
        says=_says(tried),
        figures=tuple(
            _figure(tried, definition, name, device_id, metric) for device_id, metric in drawn or series[:1]
        ),
        rows=tuple(_row(alarm, tried.to_ms) for alarm in tried.alarms[:ROW_COUNT_MAX]),
    )


def _says(tried: TryOut) -> str:
    looked = (
        f"{count_text(tried.reading_count)} readings of {plural(tried.series_count, 'series', 'series')} were looked at, with"
        f" {duration_text(tried.warm_up_ms)} before it to warm up."
    )
    if not tried.reading_count:
        return "There are no readings of its devices in this range: nothing could be tried."
    if not tried.count:
        return f"{looked} Nothing would have been raised."
    per_day = tried.count / ((tried.to_ms - tried.from_ms) / _DAY_MS)
    often = f"{per_day:.0f} a day" if per_day >= 1 else "less than one a day"
    most = [
        f"{visible(device_id)} {count_text(count)}"
        for device_id, count in list(tried.by_device.items())[:3]
        if device_id
    ]
    return f"{looked} That is {often}" + (f"; most: {', '.join(most)}." if most else ".")


def _figure(tried: TryOut, definition: RuleDefinition, name: str, device_id: str, metric: str) -> TriedFigure:
    choice = Choice(
        devices=(device_id,), metrics=(metric,), from_=iso_text(tried.from_ms), to=iso_text(tried.to_ms)
    )
    marks = [
        mark_of(
            definition.severity,
            name,
            Span(each.from_ms, each.to_ms or tried.to_ms),
            tried.to_ms,
            url="#tried",
        )
        for each in reversed(tried.alarms)
        if (each.key.device_id, each.key.series) in ((device_id, metric), (device_id, ""))
    ]
    return TriedFigure(
        metric=metric,
        label=f"{device_id} {metric}",
        unit=unit_of(metric),
        src=choice.url("/telemetry/data"),
        marks=msgspec.json.encode(marks).decode(),
        limits=msgspec.json.encode(limits_of(definition.condition)).decode(),
    )


def _row(alarm: TriedAlarm, now_ms: int) -> TriedRow:
    key = alarm.key
    about = key.device_id or (f"group {key.group_id}" if key.group_id else "all of them")
    lasted = duration_text((alarm.to_ms or now_ms) - alarm.from_ms)
    return TriedRow(
        where=f"{about} {key.series}".strip(),
        from_ms=alarm.from_ms,
        lasted=lasted if alarm.to_ms is not None else f"{lasted}, active still",
        text=alarm.text,
    )
