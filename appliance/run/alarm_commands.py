"""What `homeport alarm` and `homeport maintenance` do: through the node while it runs, on the catalog itself while it is stopped.

While it is stopped nobody is told of anything; what is moved then is written down for who is to be told, or not any more, when it starts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from appliance.alarms.book import Acted, AlarmBook
from appliance.core.config import Config
from appliance.management.alarms import AlarmState
from appliance.management.audit import LOCAL, Act
from appliance.management.rule import RuleScope
from appliance.run.alarms_wiring import make_book
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import StoppedNode, node_or_catalog
from appliance.run.notifications_wiring import make_telling
from storage.catalog.alarm_lists import OPEN_STATES, unknown_alarm
from storage.catalog.catalog import Catalog
from ui.api.alarms import acted_answer, alarm_answer, alarm_detail
from ui.api.maintenances import ID_BYTES, maintenance_answer

Row = dict[str, Any]
R = TypeVar("R")
PAGE_SIZE: Final = 1_000


class AlarmCommands(Protocol):
    """What can be done with alarms and maintenances from the command line; answers are as the API's."""

    def list(self, **chosen: Any) -> Iterator[Row]:
        """Those that fit, in order: states, severity, device, group, tag, rule, q."""

    def get(self, alarm_id: str) -> Row:
        """One with its events. Raises NotFound: `alarm_unknown`."""

    def acknowledge(self, alarm_ids: Sequence[str], *, note: str) -> Row:
        """Say that somebody has seen them. Raises NotFound: `alarm_unknown`: none is there. UsageError: `alarm_note`."""

    def shelve(self, alarm_ids: Sequence[str], *, until_ms: int, reason: str) -> Row:
        """Have nobody told of them until then. Raises as acknowledge; UsageError: `alarm_shelve_until`."""

    def unshelve(self, alarm_ids: Sequence[str]) -> Row:
        """Have people told of them again. Raises as acknowledge."""

    def maintenances(self, *, states: Sequence[str]) -> Sequence[Row]:
        """Those in these states, all without."""

    def add_maintenance(self, scope: Row, *, reason: str, from_at_ms: int | None, until_at_ms: int) -> Row:
        """Plan one, or begin it now (None). Raises UsageError, NotFound, LimitExceeded."""

    def end_maintenance(self, maintenance_id: str) -> Row:
        """End it now. Raises NotFound, Conflict."""

    def now_ms(self) -> int:
        """The time by which ends are counted, UTC ms."""


