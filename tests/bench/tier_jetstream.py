"""The tier's JetStream engine beside nats-py, both to one stream of three synced servers."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nats
import trio

from appliance.core.limits import KIB, MIB
from replication.tier.engines.opening import opening
from replication.tier.pieces import Piece
from tests.bench.bench_tier import Measured, Rate, measured
from tests.nats_kit import PASSWORD, USER, Cluster, credentials, nats_cluster
from tests.tier_kit import piece_after

STREAM = "bench"


def measure(folder: Path, sizes: Sequence[int], mib: int, rounds: int) -> list[Measured]:
    found = []
    with nats_cluster(folder) as cluster:
        for number, size in enumerate(sizes):
            ours, plain = [], []
            made = _pieces(size, max(4, mib * MIB // size))
            for round_ in range(rounds):
                # Of each round an epoch of its own: the first piece of one asks where it ends.
                ours.append(trio.run(_ours, cluster, _as_epoch(made, 1 + round_ + number * rounds)))
                plain.append(asyncio.run(_plain(cluster, made)))
            found.append(measured("jetstream", size, ours, plain))
    return found


async def _ours(cluster: Cluster, pieces: list[Piece]) -> Rate:
    async with opening(cluster.url(STREAM), credentials())() as engine:
        await engine.put(pieces[0])
        begun, cpu = time.perf_counter(), time.process_time()
        for piece in pieces[1:]:
            await engine.put(piece)
        return _rate(pieces[1:], begun, cpu)


async def _plain(cluster: Cluster, pieces: list[Piece]) -> Rate:
    connection = await nats.connect(
        servers=[f"nats://{host}" for host in cluster.hosts.split(",")], user=USER, password=PASSWORD
    )
    stream = connection.jetstream()
    try:
        await stream.publish(f"{STREAM}.plain", pieces[0].data, timeout=30)
        begun, cpu = time.perf_counter(), time.process_time()
        for piece in pieces[1:]:
            await stream.publish(f"{STREAM}.plain", piece.data, timeout=30)
        return _rate(pieces[1:], begun, cpu)
    finally:
        await connection.close()


def _pieces(size: int, count: int) -> list[Piece]:
    frames = secrets.token_bytes(size - KIB)
    made: list[Piece] = []
    for _ in range(count + 1):
        made.append(piece_after(made[-1].name if made else None, frames=frames))
    return made


def _as_epoch(pieces: list[Piece], epoch: int) -> list[Piece]:
    """The same under the names of another epoch; nobody here opens them."""
    return [replace(piece, name=replace(piece.name, epoch=epoch)) for piece in pieces]


def _rate(pieces: list[Piece], begun: float, cpu: float) -> Rate:
    return Rate(
        size_bytes=sum(len(piece.data) for piece in pieces),
        seconds=time.perf_counter() - begun,
        cpu_s=time.process_time() - cpu,
    )
