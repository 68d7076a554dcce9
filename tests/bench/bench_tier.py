"""What engines of the tier take, in MB/s, beside a plain client of the same servers in the same run.

Both put the same bytes, one piece under way as a lane of shipping has it, in turn, so that whatever else the machine does meets both. All
servers run here, on the disk to be measured.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from appliance.core.limits import KIB, MIB
from tests.bench import harness

ENGINES = {"jetstream": "tests.bench.tier_jetstream"}
"""A module for each, with what `Measure` says."""
SIZES = (64 * KIB, MIB, 8 * MIB)
GOAL = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One round of one client.

    Args:
        cpu_s: Of this process: what the box that ships pays.
    """

    size_bytes: int
    seconds: float
    cpu_s: float

    @property
    def mb_s(self) -> float:
        return self.size_bytes / self.seconds / 1e6

    @property
    def cpu_ms_per_mb(self) -> float:
        return self.cpu_s * 1e9 / self.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured with pieces of one size: medians of the rounds."""

    engine: str
    piece_bytes: int
    ours_mb_s: float
    plain_mb_s: float
    ours_cpu_ms_per_mb: float
    plain_cpu_ms_per_mb: float


class Measure(Protocol):
    """`measure` of an engine's module."""

    def __call__(self, folder: Path, sizes: Sequence[int], mib: int, rounds: int) -> list[Measured]:
        """
        Args:
            folder: For the servers' files.
            mib: Of each round.
        """
        ...


def measured(engine: str, piece_bytes: int, ours: Sequence[Rate], plain: Sequence[Rate]) -> Measured:
    """The medians of rounds."""
    return Measured(
        engine=engine,
        piece_bytes=piece_bytes,
        ours_mb_s=harness.median([rate.mb_s for rate in ours]),
        plain_mb_s=harness.median([rate.mb_s for rate in plain]),
        ours_cpu_ms_per_mb=harness.median([rate.cpu_ms_per_mb for rate in ours]),
        plain_cpu_ms_per_mb=harness.median([rate.cpu_ms_per_mb for rate in plain]),
    )


@click.command("tier")
@click.option("--engine", "engines", multiple=True, type=click.Choice(sorted(ENGINES)))
@click.option("--mib", default=32, show_default=True, help="Of each round.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def tier(engines: tuple[str, ...], mib: int, rounds: int, data: Path | None, json_path: Path | None) -> None:
    """Putting pieces into each engine of the tier, beside a plain client."""
    found: list[Measured] = []
    with harness.data_folder(data) as folder:
        result: dict[str, Any] = harness.machine(folder)
        for name in engines or sorted(ENGINES):
            measure: Measure = importlib.import_module(ENGINES[name]).measure
            (folder / name).mkdir()
            found += measure(folder / name, SIZES, mib, rounds)
    click.echo(
        harness.table(
            ("engine", "KiB a piece", "MB/s", "plain client", "share", "CPU ms/MB", "plain client"),
            [
                (
                    each.engine,
                    each.piece_bytes // KIB,
                    f"{each.ours_mb_s:.1f}",
                    f"{each.plain_mb_s:.1f}",
                    f"{each.ours_mb_s / each.plain_mb_s:.0%}",
                    f"{each.ours_cpu_ms_per_mb:.2f}",
                    f"{each.plain_cpu_ms_per_mb:.2f}",
                )
                for each in found
            ],
        )
    )
    goals = [
        harness.Goal(
            what=f"{each.engine} with pieces of {each.piece_bytes // KIB} KiB, share of a plain client's rate",
            value=each.ours_mb_s / each.plain_mb_s,
            wanted=GOAL,
            reached=each.ours_mb_s >= GOAL * each.plain_mb_s,
        )
        for each in found
    ]
    harness.finish("tier", result | {"engines": [asdict(each) for each in found]}, goals, json_path)
