"""Boxes that ship to two regions, with faults of regions, boxes and links: what is promised holds, and a seed is one world."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from appliance.cli import main
from replication.simulation.runner import replay_command, run_tier_seed
from tests.simulation_kit import simulate, told


def test_twenty_worlds_with_two_regions() -> None:
    answer = simulate("--tier", "--seeds", "20", "--seed", "0")
    assert not answer["broken"], told(answer)
    assert answer["blocks"] > 3_000
    assert answer["safe"] > 3_000


@pytest.mark.long
def test_a_thousand_worlds_with_two_regions() -> None:
    answer = simulate("--tier", "--seeds", "1000", "--seed", "20")
    assert not answer["broken"], told(answer)


@pytest.mark.parametrize(
    ("seed", "nodes", "kinds"),
    [
        (2, 1, ["short_memory", "box_destroyed"]),  # it was to forget a log that wasn't restored yet
        (200, 1, []),  # an epoch that was claimed in one region only was claimed in the other once more
        (524, 1, []),  # a preferred region was live again with all of its backlog lacking
        (669, 2, []),  # a later epoch that began before the end of the one before it wasn't had back
        (207, 3, []),  # what a region lost of a fork's second history was looked for by nobody
    ],
)
def test_worlds_that_were_broken_once_are_whole(seed: int, nodes: int, kinds: list[str]) -> None:
    assert run_tier_seed(seed, nodes, kinds).breaches == ()


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_seed_gives_the_same_trace_in_every_process(nodes: int) -> None:
    here = run_tier_seed(5, nodes, ["lost_pieces", "restarts"])
    arguments = replay_command(here, ["lost_pieces", "restarts"], has_tier=True).split()[2:]
    assert "--tier" in arguments
    assert {simulate(*arguments, hash_seed=each)["trace"] for each in ("0", "1")} == {here.trace_hash}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "region_away"], "--tier"),
        (["--nodes", "2"], "3 nodes or more"),
        (["--tier", "--nodes", "1", "--fault", "clone"], "--nodes 3 or more"),
    ],
)
def test_worlds_that_can_not_be_are_refused_with_the_reason(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(main, ["simulate", "--seeds", "1", *arguments])
    assert result.exit_code == 2
    assert words in result.output
