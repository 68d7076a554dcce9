"""Boxes that belong to one fleet, made fast: without a network, and without processes where none are needed."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.core.clock import Clock, SystemClock
from appliance.core.config import Config, NodeConfig, ReplicationConfig
from appliance.core.settings import Bind
from appliance.identity.fleet import Fleet, site_id_of, write_folder
from appliance.identity.instance import make_instance
from appliance.identity.keys import SiteKeys
from appliance.management.fleet import NodeCard, NodeEntry, Roster
from appliance.run.fleet_node import FleetNode
from storage.fleet import read_roster, write_roster

LOOPBACK = Bind(host="127.0.0.1", port=0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box's folders and keys.

    Attributes:
        config: Its `replication.bind` is loopback, port 0 unless said otherwise.
    """

    config: Config
    keys: SiteKeys

    @property
    def data_dir(self) -> Path:
        return self.config.node.data_dir

    @property
    def node_id(self) -> str:
        return self.keys.node_id.hex()

    @property
    def roster(self) -> Roster:
        found = read_roster(self.data_dir)
        assert found is not None
        return found


def make_box(
    folder: Path,
    name: str = "box",
    *,
    mate: Box | None = None,
    node_id: str = "",
    bind: Bind | None = LOOPBACK,
    region: str = "",
    **replication: object,
) -> Box:
    """A box with keys of its own.

    Args:
        mate: A box of the same site; the new one has its site key.
        node_id: 32 hexadecimal digits; random if not given.
    """
    data_dir = folder / name
    config = Config(
        node=NodeConfig(name=name, data_dir=data_dir, run_dir=folder / f"{name}-run"),
        replication=ReplicationConfig(bind=bind, region=region, **replication),  # type: ignore[arg-type]
    )
    identity = data_dir / "identity"
    identity.mkdir(mode=0o700, parents=True)
    data_dir.chmod(0o700)
    config.node.run_dir.mkdir(mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    site_key = (
        secrets.token_hex(32) if mate is None else (mate.data_dir / "identity" / "site.key").read_text()
    )
    contents = {"node.key": pem.decode(), "node.id": node_id or secrets.token_hex(16), "site.key": site_key}
    for file, text in contents.items():
        (identity / file).write_text(text)
        (identity / file).chmod(0o600)
    return Box(config=config, keys=SiteKeys.load_or_create(data_dir))


def begin_fleet(box: Box, clock: Clock | None = None) -> Fleet:
    """Have a box begin a fleet of its own."""
    return Fleet.begin(box.data_dir, box.keys, make_instance(box.data_dir), clock=clock or SystemClock())


def join_fleet(founder: Box, box: Box, clock: Clock | None = None) -> Fleet:
    """Have a box join the founder's fleet, as by an invitation."""
    clock = clock or SystemClock()
    authority = Fleet.load(founder.data_dir, founder.keys)
    instance = make_instance(box.data_dir)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = authority.issue(
        key.public_key(),
        node_id=box.node_id,
        site_id=site_id_of(box.keys),
        instance=instance.instance_id,
        clock=clock,
    )
    write_folder(box.data_dir, authority.authority, key, certificate, Roster(authority.fingerprint))
    return Fleet.load(box.data_dir, box.keys)


def make_fleet(folder: Path, *names: str, is_one_site: bool = True, clock: Clock | None = None) -> list[Box]:
    """Boxes of one fleet, the first of which began it, and which all know each other (without addresses)."""
    founder = make_box(folder, names[0])
    begin_fleet(founder, clock)
    boxes = [founder]
    for name in names[1:]:
        boxes.append(make_box(folder, name, mate=founder if is_one_site else None))
        join_fleet(founder, boxes[-1], clock)
    introduce(*boxes)
    return boxes


def give_peer(config: Config, keys: SiteKeys, folder: Path, name: str = "roof") -> Box:
    """Have a node that belongs to no fleet begin one that another box, which is returned, has joined."""
    own = Box(config=config, keys=keys)
    begin_fleet(own)
    write_roster(own.data_dir, Roster(Fleet.load(own.data_dir, keys).fingerprint))
    peer = make_box(folder, name, mate=own)
    join_fleet(own, peer)
    write_roster(own.data_dir, own.roster.merged([entry_of_box(own), entry_of_box(peer)])[0])
    return peer


def entry_of_box(box: Box, *, version: int = 1, **card: object) -> NodeEntry:
    """What a box says of itself."""
    fleet = Fleet.load(box.data_dir, box.keys)
    said = NodeCard(
        node_id=box.node_id,
        name=box.config.node.name,
        instance=fleet.identity.instance,
        version=version,
        region=box.config.replication.region,
        addresses=tuple(str(each) for each in box.config.replication.addresses),
    )
    return fleet.entry(msgspec.structs.replace(said, **card))


def introduce(*boxes: Box) -> None:
    """Have all these know each other, as after all have talked."""
    entries = [entry_of_box(box) for box in boxes]
    for box in boxes:
        write_roster(box.data_dir, box.roster.merged(entries)[0])


def open_node(
    box: Box, *, clock: Clock | None = None, seed: int = 1, peers: tuple[FleetNode, ...] = ()
) -> FleetNode:
    """A box as a node in this process.

    Args:
        peers: Running nodes whose addresses it knows.
    """
    node = FleetNode.open(box.config, box.keys, clock=clock or SystemClock(), random=Random(seed))
    node.keeper.merge([entry_at(peer) for peer in peers])
    return node


def entry_at(node: FleetNode) -> NodeEntry:
    """What a running node of a test says of itself, with the port that the kernel chose."""
    old = node.keeper.roster.get(node.node_id)
    assert old is not None
    card = msgspec.json.decode(old.signed.card, type=NodeCard)
    address = (f"127.0.0.1:{node.links.port}",) if node.links.port else ()
    return node.fleet.entry(msgspec.structs.replace(card, version=card.version + 1, addresses=address))


class Heard:
    """What links told whoever uses them."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.messages: list[tuple[str, bytes]] = []

    def link_up(self, peer: str) -> None:
        self.events.append(("up", peer))

    def link_down(self, peer: str) -> None:
        self.events.append(("down", peer))

    def message(self, peer: str, data: bytes) -> None:
        self.messages.append((peer, data))


async def until(condition: Callable[[], object], *, within_s: float = 20) -> None:
    """Wait until something is so."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is in other tasks, of other nodes
            await trio.sleep(0.005)
