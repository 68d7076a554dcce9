"""Fleets of 3 to 8 nodes with faults of every kind: what is promised holds. The other half is in test_more_seeds.py."""

from __future__ import annotations

import pytest

from tests.simulation_kit import simulate, told


def test_five_hundred_worlds() -> None:
    answer = simulate("--seeds", "500", "--seed", "0")
    assert not answer["broken"], told(answer)
    assert answer["blocks"] > 20_000
    assert answer["safe"] > 20_000


@pytest.mark.long
@pytest.mark.parametrize("nodes", ["12", "50"])
def test_large_fleets(nodes: str) -> None:
    answer = simulate("--seeds", "1", "--seed", "0", "--nodes", nodes)
    assert not answer["broken"], told(answer)
