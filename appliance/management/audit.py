"""Who did what, and how an entry of the audit is made and hashed. Pure.

An entry says who (actor, its kind, its address), what (action), to what (object), with what result, the values before and
after, and the trace id of the request. Entries of a node form a chain: each hash covers the entry and the hash before
it, so that none can be changed, taken out or put in between without every later hash being another.

Secrets are not in it: of a column that holds one, an entry says that it changed and nothing else.

Must not know: tables, SQL, requests. storage/catalog/auditing.py writes entries, in the transaction of what they tell of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

ActorKind = Literal["user", "api_token", "local", "device", "system", "nobody"]
Outcome = Literal["done", "refused"]

FIRST_PREVIOUS_HASH: Final = "0" * 64
"""What the first entry of a chain follows."""
HIDDEN: Final = "(hidden)"
"""Stands for a secret's value."""
SECRET_COLUMNS: Final = frozenset({"password_hash", "token_hash", "key_hash", "totp_sealed", "secret_sealed"})
"""Hashes and sealed secrets of any table."""
BOOKKEEPING_COLUMNS: Final = frozenset({"origin", "hlc", "updated_at_ms", "desired_at"})
"""Columns that change with every other one; the times within a twin too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something.

    Attributes:
        name: User or device id; "" for somebody unknown.
        kind: `local` is a program on the box itself, `system` is Homeport.
        address: The peer's IP address, "" where there is none.
    """

    name: str
    kind: ActorKind
    address: str = ""


SYSTEM: Final = Actor(name="homeport", kind="system")
LOCAL: Final = Actor(name="local", kind="local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something being done, and by whom.

    Attributes:
        action: `noun.verb`, such as device.adopt; stable, since people filter by it.
    """

    action: str
    actor: Actor = SYSTEM


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry, as it is stored; `before` and `after` are JSON objects as text. Times are UTC ms."""

    seq: int
    origin: str
    at_ms: int
    actor: str
    actor_kind: ActorKind
    address: str
    action: str
    object_kind: str
    object_id: str
    outcome: Outcome
    before: str | None
    after: str | None
    detail: str
    trace_id: str
    previous_hash: str
    hash: str = ""

    @property
    def entry_id(self) -> str:
        """Unique among all nodes of a site."""
        return f"{self.origin}-{self.seq}"


def hash_of(entry: AuditEntry) -> str:
    """The entry's hash: SHA-256, hexadecimal, of a JSON array of its fields (as in AuditEntry, without `hash`) in their order.

    The array is written without spaces and in ASCII, so that another program can check it.
    """
    fields = [
        entry.seq,
        entry.origin,
        entry.at_ms,
        entry.actor,
        entry.actor_kind,
        entry.address,
        entry.action,
        entry.object_kind,
        entry.object_id,
        entry.outcome,
        entry.before,
        entry.after,
        entry.detail,
        entry.trace_id,
        entry.previous_hash,
    ]
    return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's values as an entry may hold them: without bookkeeping, secrets replaced."""
    return {
        column: HIDDEN if column in SECRET_COLUMNS and value is not None else value
        for column, value in row.items()
        if column not in BOOKKEEPING_COLUMNS
    }
