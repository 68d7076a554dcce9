"""`python -m tests.bench NAME`, `scripts/bench NAME` and `homeport bench NAME`: benchmarks, run by hand on a quiet machine.

Exit codes: 0 every goal reached, 1 one was missed or a figure would mean nothing, 2 wrong usage.
"""

from __future__ import annotations

import importlib

import click

NAMES = {
    "broker": "tests.bench.bench_broker",
    "suite": "tests.bench.bench_suite",
    "fairness": "tests.bench.bench_fairness",
    "tls-transport": "tests.bench.bench_tls_transport",
    "amqtt": "tests.bench.bench_amqtt",
    "loss": "tests.bench.bench_loss",
    "connections": "tests.bench.bench_connections",
    "storm": "tests.bench.bench_storm",
    "end-to-end": "tests.bench.bench_end_to_end",
    "pipeline": "tests.bench.bench_pipeline",
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
