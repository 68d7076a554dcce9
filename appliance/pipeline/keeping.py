"""What is due to be done with the days, one step at a time. Pure: how each day stands and the time are arguments.

    archive    the day is over and its lateness has passed, or late readings have come and none since as long: a new generation
    absorb     it is in the store, and so many days old that late readings of it came into the tables that old days share
    cool       its hot days are over: its readings leave the store, which they do only when a generation has them all
    expire     the archive days of some of its classes are over: the next generation is without their files
    forget     those of all of them are over: nothing of it is left

Each step is due until it is done, so that it is begun again after whatever ended it. The oldest day comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from appliance.core.believed_time import is_known_wrong
from appliance.management.retention import Retention, RetentionClass, is_cold, is_expired
from storage.archive.days import DayState
from storage.archive.layout import day_text
from storage.telemetry.batch import DAY_MS

Rule = Literal["archive", "late", "damaged", "hot_days", "archive_days", "disk_pressure"]
RULES: Final[dict[Rule, str]] = {
    "archive": "the day is over",
    "late": "late readings came",
    "damaged": "its generation is damaged",
    "hot_days": "its days in the store are over",
    "archive_days": "its days in the archive are over",
    "disk_pressure": "the disk is filling up",
}
DIRTY_MS_MAX: Final = 7 * DAY_MS
"""A day to which late readings keep coming is archived again after this time all the same."""
PRESSURE_DAYS_KEPT: Final = 2
"""The newest days that are over stay in the store whatever the disk says."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        classes: For cool and expire: whose readings go; None for all. For archive: of a day that is not whole, as for cool.
        needs_generation: Whether a generation is to be made first; otherwise the present one has it all.
    """

    kind: Literal["archive", "absorb", "cool", "expire", "forget"]
    day: int
    rule: Rule
    classes: frozenset[str] | None = None
    needs_generation: bool = False


@dataclass(slots=True)
class Lateness:
    """Since when nothing has come to each day, as far as this process has seen."""

    lateness_ms: int
    _seen: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Day → rows pending, when they last changed, when the first of them was seen; UTC ms."""

    def note(self, states: Iterable[DayState], now_ms: int) -> None:
        """How the days stand now."""
        seen = {}
        for state in states:
            if state.pending:
                pending, changed_ms, first_ms = self._seen.get(state.day, (0, now_ms, now_ms))
                seen[state.day] = (
                    state.pending,
                    changed_ms if pending == state.pending else now_ms,
                    first_ms,
                )
        self._seen = seen

    def is_quiet(self, state: DayState, now_ms: int) -> bool:
        """Whether a day's late readings are to be archived: none has come for the lateness, or they have waited long enough."""
        _, changed_ms, first_ms = self._seen.get(state.day, (0, now_ms, now_ms))
        return now_ms - changed_ms >= self.lateness_ms or now_ms - first_ms >= DIRTY_MS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is decided by.

    Attributes:
        classes_of: The classes that a day's generation has files of. is_current: Whether its metrics were put into
            files by the classes that there are now.
        is_faulty: Whether a day's generation is not what was written, as far as is known.
        made_at_ms: When a day's generation was made, UTC ms; None where there is none.
        is_short: The disk is filling up, and the store has little free room of its own.
        believed_ms: How late it is as far as can be believed (appliance/core/believed_time.py), UTC ms: days leave store and archive by it.
    """

    now_ms: int
    believed_ms: int
    retention: Retention
    lateness: Lateness
    classes_of: Callable[[int], frozenset[str]]
    is_current: Callable[[int], bool]
    is_faulty: Callable[[int], bool] = lambda _: False
    made_at_ms: Callable[[int], int | None] = lambda _: None
    is_short: bool = False

    @property
    def today(self) -> int:
        return self.believed_ms // DAY_MS

    def is_expired(self, day: int, retention_class: RetentionClass) -> bool:
        """Whether a day's readings of a class are to go for good.

        A day from before this program existed counts from when its generation was made: most of its readings came while the clock was wrong,
        and are not as old as they seem. If the clock was wrong then, too, nobody knows how old they are, and they stay.
        """
        if not is_false_day(day):
            return is_expired(day, self.today, retention_class)
        made_at_ms = self.made_at_ms(day)
        if made_at_ms is None or is_known_wrong(made_at_ms):
            return False
        return is_expired(made_at_ms // DAY_MS, self.today, retention_class)


def is_false_day(day: int) -> bool:
    """Whether a day lies before this program existed, so that readings of it are older than the box or came while its clock was wrong."""
    return is_known_wrong(day * DAY_MS)


def next_step(states: list[DayState], situation: Situation) -> Step | None:
    """The first step that is due; None when none is."""
    for state in states:
        step = _step_of(state, situation)
        if step is not None:
            return step
    return _under_pressure(states, situation) if situation.is_short else None


def _step_of(state: DayState, now: Situation) -> Step | None:
    classes = now.retention.all()
    if all(now.is_expired(state.day, each) for each in classes):
        return Step("forget", state.day, "archive_days")
    is_kept = state.restored_until is not None and now.today <= state.restored_until
    cold = frozenset(each.class_id for each in classes if not is_kept and is_cold(state.day, now.today, each))
    step = (
        _whole(state, now, cold, is_all=len(cold) == len(classes))
        if state.is_whole
        else _parted(state, now, cold, is_all=len(cold) == len(classes))
    )
    return step or _expired(state, now)


def _whole(state: DayState, now: Situation, cold: frozenset[str], *, is_all: bool) -> Step | None:
    if is_all:
        return Step("cool", state.day, "hot_days", needs_generation=_is_behind(state, now))
    is_over = now.now_ms >= (state.day + 1) * DAY_MS + now.lateness.lateness_ms
    if state.other and (is_over if state.generation is None else now.lateness.is_quiet(state, now.now_ms)):
        return Step("absorb", state.day, "late")
    if state.generation is None:
        return Step("archive", state.day, "archive", needs_generation=True) if is_over else None
    if state.other:
        # A generation without them would not have all from before its position.
        return None
    if now.is_faulty(state.day):
        return Step("archive", state.day, "damaged", needs_generation=True)
    if state.is_dirty and now.lateness.is_quiet(state, now.now_ms):
        return Step("archive", state.day, "late", needs_generation=True)
    if state.is_dirty or not cold:
        return None
    if not now.is_current(state.day):
        # Its files were cut by other classes: those that go would not be the ones that were written apart.
        return Step("archive", state.day, "hot_days", needs_generation=True)
    going = cold & now.classes_of(state.day)
    return Step("cool", state.day, "hot_days", classes=going) if going else None


def _parted(state: DayState, now: Situation, cold: frozenset[str], *, is_all: bool) -> Step | None:
    classes = None if is_all or not state.hot else cold | state.cold_classes
    if state.pending:
        if not now.lateness.is_quiet(state, now.now_ms):
            return None
        # What is in no tables of its own day has no generation to be compared with: all of it goes to the archive.
        return Step("cool", state.day, "late", classes=classes, needs_generation=True)
    if state.hot and is_all:
        return Step("cool", state.day, "hot_days")
    going = (cold & now.classes_of(state.day)) - state.cold_classes
    if state.hot and going:
        return Step("cool", state.day, "hot_days", classes=going | state.cold_classes)
    return None


def _expired(state: DayState, now: Situation) -> Step | None:
    if state.generation is None:
        return None
    gone = frozenset(
        class_id
        for class_id in now.classes_of(state.day)
        if now.is_expired(state.day, now.retention.named(class_id))
    )
    # A class whose readings are in the store too would come back with the next generation.
    gone &= state.cold_classes
    return Step("expire", state.day, "archive_days", classes=gone) if gone else None


def _is_behind(state: DayState, now: Situation) -> bool:
    if state.generation is None or state.pending:
        return True
    return state.is_whole and (now.is_faulty(state.day) or _is_made_falsely(state.day, now))


def _is_made_falsely(day: int, now: Situation) -> bool:
    """Whether a generation is to be made again for the time to be right from which it counts."""
    made_at_ms = now.made_at_ms(day)
    return (
        is_false_day(day)
        and not is_known_wrong(now.now_ms)
        and made_at_ms is not None
        and is_known_wrong(made_at_ms)
    )


def _under_pressure(states: list[DayState], now: Situation) -> Step | None:
    """The oldest day in the store that is archived leaves it before its time."""
    for state in states:
        is_old = state.day < now.today - PRESSURE_DAYS_KEPT
        if is_old and state.is_whole and state.generation is not None and not state.is_dirty:
            return Step("cool", state.day, "disk_pressure", needs_generation=_is_behind(state, now))
    return None


def step_text(step: Step) -> str:
    """A step in words, for whoever looks."""
    day, why = day_text(step.day), RULES[step.rule]
    match step.kind:
        case "archive":
            return f"archiving {day}: {why}"
        case "absorb":
            return f"gathering late readings of {day}"
        case "cool":
            return f"taking {day} out of the store: {why}"
        case "expire":
            return f"letting classes of {day} go: {why}"
        case "forget":
            return f"letting {day} go: {why}"
