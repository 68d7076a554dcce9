"""The bootloader: a trial ends in a confirmation or in the old image, and no power cut leaves nothing to start."""

from __future__ import annotations

import pytest

from device_fw_sim.flash import FaultyFlash, MemoryFlash, PowerCut
from device_fw_sim.image import Behaviour, Header, Image, build
from device_fw_sim.limits import BOOT_COUNT_MAX
from device_fw_sim.slots import Slots

OLD = build(Header(version="1.0.0", hw=["rev2"], epoch=1))
NEW = build(Header(version="2.0.0", hw=["rev2"], epoch=2), size_bytes=9_000)


def write(slots: Slots, image: Image) -> None:
    slots.erase()
    for start in range(0, len(image.data), 1_000):
        slots.copy(start, image.data[start : start + 1_000])
    assert slots.finish(image.sha256) is not None


def test_from_the_factory_slot_a_runs() -> None:
    slots = Slots(MemoryFlash(), OLD)
    assert slots.boot().version == "1.0.0"
    firmware = slots.firmware()
    assert (firmware.slot, firmware.confirmed, firmware.digest) == ("A", True, f"sha256:{OLD.sha256}")
    assert slots.other_sha256 is None


def test_a_trial_that_is_confirmed_stays() -> None:
    flash = MemoryFlash()
    slots = Slots(flash, OLD)
    slots.boot()
    write(slots, NEW)
    slots.arm()
    slots = Slots(flash, OLD)
    assert slots.boot().version == "2.0.0"
    assert not slots.is_confirmed
    slots.confirm()
    slots = Slots(flash, OLD)
    assert slots.boot().version == "2.0.0"
    assert slots.is_confirmed
    assert (slots.running, slots.other_sha256) == ("B", OLD.sha256)
    slots.go_back()
    assert Slots(flash, OLD).boot().version == "1.0.0"


def test_a_trial_has_so_many_boots() -> None:
    flash = MemoryFlash()
    slots = Slots(flash, OLD)
    slots.boot()
    write(slots, NEW)
    slots.arm()
    versions = [Slots(flash, OLD).boot().version for _ in range(BOOT_COUNT_MAX + 2)]
    assert versions == ["2.0.0"] * BOOT_COUNT_MAX + ["1.0.0"] * 2


def test_a_trial_that_is_given_up_is_over() -> None:
    flash = MemoryFlash()
    slots = Slots(flash, OLD)
    slots.boot()
    write(slots, NEW)
    slots.arm()
    slots.boot()
    slots.give_up()
    assert slots.boot().version == "1.0.0"


def test_only_the_whole_right_image_can_be_started() -> None:
    slots = Slots(MemoryFlash(), OLD)
    slots.boot()
    slots.erase()
    slots.copy(0, NEW.data[:5_000])
    assert slots.finish(NEW.sha256) is None
    with pytest.raises(AssertionError):
        slots.arm()


def test_an_image_may_lie_about_itself() -> None:
    liar = build(Header(version="3.0.0", hw=["rev2"], behaviour=Behaviour.WRONG_VERSION))
    slots = Slots(MemoryFlash(), liar)
    slots.boot()
    firmware = slots.firmware()
    assert firmware.version == "3.0.0-x"
    assert firmware.digest != f"sha256:{liar.sha256}"
    assert slots.sha256 == liar.sha256


def test_the_confirmed_image_is_whole_whatever_write_the_power_is_cut_in() -> None:
    """Every write of an update, one after the other, is the last one of a device."""
    for cut in range(1, 60):
        memory = MemoryFlash()
        Slots(memory, OLD)
        flash = FaultyFlash(memory)
        flash.cut_at(cut)
        try:
            slots = Slots(flash, OLD)
            slots.boot()
            write(slots, NEW)
            slots.arm()
            slots = Slots(flash, OLD)
            slots.boot()
            slots.confirm()
            Slots(flash, OLD).boot()
            finished = True
        except PowerCut:
            finished = False
        after = Slots(memory, OLD)
        header = after.boot()
        whole = {OLD.sha256: OLD, NEW.sha256: NEW}[after.sha256]
        assert header == whole.header
        assert b"".join(memory.pieces(after.running)) == whole.data
        if finished:
            assert cut > 13
            return
    raise AssertionError("the update has more writes than expected")
