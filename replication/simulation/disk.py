"""What a body's disk holds: all that is left of it after its process has ended. Copies of it are clones and old snapshots."""

from __future__ import annotations

from dataclasses import dataclass, field

from replication.fences import Promise
from replication.messages import ForkProof
from replication.tier.auditing import Walked
from storage.replicas.streams import StreamId

from .catalog import CatalogState
from .log_model import LogModel


@dataclass(slots=True, kw_only=True)
class Disk:
    """See the module's docstring.

    Args:
        node_id: Whose identity lies on it.
        instance: The body that wrote it, bound to its hardware.
        epoch: In which own streams are written.
        must_claim: It isn't known that nobody else writes this epoch: a new one is claimed before anything is written.
        promises: Epochs of other nodes that this one has given its voice for.
        proofs: Evidence of forks.
        catalog: Rows, in a world that has a catalog.
        walked: How far audits have walked each region of the tier.
    """

    node_id: str
    instance: str
    epoch: int = 1
    must_claim: bool = False
    logs: dict[StreamId, LogModel] = field(default_factory=dict)
    promises: dict[str, Promise] = field(default_factory=dict)
    proofs: dict[tuple[StreamId, int], ForkProof] = field(default_factory=dict)
    catalog: CatalogState | None = None
    walked: dict[str, dict[StreamId, Walked]] = field(default_factory=dict)

    def image(self) -> Disk:
        """A copy as a snapshot or `dd` makes it: what is durable."""
        return Disk(
            node_id=self.node_id,
            instance=self.instance,
            epoch=self.epoch,
            must_claim=self.must_claim,
            logs={stream: log.copy() for stream, log in self.logs.items()},
            promises=dict(self.promises),
            proofs=dict(self.proofs),
            catalog=self.catalog.image() if self.catalog is not None else None,
            walked=dict(self.walked),
        )

    def crash(self) -> None:
        """Power is gone: what was not synced with it."""
        for log in self.logs.values():
            log.crash()
