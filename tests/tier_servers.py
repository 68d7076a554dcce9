"""Regions of a tier with their real servers, for tests in which one is switched off, comes back, or loses what it had acknowledged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import trio

from replication.tier.engine import Opening
from replication.tier.engines.credentials import KEYS, Credentials
from replication.tier.engines.opening import opening
from replication.tier.envelope import KeyOf, open_piece
from replication.tier.pieces import PieceName
from storage.replicas.streams import StreamId
from tests.nats_kit import Cluster, credentials, nats_cluster
from tests.seaweed_kit import SeaweedFs, seaweedfs


@dataclass
class Region(ABC):
    """One region: its name, where it is, and who asks there."""

    name: str
    folder: Path

    @property
    @abstractmethod
    def address(self) -> str: ...

    @property
    @abstractmethod
    def credentials(self) -> Credentials: ...

    @abstractmethod
    def switch_off(self) -> None:
        """All its servers at once, without a word."""

    @abstractmethod
    def switch_on(self) -> None: ...

    @property
    def config(self) -> str:
        """Its section of a box's configuration; the file of credentials is written."""
        path = self.folder / f"{self.name}.toml"
        given = {key: self.credentials.get(key) for key in sorted(KEYS)}
        path.write_text("".join(f'{key} = "{value}"\n' for key, value in given.items() if value))
        path.chmod(0o600)
        return f'[[tier_region]]\nname = "{self.name}"\naddress = "{self.address}"\ncredentials_file = "{path}"\n'

    def opening(self) -> Opening:
        return opening(self.address, self.credentials)

    def pieces(self, stream: StreamId, epoch: int = 1) -> list[PieceName]:
        """What it has of a stream, in order. Not within trio."""

        async def ask() -> list[PieceName]:
            async with self.opening()() as engine:
                return [name async for name in engine.pieces(stream, epoch)]

        return trio.run(ask)

    def lose(self, names: list[PieceName]) -> None:
        """Lose pieces that were acknowledged. Not within trio."""

        async def remove() -> None:
            async with self.opening()() as engine:
                for name in names:
                    await engine.remove(name)

        trio.run(remove)

    def verified(self, stream: StreamId, key_of: KeyOf, epoch: int = 1) -> list[PieceName]:
        """Its pieces of a stream: each is opened and is what its name says, and they follow each other without gap or overlap."""

        async def read(names: list[PieceName]) -> None:
            async with self.opening()() as engine:
                for name in names:
                    open_piece(await engine.get(name), key_of, wanted=name)

        names = self.pieces(stream, epoch)
        assert names, f"{self.name} has nothing of {stream}"
        assert names[0].first_seq == 1
        torn = [(one.next_seq, two.first_seq) for one, two in pairwise(names) if not two.follows(one)]
        assert not torn, f"gaps or overlaps in {self.name}: {torn}"
        trio.run(read, names)
        return names


@dataclass
class JetStreamRegion(Region):
    cluster: Cluster

    @property
    def address(self) -> str:
        return self.cluster.url("site-1", replicas=str(min(3, len(self.cluster.servers))))

    @property
    def credentials(self) -> Credentials:
        return credentials()

    def switch_off(self) -> None:
        self.cluster.kill()

    def switch_on(self) -> None:
        self.cluster.start()


@dataclass
class ObjectStoreRegion(Region):
    server: SeaweedFs

    @property
    def address(self) -> str:
        return self.server.address("site-1")

    @property
    def credentials(self) -> Credentials:
        return self.server.credentials

    def switch_off(self) -> None:
        self.server.kill()

    def switch_on(self) -> None:
        self.server.start()


@contextmanager
def jetstream_region(folder: Path, name: str, *, servers: int = 3) -> Iterator[JetStreamRegion]:
    """A region with a JetStream cluster of its own."""
    (folder / name).mkdir()
    with nats_cluster(folder / name, count=servers) as cluster:
        yield JetStreamRegion(name, folder / name, cluster)


@contextmanager
def object_store_region(folder: Path, name: str) -> Iterator[ObjectStoreRegion]:
    """A region with a SeaweedFS of its own."""
    (folder / name).mkdir()
    with seaweedfs(folder / name) as server:
        yield ObjectStoreRegion(name, folder / name, server)
