"""Rules as metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from tests.watch_numbers import UP_TO_DATE
from ui.metrics_rules import add_rules
from ui.metrics_table import Collected


def collected(watch: Any) -> dict[tuple[str, ...], float]:
    out = Collected()
    services = SimpleNamespace(pipeline=SimpleNamespace(statistics=lambda: SimpleNamespace(watch=watch)))
    add_rules(out, cast("Any", services))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in out.families()
        for sample in family.samples
    }


def test_what_is_watched_and_what_there_was_no_room_for() -> None:
    assert collected(UP_TO_DATE) == {
        ("homeport_rules",): 2,
        ("homeport_rule_pairs", "watched"): 10,
        ("homeport_rule_pairs", "raised"): 1,
        ("homeport_rule_pairs", "left_out"): 7,
        ("homeport_rule_transitions_held",): 8,
        ("homeport_rule_transitions_untold_total",): 6,
    }


def test_nothing_where_there_are_no_rules() -> None:
    assert collected(None) == {}
    assert collected(SimpleNamespace(watch=SimpleNamespace(rules=None))) == {}
