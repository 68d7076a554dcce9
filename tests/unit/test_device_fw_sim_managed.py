"""One boot after the other of one device: what the bootloader chose is what runs, and nothing runs before."""

from __future__ import annotations

import pytest

from device_fw_sim.events import Moment
from device_fw_sim.flash import MemoryFlash
from device_fw_sim.image import Behaviour, Header, build
from device_fw_sim.managed import Boot, Managed, ManagedOptions
from device_fw_sim.work import AgentOptions

NOW = Moment(mono_ms=0, wall_ms=1_000)


def managed(behaviour: Behaviour = Behaviour.GOOD) -> Managed:
    factory = build(Header(version="1.0.0", hw=["rev2"], behaviour=behaviour))
    return Managed(
        ManagedOptions(device_id="d", factory=factory, agent=AgentOptions(hardware="rev2")), MemoryFlash()
    )


def test_before_the_first_boot_there_is_nothing() -> None:
    device = managed()
    assert device.running_version == ""
    assert device.interval_ms == 5_000
    assert device.next_deadline_ms() is None
    assert device.received("dm/d/cmd/1", b"{}", NOW) == []
    with pytest.raises(AssertionError):
        _ = device.slots
    with pytest.raises(AssertionError):
        _ = device.agent


@pytest.mark.parametrize(
    ("behaviour", "ended"),
    [(Behaviour.GOOD, Boot.UP), (Behaviour.BOOT_LOOP, Boot.CRASHED), (Behaviour.HANG, Boot.HUNG)],
)
def test_how_a_boot_ends(behaviour: Behaviour, ended: Boot) -> None:
    assert managed(behaviour).boot("b1", NOW) is ended


def test_a_fault_spoils_a_trial_and_nothing_else() -> None:
    assert managed().boot("b1", NOW, spoiled_by=Behaviour.HANG) is Boot.UP


def test_its_topics_are_its_own() -> None:
    device = managed()
    device.boot("b1", NOW)
    assert device.topic("jobs/x") == "dm/d/jobs/x"
    assert device.filters == ("dm/d/jobs/#", "dm/d/shadow/#", "dm/d/streams/#", "dm/d/cmd/+")
    assert device.received("dm/other/cmd/1", b'{"m": "identify"}', NOW) == []
    assert len(device.received("dm/d/cmd/1", b'{"m": "identify"}', NOW)) == 1
    assert device.takes_readings
