"""The other half of tests/simulation/test_seeds.py, for another process of the test run."""

from __future__ import annotations

from tests.simulation_kit import simulate, told


def test_five_hundred_more_worlds() -> None:
    answer = simulate("--seeds", "500", "--seed", "500")
    assert not answer["broken"], told(answer)
