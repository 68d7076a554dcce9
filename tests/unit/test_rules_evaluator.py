"""The evaluator as a whole: rules that come, change and go, devices that move, what is left out, what is told once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from appliance.core.errors import StorageError
from appliance.core.limits_alarms import RULE_MOVES_PER_CALL_MAX
from appliance.management.presence import Presence
from appliance.management.rule import RuleScope
from appliance.management.rule_conditions import (
    Anomaly,
    Comparison,
    Connection,
    MissingFraction,
    NoData,
    NodeWatch,
    Rate,
    Repetition,
    Stuck,
    Threshold,
)
from appliance.management.rule_transition import AlarmKey
from appliance.management.watched import (
    Finding,
    Member,
    Membership,
    PresenceChange,
    Scores,
    SilenceScores,
)
from appliance.rules.evaluator import RuleEvaluator
from tests.rules_kit import START_MS, Names, Reading, Site, columns, rule

HOT = Threshold(is_="above", limit=80)


def test_a_threshold_is_raised_after_its_delay_also_when_no_reading_follows() -> None:
    site = Site(rule("hot", HOT, on_delay_s=300))
    site.see((0, 0, 81.5))
    site.tick(299.9)
    assert site.told.of("hot", "a", "t") == []
    site.tick(600)
    assert site.told.of("hot", "a", "t") == [(300, True)]
    assert site.told.texts("hot", "a", "t") == ["81.5, above 80 for 5 min"]


def test_a_device_whose_clock_is_behind_is_waited_for() -> None:
    """Its readings are an hour old when they come; that an hour has passed says nothing of its delay."""
    site = Site(rule("hot", HOT, on_delay_s=60))
    for at in (0, 30):
        late = Reading(received=3_600_000 + at * 1_000, series=0, observed=at * 1_000, value=90)
        site.told.take(site.evaluator.see(columns([late])))
        site.tick(3_600 + at)
    assert site.told.of("hot", "a", "t") == []
    site.tick(3_600 + 60)
    assert site.told.of("hot", "a", "t") == [(60, True)]


def test_what_says_nothing_moves_nothing() -> None:
    site = Site(rule("hot", HOT))
    site.see((0, 0, 90))
    for value, quality in ((math.nan, 0), (math.inf, 0), (20.0, 2)):
        bad = Reading(received=1_000, series=0, observed=1_000, value=value, quality=quality)
        site.told.take(site.evaluator.see(columns([bad])))
    assert site.told.of("hot", "a", "t") == [(0, True)]


def test_a_version_that_stays_goes_on_and_a_new_one_begins_anew() -> None:
    site = Site(rule("hot", HOT), rule("cold", Threshold(is_="below", limit=0)))
    site.see((0, 0, 90))
    hot = AlarmKey("hot", "a", "", "t")
    assert site.evaluator.use([rule("hot", HOT)]) == []
    site.see((0, 1, 91))
    assert site.told.of("hot", "a", "t") == [(0, True)]
    assert site.evaluator.use([rule("hot", HOT, version=2)]) == [hot]
    site.see((0, 2, 92))
    assert site.told.of("hot", "a", "t") == [(0, True), (2, True)]
    assert site.evaluator.use([]) == [hot]
    site.see((0, 3, 20))
    assert site.told.of("hot", "a", "t") == [(0, True), (2, True)]


def test_a_device_that_leaves_a_group_is_not_watched_any_more() -> None:
    there = Membership(devices={"a": Member(groups=frozenset({"hall"}), tags=frozenset({"x"}))})
    site = Site(
        rule("group", HOT, scope=RuleScope(groups=("hall",))),
        rule("tag", HOT, scope=RuleScope(tags=("x",))),
        members=there,
    )
    site.see((0, 0, 90))
    assert site.told.of("group", "a", "t") == site.told.of("tag", "a", "t") == [(0, True)]
    assert site.evaluator.members(there) == []
    gone = site.evaluator.members(Membership(devices={"a": Member(tags=frozenset({"x"}))}))
    assert gone == [AlarmKey("group", "a", "", "t")]
    site.see((0, 1, 20))
    assert site.told.of("group", "a", "t") == [(0, True)]
    assert site.told.of("tag", "a", "t") == [(0, True), (1, False)]
    site.evaluator.members(there)
    site.see((0, 2, 90))
    assert site.told.of("group", "a", "t") == [(0, True), (2, True)]


def test_a_device_that_is_ended_is_not_watched() -> None:
    site = Site(rule("hot", HOT), rule("gone", NoData(expected_s=1), metric=""))
    site.see((0, 0, 20))
    site.evaluator.members(Membership(devices={"a": Member(is_watched=False)}))
    site.see((0, 1, 90))
    site.tick(60)
    assert site.told.by_key == {}
    assert site.evaluator.statistics().instances == 0


def test_series_that_appear_are_watched_from_their_first_reading_on() -> None:
    site = Site(rule("hot", HOT, metric="*_celsius"), series=())
    site.names.append(("a", "air_celsius"))
    site.see((0, 0, 90))
    site.names += [("b", "oil_celsius"), ("b", "rpm")]
    site.see((1, 1, 95), (2, 1, 3_000))
    assert site.told.of("hot", "a", "air_celsius") == [(0, True)]
    assert site.told.of("hot", "b", "oil_celsius") == [(1, True)]
    assert len(site.told.by_key) == 2


def test_what_there_is_no_room_for_is_left_out_and_told() -> None:
    names = Names((f"d{at}", "t") for at in range(10))
    evaluator = RuleEvaluator(names, instance_count_max=12)
    evaluator.see(columns([Reading(received=0, series=9, observed=0, value=1.0)]))
    evaluator.use([rule("first", HOT), rule("second", HOT), rule("rate", Rate(limit=1))])
    figures = evaluator.statistics()
    assert (figures.rules, figures.instances) == (3, 12)
    assert figures.left_out == {"second": 8, "rate": 10}
    evaluator.use([rule("second", HOT)])
    assert evaluator.statistics().left_out == {}
    assert evaluator.statistics().instances == 10


def test_repetitions_count_by_what_they_keep() -> None:
    evaluator = RuleEvaluator(Names([("a", "t")]), instance_count_max=10)
    evaluator.see(columns([Reading(received=0, series=0, observed=0, value=1.0)]))
    evaluator.use([rule("r", Repetition(is_="above", limit=1, count=1_000, within_s=60))])
    assert evaluator.statistics().left_out == {"r": 1}


def test_a_watch_of_the_node_has_no_instances() -> None:
    site = Site(rule("disk", NodeWatch(what="disk_days"), metric="", scope=RuleScope()))
    site.see((0, 0, 1))
    assert site.evaluator.statistics().instances == 0


def test_a_device_that_is_silent_when_the_rule_is_made_counts_from_then_on() -> None:
    site = Site(rule("hot", HOT))
    site.see((0, 0, 20))
    site.tick(1_000)
    site.evaluator.use([rule("gone", NoData(expected_s=10), metric="")])
    site.tick(1_029)
    assert site.told.of("gone", "a") == []
    site.tick(1_031)
    assert site.told.of("gone", "a") == [(1_030, True)]
    assert site.told.texts("gone", "a") == ["No reading for 30 s; one is expected every 10 s"]


def test_a_broker_that_was_down_makes_nobody_silent() -> None:
    site = Site(rule("gone", NoData(expected_s=10), metric=""))
    site.see((0, 0, 20))
    site.evaluator.broker_started(START_MS + 600_000)
    site.tick(629)
    assert site.told.of("gone", "a") == []
    site.tick(630)
    assert site.told.of("gone", "a") == [(630, True)]


def test_how_often_a_device_reports_is_what_its_status_says() -> None:
    site = Site(rule("gone", NoData(), metric=""))
    site.presence(PresenceChange(device_id="a", presence=Presence.ONLINE, at_ms=START_MS, expect_ms=20_000))
    site.see((0, 0, 20))
    site.tick(59)
    assert site.told.of("gone", "a") == []
    site.presence(
        PresenceChange(device_id="a", presence=Presence.ONLINE, at_ms=START_MS + 59_000, expect_ms=40_000)
    )
    site.tick(119)
    assert site.told.of("gone", "a") == []
    site.tick(120)
    assert site.told.of("gone", "a") == [(120, True)]


def test_how_often_a_device_reports_is_learned_when_nobody_says() -> None:
    site = Site(rule("gone", NoData(times=3), metric=""))
    for at in range(0, 600, 30):
        site.see((0, at, 20))
        site.tick(at)
    site.tick(570 + 89)
    assert site.told.of("gone", "a") == []
    site.tick(570 + 91)
    assert site.told.of("gone", "a") == [(570 + 90, True)]


FALLEN_SILENT = (
    rule("site", MissingFraction(expected_s=10, fraction=0.5), metric=""),
    rule("gone", NoData(expected_s=10), metric=""),
    rule("lost", Connection(), metric=""),
)


def outage(count: int) -> Site:
    """Of ten devices, each with its own second of ten, the first `count` fall silent at 100 s and are lost at 105 s."""
    site = Site(*FALLEN_SILENT, series=tuple((f"d{at}", "t") for at in range(10)))
    for at in range(200):
        device = at % 10
        if at < 100 or device >= count:
            site.see((device, at, 20))
        if at == 105:
            site.presence(
                *(
                    PresenceChange(device_id=f"d{each}", presence=Presence.LOST, at_ms=START_MS + 105_000)
                    for each in range(count)
                )
            )
        site.tick(at)
    return site


def test_an_outage_explains_what_is_said_of_each_device() -> None:
    site = outage(8)
    assert site.told.of("site") == [(124, True)]
    assert site.told.texts("site") == ["5 of 10 devices send nothing (50 %)"]
    by = {"rule_id": "site", "device_id": "", "group_id": "", "series": ""}
    for name in ("gone", "lost"):
        told = [each for key, mine in site.told.by_key.items() if key.rule_id == name for each in mine]
        assert len(told) == 8
        assert all(explanation["explained_by"] == by for _, _, explanation in told), name


def test_a_few_devices_are_each_told_of() -> None:
    site = outage(3)
    assert site.told.of("site") == []
    told = [each for key, mine in site.told.by_key.items() if key.rule_id == "gone" for each in mine]
    assert len(told) == 3
    assert not any("explained_by" in explanation for _, _, explanation in told)
    assert site.evaluator.statistics().waiting == 0


def test_what_is_back_before_it_was_told_is_told_in_its_order() -> None:
    site = Site(*FALLEN_SILENT)
    site.see((0, 0, 20))
    site.evaluator.members(Membership())
    names = site.names
    names += [("b", "t"), ("c", "t"), ("d", "t")]
    site.see(*((series, 29, 20) for series in (1, 2, 3)))
    site.tick(31)
    assert site.evaluator.statistics().waiting == 1
    site.see((0, 32, 20))
    site.tick(33)
    assert site.told.of("gone", "a") == []
    site.tick(41)
    assert site.told.of("gone", "a") == [(30, True), (32, False)]


def test_groups_have_fractions_of_their_own() -> None:
    members = Membership(
        devices={
            name: Member(groups=frozenset({group}))
            for name, group in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"))
        },
        group_names={"x": "Hall 1"},
    )
    condition = MissingFraction(expected_s=10, fraction=1, per="group")
    site = Site(
        rule("all", condition, metric=""),
        rule("one", condition, metric="", scope=RuleScope(groups=("y",))),
        series=(("a", "t"), ("b", "t"), ("c", "t"), ("d", "t")),
        members=members,
    )
    site.see((0, 0, 1), (1, 0, 1), (2, 0, 1), (3, 0, 1))
    site.see((2, 20, 1), (3, 20, 1))
    site.tick(40)
    assert site.told.of("all", group="x") == [(30, True)]
    assert site.told.by_key[AlarmKey("all", "", "x", "")][0][2]["group"] == "Hall 1"
    assert site.told.of("all", group="y") == site.told.of("one", group="y") == []
    site.tick(60)
    assert site.told.of("one", group="y") == [(50, True)]
    gone = site.evaluator.members(Membership(devices={"a": members.devices["a"], "b": members.devices["b"]}))
    assert gone == []
    site.tick(61)
    assert site.told.of("one", group="y") == [(50, True), (61, False)]
    assert site.evaluator.use([rule("one", condition, metric="", scope=RuleScope(groups=("y",)))]) == [
        AlarmKey("all", "", "x", "")
    ]


def test_one_silent_device_is_no_fraction_however_few_there_are() -> None:
    condition = MissingFraction(expected_s=10, fraction=0.5)
    site = Site(rule("all", condition, metric=""), series=(("a", "t"), ("b", "t")))
    site.see((0, 0, 1), (1, 0, 1))
    site.see((1, 20, 1))
    site.tick(45)
    assert site.told.of("all") == []
    site.tick(60)
    assert site.told.of("all") == [(50, True)]


def test_a_lost_device_is_known_to_a_rule_that_is_made_later() -> None:
    site = Site(series=())
    site.presence(PresenceChange(device_id="a", presence=Presence.LOST, at_ms=START_MS + 5_000))
    site.tick(10)
    site.evaluator.use([rule("lost", Connection(), metric="", on_delay_s=60)])
    site.tick(11)
    site.tick(66)
    assert site.told.of("lost", "a") == [(65, True)]
    assert site.told.texts("lost", "a") == ["The device is lost for 1 min"]
    site.presence(PresenceChange(device_id="a", presence=Presence.ONLINE, at_ms=START_MS + 70_000))
    assert site.told.of("lost", "a") == [(65, True), (70, False)]


def scores(*each: tuple[float, Finding]) -> Scores:
    return Scores(
        score=np.array([score for score, _ in each], np.float32),
        kind=np.array([kind for _, kind in each], np.uint8),
        explain=lambda at: {"text": f"reading {at}", "spreads": 6.0},
    )


NONE, OUTLIER, DRIFT = Finding.NONE, Finding.OUTLIER, Finding.DRIFT


def test_an_anomaly_is_told_with_its_explanation() -> None:
    site = Site(
        rule("any", Anomaly(), metric=""),
        rule("drift", Anomaly(what=("drift",)), metric=""),
        rule("long", Anomaly(), metric="", on_delay_s=10),
        rule("low", Anomaly(sensitivity="low"), metric=""),
    )

    def see(at_s: int, *found: tuple[float, Finding]) -> None:
        readings = [
            Reading(received=1_000 * at_s + at, series=0, observed=1_000 * at_s + at, value=1.0)
            for at in range(len(found))
        ]
        site.told.take(site.evaluator.see(columns(readings), scores(*found)))

    see(0, (0.1, NONE), (0.999_5, OUTLIER))
    assert site.told.of("any", "a", "t") == [(0.001, True)]
    assert site.told.texts("any", "a", "t") == ["reading 1"]
    assert site.told.of("drift", "a", "t") == []
    see(5, (0.998, OUTLIER))
    assert site.told.of("any", "a", "t") == [(0.001, True)]
    state = site.evaluator.save()
    site.evaluator.load(state)
    site.tick(20)
    assert site.told.of("long", "a", "t") == [(10.001, True)]
    assert site.told.texts("long", "a", "t") == ["reading 1 for 10 s"]
    see(30, (0.5, NONE))
    assert site.told.of("any", "a", "t") == [(0.001, True), (30, False)]
    see(40, (0.999_5, DRIFT))
    assert site.told.of("drift", "a", "t") == [(40, True)]
    assert site.told.of("low", "a", "t") == []
    site.see((0, 50, 1.0))
    assert site.told.of("drift", "a", "t") == [(40, True)], "without scores nothing ends"


def test_scores_belong_to_their_readings_also_when_some_say_nothing() -> None:
    site = Site(rule("any", Anomaly(), metric=""))
    readings = [
        Reading(received=0, series=0, observed=0, value=math.nan),
        Reading(received=1_000, series=0, observed=1_000, value=1.0),
    ]
    site.told.take(site.evaluator.see(columns(readings), scores((0.1, NONE), (0.999_9, OUTLIER))))
    assert site.told.texts("any", "a", "t") == ["reading 1"]
    only_bad = columns([readings[0]])
    assert site.evaluator.see(only_bad, scores((0.1, NONE))) == []


def test_a_series_that_drops_out_is_an_anomaly_until_it_is_read_again() -> None:
    site = Site(rule("any", Anomaly(what=("drop_out",)), metric=""))
    site.told.take(
        site.evaluator.see(columns([Reading(received=0, series=0, observed=0, value=1)]), scores((0, NONE)))
    )

    def silence(*series: int) -> SilenceScores:
        return SilenceScores(
            series=np.array(series, np.uint32),
            at_ms=np.full(len(series), START_MS + 60_000),
            score=np.full(len(series), 0.999_9, np.float32),
            kind=np.full(len(series), Finding.DROP_OUT, np.uint8),
            explain=lambda at: {"text": "nothing for 1 min"},
        )

    site.told.take(site.evaluator.silence(silence(7)))
    assert site.told.by_key == {}
    site.told.take(site.evaluator.silence(silence(0)))
    assert site.told.of("any", "a", "t") == [(60, True)]
    assert site.told.texts("any", "a", "t") == ["nothing for 1 min"]
    later = Reading(received=90_000, series=0, observed=90_000, value=1)
    site.told.take(site.evaluator.see(columns([later]), scores((0, NONE))))
    assert site.told.of("any", "a", "t") == [(60, True), (90, False)]


def test_time_does_not_go_back() -> None:
    site = Site(rule("gone", NoData(expected_s=10), metric=""))
    site.see((0, 0, 1))
    site.tick(100)
    assert site.evaluator.tick(START_MS + 50_000) == []
    assert site.told.of("gone", "a") == [(30, True)]


EVERY_KIND = (
    rule("threshold", HOT, on_delay_s=5),
    rule("rate", Rate(limit=1, over_s=10)),
    rule("repetition", Repetition(is_="above", limit=80, count=2, within_s=30)),
    rule("stuck", Stuck(for_s=20)),
    rule("no_data", NoData(), metric=""),
    rule("missing", MissingFraction(expected_s=5), metric=""),
    rule("metric", Comparison(with_="metric", other="u", limit=3)),
    rule("group", Comparison(with_="group", other="g", limit=3)),
    rule("anomaly", Anomaly(), metric=""),
    rule("lost", Connection(), metric=""),
)


def full() -> Site:
    """A site with something in every column that is saved."""
    members = Membership(devices={name: Member(groups=frozenset({"g"})) for name in "abc"})
    site = Site(*EVERY_KIND, series=(("a", "t"), ("a", "u"), ("b", "t"), ("c", "t")), members=members)
    site.presence(
        PresenceChange(device_id="a", presence=Presence.ONLINE, at_ms=START_MS, expect_ms=60_000),
        PresenceChange(device_id="b", presence=Presence.LOST, at_ms=START_MS + 1),
    )
    for at in range(0, 300, 5):
        hot = 90.0 if at // 10 % 2 else 20.0
        rows = [
            Reading(received=at * 1_000, series=series, observed=at * 1_000, value=value)
            for series, value in ((0, hot), (1, 20.0), (2, float(at)), (3, 5.0))
            if not (series == 3 and at > 285)
        ]
        found = [(0.9999, OUTLIER)] + [(0.0, NONE)] * (len(rows) - 1)
        site.told.take(site.evaluator.see(columns(rows), scores(*found)))
        site.tick(at - 3)
    return site


def test_state_comes_back_as_it_was_and_goes_on() -> None:
    site, other = full(), full()
    state = site.evaluator.save()
    assert site.evaluator.statistics().active > 3
    other.evaluator = RuleEvaluator(other.names)
    other.evaluator.members(site.evaluator._instances.membership)
    other.evaluator.use(EVERY_KIND)
    other.evaluator.load(state)
    assert other.evaluator.save() == state
    for each in (site, other):
        each.see((0, 300, 20), (2, 300, 0))
        each.tick(400)
    assert other.told.by_key == site.told.by_key


@pytest.mark.parametrize("cut", [0, 5, 17, 30, -1])
def test_a_state_that_is_cut_short_is_refused(cut: int) -> None:
    evaluator = full().evaluator
    state = evaluator.save()
    with pytest.raises(StorageError) as refused:
        evaluator.load(state[:cut])
    assert refused.value.code == "rule_state_damaged"
    assert evaluator.save() == state, "nothing was changed"


def test_rules_that_do_not_hold_any_more_are_left_out_of_a_state() -> None:
    site = full()
    state = site.evaluator.save()
    for kept in ([], [rule("threshold", HOT, on_delay_s=5, version=2)], EVERY_KIND[4:6]):
        other = RuleEvaluator(site.names)
        other.use(kept)
        other.load(state)
        figures: Any = other.statistics()
        assert figures.rules == len(kept)
        assert (figures.instances > 0) == bool(kept)
        other.tick(START_MS + 1_000_000)


def test_what_is_left_out_is_counted_once_and_made_up_for() -> None:
    names = Names()
    evaluator = RuleEvaluator(names, instance_count_max=2)
    evaluator.use([rule("quiet", NoData(expected_s=1), metric="")])
    for at in range(4):
        names.append((f"d{at}", "t"))
        names.append((f"d{at}", "u"))
        evaluator.see(columns([Reading(received=0, series=2 * at, observed=0, value=1.0)]))
    assert evaluator.statistics().left_out == {"quiet": 2}
    evaluator.presence([PresenceChange(device_id="d3", presence=Presence.ONLINE, at_ms=START_MS)])
    assert evaluator.statistics().left_out == {"quiet": 2}
    evaluator.members(Membership(devices={"d0": Member(is_watched=False)}))
    figures = evaluator.statistics()
    assert (figures.instances, figures.left_out) == (2, {"quiet": 1})


def test_a_value_that_alternates_on_every_reading_is_told_by_its_ends() -> None:
    site = Site(rule("hot", HOT))
    site.see(*((0, at / 1_000, 90.0 if at % 2 else 20.0) for at in range(2 * RULE_MOVES_PER_CALL_MAX)))
    assert site.told.of("hot", "a", "t") == [(2 * RULE_MOVES_PER_CALL_MAX / 1_000 - 0.001, True)]
    assert site.evaluator.statistics().untold == 2 * RULE_MOVES_PER_CALL_MAX - 2
    site.see((0, 100, 20.0))
    assert site.told.of("hot", "a", "t")[1:] == [(100, False)]


def test_huge_numbers_are_no_error() -> None:
    site = Site(
        rule("hot", HOT),
        rule("rate", Rate(limit=1, over_s=1)),
        rule("metric", Comparison(with_="metric", other="u", limit=3)),
        rule("group", Comparison(with_="group", limit=3, by="ratio")),
        rule("stuck", Stuck(for_s=1)),
        series=(("a", "t"), ("a", "u"), ("b", "t"), ("c", "t")),
    )
    for at in range(4):
        sign = 1 if at % 2 else -1
        site.see(*((series, 10 * at, sign * (1 - series % 2 * 2) * 1.7e308) for series in range(4)))
        site.tick(10 * at)
    assert site.told.of("rate", "a", "t") == [(10, True)]
    assert site.told.of("metric", "a", "t")[0] == (0, True)
    assert site.told.texts("rate", "a", "t") == ["Rises by 1.798e+308 a second over 1 s; the limit is 1"]


def test_what_waits_of_a_rule_that_was_changed_is_not_told() -> None:
    site = Site(*FALLEN_SILENT)
    site.see((0, 0, 20))
    site.names += [("b", "t"), ("c", "t"), ("d", "t")]
    site.see(*((series, 29, 20) for series in (1, 2, 3)))
    site.tick(31)
    site.see((0, 32, 20))
    site.tick(33)
    assert site.evaluator.statistics().waiting == 1, "raised and over again, and not told"
    changed = rule("gone", NoData(expected_s=20), metric="", version=2)
    assert site.evaluator.use([FALLEN_SILENT[0], changed]) == []
    assert site.evaluator.statistics().waiting == 0
    site.tick(41)
    assert site.told.of("gone", "a") == []
