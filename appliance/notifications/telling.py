"""Makes notifications: within the transaction that moves an alarm, and later ones when they come due.

Theory of operation. Before a move is taken into account, what had come due until then is made; then the escalation goes along with the alarm,
and what is due at once (P1) is made, all in the move's own transaction. So an alarm that is on disk has its notifications on disk, and one
without the other is never seen. What comes later (P2 after an hour, repetitions, “it is over”, digests) is made by `look`, which the scheduler calls.

Runs in the catalog's writing thread. Must not know how anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Final

import msgspec

from appliance.core.clock import Clock
from appliance.core.limits_notifications import (
    NOTIFICATION_DIGEST_ALARM_COUNT_MAX,
    NOTIFICATION_LOOK_COUNT_MAX,
)
from appliance.management.alarm import AlarmMove
from appliance.management.alarms import UNACKNOWLEDGED
from appliance.management.escalation import (
    REPEATED,
    AlarmNow,
    Escalation,
    Look,
    advance,
    digests_ms,
    is_in_digest,
    key_of,
    look,
    next_digest_ms,
)
from appliance.management.notification_body import AlarmWords, Body, event_of, to_json
from appliance.management.on_call import OnCallList, covers
from appliance.management.site_settings import BASE_URL_SETTING
from storage.catalog.alarms_told import ToldAlarm
from storage.catalog.catalog import Catalog
from storage.catalog.notifications import NewNotification
from storage.catalog.site_zone import site_zone

_BRIEF_LENGTH_MAX: Final = 200
ACKNOWLEDGED: Final = "The alarm was acknowledged before this was sent."
SET_ASIDE: Final = "The alarm was shelved or suppressed before this was sent."


@dataclass(slots=True)
class _Scene:
    """What a transaction needs to know of the site, read once."""

    now_ms: int
    zone: tzinfo
    site: str
    base_url: str
    lists: tuple[OnCallList, ...]
    targets: dict[str, str]
    room: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look did.

    Attributes:
        made_count: Notifications. is_more: There may be more to look at by now.
    """

    made_count: int
    is_more: bool


