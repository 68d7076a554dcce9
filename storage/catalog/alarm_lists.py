"""Alarms as people look for them: those that want somebody first, or the newest first; how many; what happened when.

Every method takes a scope, None for the whole site. Whoever has one sees the alarms of their devices and groups, and not those of the
node or of the site; an alarm outside is not there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypedDict, Unpack, get_args

from appliance.core.errors import NotFound, UsageError
from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT, PAGE_ITEM_COUNT_MAX
from appliance.management.alarm import Alarm
from appliance.management.alarms import AlarmState
from appliance.management.permissions import Scope
from appliance.management.rule import Severity
from storage.catalog.alarms import SELECT, AlarmEventRow, alarm_of
from storage.catalog.database import CatalogDatabase, Value

AlarmOrder = Literal["attention", "newest"]
"""Those that want somebody first (unacknowledged before acknowledged, active before cleared, what is set aside last; in each by severity, then
the newest), or by when they were raised last."""
AlarmAside = Literal["shelved", "suppressed"]
ASIDES: Final[tuple[AlarmAside, ...]] = get_args(AlarmAside)
OPEN_STATES: Final = tuple(state for state in AlarmState if state is not AlarmState.NORMAL)
_NORMAL_PLACE: Final = 4
_ASIDE_PLACE: Final = 3
_PLACE_WORDS: Final = {
    0: AlarmState.ACTIVE_UNACKNOWLEDGED.value,
    1: AlarmState.ACTIVE_ACKNOWLEDGED.value,
    2: AlarmState.CLEARED_UNACKNOWLEDGED.value,
}
_OF_GROUPS: Final = (
    "device_id IN (SELECT d.device_id FROM devices AS d WHERE EXISTS (SELECT 1 FROM json_each(d.groups) "
    "WHERE value IN (SELECT value FROM json_each(?))))"
)
_IN_SCOPE: Final = f"({_OF_GROUPS} OR (device_id = '' AND group_id IN (SELECT value FROM json_each(?))))"  # noqa: S608
_OF_TAG: Final = "device_id IN (SELECT d.device_id FROM devices AS d WHERE EXISTS (SELECT 1 FROM json_each(d.tags) WHERE value = ?))"


class AlarmFilter(TypedDict, total=False):
    """Which alarms; what is left out or empty doesn't matter.

    Keys:
        states: In any of these.
        aside: Only those that are shelved (over or not), or suppressed. is_set_aside: Either, or neither.
        severities: Of any of these.
        device_id, rule_id: Of this one.
        group_id: Of it as such, or of one of its devices. tag: Of a device with it.
        q: With this in rule, device, series or explanation; A to Z match a to z.
        since_ms, until_ms: That were there at some time between, by the readings.
        scope: Within it; None for the whole site.
    """

    states: Sequence[AlarmState]
    aside: AlarmAside | None
    is_set_aside: bool | None
    severities: Sequence[Severity]
    device_id: str
    rule_id: str
    group_id: str
    tag: str
    q: str
    since_ms: int | None
    until_ms: int | None
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmPage:
    """Alarms in the order asked for; `next_cursor` is where the next page begins, None at the end."""

    alarms: tuple[Alarm, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmCounts:
    """How many alarms there are that aren't normal.

    Attributes:
        by_severity: Severity → word → how many. The words are the states of those that stand for themselves, `shelved` and `suppressed`.
        oldest_unacknowledged_ms: Severity → since when the oldest that nobody has acknowledged was raised, UTC ms; those that are set aside don't count.
    """

    by_severity: dict[str, dict[str, int]]
    oldest_unacknowledged_ms: dict[str, int]

    def of(self, word: str) -> int:
        """How many of that word, of all severities."""
        return sum(counts.get(word, 0) for counts in self.by_severity.values())

    @property
    def unacknowledged(self) -> int:
        """How many want somebody to look."""
        return self.of(_PLACE_WORDS[0]) + self.of(_PLACE_WORDS[2])


class AlarmListTable(CatalogDatabase):
    """Methods of the catalog that find alarms for people."""

    def list_alarms(
        self,
        *,
        order: AlarmOrder = "attention",
        cursor: str | None = None,
        limit: int = PAGE_ITEM_COUNT_DEFAULT,
        **chosen: Unpack[AlarmFilter],
    ) -> AlarmPage:
        """A page of alarms.

        Args:
            cursor: The last page's `next_cursor`, with the same order.
            limit: 1..1000.
            chosen: See AlarmFilter.
        Raises:
            UsageError: `cursor_invalid`.
        """
        if not 1 <= limit <= PAGE_ITEM_COUNT_MAX:
            raise UsageError(
                f"A page has 1 to {PAGE_ITEM_COUNT_MAX} items, not {limit}.", hint="Ask for fewer at a time."
            )
        where, parameters = _conditions(chosen)
        if cursor is not None:
            condition, values = _after(cursor, order)
            where += f" AND {condition}"
            parameters.extend(values)
        by = (
            "place, severity, raised_at_ms DESC, alarm_id"
            if order == "attention"
            else "raised_at_ms DESC, alarm_id DESC"
        )
        found = self.rows(
            f"{SELECT} WHERE {where} ORDER BY {by} LIMIT ?",
            (*parameters, limit + 1),
        )
        alarms = tuple(map(alarm_of, found[:limit]))
        more = len(found) > limit
        return AlarmPage(alarms=alarms, next_cursor=_cursor_of(alarms[-1], order) if more else None)

    def count_alarms(self, **chosen: Unpack[AlarmFilter]) -> int:
        """How many alarms `list_alarms` would give in all."""
        where, parameters = _conditions(chosen)
        found = self.row(f"SELECT count(*) FROM alarms WHERE {where}", parameters)  # noqa: S608 - our own text
        assert found is not None
        return int(found[0])

    def get_alarm(self, alarm_id: str, *, scope: Scope = None) -> Alarm:
        """One of them.

        Raises:
            NotFound: `alarm_unknown`, for one outside the scope too.
        """
        where, parameters = _conditions({"scope": scope})
        found = self.row(f"{SELECT} WHERE alarm_id = ? AND {where}", (alarm_id, *parameters))
        if found is None:
            raise unknown_alarm(alarm_id)
        return alarm_of(found)

    def visible_alarms(self, alarm_ids: Sequence[str], *, scope: Scope) -> dict[str, Alarm]:
        """Those of these ids that are there and within a scope, by their id."""
        where, parameters = _conditions({"scope": scope})
        found = self.rows(
            f"{SELECT} WHERE alarm_id IN (SELECT value FROM json_each(?)) AND {where}",  # noqa: S608
            (json.dumps(list(alarm_ids)), *parameters),
        )
        return {alarm.alarm_id: alarm for alarm in map(alarm_of, found)}

    def alarm_counts(self, *, scope: Scope = None) -> AlarmCounts:
        """How many there are that aren't normal."""
        where, parameters = _conditions({"scope": scope})
        counts: dict[str, dict[str, int]] = {}
        oldest: dict[str, int] = {}
        for severity, place, count, raised_at_ms in self.rows(
            "SELECT severity, place, count(*), min(raised_at_ms) FROM alarms "  # noqa: S608 - our own text
            f"WHERE place < {_ASIDE_PLACE} AND {where} GROUP BY place, severity",
            parameters,
        ):
            word = _PLACE_WORDS[place]
            counts.setdefault(severity, {})[word] = count
            if word != AlarmState.ACTIVE_ACKNOWLEDGED.value:
                oldest[severity] = min(raised_at_ms, oldest.get(severity, raised_at_ms))
        for severity, shelved, count in self.rows(
            "SELECT severity, shelved_until_ms IS NOT NULL, count(*) FROM alarms "  # noqa: S608 - our own text
            f"WHERE place = {_ASIDE_PLACE} AND {where} GROUP BY severity, shelved_until_ms IS NOT NULL",
            parameters,
        ):
            counts.setdefault(severity, {})["shelved" if shelved else "suppressed"] = count
        return AlarmCounts(by_severity=counts, oldest_unacknowledged_ms=oldest)

    def alarm_history(
        self,
        *,
        device_id: str = "",
        alarm_id: str = "",
        from_ms: int,
        to_ms: int,
        scope: Scope = None,
        limit: int,
    ) -> tuple[AlarmEventRow, ...]:
        """What happened to alarms between two instants, by the readings, the newest first.

        Args:
            device_id, alarm_id: Only of this one; "" for all.
        """
        where, parameters = _conditions({"scope": scope, "device_id": device_id})
        if alarm_id:
            where += " AND alarm_id = ?"
            parameters.append(alarm_id)
        # Of few alarms by their own events; of all by the time, or each alarm there is would be asked.
        of_these = f"e.alarm_id IN (SELECT alarm_id FROM alarms WHERE {where})"  # noqa: S608 - our own text
        of_all = f"EXISTS (SELECT 1 FROM alarms WHERE alarm_id = +e.alarm_id AND {where})"  # noqa: S608
        found = self.rows(
            "SELECT e.alarm_id, e.number, e.at_ms, e.noted_at_ms, e.event, e.from_state, e.to_state, e.episode, e.actor, e.note, "  # noqa: S608
            "e.value, e.explanation, e.rule_version FROM alarm_events AS e WHERE e.at_ms >= ? AND e.at_ms < ? AND "
            f"{of_these if device_id or alarm_id else of_all} ORDER BY e.at_ms DESC, e.alarm_id, e.number DESC LIMIT ?",
            (from_ms, to_ms, *parameters, limit),
        )
        return tuple(
            AlarmEventRow(**{**dict(row), "explanation": json.loads(row["explanation"])}) for row in found
        )


