"""What a box's own disk says against writing, and how it goes on in an epoch of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import SystemClock
from appliance.core.errors import LogLocked
from appliance.identity.fleet import Fleet
from appliance.identity.instance import load_instance, make_instance
from appliance.run import layout
from appliance.run.epoch_doubts import held_logs, is_moved, local_doubt, rebind, take_epoch, words_of
from storage.fleet.epoch_files import Doubt, write_doubt
from storage.log import new_epoch
from storage.log.disk import OsDisk
from tests.fleet_kit import Box, make_box, make_fleet

CLOCK = SystemClock()


def fleet_of(box: Box) -> Fleet:
    return Fleet.load(box.data_dir, box.keys)


def reason_of(box: Box) -> str:
    doubt = local_doubt(box.config, now_ms=5)
    return doubt.reason if doubt is not None else ""


def test_a_box_that_is_alone_or_well_has_none(tmp_path: Path) -> None:
    assert reason_of(make_box(tmp_path / "alone", "alone")) == ""
    box, _ = make_fleet(tmp_path, "one", "two")
    assert reason_of(box) == ""
    (box.data_dir / "fleet" / "ca.pem").write_text("")
    assert reason_of(box) == "", "of what is wrong with the fleet's folder others tell"


@pytest.mark.parametrize("is_one_site", [True, False])
def test_a_copy_becomes_an_instance_of_its_own(tmp_path: Path, is_one_site: bool) -> None:
    _, box = make_fleet(tmp_path, "one", "two", is_one_site=is_one_site)
    before = fleet_of(box).identity
    instance = load_instance(box.data_dir)
    assert instance is not None
    make_instance(box.data_dir)
    assert is_moved(box.data_dir)
    assert reason_of(box) == "moved"
    assert take_epoch(box.config, fleet_of(box), 2, clock=CLOCK)
    assert not is_moved(box.data_dir)
    after = fleet_of(box).identity
    assert (after.instance != before.instance) == is_one_site
    assert (after.issued_at_ms > before.issued_at_ms) == is_one_site


def test_a_log_that_was_put_in_place_needs_a_number(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    log = layout.telemetry_log(box.config)
    log.mkdir(parents=True)
    new_epoch.ask(OsDisk(), log)
    assert reason_of(box) == "copied"
    write_doubt(box.data_dir, Doubt(reason="ahead", since_ms=1))
    assert reason_of(box) == "ahead", "what was found before counts"
    with held_logs(box.config), pytest.raises(LogLocked):
        take_epoch(box.config, fleet_of(box), 7, clock=CLOCK)
    assert not take_epoch(box.config, fleet_of(box), 7, branch=b"b" * 16, clock=CLOCK)
    assert reason_of(box) == ""
    assert new_epoch.wanted_epoch(OsDisk(), log) == (7, b"b" * 16)


def test_a_box_that_was_refused_can_become_another_instance(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    before = fleet_of(box).identity
    rebind(box.config, fleet_of(box), clock=CLOCK)
    assert fleet_of(box).identity.instance != before.instance
    assert not is_moved(box.data_dir)


def test_it_is_said_what_is_waited_for() -> None:
    assert "reachable" in words_of(Doubt(reason="cloned", since_ms=1))
    said = words_of(Doubt(reason="ahead", since_ms=1, epoch=3, voters_count=1, needed_count=2))
    assert "1 of the 2 boxes that are needed have promised it epoch 3" in said
