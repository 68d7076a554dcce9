"""Checks the audit of a catalog against its hashes, its signatures and what somebody remembers, a batch at a time.

The same steps serve a command that has the file to itself and a node that must go on: `while check.step(catalog)`, where each
step reads one batch.

Must not know: how the result is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from appliance.core.limits import AUDIT_BATCH_COUNT
from appliance.identity.audit_heads import is_signed_by
from appliance.management.audit import AuditEntry
from appliance.management.audit_chain import ChainCheck, ChainReport, Fault, SignedHead
from storage.catalog import Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerdict:
    """Of all chains of a catalog. `chains` has this node's first.

    Attributes:
        checked_at_ms: When it ended, UTC ms.
    """

    chains: tuple[ChainReport, ...]
    checked_at_ms: int

    @property
    def fault(self) -> Fault | None:
        """The first one, this node's before others'."""
        return next((chain.fault for chain in self.chains if chain.fault), None)

    @property
    def entry_count(self) -> int:
        return sum(chain.entry_count for chain in self.chains)


@dataclass(slots=True)
class AuditCheck:
    """See the module's docstring.

    Args:
        origin: This node's id, 32 hexadecimal digits.
        key_id: Its raw public key, 32 bytes: the only one whose signatures count for its chain.
        known: Heads from outside the catalog: the file beside it, one that a person noted.
        by_hashes_alone: Whether to leave signatures aside.
    """

    origin: str
    key_id: bytes
    known: Sequence[SignedHead] = ()
    by_hashes_alone: bool = False
    _waiting: list[ChainCheck] | None = field(default=None, init=False)
    _ends: dict[str, int] = field(default_factory=dict, init=False)
    _seq: int = field(default=0, init=False)
    _done: list[ChainCheck] = field(default_factory=list, init=False)

    def step(self, catalog: Catalog) -> bool:
        """Look at the next batch; False when all was looked at."""
        if self._waiting is None:
            self._waiting = self._begin(catalog)
            return True
        if not self._waiting:
            return False
        check = self._waiting[0]
        # No further than the chain was when it began: a busy node would never be done.
        batch = catalog.audit_chain(check.origin, after_seq=self._seq, limit=AUDIT_BATCH_COUNT)
        batch = [entry for entry in batch if entry.seq <= self._ends[check.origin]]
        if batch:
            self._seq = batch[-1].seq
        if not check.add(batch) or not batch:
            self._done.append(self._waiting.pop(0))
            self._seq = 0
        return True

    def _begin(self, catalog: Catalog) -> list[ChainCheck]:
        heads = () if self.by_hashes_alone else (*catalog.audit_heads(self.origin), *self.known)
        others = [origin for origin in catalog.audit_origins() if origin != self.origin]
        for origin in (self.origin, *others):
            newest = catalog.newest_audit_entry(origin)
            self._ends[origin] = newest.seq if newest else 0
        return [self._chain(self.origin, heads), *(self._chain(origin) for origin in others)]

    def _chain(self, origin: str, heads: Sequence[SignedHead] = ()) -> ChainCheck:
        # Another node's entries come with its own signatures, which it keeps; here their hashes are checked.
        return ChainCheck(
            origin=origin,
            heads=heads,
            is_signed=lambda head: is_signed_by(head, self.key_id),
            must_be_signed=origin == self.origin and not self.by_hashes_alone,
        )

    def of_entries(self, entries: Iterable[AuditEntry], now_ms: int) -> AuditVerdict:
        """Of an export instead of a catalog: entries of one or more chains, each in its order."""
        checks = {self.origin: self._chain(self.origin, self.known)}
        for entry in entries:
            if entry.origin not in checks:
                checks[entry.origin] = self._chain(entry.origin)
            checks[entry.origin].add((entry,))
        return AuditVerdict(
            chains=tuple(check.end(now_ms) for check in checks.values()), checked_at_ms=now_ms
        )

    def verdict(self, now_ms: int) -> AuditVerdict:
        """Once there are no more steps."""
        assert self._waiting == []
        return AuditVerdict(chains=tuple(check.end(now_ms) for check in self._done), checked_at_ms=now_ms)
