"""Instants, starts of the broker, membership and saved state, seen by an evaluator that writes down what it is asked."""

from __future__ import annotations

import pytest

from appliance.core.errors import StorageError
from appliance.management.arrived import Arrived
from appliance.management.presence import Presence
from appliance.management.rule import Rule
from appliance.management.watched import Membership, PresenceChange, SeriesNames
from appliance.pipeline.rule_sets import RuleSets
from appliance.watch.watch import Watch
from tests.properties.test_watch_reorder import NOW, arrived
from tests.watch_kit import NoDetectors, SmallEvaluator, version


class Names:
    def __len__(self) -> int:
        return 10

    def name_of(self, series_id: int, /) -> tuple[str, str]:
        return f"d{series_id}", "t"


def rules(number: int, limit: float) -> list[Rule]:
    with RuleSets([version(number, limit)]).reading(1, 1) as (found, _):
        return list(found.rules)


class Scene:
    def __init__(self) -> None:
        self.made: list[SmallEvaluator] = []
        self.watch = Watch(lateness_ms=1_000, evaluator=self._make, detectors=NoDetectors)
        self.watch.begin(Names(), rules(1, 5.0), None)

    def _make(self, names: SeriesNames) -> SmallEvaluator:
        self.made.append(SmallEvaluator(names))
        return self.made[-1]

    @property
    def evaluator(self) -> SmallEvaluator:
        return self.made[-1]

    def see(self, *readings: tuple[int, int, int, float], **more: list[int]) -> list[tuple[int, bool]]:
        found = self.watch.see(arrived(readings, **more), epoch=1, seq=9)
        return [(each.at_ms - NOW, each.is_raised) for each in found]


def reading(at_ms: int, value: float = 1.0, series: int = 1) -> tuple[int, int, int, float]:
    return series, NOW + at_ms, NOW + at_ms, value


def test_instants_are_decided_when_their_readings_are_released_and_none_of_later() -> None:
    scene = Scene()
    scene.see(reading(0), reading(25_000), reading(26_000), reading(60_000))
    ticks = [at_ms - NOW for at_ms in scene.evaluator.ticks]
    assert ticks == [10_000, 20_000, 30_000, 40_000, 50_000, 60_000]
    assert scene.watch.statistics().held == 1


def test_the_silence_before_a_start_of_the_broker_is_nobody_s() -> None:
    scene = Scene()
    found = scene.see(reading(0), reading(120_000), reading(130_000), starts=[NOW + 119_000])
    assert found == []
    assert all(at_ms >= NOW + 119_000 for at_ms in scene.evaluator.ticks)
    assert ("broker", NOW + 119_000) in scene.evaluator.calls
    waiting = Scene()
    waiting.see(reading(0), starts=[NOW + 119_000])
    assert waiting.evaluator.ticks == [], "the start waits, and nobody knows yet what came before"


def test_new_rules_see_nothing_that_came_before_them() -> None:
    scene = Scene()
    scene.see(reading(0, 9.0))
    found = scene.watch.use(rules(2, 20.0), epoch=1, seq=10)
    assert [(each.at_ms - NOW, each.is_raised, each.rule_version, each.seq) for each in found] == [
        (0, True, 1, 10)
    ]


def test_membership_holds_from_what_is_seen_next() -> None:
    scene = Scene()
    members = Membership()
    scene.watch.members(members)
    scene.watch.members(members)
    scene.see(reading(0))
    scene.see(reading(1))
    assert sum(call is members for call in scene.evaluator.calls) == 1
    scene.watch.begin(Names(), (), None)
    assert sum(call is members for call in scene.evaluator.calls) == 1


def test_presence_goes_with_its_readings() -> None:
    scene = Scene()
    change = PresenceChange(device_id="d1", presence=Presence.LOST, at_ms=NOW)
    scene.watch.see(Arrived(presences=[change]), epoch=1, seq=2)
    scene.watch.tick(NOW + 2_000, epoch=1, seq=2)
    assert [("d1", Presence.LOST)] in scene.evaluator.calls


def test_it_goes_on_from_what_was_saved() -> None:
    scene = Scene()
    scene.see(reading(0, 9.0), reading(5_000, 9.0), reading(9_500, 1.0))
    saved, before = scene.watch.save(), scene.watch.statistics()
    scene.watch.begin(Names(), rules(1, 5.0), saved)
    after = scene.watch.statistics()
    assert (after.held, after.watermark_ms) == (before.held, before.watermark_ms)
    assert scene.see(reading(20_000, 1.0), reading(22_000)) == [(9_500, False)]
    assert after.rules == "small"
    assert after.anomalies == "none"


@pytest.mark.parametrize("saved", [b"", b"nonsense", None])
def test_a_state_that_is_none_is_refused(saved: bytes | None) -> None:
    scene = Scene()
    packed = scene.watch.save()[:-3] if saved is None else saved
    with pytest.raises(StorageError, match="can't be used") as caught:
        scene.watch.begin(Names(), (), packed)
    assert caught.value.code == "watch_state_unusable"


def test_copies_of_other_brokers_are_counted() -> None:
    scene = Scene()
    scene.watch.see(Arrived(copies=3), epoch=1, seq=2)
    assert scene.watch.statistics().copies_total == 3
    assert scene.watch.statistics().seen_total == 0


def test_a_clock_that_was_a_year_ahead_and_is_put_right_leaves_nothing_dead() -> None:
    scene = Scene()
    year = 366 * 86_400_000
    scene.see(reading(year))
    scene.watch.tick(NOW + year + 5_000, epoch=1, seq=9)
    assert scene.see(reading(0), reading(1_000, 9.0)) == []
    assert scene.see(reading(6_000)) == [(1_000, True)]
    assert len(scene.made) == 2
    scene.watch.tick(NOW + 40_000, epoch=1, seq=9)
    assert scene.evaluator.ticks[-1] == NOW + 40_000


def test_a_clock_that_is_put_back_while_nothing_comes_is_noticed_by_the_clock() -> None:
    scene = Scene()
    scene.see(reading(7_200_000))
    scene.watch.tick(NOW + 7_100_000, epoch=1, seq=9)
    assert len(scene.made) == 1, "minutes pass by themselves"
    scene.watch.tick(NOW, epoch=1, seq=9)
    assert len(scene.made) == 2
