"""One seed is one world: run again, in whatever process, it is the same bit for bit."""

from __future__ import annotations

import re

from click.testing import CliRunner

from appliance.cli import main
from replication.simulation.runner import replay_command, run_seed
from tests.simulation_kit import simulate


def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    here = run_seed(11, 4)
    arguments = replay_command(here).split()[2:]
    assert {simulate(*arguments, hash_seed=each)["trace"] for each in ("0", "1", "2")} == {here.trace_hash}
    assert run_seed(11, 4) == here


def test_another_seed_or_size_gives_another_world() -> None:
    traces = {run_seed(1, 3).trace_hash, run_seed(2, 3).trace_hash, run_seed(1, 4).trace_hash}
    assert len(traces) == 3


def test_the_command_says_what_came_of_it() -> None:
    result = CliRunner().invoke(main, ["simulate", "--seeds", "2", "--fault", "crashes", "--trace"])
    assert result.exit_code == 0, result.output
    assert re.search(r"(?m)^2 seeds, 0 broken; \d+ s simulated", result.output)
    assert " crashes" in result.output