def unknown_alarm(alarm_id: str) -> NotFound:
    """The error for an id that names none, or one that whoever asks doesn't see."""
    return NotFound(
        f"There is no alarm “{alarm_id[:100]}”.", hint="Look at the list of alarms.", code="alarm_unknown"
    )


def _conditions(chosen: AlarmFilter) -> tuple[str, list[Value]]:
    where: list[str] = []
    parameters: list[Value] = []

    def wanted(condition: str, *values: Value) -> None:
        where.append(condition)
        parameters.extend(values)

    if states := chosen.get("states"):
        wanted("state IN (SELECT value FROM json_each(?))", json.dumps([state.value for state in states]))
        if AlarmState.NORMAL not in states:
            wanted(f"place < {_NORMAL_PLACE}")  # Says the same, in the words of the index.
    if aside := chosen.get("aside"):
        # A shelved one may be over for now, and stays on the shelf.
        wanted("shelved_until_ms IS NOT NULL" if aside == "shelved" else "suppressed_by <> ''")
    is_set_aside = chosen.get("is_set_aside")
    if is_set_aside is not None:
        wanted(f"place = {_ASIDE_PLACE}" if is_set_aside else f"place <> {_ASIDE_PLACE}")
    if severities := chosen.get("severities"):
        wanted("severity IN (SELECT value FROM json_each(?))", json.dumps(list(severities)))
    if device_id := chosen.get("device_id"):
        wanted("device_id = ?", device_id)
    if rule_id := chosen.get("rule_id"):
        wanted("rule_id = ?", rule_id)
    if group_id := chosen.get("group_id"):
        wanted(f"(group_id = ? OR {_OF_GROUPS})", group_id, json.dumps([group_id]))
    if tag := chosen.get("tag"):
        wanted(_OF_TAG, tag)
    if q := chosen.get("q"):
        escaped = q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        like = "{} LIKE ? ESCAPE '\\'"
        conditions = [like.format(each) for each in ("rule_name", "device_id", "group_id", "series")]
        text = like.format("json_extract(explanation, '$.text')")
        if '"' not in q and "\\" not in q:
            # What is not in the JSON is not in its text: to look costs a fifth of taking it apart.
            conditions.append(f"({like.format('explanation')} AND {text})")
        else:
            conditions.append(text)
        count = sum(each.count("?") for each in conditions)
        wanted(f"({' OR '.join(conditions)})", *[f"%{escaped}%"] * count)
    since_ms, until_ms = chosen.get("since_ms"), chosen.get("until_ms")
    if since_ms is not None:
        wanted("(cleared_at_ms IS NULL OR cleared_at_ms >= ?)", since_ms)
    if until_ms is not None:
        wanted("episode_began_at_ms < ?", until_ms)
    scope = chosen.get("scope")
    if scope is not None:
        wanted(_IN_SCOPE, *[json.dumps(sorted(scope))] * 2)
    return " AND ".join(where) or "TRUE", parameters


