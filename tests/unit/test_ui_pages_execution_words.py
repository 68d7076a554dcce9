"""Every state, event and source of an execution has words."""

from __future__ import annotations

from appliance.management.executions import ENDED, NEEDS_A_HAND, Event, Source, State
from ui.pages.execution_words import EVENTS, SOURCES, WORDS, event_text, source_text, words_of


def test_nothing_of_the_machine_is_without_words() -> None:
    assert set(WORDS) == set(State)
    assert set(EVENTS) == set(Event)
    assert set(SOURCES) == set(Source)
    assert all(words.says.endswith(".") for words in WORDS.values())


def test_whoever_needs_a_hand_is_told_what_to_do() -> None:
    assert all(WORDS[state].next for state in (*NEEDS_A_HAND, *set(State) - ENDED))
    assert {WORDS[state].look.tone for state in NEEDS_A_HAND} == {"bad"}


def test_what_a_newer_release_wrote_is_shown_by_its_name() -> None:
    assert words_of("succeeded").look.word == "succeeded"
    assert words_of("on_hold").look.word == "on hold"
    assert event_text("late_report") == "late report"
    assert event_text("runs_old") == "runs the version before"
    assert source_text("report") == "said by the device"
    assert source_text("moon") == "moon"
