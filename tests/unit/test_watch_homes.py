"""Which node of a site says what is wrong with a device, and what becomes of the rest."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from appliance.core import limits_watch
from appliance.management.rule_transition import AlarmKey, Transition
from appliance.watch import homes as homes_module
from appliance.watch.homes import Homes, SavedHomes
from appliance.watch.watch import Watch
from tests.properties.test_watch_reorder import NOW, arrived
from tests.unit.test_watch_watch import Names, rules
from tests.watch_kit import NoDetectors, SmallEvaluator

A, B = "a" * 32, "b" * 32
HIGH, LOW = 9.0, 1.0
HOLD = limits_watch.WATCH_HELD_BACK_MS
Event = tuple[str, str, int, bool]
"""Rule, device, when, whether it is raised: by that an alarm's event is known on every node."""


class Node:
    """A watch, and what its book has applied; `told` is what was new to it, so that people heard of it from here."""

    def __init__(self, own_id: str) -> None:
        self.own_id = own_id
        self.watch = Watch(lateness_ms=0, evaluator=SmallEvaluator, detectors=NoDetectors, own_id=own_id)
        self.watch.begin(Names(), rules(1, 5.0), None)
        self.events: set[Event] = set()
        self.told: list[Event] = []

    def see(self, origin: str, at_ms: int, value: float = LOW, series: int = 1) -> None:
        """A reading that arrived at a node comes here by its log."""
        seen = arrived([(series, NOW + at_ms, NOW + at_ms, value)])
        heard = [(f"d{series}", "" if origin == self.own_id else origin, NOW + at_ms)]
        newest = NOW + at_ms if origin == self.own_id else 0
        self._apply(self.watch.see(replace(seen, heard=heard, newest_own_ms=newest), epoch=1, seq=at_ms))

    def tick(self, at_ms: int) -> None:
        self._apply(self.watch.tick(NOW + at_ms, epoch=1, seq=at_ms))

    def _apply(self, found: list[Transition]) -> None:
        for each in found:
            event = (each.key.rule_id, each.key.device_id, each.at_ms - NOW, each.is_raised)
            if event not in self.events:
                self.events.add(event)
                self.told.append(event)

    def restart(self) -> None:
        saved = self.watch.save()
        self.watch.begin(Names(), rules(1, 5.0), saved)


class Site:
    """Two nodes that see each other's readings and, where their catalogs meet, each other's alarms."""

    def __init__(self) -> None:
        self.a, self.b = Node(A), Node(B)

    def see(self, origin: str, at_ms: int, value: float = LOW) -> None:
        """At the node itself first."""
        for node in sorted((self.a, self.b), key=lambda node: node.own_id != origin):
            node.see(origin, at_ms, value)

    def meet(self) -> None:
        events = self.a.events | self.b.events
        self.a.events, self.b.events = set(events), set(events)

    def tick(self, at_ms: int) -> None:
        self.a.tick(at_ms)
        self.b.tick(at_ms)


def test_one_alarm_is_raised_and_ended_by_one_node() -> None:
    site = Site()
    site.see(A, 0)
    site.see(A, 1_000, HIGH)
    site.tick(2_000)
    site.meet()
    site.see(A, 3_000, LOW)
    site.tick(4_000)
    site.meet()
    site.tick(10_000 + HOLD)
    assert site.a.told[:2] == [("above", "d1", 1_000, True), ("above", "d1", 3_000, False)]
    assert site.b.told == []


def test_a_device_that_goes_to_another_node_takes_its_state_along() -> None:
    site = Site()
    site.see(A, 0)
    site.see(A, 1_000, HIGH)
    site.tick(2_000)
    site.meet()
    site.see(B, 3_000, HIGH)
    site.tick(4_000)
    assert site.b.told == [], "it is raised already, and not raised again"
    site.meet()
    site.see(B, 5_000, LOW)
    site.tick(6_000)
    site.meet()
    site.tick(8_000 + HOLD)
    assert site.a.told[:1] == [("above", "d1", 1_000, True)]
    assert site.b.told[:1] == [("above", "d1", 5_000, False)], "what the old home raised ends at the new one"
    assert not [event for event in site.a.told if event[0] == "above" and event[2] > 1_000]


def test_what_the_old_home_could_not_say_is_said_when_the_device_comes() -> None:
    site = Site()
    site.see(A, 0)
    site.b.see(A, 1_000, HIGH)
    site.b.tick(2_000)
    assert site.b.told == []
    site.b.see(B, 3_000, HIGH)
    site.b.tick(4_000)
    assert site.b.told == [("above", "d1", 1_000, True)]


def test_what_nobody_said_for_a_minute_is_said_by_whoever_knows() -> None:
    site = Site()
    site.see(A, 0)
    site.b.see(A, 1_000, HIGH)
    site.b.tick(2_000)
    site.b.tick(1_000 + HOLD)
    assert not [event for event in site.b.told if event[0] == "above"]
    site.b.tick(3_000 + HOLD)
    assert ("above", "d1", 1_000, True) in site.b.told
    statistics = site.b.watch.statistics()
    assert statistics.held_back_late_total == 1