def _cursor_of(last: Alarm, order: AlarmOrder) -> str:
    if order == "newest":
        return f"{last.raised_at_ms}.{last.alarm_id}"
    return f"{_place_of(last)}.{last.severity}.{last.raised_at_ms}.{last.alarm_id}"


def _place_of(alarm: Alarm) -> int:
    """As the table's generated column has it."""
    if alarm.state is AlarmState.NORMAL:
        return _NORMAL_PLACE
    if alarm.is_set_aside:
        return _ASIDE_PLACE
    return next(place for place, word in _PLACE_WORDS.items() if word == alarm.state.value)


def _after(cursor: str, order: AlarmOrder) -> tuple[str, list[Value]]:
    parts = cursor.split(".")
    try:
        if order == "newest":
            raised_at_ms, alarm_id = int(parts[0]), parts[1]
            return "(raised_at_ms, alarm_id) < (?, ?)", [raised_at_ms, alarm_id]
        place, severity, raised_at_ms, alarm_id = int(parts[0]), parts[1], int(parts[2]), parts[3]
    except (ValueError, IndexError) as error:
        raise UsageError(
            "The cursor is none of this list.",
            hint="Send the next_cursor of the page before, with the same order.",
            code="cursor_invalid",
        ) from error
    return (
        "place >= ? AND (place > ? OR severity > ? OR (severity = ? AND (raised_at_ms < ? OR (raised_at_ms = ? AND alarm_id > ?))))",
        [place, place, severity, severity, raised_at_ms, raised_at_ms, alarm_id],
    )
