"""The other half of tests/simulation/test_seeds.py, for another process of the test run."""

from __future__ import annotations

from tests.simulation_kit import simulate, told


def test_five_hundred_more_worlds() -> None:
    answer = simulate("--seeds", "500", "--seed", "500")
    assert not answer["broken"], told(answer)


COMING_BACK = ("--fault", "clone", "--fault", "old_snapshot", "--fault", "partition")


def test_bodies_that_come_back_while_others_write_and_links_are_cut() -> None:
    """Seeds 12 and 1016 broke once: records of a body were not read by the one that went on, and two branches were no evidence of a fork."""
    for seeds, seed in (("30", "0"), ("1", "1016")):
        answer = simulate("--seeds", seeds, "--seed", seed, "--nodes", "3", *COMING_BACK)
        assert not answer["broken"], told(answer)
