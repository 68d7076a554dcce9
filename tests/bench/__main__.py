"""`python -m tests.bench NAME`, `scripts/bench NAME` and `homeport bench NAME`: benchmarks, run by hand on a quiet machine.

Exit codes: 0 every goal reached, 1 one was missed or a figure would mean nothing, 2 wrong usage.
"""

from __future__ import annotations

import importlib

import click

NAMES = {
    "anomaly": "tests.bench.bench_anomaly",
    "anomaly-speed": "tests.bench.bench_anomaly_speed",
    "api": "tests.bench.bench_api",
    "availability": "tests.bench.bench_availability",
    "tier-stores": "tests.bench.bench_tier_stores",
    "broker": "tests.bench.bench_broker",
    "suite": "tests.bench.bench_suite",
    "fairness": "tests.bench.bench_fairness",
    "tls-transport": "tests.bench.bench_tls_transport",
    "amqtt": "tests.bench.bench_amqtt",
    "loss": "tests.bench.bench_loss",
    "convergence": "tests.bench.bench_convergence",
    "connections": "tests.bench.bench_connections",
    "storm": "tests.bench.bench_storm",
    "sign-in": "tests.bench.bench_sign_in",
    "requests": "tests.bench.bench_requests",
    "twins": "tests.bench.bench_twins",
    "delivery": "tests.bench.bench_delivery",
    "replication": "tests.bench.bench_replication",
    "rollout": "tests.bench.bench_rollout",
    "end-to-end": "tests.bench.bench_end_to_end",
    "heavy": "tests.bench.bench_heavy",
    "commits": "tests.bench.bench_commits",
    "pipeline": "tests.bench.bench_pipeline",
    "site": "tests.bench.bench_site",
    "start": "tests.bench.bench_start",
    "store": "tests.bench.bench_store",
    "rules": "tests.bench.bench_rules",
    "tier": "tests.bench.bench_tier",
    "tracing": "tests.bench.bench_tracing",
}


class _Benchmarks(click.Group):
    """Loads a benchmark when it is named: none pays for what another needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in NAMES:
            return None
        module = importlib.import_module(NAMES[cmd_name])
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Benchmarks)
def main() -> None:
    """Benchmarks. Each prints a table and, with --json FILE, writes everything that was measured."""


if __name__ == "__main__":
    main(prog_name="bench")