class Telling:
    """See the module's docstring.

    Args:
        flap_ms: For so long an alarm must be cleared until people are told that it is over.
        default_base_url: How this box is reached, while the site says nothing else.
        default_site: The site's name, likewise.
    """

    def __init__(
        self, *, clock: Clock, flap_ms: int, default_base_url: str = "", default_site: str = ""
    ) -> None:
        self._clock = clock
        self._flap_ms = flap_ms
        self._default_base_url = default_base_url
        self._default_site = default_site

    def on_moves(self, writer: Catalog, moves: Sequence[AlarmMove]) -> None:
        """Take moves of alarms into account, in their order, within their transaction.

        Args:
            moves: Saved already; each has the alarm as it was after it.
        """
        scene = self._scene(writer)
        self._make_digests(writer, scene)
        ids = {move.after.alarm_id for move in moves}
        told = writer.told_alarms(ids)
        escalations: dict[str, tuple[Escalation, int | None]] = {
            alarm_id: (found, None) for alarm_id, found in writer.escalations_of(ids).items()
        }
        for move in moves:
            after = move.after
            alarm = told.get(after.alarm_id)
            if alarm is None:
                continue  # It was removed in the same transaction.
            before = escalations.get(after.alarm_id)
            known = None if before is None else self._look(writer, scene, before[0], alarm)[0]
            now = AlarmNow(
                alarm_id=after.alarm_id,
                episode=after.episode,
                severity=after.severity,
                is_active=after.is_active,
                is_acknowledged=after.state not in UNACKNOWLEDGED,
                is_quiet=after.is_set_aside,
            )
            self._withdraw(writer, now)
            moved = advance(known, now, scene.now_ms)
            escalations[after.alarm_id] = self._look(writer, scene, moved, alarm)
        writer.save_escalations(escalations.values())

    def is_due(self, reader: Catalog) -> bool:
        """Whether `look` would find something now, without writing."""
        next_at_ms = self.next_at_ms(reader)
        return next_at_ms is not None and next_at_ms <= self._clock.now_ms()

    def next_at_ms(self, reader: Catalog) -> int | None:
        """When to look next, UTC ms; None for not before something moves."""
        now_ms, zone = self._clock.now_ms(), site_zone(reader)
        cursors = reader.digest_cursors()
        nexts = []
        for each in reader.on_call_in_force():
            cursor_ms = cursors.get(each.list_id, now_ms + 1)
            # A list without a cursor, or one from before the clock was set back, gets one now.
            nexts.append(next_digest_ms(each, cursor_ms, zone) if cursor_ms <= now_ms else now_ms)
        escalation_at_ms = reader.next_escalation_at_ms()
        return min(nexts if escalation_at_ms is None else [*nexts, escalation_at_ms], default=None)

    def look(self, writer: Catalog) -> Looked:
        """Make what has come due, of at most NOTIFICATION_LOOK_COUNT_MAX alarms."""
        scene = self._scene(writer)
        made_count = self._make_digests(writer, scene)
        due = writer.escalations_due(scene.now_ms, limit=NOTIFICATION_LOOK_COUNT_MAX)
        told = writer.told_alarms([each.alarm_id for each in due])
        saved: list[tuple[Escalation, int | None]] = []
        for each in due:
            alarm = told.get(each.alarm_id)
            if alarm is None:
                saved.append((each, None))  # The alarm is gone; the row follows with the next tidying.
                continue
            known = each
            if _is_elsewhere(each, alarm.now):
                # It was moved without this room: by a command while the node was stopped.
                self._withdraw(writer, alarm.now)
                known = advance(each, alarm.now, scene.now_ms)
            after, next_at_ms, count = self._looked(writer, scene, known, alarm)
            made_count += count
            saved.append((after, next_at_ms))
        writer.save_escalations(saved)
        return Looked(made_count, len(due) == NOTIFICATION_LOOK_COUNT_MAX)

    def look_at_all(self, writer: Catalog) -> None:
        """Have all alarms looked at anew: lists, targets or the site's settings have changed."""
        writer.look_at_all_escalations(self._clock.now_ms())

    def try_body(self, reader: Catalog, key: str, step: str) -> str:
        """The body of a try."""
        scene = self._scene(reader)
        link = f"{scene.base_url}/alarms/notifications" if scene.base_url else ""
        return to_json(Body(key=key, event="test", step=step, at_ms=scene.now_ms, site=scene.site, link=link))

    def _scene(self, catalog: Catalog) -> _Scene:
        base_url = str(catalog.get_setting(BASE_URL_SETTING, "")) or self._default_base_url
        return _Scene(
            now_ms=self._clock.now_ms(),
            zone=site_zone(catalog),
            site=str(catalog.get_setting("site.name", "")) or self._default_site,
            base_url=base_url.rstrip("/"),
            lists=catalog.on_call_in_force(),
            targets=catalog.enabled_target_names(),
        )

    def _withdraw(self, writer: Catalog, now: AlarmNow) -> None:
        """What still waits of an alarm that nobody need hear of any more."""
        if now.is_quiet or now.is_acknowledged:
            writer.withdraw_notifications(now.alarm_id, SET_ASIDE if now.is_quiet else ACKNOWLEDGED)

    def _look(
        self, writer: Catalog, scene: _Scene, escalation: Escalation, alarm: ToldAlarm
    ) -> tuple[Escalation, int | None]:
        after, next_at_ms, _ = self._looked(writer, scene, escalation, alarm)
        return after, next_at_ms

    def _looked(
        self, writer: Catalog, scene: _Scene, escalation: Escalation, alarm: ToldAlarm
    ) -> tuple[Escalation, int | None, int]:
        """Make what is due of an alarm.

        Returns:
            The escalation then, when to look next, and how many notifications were made.
        """
        lists = [each for each in scene.lists if _is_covered(each, alarm)]
        found = look(escalation, lists, zone=scene.zone, flap_ms=self._flap_ms, now_ms=scene.now_ms)
        if any(due.step.startswith(REPEATED) for due in found.dues):
            writer.withdraw_repetitions(escalation.alarm_id)
        made = writer.make_notifications(self._dues(scene, found, alarm), scene.room)
        if found.over_step:
            suffix = f".{escalation.round}" if escalation.round > 1 else ""
            targets = writer.told_targets(escalation.alarm_id, escalation.episode, suffix)
            made += writer.make_notifications(
                self._of_alarm(scene, found.after, alarm, found.over_step, scene.now_ms, targets, "", False),
                scene.room,
            )
        return found.after, found.next_at_ms, made

    def _dues(self, scene: _Scene, found: Look, alarm: ToldAlarm) -> Iterable[NewNotification]:
        for due in found.dues:
            yield from self._of_alarm(
                scene,
                found.after,
                alarm,
                due.step,
                due.at_ms,
                due.turn.targets,
                due.on_call.name,
                due.turn.is_fallback,
            )

    def _of_alarm(
        self,
        scene: _Scene,
        escalation: Escalation,
        alarm: ToldAlarm,
        step: str,
        at_ms: int,
        targets: Sequence[str],
        on_call: str,
        is_fallback: bool,
    ) -> Iterable[NewNotification]:
        words = _linked(alarm.words, scene)
        for target_id in targets:
            target = scene.targets.get(target_id)
            if target is None:
                continue  # It is switched off, or gone.
            key = key_of(escalation.alarm_id, escalation.episode, step, target_id)
            body = Body(
                key=key,
                event=event_of(step),
                step=step,
                at_ms=at_ms,
                site=scene.site,
                on_call=on_call,
                fallback=is_fallback,
                alarm=words,
                link=words.link,
                trace_id=alarm.trace_id,
            )
            yield NewNotification(
                key=key,
                alarm_id=escalation.alarm_id,
                episode=escalation.episode,
                step=step,
                target_id=target_id,
                target_name=target,
                body=to_json(body),
                due_at_ms=at_ms,
                trace_id=alarm.trace_id,
            )

    # --- Digests -------------------------------------------------------------------------------------------

    def _make_digests(self, writer: Catalog, scene: _Scene) -> int:
        """Make the digests that have come due; returns how many notifications."""
        cursors = writer.digest_cursors()
        made = 0
        for on_call in scene.lists:
            cursor_ms = cursors.get(on_call.list_id)
            if cursor_ms is None or cursor_ms > scene.now_ms:
                # A new list tells of nothing that was before it; nor does one whose clock was set back tell twice.
                writer.set_digest_cursor(on_call.list_id, scene.now_ms)
                continue
            for from_ms, until_ms in digests_ms(on_call, cursor_ms, scene.now_ms, scene.zone):
                made += self._make_digest(writer, scene, on_call, max(from_ms, 0), until_ms)
                writer.set_digest_cursor(on_call.list_id, until_ms)
        return made

    def _make_digest(
        self, writer: Catalog, scene: _Scene, on_call: OnCallList, from_ms: int, until_ms: int
    ) -> int:
        begun = [
            each
            for each in writer.escalations_begun(from_ms, until_ms)
            if is_in_digest(each, on_call, from_ms, until_ms)
        ]
        told = writer.told_alarms([each.alarm_id for each in begun])
        alarms = [
            alarm for each in begun if (alarm := told.get(each.alarm_id)) and _is_covered(on_call, alarm)
        ]
        if not alarms:
            return 0
        turn = on_call.turn(until_ms, scene.zone)
        words = tuple(_brief(each.words, scene) for each in alarms[:NOTIFICATION_DIGEST_ALARM_COUNT_MAX])
        step = f"digest/{on_call.list_id}/{until_ms}"
        body = Body(
            key="",
            event="digest",
            step=step,
            at_ms=until_ms,
            site=scene.site,
            on_call=on_call.name,
            fallback=turn.is_fallback,
            alarms=words,
            more_count=len(alarms) - len(words),
            link=f"{scene.base_url}/alarms" if scene.base_url else "",
        )
        return writer.make_notifications(self._digest_rows(scene, body, turn.targets), scene.room)

    def _digest_rows(self, scene: _Scene, body: Body, targets: Sequence[str]) -> Iterable[NewNotification]:
        for target_id in targets:
            target = scene.targets.get(target_id)
            if target is not None:
                key = key_of(body.step, target_id)
                yield NewNotification(
                    key=key,
                    alarm_id="",
                    episode=0,
                    step=body.step,
                    target_id=target_id,
                    target_name=target,
                    body=to_json(msgspec.structs.replace(body, key=key)),
                    due_at_ms=body.at_ms,
                )


def _is_elsewhere(escalation: Escalation, alarm: AlarmNow) -> bool:
    """Whether the alarm is otherwise than its escalation knows."""
    return (escalation.episode, escalation.is_acknowledged, escalation.is_quiet) != (
        alarm.episode,
        alarm.is_acknowledged,
        alarm.is_quiet,
    ) or (escalation.cleared_at_ms is None) != alarm.is_active


def _is_covered(on_call: OnCallList, alarm: ToldAlarm) -> bool:
    words = alarm.words
    return covers(
        on_call.definition.scope, words.device_id, words.group_id, groups=alarm.groups, tags=alarm.tags
    )


def _linked(words: AlarmWords, scene: _Scene) -> AlarmWords:
    link = f"{scene.base_url}/alarms/{words.alarm_id}" if scene.base_url else ""
    return msgspec.structs.replace(words, link=link)


def _brief(words: AlarmWords, scene: _Scene) -> AlarmWords:
    """As a digest names it: about 600 bytes."""
    return msgspec.structs.replace(
        _linked(words, scene), text=words.text[:_BRIEF_LENGTH_MAX], what_to_do="", runbook=""
    )
