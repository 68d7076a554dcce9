"""Targets: who is meant, who runs it already, and why others are left out."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.management.rollout_plan import Targets
from appliance.management.targets import LEFT_OUT_WORDS, Candidate, Choice, LeftOut, choose

NEW = "sha256:" + "1" * 64


def device(device_id: str = "d", **more: Any) -> Candidate:
    fields: dict[str, Any] = {"state": "active", "groups": (), "tags": (), "hw": "rev2", "digest": "sha256:0"}
    return Candidate(device_id=device_id, **(fields | more))


def chosen(targets: Targets, *devices: Candidate, **more: Any) -> Choice:
    fields: dict[str, Any] = {"digest": NEW, "artifact_hw": ["rev2"], "bad_devices": (), "bad_hw": ()}
    return choose(targets, devices, **(fields | more))


def test_named_in_a_group_or_with_a_tag() -> None:
    devices = [device("a"), device("b", groups=("g",)), device("c", tags=("t",)), device("x")]
    found = chosen(Targets(devices=("a",), groups=("g",), tags=("t",)), *devices)
    assert [each.device_id for each in found.chosen] == ["a", "b", "c"]
    assert found.left_out == {}
    assert len(chosen(Targets(all=True), *devices).chosen) == 4


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (device("x"), LeftOut.EXCLUDED),
        (device(state="waiting"), LeftOut.NOT_ACTIVE),
        (device(state="decommissioned"), LeftOut.NOT_ACTIVE),
        (device(needs_hand=True), LeftOut.NEEDS_A_HAND),
        (device(hw="rev1"), LeftOut.OTHER_HARDWARE),
        (device(hw=""), LeftOut.HARDWARE_UNKNOWN),
        (device("bad"), LeftOut.KNOWN_BAD),
    ],
)
def test_who_is_left_out_and_why(found: Candidate, reason: LeftOut) -> None:
    choice = chosen(Targets(all=True, except_=("x",)), found, bad_devices={"bad"})
    assert choice.left_out == {found.device_id: reason}
    assert not choice.chosen
    assert LEFT_OUT_WORDS[reason]


def test_every_reason_has_words() -> None:
    assert set(LEFT_OUT_WORDS) == set(LeftOut)


def test_a_kind_of_hardware_that_is_known_bad() -> None:
    assert chosen(Targets(all=True), device(), bad_hw={"rev2"}).left_out == {"d": LeftOut.KNOWN_BAD}


def test_hardware() -> None:
    assert chosen(Targets(all=True), device(hw=""), artifact_hw=[]).chosen
    assert chosen(Targets(devices=("d",)), device(hw="")).chosen  # named itself: it may try
    assert chosen(Targets(all=True, hw=("rev3",)), device(), artifact_hw=[]).left_out == {
        "d": LeftOut.OTHER_HARDWARE
    }


def test_who_runs_it_already() -> None:
    found = chosen(
        Targets(all=True),
        device("a", digest=NEW, is_confirmed=True),
        device("b", digest=NEW, is_confirmed=None),
        device("c", digest=NEW, is_confirmed=False),
        device("d"),
    )
    assert found.already == {"a", "b"}
    assert found.to_update_count == 2
