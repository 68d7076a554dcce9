"""What becomes of an alarm: what rules find, what people do, what ends by itself. Each step is a function of the alarm and gives its moves. Pure.

The state is moved by the closed table of alarms.py and by nothing else. Beside it stand two things that change only who is told:
shelved (by a person, until an end) and suppressed (by maintenance, or by another alarm that explains this one). An episode is what people
are told of once. Its `stands_since_ms` says since when; while it has none, nobody was told, and nobody need acknowledge it when it is over.

Must not know: tables, rules' conditions, who is told.
Source: IEC 62682 (ISA-18.2): shelving and suppression by design.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from appliance.management.alarm import Alarm, AlarmMove, Word, alarm_id_of
from appliance.management.alarms import AlarmEvent, AlarmState, target
from appliance.management.rule import Severity
from appliance.management.rule_transition import AlarmKey

NOBODY_WAS_TOLD: Final = "Nobody was told of it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """What suppresses an alarm: the maintenance's or alarm's id, or WAITING with its end."""

    by: str
    until_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """A condition began.

    Attributes:
        at_ms: By the readings, UTC ms.
        aside: What suppresses it from the beginning, if anything does.
        first_episode: The number of the first episode where there is no alarm yet: above all that the key ever had.
    """

    key: AlarmKey
    rule_name: str
    rule_version: int
    severity: Severity
    at_ms: int
    value: float | None = None
    unit: str = ""
    explanation: Mapping[str, Any] = field(default_factory=dict)
    trace_id: str = ""
    aside: Aside | None = None
    first_episode: int = 1


def raised(alarm: Alarm | None, found: Raise, *, now_ms: int, flap_ms: int) -> list[AlarmMove]:
    """A rule found something.

    Args:
        alarm: As it is, None where there is none of that key.
        flap_ms: Raised again within that of being over is the same episode.
    Returns:
        Nothing where it is active already, unless a newer version of the rule says so: that is carried over, and nobody is told anew.
    """
    if alarm is None:
        alarm = Alarm(
            alarm_id=alarm_id_of(found.key),
            rule_id=found.key.rule_id,
            rule_name=found.rule_name,
            rule_version=found.rule_version,
            device_id=found.key.device_id,
            group_id=found.key.group_id,
            series=found.key.series,
            severity=found.severity,
            episode=found.first_episode - 1,
            episode_began_at_ms=found.at_ms,
            raised_at_ms=found.at_ms,
            noted_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        return [_of(found, None, _new_episode(alarm, found, now_ms), now_ms)]
    state = target(alarm.state, AlarmEvent.RAISE)
    if state is None:
        if found.rule_version <= alarm.rule_version:
            return []
        after = replace(_described(alarm, found), updated_at_ms=now_ms, event_number=alarm.event_number + 1)
        return [_of(found, alarm, after, now_ms, Word.CARRY_OVER)]
    is_same = alarm.state is AlarmState.CLEARED_UNACKNOWLEDGED or (
        alarm.cleared_at_ms is not None and found.at_ms - alarm.cleared_at_ms <= flap_ms
    )
    if not is_same:
        return [_of(found, alarm, _new_episode(alarm, found, now_ms), now_ms)]
    after = replace(
        _begun(alarm, found, now_ms),
        raised_count=alarm.raised_count + 1,
        stands_since_ms=_stands_since(alarm.stands_since_ms, alarm, found, now_ms),
    )
    return [_of(found, alarm, after, now_ms)]


def cleared(
    alarm: Alarm,
    *,
    at_ms: int,
    now_ms: int,
    value: float | None = None,
    explanation: Mapping[str, Any] | None = None,
    rule_version: int = 0,
) -> list[AlarmMove]:
    """A condition is over.

    Returns:
        Nothing where it isn't active. Of what nobody was told, nobody need acknowledge that it was there.
    """
    state = target(alarm.state, AlarmEvent.CLEAR)
    if state is None:
        return []
    after = replace(_over(alarm, state, now_ms), cleared_at_ms=at_ms)
    moves = [
        AlarmMove(
            before=alarm,
            after=after,
            event=AlarmEvent.CLEAR,
            at_ms=at_ms,
            noted_at_ms=now_ms,
            value=value,
            explanation=explanation or {},
            rule_version=rule_version,
        )
    ]
    if after.stands_since_ms is None:
        moves += acknowledged(after, now_ms=now_ms, note=NOBODY_WAS_TOLD)
    return moves


def withdrawn(alarm: Alarm, *, now_ms: int, why: str) -> list[AlarmMove]:
    """Nobody will say that it is over: its rule or its device is gone. Nothing where there is nothing to withdraw."""
    state = target(alarm.state, AlarmEvent.WITHDRAW)
    if state is None:
        return []
    over = _over(alarm, state, now_ms)
    after = replace(over, cleared_at_ms=now_ms if alarm.is_active else alarm.cleared_at_ms)
    return [_plain(alarm, after, AlarmEvent.WITHDRAW, now_ms, note=why)]


def acknowledged(alarm: Alarm, *, now_ms: int, actor: str = "", note: str = "") -> list[AlarmMove]:
    """Somebody has seen it. Nothing where somebody had already, or there is nothing to see."""
    state = target(alarm.state, AlarmEvent.ACKNOWLEDGE)
    if state is None:
        return []
    after = _moved(
        alarm, now_ms, state=state, acknowledged_by=actor, acknowledged_at_ms=now_ms, acknowledge_note=note
    )
    return [_plain(alarm, after, AlarmEvent.ACKNOWLEDGE, now_ms, actor=actor, note=note)]


def shelved(alarm: Alarm, *, now_ms: int, until_ms: int, actor: str, reason: str) -> list[AlarmMove]:
    """Somebody wants to hear nothing of it until then; of one that is shelved already, the end and the reason are new."""
    after = _moved(
        alarm,
        now_ms,
        shelved_by=actor,
        shelved_at_ms=now_ms,
        shelved_until_ms=until_ms,
        shelve_reason=reason,
    )
    return [_plain(alarm, after, Word.SHELVE, now_ms, actor=actor, note=reason)]


def unshelved(alarm: Alarm, *, now_ms: int, actor: str = "") -> list[AlarmMove]:
    """Shelving is over, by somebody or by itself: what is active still counts as raised now. Nothing where it isn't shelved."""
    if not alarm.is_shelved:
        return []
    after = _moved(alarm, now_ms, shelved_by="", shelved_at_ms=None, shelved_until_ms=None, shelve_reason="")
    return [_plain(alarm, _standing(after, now_ms), Word.UNSHELVE, now_ms, actor=actor)]


