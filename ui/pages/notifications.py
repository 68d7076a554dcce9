"""Notifications: targets with a try, on-call lists, and what was told to whom with what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from appliance.core.limits import PAGE_ROW_COUNT_DEFAULT
from appliance.management.notification_targets import address_of
from appliance.management.on_call import OnCallList
from storage.catalog import Catalog
from storage.catalog.notification_targets import NotificationTarget
from storage.catalog.notifications import STATES
from storage.catalog.on_call_lists import OnCallRow
from storage.catalog.site_zone import site_zone
from ui.pages.alarm_words import NOTIFICATION, RULE
from ui.pages.format import visible
from ui.pages.looks import Look
from ui.pages.notification_facts import says_of, view_of
from ui.pages.rule_sentence import scope_words
from ui.pages.shell import Shell
from ui.pages.views import Notice

URL: Final = "/alarms/notifications"
KIND_WORDS: Final = {"webhook": "Webhook", "email": "E-mail", "mqtt": "MQTT"}
_NOTICES: Final = {
    "target_saved": "The target is saved. Try it: what comes of it is said here.",
    "target_removed": "The target is gone.",
    "list_saved": "The on-call list is saved and holds from now on.",
    "list_removed": "The on-call list is gone. What was told by it stays below.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """A target as a row."""

    target_id: str
    name: str
    kind: str
    address: str
    is_enabled: bool

    @property
    def url(self) -> str:
        return f"{URL}/targets/{self.target_id}"

    @property
    def look(self) -> Look:
        return RULE["on" if self.is_enabled else "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListView:
    """An on-call list as a row; `now` is who has the turn, `is_fallback` that nobody has and all are told."""

    list_id: str
    name: str
    scope: str
    severities: str
    now: str
    is_fallback: bool
    is_enabled: bool

    @property
    def url(self) -> str:
        return f"{URL}/lists/{self.list_id}"

    @property
    def look(self) -> Look:
        return RULE["on" if self.is_enabled else "off"]


async def show(shell: Shell, request: Request) -> Response:
    """`GET /alarms/notifications?state=&after=&done=&tried=`."""
    query = request.query_params
    state = query.get("state", "") if query.get("state", "") in STATES else ""
    now_ms = shell.services.clock.now_ms()

    def read(catalog: Catalog) -> dict[str, Any]:
        page = catalog.list_notifications(
            limit=PAGE_ROW_COUNT_DEFAULT,
            cursor=query.get("after") or None,
            states=(state,) if state else (),
        )
        tried = query.get("tried", "")
        zone = site_zone(catalog)
        return {
            "targets": [target_view(each) for each in catalog.list_targets()],
            "lists": [_list_view(each, now_ms, zone) for each in catalog.list_on_call()],
            "notifications": tuple(map(view_of, page.notifications)),
            "next_cursor": page.next_cursor,
            "notice": _tried(catalog, tried) if tried else _said(query.get("done", "")),
        }

    context = await shell.services.catalog.read(read)
    next_cursor = context.pop("next_cursor")
    state_query = f"state={state}&" if state else ""
    return await shell.render(
        request,
        "notifications.html",
        title="Notifications",
        section="notifications",
        kinds=KIND_WORDS,
        chips=[("", "all", not state), *((word, NOTIFICATION[word].word, word == state) for word in STATES)],
        next_url=f"{URL}?{state_query}after={next_cursor}" if next_cursor else "",
        may_manage="notifications.manage" in await shell.permissions_of(request),
        **context,
    )


def target_view(target: NotificationTarget) -> TargetView:
    """A target as a row."""
    return TargetView(
        target_id=target.target_id,
        name=target.name,
        kind=KIND_WORDS[target.kind],
        address=address_of(target.settings),
        is_enabled=target.is_enabled,
    )


def _list_view(row: OnCallRow, now_ms: int, zone: Any) -> ListView:
    definition = row.definition
    turn = OnCallList(row.list_id, row.name, definition).turn(now_ms, zone)
    plans = {"P1": definition.P1, "P2": definition.P2, "P3": definition.P3}
    return ListView(
        list_id=row.list_id,
        name=row.name,
        scope=scope_words(definition.scope),
        severities=", ".join(severity for severity, plan in plans.items() if plan is not None),
        now=", ".join(map(visible, turn.members)),
        is_fallback=turn.is_fallback,
        is_enabled=row.is_enabled,
    )


def _said(done: str) -> Notice | None:
    text = _NOTICES.get(done)
    return Notice(tone="good", text=text) if text else None


def _tried(catalog: Catalog, key: str) -> Notice | None:
    """What came of a try."""
    found = [
        each
        for each in catalog.list_notifications(limit=PAGE_ROW_COUNT_DEFAULT).notifications
        if each.notification_id == key
    ]
    if not found:
        return None
    one = found[0]
    if one.state == "sent":
        return Notice(
            tone="good", text=f"The try reached {visible(one.target_name)}. {visible(says_of(one))}"
        )
    return Notice(tone="bad", text=f"The try did not reach {visible(one.target_name)}. {visible(one.error)}")
