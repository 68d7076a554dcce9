"""What the tier's engines of stores take, in MB/s: an object store (SeaweedFS) and PostgreSQL, each beside a plain client of the same server.

Both put the same bytes, one piece under way as a lane of shipping has it, in turn, so that whatever else the machine does meets both. The servers
run here, on the disk to be measured.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import obstore
import psycopg
import trio
from obstore.store import S3Store

from appliance.core.limits import KIB, MIB
from replication.tier.engines.opening import opening
from replication.tier.pieces import Piece
from tests.bench import harness
from tests.postgres_kit import DATABASE, USER, PostgresServer, postgres_server
from tests.seaweed_kit import BUCKET, KEY_ID, SECRET, SeaweedFs, seaweedfs
from tests.tier_kit import piece_after

SIZES = (64 * KIB, MIB, 8 * MIB)
GOAL = 0.8
SCHEMA = "bench"
TABLE = (
    'CREATE TABLE IF NOT EXISTS plain (stream text COLLATE "C", epoch bigint, first_seq bigint, data bytea,'
    " PRIMARY KEY (stream, epoch, first_seq))"
)


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


Round = Callable[[list[Piece]], Rate]


def measure(name: str, ours: Round, plain: Round, mib: int, rounds: int) -> list[Measured]:
    """Rounds of each size, the two clients in turn."""
    found = []
    for number, size in enumerate(SIZES):
        made = pieces_of(size, max(4, mib * MIB // size))
        rates: tuple[list[Rate], list[Rate]] = ([], [])
        for round_ in range(rounds):
            # Of each round an epoch of its own: nothing is there.
            of_epoch = [
                replace(piece, name=replace(piece.name, epoch=1 + round_ + number * rounds)) for piece in made
            ]
            rates[0].append(ours(of_epoch))
            rates[1].append(plain(of_epoch))
        found.append(
            Measured(
                engine=name,
                piece_bytes=size,
                ours_mb_s=harness.median([rate.mb_s for rate in rates[0]]),
                plain_mb_s=harness.median([rate.mb_s for rate in rates[1]]),
                ours_cpu_ms_per_mb=harness.median([rate.cpu_ms_per_mb for rate in rates[0]]),
                plain_cpu_ms_per_mb=harness.median([rate.cpu_ms_per_mb for rate in rates[1]]),
            )
        )
    return found


def object_store(folder: Path, mib: int, rounds: int) -> list[Measured]:
    """Beside obstore's blocking calls, with the same condition."""
    with seaweedfs(folder) as server:
        store = S3Store(
            BUCKET,
            endpoint=server.endpoint,
            region="us-east-1",
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
            client_options={"allow_http": True, "timeout": timedelta(seconds=60)},
        )

        def plain(pieces: list[Piece]) -> Rate:
            prefix = f"plain/{secrets.token_hex(4)}"

            def put(piece: Piece) -> None:
                obstore.put(
                    store, f"{prefix}/{piece.name.first_seq}", piece.data, mode="create", use_multipart=False
                )

            return timed(put, pieces)

        return measure(
            "object store", lambda pieces: trio.run(_shipped, server, "bench", pieces), plain, mib, rounds
        )


def postgresql(folder: Path, mib: int, rounds: int) -> list[Measured]:
    """Beside one session of psycopg, a statement for each piece, each committed."""
    # The server's user must get to its cluster.
    for each in (folder, folder.parent):
        each.chmod(0o755)
    with (
        postgres_server(folder) as server,
        psycopg.connect(
            host="127.0.0.1",
            port=server.port,
            user=USER,
            password=server.password,
            dbname=DATABASE,
            autocommit=True,
        ) as session,
    ):
        session.execute(f"CREATE SCHEMA {SCHEMA}_plain")
        session.execute(f"SET search_path = {SCHEMA}_plain")
        session.execute(TABLE)
        session.execute("ALTER TABLE plain ALTER COLUMN data SET STORAGE EXTERNAL")

        def put(piece: Piece) -> None:
            name = piece.name
            session.execute(
                "INSERT INTO plain VALUES (%s, %s, %s, %b)",
                [str(name.stream), name.epoch, name.first_seq, piece.data],
            )

        return measure(
            "postgresql",
            lambda pieces: trio.run(_shipped, server, SCHEMA, pieces),
            lambda pieces: timed(put, pieces),
            mib,
            rounds,
        )


async def _shipped(server: SeaweedFs | PostgresServer, where: str, pieces: list[Piece]) -> Rate:
    async with opening(server.address(where), server.credentials)() as engine:
        await engine.put(pieces[0])
        begun, cpu = time.perf_counter(), time.process_time()
        for piece in pieces[1:]:
            await engine.put(piece)
        return _rate(pieces[1:], begun, cpu)


def timed(put: Callable[[Piece], None], pieces: list[Piece]) -> Rate:
    """All but the first, which makes the connection."""
    put(pieces[0])
    begun, cpu = time.perf_counter(), time.process_time()
    for piece in pieces[1:]:
        put(piece)
    return _rate(pieces[1:], begun, cpu)


def pieces_of(size: int, count: int) -> list[Piece]:
    """So many and one more, that follow each other; of bytes that nothing compresses."""
    frames = secrets.token_bytes(size - KIB)
    made: list[Piece] = []
    for _ in range(count + 1):
        made.append(piece_after(made[-1].name if made else None, frames=frames))
    return made


def _rate(pieces: Sequence[Piece], begun: float, cpu: float) -> Rate:
    return Rate(
        size_bytes=sum(len(piece.data) for piece in pieces),
        seconds=time.perf_counter() - begun,
        cpu_s=time.process_time() - cpu,
    )


ENGINES = {"object-store": object_store, "postgresql": postgresql}


@click.command("tier-stores")
@click.option("--engine", "engines", multiple=True, type=click.Choice(sorted(ENGINES)))
@click.option("--mib", default=32, show_default=True, help="Of each round.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def tier_stores(
    engines: tuple[str, ...], mib: int, rounds: int, data: Path | None, json_path: Path | None
) -> None:
    """Putting pieces into an object store and PostgreSQL, beside plain clients."""
    found: list[Measured] = []
    with harness.data_folder(data) as folder:
        result: dict[str, Any] = harness.machine(folder)
        for name in engines or sorted(ENGINES):
            (folder / name).mkdir()
            found += ENGINES[name](folder / name, mib, rounds)
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
    harness.finish("tier-stores", result | {"engines": [asdict(each) for each in found]}, goals, json_path)
