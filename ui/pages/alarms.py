"""The page of alarms: what wants somebody first; acknowledged with one key, shelved with a reason and an end; what happened when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from appliance.core.errors import HomeportError
from appliance.core.limits import PAGE_ITEM_COUNT_MAX
from appliance.management.permissions import Scope
from appliance.management.rule import SEVERITIES
from storage.catalog import Catalog, Group
from storage.catalog.alarm_lists import AlarmCounts
from ui import auth
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.alarm_acts import SHELF_TIMES, notice_of
from ui.pages.alarm_facts import (
    Body,
    count_words,
    event_view,
    read_body,
    unacknowledged_by_severity,
    unit_words,
    views_of,
)
from ui.pages.alarm_filter import HISTORY, RANGE_DEFAULT, STATES, Filter
from ui.pages.alarm_views import EventView
from ui.pages.format import count_text, instant_text, iso_text
from ui.pages.live_page import stream
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, problem_text
from ui.pages.telemetry_choice import Choice
from ui.pages.templating import partial
from ui.pages.views import Attention, Notice
from ui.pages.watch_attention import watch_attention
from ui.problem import status_of

EVENT_COUNT: Final = 100
"""Of a page of the history."""
_NOTHING: Final = {
    "": "Nothing is wrong.",
    "shelved": "Nothing is shelved.",
    "suppressed": "Nothing is suppressed.",
}


@dataclass(frozen=True, slots=True)
class ChipView:
    """A link to other alarms; `count` is None where it isn't known."""

    state: str
    label: str
    count: int | None
    url: str
    current: bool


