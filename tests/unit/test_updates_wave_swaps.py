"""Swaps: who stays away gives its place to one of its groups that is there."""

from __future__ import annotations

from appliance.management.executions import State
from appliance.updates.wave_swaps import swaps
from storage.catalog.rollout_executions import Waiting


def queued(device_id: str, wave: int, *groups: str) -> tuple[Waiting, tuple[str, ...]]:
    return Waiting(f"e-{device_id}", device_id, State.QUEUED, "", wave), groups


def swapped(*all_queued: tuple[Waiting, tuple[str, ...]], away: set[str]) -> list[tuple[str, str]]:
    found = swaps(all_queued, wave=1, is_there=lambda device_id: device_id not in away)
    return [(out.device_id, instead.device_id) for out, instead in found]


def test_one_of_the_same_group_of_a_later_wave_takes_the_place() -> None:
    devices = [
        queued("a", 1, "hall"),
        queued("b", 2, "north"),
        queued("c", 3, "wet", "hall"),
        queued("d", 3, "hall"),
    ]
    assert swapped(*devices, away={"a"}) == [("a", "c")]


def test_whoever_is_there_stays_and_nobody_comes_twice() -> None:
    devices = [queued("a", 1, "hall"), queued("b", 1, "hall"), queued("c", 1, "hall"), queued("d", 2, "hall")]
    assert swapped(*devices, away={"a", "c"}) == [("a", "d")]
    assert swapped(*devices, away=set()) == []


def test_away_is_no_replacement_and_waves_before_are_none() -> None:
    assert swapped(queued("a", 1, "hall"), queued("b", 2, "hall"), away={"a", "b"}) == []
    assert swapped(queued("a", 1, "hall"), queued("b", 0, "hall"), away={"a"}) == []


def test_devices_without_groups_stand_for_each_other() -> None:
    assert swapped(queued("a", 1), queued("b", 2, "hall"), queued("c", 2), away={"a"}) == [("a", "c")]
