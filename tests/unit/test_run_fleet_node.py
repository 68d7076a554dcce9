"""A box as a node of its fleet: what it says of itself, and when it keeps away from its peers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import ConfigError
from appliance.core.settings import Bind
from appliance.identity.fleet_inviting import outer_addresses
from appliance.identity.instance import make_instance
from storage.fleet import roster_path, write_roster
from tests.fleet_kit import Box, make_fleet, open_node


def test_a_card_stays_the_same_until_something_changes(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    first = open_node(box)
    write_roster(box.data_dir, first.keeper.roster)
    assert open_node(box).entry == first.entry
    moved = dataclasses.replace(
        box.config.replication, addresses=(Bind(host="box.example", port=443),), region="north"
    )
    changed = open_node(Box(config=dataclasses.replace(box.config, replication=moved), keys=box.keys))
    assert (changed.entry.addresses, changed.entry.region) == (("box.example:443",), "north")
    assert changed.entry.order > first.entry.order


def test_a_copy_keeps_away_from_its_peers(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    make_instance(box.data_dir)
    with pytest.raises(ConfigError) as caught:
        open_node(box)
    assert caught.value.code == "instance_moved"
    (box.data_dir / "identity" / "instance").unlink()
    with pytest.raises(ConfigError):
        open_node(box)


def test_a_roster_that_is_gone_begins_with_this_node(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    roster_path(box.data_dir).unlink()
    assert [node.node_id for node in open_node(box).keeper.roster] == [box.node_id]


def test_a_broken_link_file_is_said(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    (box.data_dir / "fleet" / "ca.pem").write_text("")
    with pytest.raises(ConfigError) as caught:
        open_node(box)
    assert caught.value.code == "fleet_file_invalid"


def test_other_boxes_are_told_no_loopback_unless_there_is_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "appliance.identity.fleet_inviting.machine_addresses", lambda: ("127.0.0.1", "10.0.0.5")
    )
    assert outer_addresses() == ("10.0.0.5",)
    monkeypatch.setattr("appliance.identity.fleet_inviting.machine_addresses", lambda: ("127.0.0.1",))
    assert outer_addresses() == ("127.0.0.1",)


def test_a_new_address_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    bound = dataclasses.replace(box.config.replication, bind=Bind(host="0.0.0.0", port=8885))
    node = open_node(Box(config=dataclasses.replace(box.config, replication=bound), keys=box.keys))
    before = node.entry
    node.look_at_own()
    assert node.entry is before
    monkeypatch.setattr("appliance.identity.fleet_inviting.machine_addresses", lambda: ("10.9.9.9",))
    node.look_at_own()
    known = node.keeper.roster.get(node.node_id)
    assert known is not None
    assert known.addresses == ("10.9.9.9:8885",)


def test_a_later_certificate_begins_later_whatever_the_clock_says(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    fleet = open_node(box).fleet
    renewed = fleet.renewed(clock=ManualClock(0))
    assert fleet.identity.issued_at_ms < renewed.identity.issued_at_ms
    assert renewed.renewed(clock=ManualClock(0)).identity.issued_at_ms > renewed.identity.issued_at_ms
