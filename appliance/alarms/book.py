"""Alarms as they are moved: what rules find, what people do, what ends by itself. Everything within one transaction of the catalog.

Each method gets the catalog of a transaction under way, moves alarms by the steps of management/alarm_steps.py, writes them with their
history, and has the hook see the moves: whoever has to tell somebody writes that down in the same transaction, so that neither is there
without the other.

A transition is applied once: by its number in the store's outbox, by its position in the log where a store was begun anew, and by its key (alarm,
kind, when) against the history in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from appliance.alarms.found import bounded, clear, finite, happened, last_known
from appliance.alarms.judging import Judge
from appliance.alarms.rule_book import RuleBook
from appliance.core.clock import Clock
from appliance.core.errors import UsageError
from appliance.core.limits_alarms import (
    ALARM_APPLY_COUNT_MAX,
    ALARM_BULK_COUNT_MAX,
    ALARM_COUNT_MAX,
    ALARM_DEVICE_COUNT_MAX,
    ALARM_NOTE_LENGTH_MAX,
    ALARM_SHELVE_MS_MAX,
)
from appliance.core.limits_updates import DAY_MS
from appliance.management import alarm_steps
from appliance.management.alarm import Alarm, AlarmMove, alarm_id_of
from appliance.management.alarm_steps import Raise
from appliance.management.permissions import Scope
from appliance.management.rule_transition import Transition
from storage.catalog.alarms import AlarmCursor
from storage.catalog.catalog import Catalog

OnMoves = Callable[[Catalog, Sequence[AlarmMove]], None]
"""Sees the moves of a transaction before it is committed; what it raises undoes them."""


def nobody(catalog: Catalog, moves: Sequence[AlarmMove]) -> None:
    """Nobody is to be told."""


@dataclass(slots=True)
class BookTally:
    """What became of transitions, since the start.

    Attributes:
        applied: Moved an alarm. known: Had been applied before. without_rule: Of a rule that is not there any more. unchanged: Moved nothing.
        refused_full: Raised nothing, since ALARM_COUNT_MAX alarms are open, or ALARM_DEVICE_COUNT_MAX of its device.
    """

    moves: int = 0
    applied: int = 0
    known: int = 0
    without_rule: int = 0
    unchanged: int = 0
    refused_full: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What an act came to.

    Attributes:
        alarms: Those that it changed, as they are now.
        unchanged: Those that were so already. unknown: Ids that name none within the scope.
    """

    alarms: tuple[Alarm, ...]
    unchanged: tuple[str, ...]
    unknown: tuple[str, ...]


