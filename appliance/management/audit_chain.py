"""Whether an audit is whole: every entry of a node's chain, in order, against its hash and the heads that were signed. Pure.

A chain of hashes shows that an entry was changed, taken out or put in, unless somebody who can write the catalog computes
all later hashes anew. Therefore the node signs the newest entry (a head) with its Ed25519 key every minute in which
there is one: who rewrites history without the key has no signature for it. A head that somebody remembers elsewhere (the
end of an export, a line of the log) also shows that the newest entries are gone, whatever else was removed with them.

Must not know: tables, files, keys. Whether a signature is right is asked of the caller.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from appliance.core.errors import UsageError
from appliance.core.limits import AUDIT_UNSIGNED_MS_MAX
from appliance.management.audit import FIRST_PREVIOUS_HASH, AuditEntry, hash_of

HEAD_CONTEXT: Final = "homeport-audit-head/1"
"""Stands first in what is signed, so that a signature made for something else is none of a head."""

FaultCode = Literal[
    "entry_changed",
    "entry_missing",
    "entry_relinked",
    "history_rewritten",
    "newest_missing",
    "signature_wrong",
    "not_signed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """The newest entry of a chain at some time, and a signature of it.

    Attributes:
        key_id: The raw Ed25519 public key, hexadecimal; "" for a head that a person remembers, which has no signature.
    """

    origin: str
    seq: int
    hash: str
    signed_at_ms: int = 0
    key_id: str = ""
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """What the signature is of: a JSON array without spaces, in ASCII, so that another program can check it."""
        fields = [HEAD_CONTEXT, self.origin, self.seq, self.hash, self.signed_at_ms]
        return json.dumps(fields, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first thing that is wrong with a chain.

    Attributes:
        seq: Of the first bad entry, or of the first that is missing.
        at_ms: The entry's own time, None for one that is missing.
    """

    origin: str
    seq: int
    code: FaultCode
    message: str
    at_ms: int | None = None

    @property
    def entry_id(self) -> str:
        return f"{self.origin}-{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What was found of one node's chain.

    Attributes:
        entry_count: That were looked at and are right.
        newest_seq, newest_hash: Of the last of them; 0 and zeros before any.
        signed_seq: Of the newest head with a right signature that fits, 0 without one.
    """

    origin: str
    entry_count: int
    newest_seq: int
    newest_hash: str
    signed_seq: int
    signed_at_ms: int
    fault: Fault | None


@dataclass(slots=True)
class ChainCheck:
    """Checks one chain: `add` its entries in order, then `end`. Stops looking at the first fault.

    Args:
        origin: The node.
        heads: What is known of it from elsewhere: signed ones, and one that a person remembers.
        is_signed: Whether a head's signature is right and of a key that is trusted for this node.
        must_be_signed: Whether entries without any signature after them are a fault once they are old.
    """

    origin: str
    heads: Sequence[SignedHead]
    is_signed: Callable[[SignedHead], bool]
    must_be_signed: bool = True
    _count: int = field(default=0, init=False)
    _hash: str = field(default=FIRST_PREVIOUS_HASH, init=False)
    _fault: Fault | None = field(default=None, init=False)
    _first_unsigned_at_ms: int | None = field(default=None, init=False)
    _signed: SignedHead | None = field(default=None, init=False)
    _waiting: list[SignedHead] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._waiting = sorted(self.heads, key=lambda head: head.seq, reverse=True)

    def add(self, entries: Iterable[AuditEntry]) -> bool:
        """Look at the next entries; False once there is a fault, and no more are needed."""
        for entry in entries:
            if self._fault is None:
                self._look_at(entry)
        return self._fault is None

    def _look_at(self, entry: AuditEntry) -> None:
        expected = self._count + 1
        if entry.seq > expected:
            self._fail(
                expected, "entry_missing", f"Entry {expected} is missing; the next one is {entry.seq}."
            )
        elif entry.seq < expected:
            self._fail(
                entry.seq, "entry_relinked", f"Entry {entry.seq} is there again, or out of order.", entry
            )
        elif hash_of(entry) != entry.hash:
            self._fail(entry.seq, "entry_changed", f"Entry {entry.seq} is not what its hash says.", entry)
        elif entry.previous_hash != self._hash:
            self._fail(
                entry.seq,
                "entry_relinked",
                f"Entry {entry.seq} does not follow the one before it: one of them was put in, replaced or taken out.",
                entry,
            )
        else:
            self._count, self._hash = entry.seq, entry.hash
            if self._first_unsigned_at_ms is None:
                self._first_unsigned_at_ms = entry.at_ms
            self._compare_heads(entry)

    def _compare_heads(self, entry: AuditEntry) -> None:
        while self._waiting and self._waiting[-1].seq <= entry.seq and self._fault is None:
            head = self._waiting.pop()
            if head.key_id and not self.is_signed(head):
                self._fail(
                    head.seq,
                    "signature_wrong",
                    f"The signature of entry {head.seq} as the newest is not of this node's key.",
                    entry,
                )
            elif head.hash != entry.hash:
                self._fail(
                    head.seq,
                    "history_rewritten",
                    f"Entry {head.seq} or one before it was written anew: its hash was {head.hash[:16]}… when it was "
                    f"{'signed' if head.key_id else 'noted'}, and is {entry.hash[:16]}….",
                    entry,
                )
            elif head.key_id:
                self._signed, self._first_unsigned_at_ms = head, None

    def _fail(self, seq: int, code: FaultCode, message: str, entry: AuditEntry | None = None) -> None:
        self._fault = Fault(
            origin=self.origin, seq=seq, code=code, message=message, at_ms=entry.at_ms if entry else None
        )

    def end(self, now_ms: int) -> ChainReport:
        """What was found, after the last entry."""
        if self._fault is None and self._waiting:
            head = self._waiting[0]
            self._fail(
                self._count + 1,
                "newest_missing",
                f"The newest entries are missing: there were {head.seq}, and {self._count} are left.",
            )
        since_ms = self._first_unsigned_at_ms
        if (
            self._fault is None
            and self.must_be_signed
            and since_ms is not None
            and now_ms - since_ms > AUDIT_UNSIGNED_MS_MAX
        ):
            first = self._signed.seq + 1 if self._signed else 1
            self._fail(first, "not_signed", f"Entries from {first} on have no signature, and should by now.")
        return ChainReport(
            origin=self.origin,
            entry_count=self._count,
            newest_seq=self._count,
            newest_hash=self._hash,
            signed_seq=self._signed.seq if self._signed else 0,
            signed_at_ms=self._signed.signed_at_ms if self._signed else 0,
            fault=self._fault,
        )


def remembered_head(text: str, origin: str) -> SignedHead:
    """A head as people note it: `SEQ:HASH`.

    Raises:
        UsageError: `audit_head_invalid`.
    """
    seq, _, digest = text.partition(":")
    digest = digest.lower()
    if (
        not (seq.isascii() and seq.isdecimal() and int(seq[:19]) > 0)
        or len(digest) != 64
        or set(digest) - set("0123456789abcdef")
    ):
        raise UsageError(
            "A head is a number and a hash of 64 digits: SEQ:HASH.",
            hint="`homeport audit verify` prints the newest; so does the end of an export.",
            code="audit_head_invalid",
        )
    return SignedHead(origin=origin, seq=int(seq[:19]), hash=digest)
