"""Whenever somebody looks, and wherever the process was killed, the same is told: each step once, and no repetition but those that count."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.management.escalation import AlarmNow, Escalation, advance, look
from appliance.management.on_call import Member, OnCallDefinition, OnCallList, Plan, Step
from appliance.management.quiet_hours import WeeklyTime
from tests.sampling import examples

MINUTE_MS: Final = 60_000
FLAP_MS: Final = 10 * MINUTE_MS
START_MS: Final = 1_772_049_600_000
"""20:00 UTC, two hours before the quiet ones."""
END_MINUTE: Final = 720
MEMBERS: Final = (
    Member(name="Anna", targets=("anna", "both"), times=(WeeklyTime(from_="06:00", to="18:00"),)),
    Member(name="Bert", targets=("bert", "both"), times=(WeeklyTime(from_="18:00", to="23:00"),)),
)

plans = st.builds(
    lambda first, later, repeat_s: Plan(
        steps=(Step(after_s=first), *((Step(after_s=first + later, whom="all"),) if later else ())),
        repeat_s=repeat_s,
    ),
    st.sampled_from([0, 60, 3_600]),
    st.sampled_from([0, 600, 7_200]),
    st.sampled_from([None, 300, 900]),
)
lists = st.lists(
    st.builds(
        lambda p1, p2, quiet: OnCallList(
            "l",
            "L",
            OnCallDefinition(
                P1=p1,
                P2=p2,
                members=MEMBERS,
                quiet_hours=(WeeklyTime(from_="22:00", to="06:00"),) if quiet else (),
            ),
        ),
        plans,
        plans,
        st.booleans(),
    ),
    min_size=1,
    max_size=2,
)


@dataclass(frozen=True)
class Move:
    minute: int
    what: str


moves = st.lists(
    st.builds(
        Move,
        st.integers(1, END_MINUTE - 100),
        st.sampled_from(["raise", "clear", "acknowledge", "shelve", "unshelve"]),
    ),
    max_size=8,
).map(lambda found: sorted(found, key=lambda move: move.minute))


def moved(alarm: AlarmNow, what: str) -> AlarmNow:
    """As appliance/alarms moves them, as far as it matters here."""
    if what == "raise":
        is_new = alarm.is_acknowledged and not alarm.is_active
        return replace(alarm, is_active=True, is_acknowledged=False, episode=alarm.episode + is_new)
    if what == "clear":
        return replace(alarm, is_active=False)
    if what == "acknowledge":
        return replace(alarm, is_acknowledged=True)
    return replace(alarm, is_quiet=what == "shelve")


class Told:
    """What is made: keys, and among them repetitions."""

    def __init__(self, on_call: list[OnCallList]) -> None:
        self.on_call = on_call
        self.made: list[tuple[int, str, str]] = []
        self.keys: set[tuple[int, str, str]] = set()
        self.next_at_ms: int | None = None

    def look(self, escalation: Escalation, minute: int) -> Escalation:
        found = look(
            escalation, self.on_call, zone=UTC, flap_ms=FLAP_MS, now_ms=START_MS + minute * MINUTE_MS
        )
        for due in found.dues:
            for target in due.turn.targets:
                key = (escalation.episode, due.step, target)
                if key not in self.keys:
                    self.keys.add(key)
                    self.made.append(key)
        if found.over_step:
            self.made.append((escalation.episode, found.over_step, "those who were told"))
        self.next_at_ms = found.next_at_ms
        return found.after


def run(on_call: list[OnCallList], steps: list[Move], looks: set[int], *, follows: bool = False) -> Told:
    """The story, looked at in the minutes that are named, and with `follows` whenever the look before said so."""
    told = Told(on_call)
    alarm = AlarmNow(
        alarm_id="a", episode=1, severity="P1", is_active=True, is_acknowledged=False, is_quiet=False
    )
    escalation = told.look(advance(None, alarm, START_MS), 0)
    waiting = list(steps)
    for minute in range(1, END_MINUTE + 1):
        while waiting and waiting[0].minute == minute:
            escalation = told.look(escalation, minute)  # as the hook does before a move
            alarm = moved(alarm, waiting.pop(0).what)
            escalation = told.look(advance(escalation, alarm, START_MS + minute * MINUTE_MS), minute)
        wants = told.next_at_ms is not None and told.next_at_ms <= START_MS + minute * MINUTE_MS
        if minute in looks or (follows and wants):
            escalation = told.look(escalation, minute)
    told.look(escalation, END_MINUTE)
    return told


@given(lists, moves, st.sets(st.integers(1, END_MINUTE), max_size=30))
@settings(max_examples=examples(60), deadline=None)
def test_whenever_somebody_looks_the_same_is_told(
    on_call: list[OnCallList], steps: list[Move], looks: set[int]
) -> None:
    always = run(on_call, steps, set(), follows=True)
    at_times = run(on_call, steps, looks)

    def lasting(told: Told) -> list[tuple[int, str, str]]:
        return sorted(key for key in told.made if not key[1].startswith("repeated/"))

    assert lasting(at_times) == lasting(always)
    assert len(set(lasting(always))) == len(lasting(always))
    # A repetition is left out only when the next one has come due already.
    assert set(at_times.made) <= set(always.made)


@given(lists, moves)
@settings(max_examples=10, deadline=None)
def test_looking_when_it_is_said_is_as_good_as_never_looking_away(
    on_call: list[OnCallList], steps: list[Move]
) -> None:
    every_minute = run(on_call, steps, set(range(END_MINUTE)))
    assert run(on_call, steps, set(), follows=True).made == every_minute.made


@given(lists, moves, st.integers(1, END_MINUTE))
@settings(max_examples=examples(40), deadline=None)
def test_the_newest_repetition_is_always_told(
    on_call: list[OnCallList], steps: list[Move], minute: int
) -> None:
    """Whoever looks but once at the end is told of the same newest repetition as somebody who never stops."""
    until = [move for move in steps if move.minute < minute]
    always = run(on_call, until, set(), follows=True)
    once = run(on_call, until, set())

    def newest(told: Told) -> dict[tuple[int, str], int]:
        found: dict[tuple[int, str], int] = {}
        for episode, step, _ in told.made:
            if step.startswith("repeated/"):
                number, _, round_ = step.removeprefix("repeated/").partition(".")
                found[episode, round_] = max(found.get((episode, round_), 0), int(number))
        return found

    # Of a round that a move ended, the newest repetition is that before the move: looked for by the hook.
    assert newest(once) == newest(always)
