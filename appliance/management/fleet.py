"""Who belongs to the fleet: what each node says of itself, who vouches for it, and how two views become one. Pure.

A roster is a set of entries, one for each node. What an entry says was signed by those who may say it: the certificate by
the fleet's authority, the card by the node, a decommission by a holder of the authority's key. Whoever takes an entry
from outside verifies those first (appliance/identity/fleet_entries.py); here is only what follows from them, the same on
every node and in whatever order entries come: a decommission stays for good, a later certificate replaces an earlier one,
and with the same certificate the card with the higher version counts.

Must not know: files, links, certificates' insides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from appliance.core.errors import LimitExceeded, UsageError
from appliance.core.limits_replication import (
    DECOMMISSION_REASON_LENGTH_MAX,
    NODE_ADDRESS_COUNT_MAX,
    NODE_ADDRESS_LENGTH_MAX,
    NODE_NAME_LENGTH_MAX,
    REGION_LENGTH_MAX,
    ROSTER_BYTES_MAX,
    ROSTER_CARD_LENGTH_MAX,
    ROSTER_CERTIFICATE_BYTES_MAX,
    ROSTER_DECOMMISSION_LENGTH_MAX,
    ROSTER_NODE_COUNT_MAX,
    ROSTER_SIGNATURE_BYTES_MAX,
)
from appliance.management.canonical_json import canonical

ROSTER_VERSION: Final = 1
Domain: TypeAlias = Literal["node", "site", "region"]
"""What fails together."""
Role: TypeAlias = Literal["edge", "cloud"]
State: TypeAlias = Literal["admitted", "decommissioned"]
Hex128: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
Hex256: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
AtMs: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Address: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=NODE_ADDRESS_LENGTH_MAX, pattern=r"^[!-~]+\Z")
]
Addresses: TypeAlias = Annotated[tuple[Address, ...], msgspec.Meta(max_length=NODE_ADDRESS_COUNT_MAX)]
Signature: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=ROSTER_SIGNATURE_BYTES_MAX)]
_NODE_ID: Final = re.compile(r"[0-9a-f]{32}")


class NodeCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself. Fields that a later version adds are passed over, and stay in the signed text.

    Attributes:
        name: For people.
        region: What fails together beyond the site; "" for nodes that have none, which are in one.
        addresses: Where peers reach it, host:port; none where it only connects to others.
        brokers: Where devices reach its broker, as URLs.
        role: cloud: it holds no streams of others, and hands pieces to a tier.
        instance: Which copy of this node it is: random, bound to the box and its data folder.
        version: Grows with each change; the highest counts.
    """

    node_id: Hex128
    name: Annotated[
        str,
        msgspec.Meta(max_length=NODE_NAME_LENGTH_MAX, pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\Z"),
    ]
    instance: Hex128
    version: AtMs
    region: Annotated[str, msgspec.Meta(max_length=REGION_LENGTH_MAX, pattern=r"^[A-Za-z0-9._-]*\Z")] = ""
    addresses: Addresses = ()
    brokers: Addresses = ()
    role: Role = "edge"

    def text(self) -> str:
        """The canonical form, which is what the node signs."""
        return canonical(msgspec.to_builtins(self))


class Decommission(msgspec.Struct, frozen=True, kw_only=True):
    """That a node is gone for good, said by a holder of the authority's key."""

    node_id: Hex128
    at_ms: AtMs
    by: Hex128
    reason: Annotated[str, msgspec.Meta(max_length=DECOMMISSION_REASON_LENGTH_MAX)] = ""

    def text(self) -> str:
        """The canonical form, which is what is signed."""
        return canonical(msgspec.to_builtins(self))


class SignedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it travels and lies on the disk: texts as they were signed, with their signatures.

    Attributes:
        certificate: The link's, DER; node, site and times stand in it, and whoever verifies holds the fields to it.
        card: A `NodeCard`'s text, signed with the certificate's key.
        decommission: A `Decommission`'s text, signed with the authority's key; "" while the node is admitted.
    """

    node_id: Hex128
    site_id: Hex128
    fingerprint: Hex256
    issued_at_ms: AtMs
    ends_at_ms: AtMs
    certificate: Annotated[bytes, msgspec.Meta(max_length=ROSTER_CERTIFICATE_BYTES_MAX)]
    card: Annotated[str, msgspec.Meta(max_length=ROSTER_CARD_LENGTH_MAX)]
    card_signature: Signature
    decommission: Annotated[str, msgspec.Meta(max_length=ROSTER_DECOMMISSION_LENGTH_MAX)] = ""
    decommission_signature: Signature = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """A node as everybody sees it.

    Attributes:
        fingerprint: SHA-256 of its link's certificate, hexadecimal.
    """

    node_id: str
    site_id: str
    name: str
    region: str
    addresses: tuple[str, ...]
    brokers: tuple[str, ...]
    role: Role
    instance: str
    card_version: int
    fingerprint: str
    issued_at_ms: int
    ends_at_ms: int
    decommission: Decommission | None
    signed: SignedEntry

    @property
    def state(self) -> State:
        return "admitted" if self.decommission is None else "decommissioned"

    @property
    def order(self) -> tuple[bool, int, str, int, str]:
        """Of two entries of a node, the one with the higher order counts. The texts decide between equals, on every node alike."""
        signed = self.signed
        return (
            self.decommission is not None,
            self.issued_at_ms,
            self.fingerprint,
            self.card_version,
            signed.card + signed.decommission,
        )

    def domain(self, level: Domain) -> str:
        """What it shares with all nodes that may fail together with it."""
        return {"node": self.node_id, "site": self.site_id, "region": self.region}[level]


def is_node_id(text: str) -> bool:
    """Whether this can be a node's id."""
    return _NODE_ID.fullmatch(text) is not None


def entry_of(signed: SignedEntry) -> NodeEntry:
    """Read what an entry says; nothing is verified here.

    Raises:
        UsageError: `roster_entry_invalid`.
    """
    try:
        card = msgspec.json.decode(signed.card, type=NodeCard)
        decommission = (
            msgspec.json.decode(signed.decommission, type=Decommission) if signed.decommission else None
        )
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise _invalid(signed.node_id, str(error)) from error
    about = {card.node_id, card.node_id if decommission is None else decommission.node_id}
    if about != {signed.node_id}:
        raise _invalid(signed.node_id, "it is about another node")
    return NodeEntry(
        node_id=signed.node_id,
        site_id=signed.site_id,
        name=card.name,
        region=card.region,
        addresses=card.addresses,
        brokers=card.brokers,
        role=card.role,
        instance=card.instance,
        card_version=card.version,
        fingerprint=signed.fingerprint,
        issued_at_ms=signed.issued_at_ms,
        ends_at_ms=signed.ends_at_ms,
        decommission=decommission,
        signed=signed,
    )


class Roster:
    """All nodes of a fleet, never changed: `merged` makes another.

    Args:
        authority: SHA-256 of the authority's certificate, hexadecimal.
    """

    def __init__(self, authority: str, nodes: Mapping[str, NodeEntry] | None = None) -> None:
        self.authority = authority
        self._nodes = dict(nodes or {})

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[NodeEntry]:
        """By name, then id."""
        return iter(sorted(self._nodes.values(), key=lambda node: (node.name, node.node_id)))

    def get(self, node_id: str) -> NodeEntry | None:
        return self._nodes.get(node_id)

    def admitted(self) -> list[NodeEntry]:
        """Those that were not decommissioned, by name."""
        return [node for node in self if node.decommission is None]

    def peers_of(self, node_id: str) -> list[NodeEntry]:
        """The admitted ones but this."""
        return [node for node in self.admitted() if node.node_id != node_id]

    def site_of(self, node_id: str) -> str | None:
        """A node's site; None for a stranger."""
        found = self._nodes.get(node_id)
        return None if found is None else found.site_id

    def mates_of(self, node_id: str) -> list[NodeEntry]:
        """Admitted nodes of the same site but this."""
        return [node for node in self.peers_of(node_id) if node.site_id == self.site_of(node_id)]

    def is_elsewhere(self, node_id: str, other_id: str, level: Domain) -> bool:
        """Whether two nodes don't fail together. A stranger fails together with everybody."""
        one, other = self._nodes.get(node_id), self._nodes.get(other_id)
        if one is None or other is None:
            return False
        return one.domain(level) != other.domain(level)

    def orders(self) -> dict[str, list[int]]:
        """What another node needs to know to see which of its entries are newer: by node, how each stands here."""
        return {
            node.node_id: [int(node.decommission is not None), node.issued_at_ms, node.card_version]
            for node in self._nodes.values()
        }

    def merged(self, entries: Iterable[NodeEntry]) -> tuple[Roster, list[NodeEntry]]:
        """This roster with what others know.

        A decommissioned node's entry keeps the decommission, whatever comes later.

        Args:
            entries: Verified ones.
        Returns:
            The roster, and the entries that are new or other in it; the same roster where there are none.
        Raises:
            LimitExceeded: `roster_full`.
        """
        nodes, changed = dict(self._nodes), {}
        for entry in entries:
            known = nodes.get(entry.node_id)
            if known is not None and known.order >= entry.order:
                continue
            nodes[entry.node_id] = changed[entry.node_id] = entry
        if len(nodes) > ROSTER_NODE_COUNT_MAX:
            raise LimitExceeded(
                f"A fleet has at most {ROSTER_NODE_COUNT_MAX} nodes.",
                hint="Make a second fleet for the sites to come.",
                code="roster_full",
            )
        return (Roster(self.authority, nodes) if changed else self), list(changed.values())

    def encode(self) -> bytes:
        """As a file: JSON, by node id."""
        nodes = [self._nodes[node_id].signed for node_id in sorted(self._nodes)]
        file = _File(version=ROSTER_VERSION, authority=self.authority, nodes=nodes)
        return msgspec.json.format(msgspec.json.encode(file), indent=1)


class _File(msgspec.Struct, kw_only=True):
    version: int
    authority: Hex256
    nodes: Annotated[list[SignedEntry], msgspec.Meta(max_length=ROSTER_NODE_COUNT_MAX)]


def decode_roster(data: bytes) -> Roster:
    """Read a roster's file.

    Raises:
        UsageError: `roster_invalid`: it is none, or of a later version. `roster_entry_invalid`.
    """
    if len(data) > ROSTER_BYTES_MAX:
        raise _no_roster(f"it has {len(data)} bytes, more than {ROSTER_BYTES_MAX}")
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise _no_roster(str(error)) from error
    if file.version != ROSTER_VERSION:
        raise _no_roster(f"its version is {file.version}, and this program reads {ROSTER_VERSION}")
    nodes = {signed.node_id: entry_of(signed) for signed in file.nodes}
    return Roster(file.authority, nodes)


def _no_roster(why: str) -> UsageError:
    return UsageError(
        f"This is no roster of a fleet: {why}.",
        hint="Put fleet/roster.json back from a backup, or have this box join again.",
        code="roster_invalid",
    )


def _invalid(node_id: str, why: str) -> UsageError:
    return UsageError(
        f"What the roster holds of node {node_id} can't be read: {why}.",
        hint="Update the older of the two boxes.",
        code="roster_entry_invalid",
    )