async def show(shell: Shell, request: Request) -> Response:
    """`GET /alarms?state=&severity=&device=&group=&tag=&rule=&from=&to=`."""
    chosen = Filter.of(request.query_params)
    scope = await scope_of(request)
    if chosen.state == HISTORY:
        return await _history(shell, request, chosen, scope)
    body = await shell.services.catalog.read(lambda catalog: read_body(catalog, chosen, scope))
    notice = notice_of(request.query_params.get("done", ""), request.query_params.get("count", ""))
    return await _page(
        shell,
        request,
        chosen,
        scope,
        counts=body.counts,
        live_url="/live/alarms" + (f"?{chosen.query()}" if chosen.query() else ""),
        notice=Notice(tone="good", text=notice) if notice else None,
        events=None,
        folded=body.folded,
        **_lists(body, chosen),
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/alarms` with the page's query."""
    identity = await auth.require(request)
    chosen = Filter.of(request.query_params)
    may_operate = "alarms.operate" in await shell.permissions_of(request)
    shown: tuple[Body, list[Attention]] | None = None

    async def render(frame: Frame) -> list[bytes]:
        nonlocal shown
        watching = _watching(shell, identity.scope)
        body = await shell.services.catalog.read(lambda catalog: read_body(catalog, chosen, identity.scope))
        if (body, watching) == shown and not frame.is_first:
            return []
        shown = body, watching
        common = {
            "csrf": identity.csrf_token,
            "now_ms": shell.services.clock.now_ms(),
            "may_operate": may_operate,
            "tickable": may_operate,
            "back": chosen.url(),
        }
        lists = _lists(body, chosen)
        html = partial("alarms-open", shell.templates.render("alarms_open.html", **lists, **common))
        for each in body.folded:
            rows = shell.templates.render("alarm_list.html", rows=each.rows, **common)
            html += partial(f"in-{each.key}", rows) + partial(f"n-{each.key}", str(each.total))
        html += partial("watching", shell.templates.render("watching.html", watching=watching))
        for state, count in _totals(body.counts).items():
            html += partial(f"c-{state}", count_text(count))
        html += nav_partial(shell, body.counts)
        return [sse.event(html, seq=frame.seq)]

    return stream(shell, request, None, render)


def nav_partial(shell: Shell, counts: AlarmCounts) -> str:
    """The count in the navigation of an open page."""
    by_severity = unacknowledged_by_severity(counts)
    html = shell.templates.render(
        "nav_count.html",
        waiting=sum(by_severity.values()),
        waiting_text=f"not acknowledged: {count_words(by_severity)}",
    )
    return partial("nav-alarms", html)


def _watching(shell: Shell, scope: Scope) -> list[Attention]:
    """What rules do, where they don't keep up."""
    return watch_attention(shell.services.pipeline.statistics().watch, is_whole_site=scope is None)


def _totals(counts: AlarmCounts) -> dict[str, int]:
    """How many there are, for the links that say so."""
    return {
        "unacknowledged": counts.unacknowledged,
        "shelved": counts.of("shelved"),
        "suppressed": counts.of("suppressed"),
    }


def _lists(body: Body, chosen: Filter) -> dict[str, Any]:
    sections = tuple(
        replace(each, title=STATES[chosen.state]) if each.key == "chosen" else each for each in body.sections
    )
    nothing = "No alarm matches." if chosen.narrows else _NOTHING.get(chosen.state, "No alarm is so.")
    return {"open_sections": sections, "nothing": nothing}


async def _history(shell: Shell, request: Request, chosen: Filter, scope: Scope) -> Response:
    services = shell.services
    now_ms = services.clock.now_ms()
    problem, status = "", 200
    events: tuple[EventView, ...] = ()
    next_url = range_text = ""
    try:
        times = Choice(from_=chosen.from_ or RANGE_DEFAULT, to=chosen.to)
        from_ms, to_ms = times.range_ms(now_ms)
        range_text = " to ".join(instant_text(at_ms)[:16] for at_ms in (from_ms, to_ms)) + " UTC"
        events, oldest_ms = await services.catalog.read(
            lambda catalog: _events(catalog, chosen, from_ms, to_ms, scope)
        )
        if oldest_ms is not None:
            # The last instant again: several things may have happened in it.
            next_url = replace(chosen, to=iso_text(oldest_ms + 1), from_=iso_text(from_ms)).url()
    except HomeportError as error:
        problem, status = problem_text(error), status_of(error)
    return await _page(
        shell,
        request,
        chosen,
        scope,
        counts=await shell.alarms.counts(scope),
        status=status,
        problem=problem,
        events=events,
        range_text=range_text,
        next_url=next_url,
        folded=(),
        open_sections=(),
        nothing="",
    )


def _events(
    catalog: Catalog, chosen: Filter, from_ms: int, to_ms: int, scope: Scope
) -> tuple[tuple[EventView, ...], int | None]:
    """What happened, the newest first; and when the oldest of it did, if there may be more before it."""
    found = catalog.alarm_history(
        device_id=chosen.device, from_ms=from_ms, to_ms=to_ms, scope=scope, limit=EVENT_COUNT
    )
    oldest_ms = found[-1].at_ms if len(found) == EVENT_COUNT else None
    alarms = catalog.visible_alarms(list({each.alarm_id for each in found}), scope=scope)
    if chosen.narrows:
        fitting = catalog.list_alarms(
            limit=PAGE_ITEM_COUNT_MAX, order="newest", **chosen.narrowed(scope)
        ).alarms
        wanted = {each.alarm_id for each in fitting}
        found = tuple(each for each in found if each.alarm_id in wanted)
    views = {each.alarm_id: each for each in views_of(catalog, alarms.values(), scope)}
    events = tuple(
        event_view(each, unit_words(alarms[each.alarm_id]), views[each.alarm_id])
        for each in found
        if each.alarm_id in views
    )
    return events, oldest_ms


async def _page(
    shell: Shell, request: Request, chosen: Filter, scope: Scope, *, counts: AlarmCounts, **context: Any
) -> Response:
    may = await shell.permissions_of(request)
    rules, groups = await shell.services.catalog.read(
        lambda catalog: (
            catalog.list_rules() if "rules.read" in may else [],
            catalog.list_groups(scope=scope, counted=False),
        )
    )
    listed: list[Group] = groups
    may_operate = "alarms.operate" in may
    totals = _totals(counts)
    return await shell.render(
        request,
        "alarms.html",
        title="Alarms",
        section="alarms",
        filter=chosen,
        chips=[
            ChipView(state, label, totals.get(state), chosen.in_state(state).url(), state == chosen.state)
            for state, label in STATES.items()
        ],
        severities=SEVERITIES,
        groups=listed,
        rules=rules,
        watching=_watching(shell, scope),
        may_operate=may_operate,
        tickable=may_operate,
        back=chosen.url(),
        shelf_times=[(key, words) for key, (words, _) in SHELF_TIMES.items()],
        **{"range_text": "", "next_url": "", **context},
    )
