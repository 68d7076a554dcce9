"""What rules are shown: sorted columns, and strangers that are watched."""

from __future__ import annotations

from appliance.management.rule_conditions import Anomaly
from appliance.management.watched import STRANGER, WORD_OF_FINDING, Finding, Member, Membership, released


def test_readings_are_sorted_by_series_and_time() -> None:
    columns = released([(1, 20, 0.5), (0, 30, 3.0), (1, 10, 0.25)], quality=1, epoch=2, seq=7)
    assert len(columns) == 3
    assert columns.series.tolist() == [0, 1, 1]
    assert columns.observed_at_ms.tolist() == columns.received_at_ms.tolist() == [30, 10, 20]
    assert columns.values.tolist() == [3.0, 0.25, 0.5]
    assert columns.quality.tolist() == [1, 1, 1]
    assert (columns.epoch, columns.seq) == (2, 7)


def test_a_device_that_nobody_knows_is_watched_and_in_no_group() -> None:
    known = Member(groups=frozenset({"g"}), is_watched=False)
    members = Membership(devices={"a": known})
    assert members.of("a") is known
    assert members.of("b") is STRANGER
    assert STRANGER.is_watched
    assert not STRANGER.groups


def test_findings_are_called_what_a_rule_calls_them() -> None:
    for word in WORD_OF_FINDING.values():
        Anomaly(what=(word,))  # type: ignore[arg-type]
    assert set(WORD_OF_FINDING) == set(Finding) - {Finding.NONE}