class ThroughNode:
    """Asks the running node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def list(self, **chosen: Any) -> Iterator[Row]:
        query = [("limit", str(PAGE_SIZE)), *((key, each) for key, each in _pairs(chosen))]
        cursor: list[tuple[str, str]] = []
        while True:
            page = self._api.get(f"/api/v1/alarms?{urlencode([*query, *cursor])}")
            yield from page["alarms"]
            if page["next_cursor"] is None:
                return
            cursor = [("cursor", page["next_cursor"])]

    def get(self, alarm_id: str) -> Row:
        found: Row = self._api.get(f"/api/v1/alarms/{quote(alarm_id, safe='')}")
        return found

    def acknowledge(self, alarm_ids: Sequence[str], *, note: str) -> Row:
        return self._act("acknowledge", {"alarm_ids": alarm_ids, "note": note})

    def shelve(self, alarm_ids: Sequence[str], *, until_ms: int, reason: str) -> Row:
        return self._act("shelve", {"alarm_ids": alarm_ids, "until_ms": until_ms, "reason": reason})

    def unshelve(self, alarm_ids: Sequence[str]) -> Row:
        return self._act("unshelve", {"alarm_ids": alarm_ids})

    def maintenances(self, *, states: Sequence[str]) -> Sequence[Row]:
        query = urlencode([("limit", str(PAGE_SIZE)), *(("state", state) for state in states)])
        found: list[Row] = self._api.get(f"/api/v1/maintenances?{query}")["maintenances"]
        return found

    def add_maintenance(self, scope: Row, *, reason: str, from_at_ms: int | None, until_at_ms: int) -> Row:
        wish = {"scope": scope, "reason": reason, "from_at_ms": from_at_ms, "until_at_ms": until_at_ms}
        made: Row = self._api.post("/api/v1/maintenances", wish)
        return made

    def end_maintenance(self, maintenance_id: str) -> Row:
        ended: Row = self._api.post(f"/api/v1/maintenances/{quote(maintenance_id, safe='')}/end", {})
        return ended

    def now_ms(self) -> int:
        return int(self._api.get("/api/v1/status")["now_ms"])

    def _act(self, act: str, body: Row) -> Row:
        done: Row = self._api.post(f"/api/v1/alarms/{act}", body)
        return done


class OnCatalog:
    """Works on the catalog itself; the caller holds the node's lock."""

    def __init__(self, stopped: StoppedNode) -> None:
        self._catalog = stopped.catalog
        self._clock = stopped.clock
        self._book: AlarmBook = make_book(stopped.config.alarms, clock=stopped.clock)
        self._book.on_moves = make_telling(stopped.config, clock=stopped.clock).on_moves

    def list(self, **chosen: Any) -> Iterator[Row]:
        states = [AlarmState(state) for state in chosen.get("state", ())] or OPEN_STATES
        cursor: str | None = None
        while True:
            page = self._catalog.list_alarms(
                states=states,
                severities=chosen.get("severity", ()),
                device_id=chosen.get("device", ""),
                group_id=chosen.get("group", ""),
                tag=chosen.get("tag", ""),
                rule_id=chosen.get("rule", ""),
                q=chosen.get("q", ""),
                cursor=cursor,
                limit=PAGE_SIZE,
            )
            yield from (_built(alarm_answer(each)) for each in page.alarms)
            cursor = page.next_cursor
            if cursor is None:
                return

    def get(self, alarm_id: str) -> Row:
        return _built(alarm_detail(self._catalog, alarm_id, scope=None, shows_notifications=True))

    def acknowledge(self, alarm_ids: Sequence[str], *, note: str) -> Row:
        return self._act(
            "acknowledge", alarm_ids, partial(self._book.acknowledge, actor=LOCAL.name, note=note)
        )

    def shelve(self, alarm_ids: Sequence[str], *, until_ms: int, reason: str) -> Row:
        act = partial(self._book.shelve, until_ms=until_ms, reason=reason, actor=LOCAL.name)
        return self._act("shelve", alarm_ids, act)

    def unshelve(self, alarm_ids: Sequence[str]) -> Row:
        return self._act("unshelve", alarm_ids, partial(self._book.unshelve, actor=LOCAL.name))

    def maintenances(self, *, states: Sequence[Any]) -> Sequence[Row]:
        found = self._catalog.list_maintenances(states=states, limit=PAGE_SIZE)
        return [self._maintenance(each) for each in found]

    def add_maintenance(self, scope: Row, *, reason: str, from_at_ms: int | None, until_at_ms: int) -> Row:
        with self._catalog.transaction(Act(action="maintenance.create", actor=LOCAL)):
            made = self._catalog.add_maintenance(
                secrets.token_hex(ID_BYTES),
                scope=msgspec.convert(scope, RuleScope),
                reason=reason,
                from_at_ms=self.now_ms() if from_at_ms is None else from_at_ms,
                until_at_ms=until_at_ms,
                by=LOCAL.name,
            )
        return self._maintenance(made)

    def end_maintenance(self, maintenance_id: str) -> Row:
        with self._catalog.transaction(Act(action="maintenance.end", actor=LOCAL)):
            ended = self._catalog.end_maintenance(maintenance_id)
        return self._maintenance(ended)

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def _maintenance(self, found: Any) -> Row:
        return _built(maintenance_answer(self._catalog, found, self.now_ms(), scope=None))

    def _act(self, act: str, alarm_ids: Sequence[str], do: Callable[[Catalog, Sequence[str]], Acted]) -> Row:
        with self._catalog.transaction(Act(action=f"alarm.{act}", actor=LOCAL)):
            acted = do(self._catalog, alarm_ids)
        if len(acted.unknown) == len(set(alarm_ids)):
            raise unknown_alarm(alarm_ids[0])
        return _built(acted_answer([acted]))


def _pairs(chosen: Row) -> Iterator[tuple[str, str]]:
    """Of a query string: those of several values again and again, and none without one."""
    for key, value in chosen.items():
        for each in (value,) if isinstance(value, str) else value:
            if each:
                yield key, each


def _built(answer: msgspec.Struct) -> Row:
    found: Row = msgspec.to_builtins(answer)
    return found


def alarm_commands(config: Config) -> AbstractContextManager[AlarmCommands]:
    """The way that is open now.

    Raises:
        As node_or_catalog.
    """
    return node_or_catalog(config, holder="homeport alarm", through_node=ThroughNode, on_catalog=OnCatalog)
