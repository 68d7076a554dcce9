"""`homeport simulate`: fleets of nodes on a virtual clock, each with its faults, and whether what is promised held."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence

import click

from appliance.cli.common import Context, verb
from replication.simulation.faults import KINDS
from replication.simulation.runner import (
    NODE_COUNT_MAX,
    NODE_COUNT_MIN,
    SEED_MAX,
    TIER_NODE_COUNT_MIN,
    replay_command,
    run_seed,
    run_tier_seed,
)
from replication.simulation.tier_faults import TIER_KINDS, fits
from replication.simulation.world import Outcome

SEED_COUNT_MAX = 1_000_000


@click.command()
@click.option(
    "--seeds",
    "seed_count",
    type=click.IntRange(1, SEED_COUNT_MAX),
    default=100,
    show_default=True,
    help="How many worlds.",
)
@click.option(
    "--seed", type=click.IntRange(0, SEED_MAX), default=0, show_default=True, help="The first one's seed."
)
@click.option(
    "--nodes",
    type=click.IntRange(TIER_NODE_COUNT_MIN, NODE_COUNT_MAX),
    help=f"How many nodes; if not given, the seed's own number. Without --tier {NODE_COUNT_MIN} or more.",
)
@click.option(
    "--fault",
    "kinds",
    type=click.Choice(sorted({*KINDS, *TIER_KINDS})),
    multiple=True,
    help="Only these faults; repeatable.",
)
@click.option("--tier", "has_tier", is_flag=True, help="Nodes that ship to two regions of a cloud tier.")
@click.option("--trace", is_flag=True, help="Print the last lines of each world's trace.")
@verb
def simulate(
    context: Context,
    seed_count: int,
    seed: int,
    nodes: int | None,
    kinds: tuple[str, ...],
    has_tier: bool,
    trace: bool,
) -> None:
    """Simulate fleets from seeds; exit code 1 if a promise was broken, with the command that runs it again."""
    run, replay = _runs(nodes, kinds, has_tier=has_tier)
    began_s = time.process_time()
    outcomes: list[Outcome] = []
    broken: list[Outcome] = []
    for number in range(seed, seed + seed_count):
        outcome = run(number, nodes, kinds)
        outcomes.append(dataclasses.replace(outcome, tail=()))
        if trace and not context.json:
            click.echo("\n".join(outcome.tail))
        if outcome.breaches:
            broken.append(outcome)
            if not context.json:
                click.echo(_described(outcome, replay(outcome)))
    converged_ms = [outcome.converged_ms for outcome in outcomes if outcome.converged_ms is not None]
    summary = {
        "seeds": seed_count,
        "broken": [
            {
                "seed": outcome.seed,
                "nodes": outcome.node_count,
                "faults": outcome.faults,
                "breaches": outcome.breaches,
                "again": replay(outcome),
            }
            for outcome in broken
        ],
        "simulated_s": sum(outcome.simulated_ms for outcome in outcomes) // 1000,
        "cpu_s": round(time.process_time() - began_s, 1),
        "blocks": sum(outcome.acknowledged_total for outcome in outcomes),
        "safe": sum(outcome.safe_total for outcome in outcomes),
        "converged_within_s_max": max(converged_ms, default=0) // 1000,
        "trace": outcomes[-1].trace_hash if seed_count == 1 else None,
    }
    text = (
        f"{seed_count} seeds, {len(broken)} broken; {summary['simulated_s']} s simulated in {summary['cpu_s']} s,"
        f" {summary['blocks']} blocks written, {summary['safe']} called safe,"
        f" converged within {summary['converged_within_s_max']} s at most."
    )
    if summary["trace"]:
        text += f"\ntrace {summary['trace']}"
    context.emit(summary, text)
    sys.exit(1 if broken else 0)


def _runs(
    nodes: int | None, kinds: tuple[str, ...], *, has_tier: bool
) -> tuple[Callable[[int, int | None, Sequence[str]], Outcome], Callable[[Outcome], str]]:
    """What runs a seed, and what says how to run it again.

    Raises:
        UsageError: there can't be such worlds.
    """
    if not has_tier and any(kind not in KINDS for kind in kinds):
        raise click.UsageError("Faults of regions are for worlds with a tier: --tier.")
    if not has_tier and nodes is not None and nodes < NODE_COUNT_MIN:
        raise click.UsageError(f"Worlds without a tier have {NODE_COUNT_MIN} nodes or more.")
    if has_tier and nodes is not None and not fits(kinds, nodes):
        raise click.UsageError(f"Some of these faults are between nodes: --nodes {NODE_COUNT_MIN} or more.")
    return run_tier_seed if has_tier else run_seed, lambda outcome: replay_command(
        outcome, kinds, has_tier=has_tier
    )


def _described(outcome: Outcome, again: str) -> str:
    lines = [f"seed {outcome.seed}, {outcome.node_count} nodes: {len(outcome.breaches)} broken"]
    lines += [f"    {breach}" for breach in outcome.breaches]
    lines += [f"  {fault}" for fault in outcome.faults]
    return "\n".join([*lines, f"  again: {again}"])
