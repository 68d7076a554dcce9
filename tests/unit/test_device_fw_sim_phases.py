"""The table of phases: every phase is in it, every one can end, and an end is the end."""

from __future__ import annotations

from device_fw_sim.phases import SLOT_UNTOUCHED, TRANSITIONS, Phase


def test_every_phase_has_a_way_to_the_end() -> None:
    assert set(TRANSITIONS) == set(Phase)
    for phase in Phase:
        seen, waiting = {phase}, [phase]
        while waiting:
            for following in TRANSITIONS[waiting.pop()] - seen:
                seen.add(following)
                waiting.append(following)
        assert Phase.ENDED in seen
    assert not TRANSITIONS[Phase.ENDED]


def test_the_slot_is_written_after_a_gate_only() -> None:
    """Into INSTALLING leads only what was verified; what the box may take back is before it."""
    before = {phase for phase, following in TRANSITIONS.items() if Phase.INSTALLING in following}
    assert before == {Phase.VERIFIED, Phase.WAITING}
    assert Phase.INSTALLING not in SLOT_UNTOUCHED
    assert before < SLOT_UNTOUCHED