def suppressed(alarm: Alarm, aside: Aside, *, now_ms: int, note: str = "") -> list[AlarmMove]:
    """An active alarm is explained, or within maintenance. Nothing where it isn't active, or that is known."""
    if not alarm.is_active or aside == Aside(by=alarm.suppressed_by, until_ms=alarm.suppressed_until_ms):
        return []
    after = _moved(alarm, now_ms, suppressed_by=aside.by, suppressed_until_ms=aside.until_ms)
    return [_plain(alarm, after, Word.SUPPRESS, now_ms, note=note)]


def standing(alarm: Alarm, *, now_ms: int, note: str = "") -> list[AlarmMove]:
    """What suppressed it is over: what is active still counts as raised now. Nothing where nothing suppressed it."""
    if not alarm.suppressed_by:
        return []
    after = _moved(alarm, now_ms, suppressed_by="", suppressed_until_ms=None)
    return [_plain(alarm, _standing(after, now_ms), Word.STAND, now_ms, note=note)]


def _new_episode(alarm: Alarm, found: Raise, now_ms: int) -> Alarm:
    return replace(
        _begun(alarm, found, now_ms),
        episode=alarm.episode + 1,
        raised_count=1,
        episode_began_at_ms=found.at_ms,
        stands_since_ms=_stands_since(None, alarm, found, now_ms),
    )


def _begun(alarm: Alarm, found: Raise, now_ms: int) -> Alarm:
    return replace(
        _described(alarm, found),
        state=AlarmState.ACTIVE_UNACKNOWLEDGED,
        raised_total=alarm.raised_total + 1,
        raised_at_ms=found.at_ms,
        cleared_at_ms=None,
        noted_at_ms=now_ms,
        acknowledged_by="",
        acknowledged_at_ms=None,
        acknowledge_note="",
        trace_id=found.trace_id,
        suppressed_by=found.aside.by if found.aside else "",
        suppressed_until_ms=found.aside.until_ms if found.aside else None,
        event_number=alarm.event_number + 1,
        updated_at_ms=now_ms,
    )


def _described(alarm: Alarm, found: Raise) -> Alarm:
    return replace(
        alarm,
        rule_name=found.rule_name,
        rule_version=found.rule_version,
        severity=found.severity,
        value=found.value,
        unit=found.unit,
        explanation=found.explanation,
    )


def _stands_since(known: int | None, alarm: Alarm, found: Raise, now_ms: int) -> int | None:
    return known if known is not None or alarm.is_shelved or found.aside else now_ms


def _standing(alarm: Alarm, now_ms: int) -> Alarm:
    """It stands for itself, if it is active and nothing else sets it aside: a new episode where people were told of this one."""
    if not alarm.is_active or alarm.is_set_aside:
        return alarm
    if alarm.stands_since_ms is None:
        return replace(alarm, stands_since_ms=now_ms, noted_at_ms=now_ms)
    if alarm.state is AlarmState.ACTIVE_ACKNOWLEDGED:
        return alarm
    return replace(
        alarm,
        episode=alarm.episode + 1,
        raised_count=1,
        episode_began_at_ms=now_ms,
        noted_at_ms=now_ms,
        stands_since_ms=now_ms,
    )


def _over(alarm: Alarm, state: AlarmState, now_ms: int) -> Alarm:
    return _moved(alarm, now_ms, state=state, suppressed_by="", suppressed_until_ms=None)


def _moved(alarm: Alarm, now_ms: int, **changes: Any) -> Alarm:
    return replace(alarm, **changes, event_number=alarm.event_number + 1, updated_at_ms=now_ms)


def _plain(
    before: Alarm, after: Alarm, event: str, now_ms: int, *, actor: str = "", note: str = ""
) -> AlarmMove:
    return AlarmMove(
        before=before, after=after, event=event, at_ms=now_ms, noted_at_ms=now_ms, actor=actor, note=note
    )


def _of(
    found: Raise, before: Alarm | None, after: Alarm, now_ms: int, event: str = AlarmEvent.RAISE
) -> AlarmMove:
    return AlarmMove(
        before=before,
        after=after,
        event=event,
        at_ms=found.at_ms,
        noted_at_ms=now_ms,
        value=found.value,
        explanation=found.explanation,
        rule_version=found.rule_version,
    )
