"""The summary says what does not add up."""

from __future__ import annotations

from dataclasses import replace

from device_fw_sim.events import DeviceStatistics, State
from device_fw_sim.report import summarise

GOOD = DeviceStatistics(
    taken=10, sent=10, resent=2, acknowledged=10, dropped=0, waiting=0, connects=3, reconnects=2, refusals=1, garbage=0,
    lost=0, boots=1, state=State.ONLINE,
)  # fmt: skip


def test_sums() -> None:
    report = summarise([GOOD, GOOD], 1.23456)
    assert report.ok
    assert (report.devices, report.sent, report.reconnects, report.seconds) == (2, 20, 4, 1.235)
    assert report.to_dict()["ok"] is True


def test_a_mismatch_or_a_leftover_is_a_failure() -> None:
    assert "10 readings sent, 9 acknowledged" in summarise([replace(GOOD, acknowledged=9)], 1).failures
    assert not summarise([replace(GOOD, waiting=1)], 1).ok
    assert summarise([GOOD], 1, ["odd"]).failures == ("odd",)
