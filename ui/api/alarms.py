"""Endpoints about alarms: what is wrong, since when, who has seen it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

from appliance.alarms.book import Acted
from appliance.core.limits import CATALOG_CHUNK_ROW_COUNT_MAX, PAGE_ITEM_COUNT_MAX
from appliance.management.alarm import Alarm
from appliance.management.alarms import AlarmState
from appliance.management.permissions import Scope, may
from appliance.management.rule import of_json
from appliance.management.rule_words import describe
from storage.catalog import Catalog
from storage.catalog.alarm_lists import OPEN_STATES, AlarmFilter, unknown_alarm
from storage.catalog.alarms import AlarmEventRow
from ui.api import alarm_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.notifications import notification_answer
from ui.auth import actor_of

Act = Callable[[Catalog, Sequence[str]], Acted]


def alarm_answer(alarm: Alarm) -> structs.Alarm:
    return structs.Alarm(
        **{name: getattr(alarm, name) for name in _SAME},
        explanation=dict(alarm.explanation),
        state=alarm.state.value,
        version=str(alarm.version),
    )


_SAME = tuple(
    name for name in structs.Alarm.__struct_fields__ if name not in ("explanation", "state", "version")
)
"""What an answer has as the alarm has it."""


def event_answer(row: AlarmEventRow) -> structs.AlarmEvent:
    return structs.AlarmEvent(**asdict(row))


def alarm_detail(
    catalog: Catalog, alarm_id: str, *, scope: Scope, shows_notifications: bool
) -> structs.AlarmDetail:
    """One with its last events, its rule, and who was told. Raises NotFound: `alarm_unknown`."""
    alarm = catalog.get_alarm(alarm_id, scope=scope)
    rule = catalog.rule_of_alarm(alarm.rule_id)
    definition = of_json(rule.definition) if rule is not None else None
    last = alarm.event_number - PAGE_ITEM_COUNT_MAX
    return structs.AlarmDetail(
        alarm=alarm_answer(alarm),
        rule=structs.AlarmRule(
            rule_id=rule.rule_id,
            name=rule.name,
            enabled=rule.is_enabled,
            description=describe(definition),
            text=definition.text,
            runbook=definition.runbook,
        )
        if rule is not None and definition is not None
        else None,
        events=tuple(
            map(event_answer, catalog.alarm_events(alarm_id, after=last, limit=PAGE_ITEM_COUNT_MAX))
        ),
        notifications=tuple(
            map(
                notification_answer,
                catalog.list_notifications(limit=PAGE_ITEM_COUNT_MAX, alarm_id=alarm_id).notifications,
            )
        )
        if shows_notifications
        else None,
    )


def acted_answer(acted: Sequence[Acted]) -> structs.AlarmsActed:
    """What several acts came to together."""
    alarms = [alarm for each in acted for alarm in each.alarms]
    return structs.AlarmsActed(
        alarms=tuple(map(alarm_answer, alarms)),
        changed_count=len(alarms),
        unchanged_count=sum(len(each.unchanged) for each in acted),
        unknown_count=sum(len(each.unknown) for each in acted),
    )


async def list_alarms(call: Call) -> Reply:
    query: structs.AlarmQuery = call.query
    chosen: AlarmFilter = {
        "states": [AlarmState(state) for state in query.state] or (() if query.aside else OPEN_STATES),
        "aside": query.aside,
        "is_set_aside": query.set_aside,
        "severities": query.severity,
        "device_id": query.device,
        "rule_id": query.rule,
        "group_id": query.group,
        "tag": query.tag,
        "q": query.q,
        "since_ms": query.since_ms,
        "until_ms": query.until_ms,
        "scope": call.scope,
    }

    def read(catalog: Catalog) -> structs.AlarmPage:
        page = catalog.list_alarms(order=query.order, cursor=query.cursor, limit=query.limit, **chosen)
        return structs.AlarmPage(
            alarms=tuple(map(alarm_answer, page.alarms)),
            count=catalog.count_alarms(**chosen),
            next_cursor=page.next_cursor,
        )

    return Reply(content=await call.services.catalog.read(read))


async def get_alarm(call: Call) -> Reply:
    alarm_id = call.path["alarm_id"]
    assert call.identity is not None
    shows_notifications = may(call.identity.role, call.scope, "notifications.read")
    answer = await call.services.catalog.read(
        lambda catalog: alarm_detail(
            catalog, alarm_id, scope=call.scope, shows_notifications=shows_notifications
        )
    )
    return Reply(content=answer, version=answer.alarm.version)


async def get_alarm_counts(call: Call) -> Reply:
    counts = await call.services.catalog.read(lambda catalog: catalog.alarm_counts(scope=call.scope))
    return Reply(
        content=structs.AlarmCounts(
            by_severity=counts.by_severity,
            unacknowledged=counts.unacknowledged,
            oldest_unacknowledged_ms=counts.oldest_unacknowledged_ms,
        )
    )


async def get_alarm_history(call: Call) -> Reply:
    query: structs.AlarmHistoryQuery = call.query
    found = await call.services.catalog.read(
        lambda catalog: catalog.alarm_history(
            device_id=query.device,
            alarm_id=query.alarm,
            from_ms=query.from_ms,
            to_ms=query.to_ms,
            scope=call.scope,
            limit=query.limit + 1,
        )
    )
    return Reply(
        content=structs.AlarmHistory(
            events=tuple(map(event_answer, found[: query.limit])), truncated=len(found) > query.limit
        )
    )


async def acknowledge_alarms(call: Call) -> Reply:
    wish: structs.Acknowledgement = call.body
    book, actor = call.services.alarms.book, (await actor_of(call.request)).name
    return await _act(
        call,
        wish.alarm_ids,
        lambda catalog, some: book.acknowledge(catalog, some, actor=actor, note=wish.note, scope=call.scope),
    )


async def shelve_alarms(call: Call) -> Reply:
    wish: structs.Shelving = call.body
    book, actor = call.services.alarms.book, (await actor_of(call.request)).name
    return await _act(
        call,
        wish.alarm_ids,
        lambda catalog, some: book.shelve(
            catalog, some, until_ms=wish.until_ms, reason=wish.reason, actor=actor, scope=call.scope
        ),
    )


async def unshelve_alarms(call: Call) -> Reply:
    wish: structs.Unshelving = call.body
    book, actor = call.services.alarms.book, (await actor_of(call.request)).name
    return await _act(
        call,
        wish.alarm_ids,
        lambda catalog, some: book.unshelve(catalog, some, actor=actor, scope=call.scope),
    )


def _some(act: Act, alarm_ids: Sequence[str], catalog: Catalog) -> Acted:
    return act(catalog, alarm_ids)


async def _act(call: Call, alarm_ids: Sequence[str], act: Callable[[Catalog, Sequence[str]], Acted]) -> Reply:
    """Some at a time, so that no other writer waits long; what was done before a failure stays, and doing it again changes nothing.

    Raises:
        NotFound: `alarm_unknown`: none of them is there, or is seen by whoever asks.
    """
    wanted = list(dict.fromkeys(alarm_ids))
    known = await call.services.catalog.read(lambda catalog: catalog.visible_alarms(wanted, scope=call.scope))
    if not known:
        raise unknown_alarm(wanted[0])
    acted = []
    for start in range(0, len(wanted), CATALOG_CHUNK_ROW_COUNT_MAX):
        some = wanted[start : start + CATALOG_CHUNK_ROW_COUNT_MAX]
        acted.append(await call.write(partial(_some, act, some)))
    return Reply(content=acted_answer(acted))


_TAGS = ("alarms",)
_UNKNOWN = {404: ("alarm_unknown",)}
_READ = partial(Endpoint, method="GET", needs="alarms.read", tags=_TAGS)
_ACT = partial(
    Endpoint,
    method="POST",
    needs="alarms.operate",
    answer=structs.AlarmsActed,
    errors=(404,),
    idempotent=True,
    tags=_TAGS,
)
ENDPOINTS = (
    _READ(
        path="/alarms",
        handler=list_alarms,
        summary="List alarms, those that want somebody first",
        query=structs.AlarmQuery,
        answer=structs.AlarmPage,
        codes={422: ("cursor_invalid",)},
    ),
    _READ(
        path="/alarms/counts",
        handler=get_alarm_counts,
        summary="How many alarms there are that aren't normal",
        answer=structs.AlarmCounts,
    ),
    _READ(
        path="/alarms/history",
        handler=get_alarm_history,
        summary="What happened to alarms between two instants",
        query=structs.AlarmHistoryQuery,
        answer=structs.AlarmHistory,
    ),
    _ACT(
        path="/alarms/acknowledge",
        handler=acknowledge_alarms,
        action="alarm.acknowledge",
        summary="Say that somebody has seen alarms",
        body=structs.Acknowledgement,
        codes={**_UNKNOWN, 422: ("alarm_note",)},
    ),
    _ACT(
        path="/alarms/shelve",
        handler=shelve_alarms,
        action="alarm.shelve",
        summary="Have nobody told of alarms for a while",
        body=structs.Shelving,
        codes={**_UNKNOWN, 422: ("alarm_note", "alarm_shelve_until")},
    ),
    _ACT(
        path="/alarms/unshelve",
        handler=unshelve_alarms,
        action="alarm.unshelve",
        summary="Have people told of alarms again",
        body=structs.Unshelving,
        codes=_UNKNOWN,
    ),
    _READ(
        path="/alarms/{alarm_id}",
        handler=get_alarm,
        summary="Get an alarm with its events, its rule and its notifications",
        etag=True,
        answer=structs.AlarmDetail,
        errors=(404,),
        codes=_UNKNOWN,
    ),
)
