"""One alarm: what is wrong and for how long, the readings around it, what happened to it, who was told, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from appliance.core.errors import NotFound
from appliance.management.alarm import Alarm
from appliance.management.permissions import Scope
from storage.catalog import Catalog
from storage.catalog.rules import WrittenRule
from ui import auth
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.alarm_acts import SHELF_TIMES, notice_of
from ui.pages.alarm_facts import event_view, unit_words, views_of
from ui.pages.alarm_views import AlarmView, EventView, NotificationView
from ui.pages.alarm_words import steps_text
from ui.pages.format import iso_text
from ui.pages.live_page import stream
from ui.pages.notification_facts import of_alarm
from ui.pages.rule_sentence import limits_of, rule_sentence, scope_words
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell
from ui.pages.telemetry_choice import Choice
from ui.pages.templating import partial
from ui.pages.views import Notice

EVENT_COUNT: Final = 100
"""The newest ones; all of them are in the API."""
CONTEXT_MS_MIN: Final = 3_600_000
"""So much before an alarm its chart shows at least, and afterwards where there is any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartView:
    """The series of an alarm; `limits` is JSON. Marks come with the history, of all alarms of the series."""

    metric: str
    unit: str
    src: str
    zoom: str
    limits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the page keeps up to date."""

    alarm: AlarmView
    events: tuple[EventView, ...]
    steps: str


async def show(shell: Shell, request: Request) -> Response:
    """`GET /alarms/{id}`. Raises NotFound: `alarm_unknown`."""
    scope = await scope_of(request)
    alarm_id = request.path_params["alarm_id"]
    may = await shell.permissions_of(request)

    def read(
        catalog: Catalog,
    ) -> tuple[Alarm, Told, WrittenRule | None, ChartView | None, tuple[NotificationView, ...] | None]:
        alarm = catalog.get_alarm(alarm_id, scope=scope)
        rule = _rule_of(catalog, alarm)
        told = _told(catalog, alarm, rule, scope)
        chart = _chart(catalog, alarm, rule, shell.services.clock.now_ms())
        sent = of_alarm(catalog, alarm_id, scope, limit=EVENT_COUNT) if "notifications.read" in may else None
        return alarm, told, rule, chart, sent

    alarm, told, rule, chart, sent = await shell.services.catalog.read(read)
    notice = notice_of(request.query_params.get("done", ""), request.query_params.get("count", ""))
    return await shell.render(
        request,
        "alarm.html",
        title=f"{alarm.rule_name}, {told.alarm.where}",
        section="alarms",
        charts=chart is not None and "telemetry.read" in may,
        live_url=f"/live{told.alarm.url}",
        t=told,
        rule_says=rule_sentence(rule.definition) if rule is not None else "",
        rule_scope=scope_words(rule.definition.scope) if rule is not None else "",
        rule_name=rule.name if rule is not None else alarm.rule_name,
        runbook=rule.definition.runbook if rule is not None else "",
        chart=chart,
        notifications=sent,
        notice=Notice(tone="good", text=notice) if notice else None,
        may_operate="alarms.operate" in may,
        shelf_times=[(key, words) for key, (words, _) in SHELF_TIMES.items()],
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/alarms/{id}`. Raises NotFound: `alarm_unknown`."""
    identity = await auth.require(request)
    alarm_id = request.path_params["alarm_id"]
    may_operate = "alarms.operate" in await shell.permissions_of(request)
    shown: Told | None = None

    def read(catalog: Catalog) -> Told:
        alarm = catalog.get_alarm(alarm_id, scope=identity.scope)
        return _told(catalog, alarm, _rule_of(catalog, alarm), identity.scope)

    await shell.services.catalog.read(read)

    async def render(frame: Frame) -> list[bytes]:
        nonlocal shown
        try:
            told = await shell.services.catalog.read(read)
        except NotFound:
            return [
                sse.json_event("reload", {}, seq=frame.seq)
            ]  # It was removed, or is in no group of theirs.
        if told == shown and not frame.is_first:
            return []
        shown = told
        html = shell.templates.render(
            "alarm_told.html",
            t=told,
            now_ms=shell.services.clock.now_ms(),
            csrf=identity.csrf_token,
            may_operate=may_operate,
        )
        return [sse.event(partial("alarms", html), seq=frame.seq)]

    return stream(shell, request, None, render)


def _rule_of(catalog: Catalog, alarm: Alarm) -> WrittenRule | None:
    try:
        return catalog.get_rule(alarm.rule_id)
    except NotFound:
        return None


def _told(catalog: Catalog, alarm: Alarm, rule: WrittenRule | None, scope: Scope) -> Told:
    (view,) = views_of(catalog, [alarm], scope)
    rows = catalog.alarm_events(
        alarm.alarm_id, after=max(0, alarm.event_number - EVENT_COUNT), limit=EVENT_COUNT
    )
    text = rule.definition.text if rule is not None else ""
    return Told(
        alarm=view,
        events=tuple(event_view(row, unit_words(alarm)) for row in reversed(rows)),
        steps=steps_text(view.state, view.severity, text=text),
    )


def _chart(catalog: Catalog, alarm: Alarm, rule: WrittenRule | None, now_ms: int) -> ChartView | None:
    """The readings around it, from well before it began; None where it is about no metric of one device."""
    if not alarm.device_id or not alarm.series:
        return None
    end_ms = now_ms if alarm.is_active else min(now_ms, (alarm.cleared_at_ms or now_ms) + CONTEXT_MS_MIN)
    context_ms = max(CONTEXT_MS_MIN, (end_ms - alarm.episode_began_at_ms) // 2)
    from_ms = alarm.episode_began_at_ms - context_ms
    choice = Choice(
        devices=(alarm.device_id,),
        metrics=(alarm.series,),
        from_=iso_text(from_ms),
        to="" if end_ms == now_ms else iso_text(end_ms),
    )
    limits = limits_of(rule.definition.condition) if rule is not None else []
    return ChartView(
        metric=alarm.series,
        unit=unit_words(alarm),
        src=choice.url("/telemetry/data"),
        zoom=choice.url(),
        limits=msgspec.json.encode(limits).decode(),
    )