def test_the_silence_of_a_copy_is_no_silence_of_its_devices() -> None:
    site = Site()
    site.see(A, 0)
    site.b.tick(40_000)
    site.b.tick(60_000 + HOLD)
    assert site.b.told == []
    assert site.b.watch.statistics().held_back == 1
    site.b.see(A, 20_000)
    site.b.see(A, 100_000 + HOLD)
    assert not [event for event in site.b.told if event[3]], "what the clock said here alone was never raised"
    site.a.tick(40_000)
    assert site.a.told == [("silent", "d1", 30_000, True)], "the home says it at once"


def test_its_state_is_kept() -> None:
    site = Site()
    site.see(A, 0)
    site.b.see(A, 1_000, HIGH)
    site.b.tick(2_000)
    site.b.restart()
    assert site.b.told == []
    site.b.see(B, 3_000, HIGH)
    site.b.tick(4_000)
    assert site.b.told == [("above", "d1", 1_000, True)]


def test_a_record_that_comes_late_moves_no_device_back() -> None:
    homes = Homes(B)
    homes.note([("d1", A, 10)])
    homes.note([("d1", "", 20)])
    homes.note([("d1", A, 15)])
    assert homes.is_ours(AlarmKey("r", device_id="d1"), 20)
    homes.note([("d1", A, 25)])
    assert not homes.is_ours(AlarmKey("r", device_id="d1"), 25)


def test_of_two_at_the_same_time_all_nodes_choose_the_same() -> None:
    here, there = Homes(A), Homes(B)
    here.note([("d1", B, 10), ("d1", "", 10)])
    there.note([("d1", A, 10), ("d1", "", 10)])
    key = AlarmKey("r", device_id="d1")
    assert [each.is_ours(key, 10) for each in (here, there)] == [False, True]


def test_the_site_is_spoken_for_by_one_that_is_there() -> None:
    here, there = Homes(A), Homes(B)
    key = AlarmKey("r", group_id="g")
    assert here.is_ours(key, 0)
    assert there.is_ours(key, 0), "alone"
    here.note([("d1", B, 10)])
    there.note([("d1", A, 10)])
    assert [each.is_ours(key, 10) for each in (here, there)] == [True, False]
    late_ms = 10 + limits_watch.WATCH_NODE_HERE_MS
    assert there.is_ours(key, late_ms), "the other one was not heard of for long"


def transition(at_ms: int, device: str = "d1", *, is_raised: bool = True) -> Transition:
    return Transition(key=AlarmKey("r", device_id=device), rule_version=1, is_raised=is_raised, at_ms=at_ms)


def test_what_there_is_no_room_for_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes_module, "WATCH_HELD_BACK_COUNT_MAX", 1)
    homes = Homes(B)
    homes.note([("d1", A, 1), ("d2", A, 1)])
    assert homes.passed_on([transition(1)], (), 1) == []
    assert homes.passed_on([transition(1, "d2")], (), 1) == [transition(1, "d2")]
    assert (homes.held_count, homes.full_total) == (1, 1)


def test_what_was_held_back_comes_before_what_follows_it() -> None:
    homes = Homes(B)
    homes.note([("d1", A, 1)])
    raised, over = transition(1), transition(3, is_raised=False)
    assert homes.passed_on([raised], (), 1) == []
    homes.note([("d1", "", 2)])
    assert homes.passed_on([over], (), 3) == [raised, over]
    assert homes.held_count == 0


def test_saved_and_loaded_it_is_the_same() -> None:
    homes = Homes(B)
    homes.note([("d1", A, 1), ("d2", A, 5)])
    homes.passed_on([transition(1)], (), 1)
    data = msgspec.msgpack.encode(homes.save())
    again = Homes(B)
    again.load(msgspec.msgpack.decode(data, type=SavedHomes))
    assert again.save() == homes.save()
    assert again.held_count == 1
    again.note([("d1", "", 9)])
    assert again.passed_on([], (), 9) == [transition(1)]


def test_time_goes_on_by_what_arrives_here() -> None:
    site = Site()
    site.b.see(B, 0)
    site.b.see(A, 8 * 3_600_000, series=2)
    site.b.tick(2_000)
    assert site.b.told == [], "another node's clock that is ahead makes nothing silent here"
    site.b.see(B, 8 * 3_600_000, series=1)
    site.b.told.clear()
    before = site.b.watch.statistics().found_total
    for at_ms in range(1_000, 2_000, 100):
        site.b.see(A, at_ms, HIGH, series=3)
    site.b.tick(8 * 3_600_000 + 2_000)
    assert site.b.watch.statistics().watermark_ms == NOW + 8 * 3_600_000 + 2_000
    assert site.b.watch.statistics().found_total > before, (
        "what was copied hours late is seen, and nothing begins anew"
    )
