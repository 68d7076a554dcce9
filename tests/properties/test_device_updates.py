"""A simulated device, cut off its power in any write to its flash and at any time, always runs a whole confirmed image in the end.

The invariant: what is confirmed is the old image or the new one, its slot holds it byte by byte, the job has ended, and no report had
the seq of another one. Tested write by write, and with faults and cuts at random.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from device_fw_sim.faults import Fault, FaultKind, FaultPlan
from device_fw_sim.flash import MemoryFlash
from device_fw_sim.image import Behaviour
from tests.sampling import examples
from tests.update_world import FACTORY, UpdateWorld, image

NEW = image()


def check(world: UpdateWorld, flash: MemoryFlash, wanted: set[str]) -> None:
    slots = world.managed.slots
    assert slots.is_confirmed
    assert slots.sha256 in wanted
    whole = {FACTORY.sha256: FACTORY, **{each.sha256: each for each in world.box.images.values()}}[
        slots.sha256
    ]
    assert b"".join(flash.pieces(slots.running)) == whole.data
    assert world.running["digest"] == f"sha256:{slots.sha256}"
    seqs = [each["seq"] for each in world.box.reports]
    assert len(seqs) == len(set(seqs))
    assert world.box.reports[-1]["status"] != "IN_PROGRESS"


def test_cut_in_each_write_of_an_update_it_ends_in_the_new_image() -> None:
    cut = 0
    while True:
        cut += 1
        flash = MemoryFlash()
        world = UpdateWorld(flash=flash)
        world.run(3_000)
        world.managed.flash.cut_at(cut)
        world.box.offer("j1", NEW)
        world.notify("j1")
        world.run_until_settled()
        check(world, flash, {NEW.sha256})
        if world.device.statistics().boots == 2:
            break
        # Each block is noted as soon as it is there: a cut costs what was on the way.
        assert world.box.block_count <= 20 + 20
    assert cut > 60


FAULTS = st.builds(
    lambda kind, after, length, every: Fault(
        kind=kind, after_ms=after, for_ms=length, every_ms=length + every if every else None
    ),
    st.sampled_from(list(FaultKind)),
    st.integers(0, 60_000),
    st.integers(1, 30_000),
    st.integers(0, 60_000),
)


@settings(max_examples=examples(60), deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(FAULTS, max_size=4),
    st.sampled_from([Behaviour.GOOD, Behaviour.BOOT_LOOP, Behaviour.NO_READINGS, Behaviour.BAD_SELF_TEST]),
    st.integers(0, 120),
)
def test_whatever_happens_it_ends_in_a_whole_image(
    seed: int, faults: list[Fault], behaviour: Behaviour, cut: int
) -> None:
    flash = MemoryFlash()
    world = UpdateWorld(flash=flash, faults=FaultPlan(faults), seed=seed)
    world.box.offer("j1", image(behaviour=behaviour))
    world.managed.flash.cut_at(cut or None)
    world.run(600_000)
    # The faults are over, whatever came of them; somebody takes the power away from what still hangs.
    world.device.stop(world.moment)
    world.run(600_000)
    assert world.managed.slots.is_confirmed
    good = {FACTORY.sha256, image().sha256} if behaviour is Behaviour.GOOD else {FACTORY.sha256}
    check(world, flash, good)
