"""What a node knows of the others: one row for each member of the roster. Pure.

A row comes and goes with the roster (`admit`, `forget`), never with what is heard: nobody can make a node keep rows by
talking, and a dead node keeps its row.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.core.limits_replication import CLAIMS_TOLD_MAX, MEMBER_COUNT_MAX, TABLE_BUCKET_COUNT

from .claims import Claim, Condition
from .events import MemberView


@dataclass(slots=True, kw_only=True)
class Member:
    """One row.

    Args:
        node: Whose.
        incarnation, condition: The claim that counts; None: nothing was ever heard of it.
        by: Who found it out.
        since_ms: Monotonic time at which the condition began here.
        heard_ms: When something last came from it over a link; None: never.
        is_linked: Whether there is a link to it.
        is_lost: A link to it ended, and there was no sign of life since.
        vouched_ms: When it was last said to be alive, or there was a sign of life.
        missed_count: Probes in vain since it became suspect, or since the last sign of life.
        finders: While it is suspect: who said so.
        suspected_ms: While it is suspect: since when.
    """

    node: str
    incarnation: int = 0
    condition: Condition | None = None
    by: str = ""
    since_ms: int = 0
    heard_ms: int | None = None
    is_linked: bool = False
    is_lost: bool = False
    vouched_ms: int = 0
    missed_count: int = 0
    finders: set[str] = field(default_factory=set)
    suspected_ms: int = 0

    def claim(self) -> Claim | None:
        """What is known, as it is told to others."""
        if self.condition is None:
            return None
        return Claim(self.node, self.incarnation, self.condition, self.by or self.node)


class Table:
    """Members by node id; at most MEMBER_COUNT_MAX."""

    def __init__(self) -> None:
        self.rows: dict[str, Member] = {}
        self.dead: dict[str, None] = {}
        """Members that are called dead, in the order in which they became so."""
        self._parts: list[dict[str, Member]] = [{} for _ in range(TABLE_BUCKET_COUNT)]
        self._digests: dict[int, bytes] = {}

    def admit(self, node: str, now_ms: int) -> bool:
        """Add a member of the roster.

        Returns:
            False: it is there already, or there are too many.
        """
        if node in self.rows or len(self.rows) >= MEMBER_COUNT_MAX:
            return False
        row = self.rows[node] = Member(node=node, since_ms=now_ms, vouched_ms=now_ms)
        self._parts[_bucket(node)][node] = row
        return True

    def changed(self, node: str) -> None:
        """What is said of a node, or of this one, is something else than it was: its part of the digest is made anew."""
        self._digests.pop(_bucket(node), None)
        row = self.rows.get(node)
        if row is None or row.condition is not Condition.DEAD:
            self.dead.pop(node, None)
        else:
            self.dead[node] = None

    def forget(self, node: str) -> None:
        """A member was decommissioned."""
        self.rows.pop(node, None)
        self._parts[_bucket(node)].pop(node, None)
        self.changed(node)

    def counts(self) -> Counter[Condition | None]:
        """Members by how they are seen; None: nothing was ever heard of them."""
        return Counter(row.condition for row in self.rows.values())

    def view(self, now_ms: int) -> list[MemberView]:
        """All members, in the order in which they were admitted."""
        return [
            MemberView(
                node=row.node,
                condition="never heard" if row.condition is None else row.condition.name.lower(),
                incarnation=row.incarnation,
                for_ms=now_ms - row.since_ms,
                heard_before_ms=None if row.heard_ms is None else now_ms - row.heard_ms,
                is_linked=row.is_linked,
            )
            for row in self.rows.values()
        ]

    def claims(self, own: Claim, buckets: Iterable[int]) -> list[list[Claim]]:
        """Pages of all claims in some parts of the table, own included.

        Args:
            own: This node's claim of itself.
            buckets: Parts, 0..15.
        """
        chosen = [claim for bucket in sorted(set(buckets)) for claim in self._part(own, bucket)]
        return [chosen[at : at + CLAIMS_TOLD_MAX] for at in range(0, len(chosen), CLAIMS_TOLD_MAX)]

    def digest(self, own: Claim) -> bytes:
        """Four bytes for each part of the table; equal for equal claims, whoever found them out.

        Whoever changes a row's claim, or the own one, says so by `changed`.
        """
        for bucket in range(TABLE_BUCKET_COUNT):
            if bucket not in self._digests:
                claims = self._part(own, bucket)
                lines = (f"{claim.node} {claim.incarnation} {int(claim.condition)}\n" for claim in claims)
                self._digests[bucket] = hashlib.sha256("".join(lines).encode()).digest()[:4]
        return b"".join(self._digests[bucket] for bucket in range(TABLE_BUCKET_COUNT))

    def _part(self, own: Claim, bucket: int) -> list[Claim]:
        """All claims in a part of the table, own included, by node id."""
        known = [claim for row in self._parts[bucket].values() if (claim := row.claim())]
        if _bucket(own.node) == bucket:
            known.append(own)
        return sorted(known, key=lambda each: each.node)


def differing(ours: bytes, theirs: bytes) -> list[int]:
    """Which parts of two digests differ."""
    return [
        at for at in range(TABLE_BUCKET_COUNT) if ours[4 * at : 4 * at + 4] != theirs[4 * at : 4 * at + 4]
    ]


def _bucket(node: str) -> int:
    return int(node[0], 16)