class AlarmBook:
    """See the module's docstring.

    Args:
        flap_ms: Raised again within that of being over is the same episode.
        wait_ms: How long a silent device's alarm waits for an explanation.
        on_moves: Sees all moves.
    """

    def __init__(self, *, clock: Clock, flap_ms: int, wait_ms: int, on_moves: OnMoves = nobody) -> None:
        self._clock = clock
        self._flap_ms = flap_ms
        self._wait_ms = wait_ms
        self.on_moves = on_moves
        self.is_caught_up = True
        """Whether rules have seen all there is: until then nothing counts as not found by a changed one."""
        self.tally = BookTally()
        self._rules: RuleBook | None = None
        self._are_rules_old = True

    def rules_changed(self) -> None:
        """Read the rules again before they are used next."""
        self._are_rules_old = True

    def rules(self, catalog: Catalog) -> RuleBook:
        """The rules, as of now."""
        if self._rules is None or self._are_rules_old:
            self._are_rules_old = False
            self._rules = RuleBook.read(catalog, self._rules)
        return self._rules

    # --- What rules find -----------------------------------------------------------------------------------

    def take_over(
        self, catalog: Catalog, store_id: str, rows: Sequence[tuple[int, Transition]]
    ) -> list[AlarmMove]:
        """Apply rows of a store's outbox, and note how far it is.

        Args:
            rows: Number and transition, in their order; at most ALARM_APPLY_COUNT_MAX.
        """
        assert len(rows) <= ALARM_APPLY_COUNT_MAX
        cursor = catalog.alarm_cursor()
        is_same = cursor.store_id == store_id
        number = cursor.number if is_same else 0
        position, noted_at_ms = (cursor.epoch, cursor.seq), cursor.noted_at_ms
        # Within one store its numbers say it all: after a start rules may find something new before what they had found already.
        began, began_noted_at_ms = position, noted_at_ms
        if is_same:
            began, began_noted_at_ms = (cursor.began_epoch, cursor.began_seq), cursor.began_noted_at_ms
        found = []
        for at, each in rows:
            here = (each.epoch, each.seq)
            # What happened after all that was applied is new: its log was begun anew, as on a box that was restored without one.
            if at <= number or (here < began and each.at_ms <= began_noted_at_ms):
                self.tally.known += 1
                continue
            position = here if here < began else max(position, here)
            began, noted_at_ms = min(began, here), self._clock.now_ms()
            found.append(each)
        moves = self.apply(catalog, found)
        catalog.set_alarm_cursor(
            AlarmCursor(
                store_id=store_id,
                number=max([number, *(at for at, _ in rows)]),
                epoch=position[0],
                seq=position[1],
                noted_at_ms=noted_at_ms,
                began_epoch=began[0],
                began_seq=began[1],
                began_noted_at_ms=began_noted_at_ms,
            )
        )
        return moves

    def apply(self, catalog: Catalog, found: Sequence[Transition]) -> list[AlarmMove]:
        """Apply transitions in their order; those that are known change nothing."""
        if not found:
            return []
        now_ms, rules = self._clock.now_ms(), self.rules(catalog)
        keys = [happened(each) for each in found]
        ids = [key[0] for key in keys]
        alarms = catalog.alarms_of_ids(set(ids))
        known = catalog.alarm_events_known({(one, at_ms) for one, at_ms, _ in keys})
        old = last_known(keys, known)
        judge = self._judge(catalog, {each.key.device_id for each in found}, now_ms)
        new = {one: each.key.device_id for one, each in zip(ids, found, strict=True) if one not in alarms}
        room = self._room(catalog, len(new))
        open_of = catalog.count_open_alarms_of(set(new.values()) - {""}) if new else {}
        moves: list[AlarmMove] = []
        for at, (key, each) in enumerate(zip(keys, found, strict=True)):
            alarm_id = key[0]
            if key in known or at < old.get(alarm_id, 0):
                self.tally.known += 1
                continue
            known.add(key)
            alarm = alarms.get(alarm_id)
            made = (
                self._raise(catalog, judge, rules, alarm, each, now_ms)
                if each.is_raised
                else clear(alarm, each, now_ms)
            )
            if made is None:
                self.tally.without_rule += 1
                continue
            if not made:
                self.tally.unchanged += 1
                continue
            if alarm is None:
                device_id = each.key.device_id
                if room <= 0 or open_of.get(device_id, 0) >= ALARM_DEVICE_COUNT_MAX:
                    self.tally.refused_full += 1
                    continue
                room -= 1
                if device_id:
                    open_of[device_id] = open_of.get(device_id, 0) + 1
            self.tally.applied += 1
            alarms[alarm_id] = made[-1].after
            judge.note(made[-1].after)
            moves += made
        self._save(catalog, moves)
        return moves

    def _raise(
        self,
        catalog: Catalog,
        judge: Judge,
        rules: RuleBook,
        alarm: Alarm | None,
        found: Transition,
        now_ms: int,
    ) -> list[AlarmMove] | None:
        """The moves; None where the rule is not in force any more."""
        rule = rules.rules.get(found.key.rule_id)
        if rule is None or not rule.is_enabled:
            return None
        explanation = bounded(found.explanation)
        severity = rule.definition.severity
        unit = explanation.get("unit", "")
        wish = Raise(
            key=found.key,
            rule_name=rule.name,
            rule_version=found.rule_version,
            severity=severity,
            at_ms=found.at_ms,
            value=finite(found.value),
            unit=unit if isinstance(unit, str) else "",
            explanation=explanation,
            trace_id=found.trace_id,
            aside=judge.aside_at_raise(rule, severity, found.key, explanation, at_ms=found.at_ms),
            first_episode=catalog.first_alarm_episode(alarm_id_of(found.key)) if alarm is None else 1,
        )
        return alarm_steps.raised(alarm, wish, now_ms=now_ms, flap_ms=self._flap_ms)

    def _room(self, catalog: Catalog, wanted: int) -> int:
        """For how many new alarms there is room, once old ones have gone."""
        if not wanted:
            return 0
        room = ALARM_COUNT_MAX - catalog.count_all_alarms()
        if room < wanted:
            removed = catalog.remove_old_alarms(wanted - room)
            self.tally.removed += removed
            room += removed
        return room

    # --- What people do ------------------------------------------------------------------------------------

    def acknowledge(
        self, catalog: Catalog, alarm_ids: Sequence[str], *, actor: str, note: str = "", scope: Scope = None
    ) -> Acted:
        """Somebody has seen them.

        Raises:
            UsageError: `alarm_note`, `alarms_too_many`.
        """
        _check_words(note, "note")
        now_ms = self._clock.now_ms()
        return self._act(
            catalog,
            alarm_ids,
            scope,
            lambda alarm: alarm_steps.acknowledged(alarm, now_ms=now_ms, actor=actor, note=note),
        )

    def shelve(
        self,
        catalog: Catalog,
        alarm_ids: Sequence[str],
        *,
        until_ms: int,
        reason: str,
        actor: str,
        scope: Scope = None,
    ) -> Acted:
        """Somebody wants to hear nothing of them until then, UTC ms.

        Raises:
            UsageError: `alarm_note`, `alarm_shelve_until`, `alarms_too_many`.
        """
        _check_words(reason, "reason", is_wanted=True)
        now_ms = self._clock.now_ms()
        if not now_ms < until_ms <= now_ms + ALARM_SHELVE_MS_MAX:
            raise UsageError(
                f"An alarm is shelved for at most {ALARM_SHELVE_MS_MAX // DAY_MS} days from now.",
                hint="Choose an earlier end, in the future; or change the rule.",
                code="alarm_shelve_until",
            )
        return self._act(
            catalog,
            alarm_ids,
            scope,
            lambda alarm: alarm_steps.shelved(
                alarm, now_ms=now_ms, until_ms=until_ms, actor=actor, reason=reason
            ),
        )

    def unshelve(
        self, catalog: Catalog, alarm_ids: Sequence[str], *, actor: str, scope: Scope = None
    ) -> Acted:
        """Somebody wants to hear of them again. Raises UsageError: `alarms_too_many`."""
        now_ms = self._clock.now_ms()
        return self._act(
            catalog, alarm_ids, scope, lambda alarm: alarm_steps.unshelved(alarm, now_ms=now_ms, actor=actor)
        )

    def _act(
        self,
        catalog: Catalog,
        alarm_ids: Sequence[str],
        scope: Scope,
        step: Callable[[Alarm], list[AlarmMove]],
    ) -> Acted:
        wanted = list(dict.fromkeys(alarm_ids))
        if len(wanted) > ALARM_BULK_COUNT_MAX:
            raise UsageError(
                f"At most {ALARM_BULK_COUNT_MAX} alarms at once, not {len(wanted)}.",
                hint="Do it in several steps.",
                code="alarms_too_many",
            )
        found = catalog.visible_alarms(wanted, scope=scope)
        moves: list[AlarmMove] = []
        changed, unchanged = [], []
        for alarm_id in wanted:
            if alarm_id not in found:
                continue
            made = step(found[alarm_id])
            moves += made
            if made:
                changed.append(made[-1].after)
            else:
                unchanged.append(alarm_id)
        self._save(catalog, moves)
        return Acted(
            alarms=tuple(replace(each, version=catalog.hlc) for each in changed),
            unchanged=tuple(unchanged),
            unknown=tuple(each for each in wanted if each not in found),
        )

    # --- What ends by itself -------------------------------------------------------------------------------

    def judge_again(self, catalog: Catalog, alarms: Iterable[Alarm]) -> list[AlarmMove]:
        """Move alarms as their surroundings are now: rules, devices, maintenance, what explains them."""
        known = list(alarms)
        judge = self._judge(catalog, {each.device_id for each in known}, self._clock.now_ms())
        moves: list[AlarmMove] = []
        for alarm in known:
            made = judge.moves_of(alarm)
            if made:
                judge.note(made[-1].after)
                moves += made
        return moves

    def judge_and_save(self, catalog: Catalog, alarm_ids: Sequence[str]) -> list[AlarmMove]:
        """The same, of alarms by their id, and written."""
        moves = self.judge_again(catalog, catalog.alarms_of_ids(alarm_ids).values())
        self._save(catalog, moves)
        return moves

    def suppressors(self, catalog: Catalog) -> frozenset[str]:
        """What may suppress alarms now."""
        return self._judge(catalog, set(), self._clock.now_ms()).suppressors

    def _judge(self, catalog: Catalog, device_ids: set[str], now_ms: int) -> Judge:
        return Judge(
            catalog,
            self.rules(catalog),
            device_ids,
            now_ms=now_ms,
            wait_ms=self._wait_ms,
            is_caught_up=self.is_caught_up,
        )

    def _save(self, catalog: Catalog, moves: Sequence[AlarmMove]) -> None:
        if moves:
            catalog.save_alarm_moves(moves)
            self.on_moves(catalog, moves)
            self.tally.moves += len(moves)


def _check_words(words: str, what: str, *, is_wanted: bool = False) -> None:
    if len(words) > ALARM_NOTE_LENGTH_MAX or not words.isprintable() or (is_wanted and not words.strip()):
        raise UsageError(
            f"The {what} has {'1 to' if is_wanted else 'at most'} {ALARM_NOTE_LENGTH_MAX} characters, in one line.",
            hint=f"Write a {'' if is_wanted else 'shorter '}{what}.",
            code="alarm_note",
        )
