"""What the store and the archive ask an operator to look at."""

from __future__ import annotations

from appliance.pipeline.keeper_statistics import KeeperStatistics
from ui.pages.storage_attention import lines


def test_nothing_is_said_while_all_is_well() -> None:
    assert lines(KeeperStatistics(state="idle"), None) == ()
    assert lines(KeeperStatistics(state="paused"), 7.0) == ()


def test_what_is_wrong_is_said_the_worst_first() -> None:
    keeper = KeeperStatistics(
        state="failing", incident="no room", faulty_days=2, cooled_total={"disk_pressure": 1}
    )
    found = lines(keeper, 3.9)
    assert [line.tone for line in found] == ["bad", "bad", "warn", "warn"]
    assert [line.text for line in found] == [
        "2 days of the archive failed verification: see the page Storage.",
        "At the present rate the disk is full in 3 days.",
        "The archive's work fails: no room",
        "1 day left the store before their time, since the disk is filling up; they are in the archive.",
    ]
    assert {line.action for line in found} == {"Storage"}
