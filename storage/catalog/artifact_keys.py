"""Whose signatures count on artifacts: the set of keys, its threshold and version, and what may go unsigned."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from appliance.management.artifact_keys import NOBODY, KeySet, PublicKey, UnsignedPolicy
from storage.catalog.database import CatalogDatabase

_SET: Final = "artifacts.keys"
"""Setting: version and threshold of the set."""
_UNSIGNED: Final = "artifacts.unsigned"
KeyState = Literal["trusted", "retired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactKey:
    """A key that counts, or did once: what it signed can still be told."""

    key_id: str
    name: str
    public: str
    state: KeyState
    is_on_box: bool
    created_at_ms: int
    updated_at_ms: int


class ArtifactKeyTable(CatalogDatabase):
    """Methods of the catalog about keys of artifacts."""

    def artifact_keys(self) -> tuple[ArtifactKey, ...]:
        """All keys, those that count first."""
        found = self.rows("SELECT * FROM artifact_keys ORDER BY state DESC, created_at_ms, key_id")
        return tuple(
            ArtifactKey(
                key_id=row["key_id"],
                name=row["name"],
                public=row["public_key"],
                state=row["state"],
                is_on_box=bool(row["is_on_box"]),
                created_at_ms=row["created_at_ms"],
                updated_at_ms=row["updated_at_ms"],
            )
            for row in found
        )

    def artifact_key_set(self) -> KeySet:
        """The set that is in force."""
        found = self._setting(_SET)
        if found is None:
            return NOBODY
        rows = self.rows(
            "SELECT name, public_key FROM artifact_keys WHERE state = 'trusted' ORDER BY created_at_ms, key_id"
        )
        return KeySet(
            version=found["version"],
            threshold=found["threshold"],
            keys=[PublicKey(name=row["name"], public=row["public_key"]) for row in rows],
        )

    def set_artifact_key_set(self, wanted: KeySet, *, on_box: str) -> None:
        """Put a set in force, which the caller has checked; keys that it doesn't have are retired.

        Args:
            on_box: Id of the key whose secret half is on this box, "" for none.
        """
        with self.transaction():
            now_ms = self._clock.now_ms()
            keys = wanted.by_id()
            for row in self.rows("SELECT key_id FROM artifact_keys WHERE state = 'trusted'"):
                if row["key_id"] not in keys:
                    self.execute(
                        "UPDATE artifact_keys SET state = 'retired', updated_at_ms = ?, origin = ?, hlc = ? WHERE key_id = ?",
                        (now_ms, self.origin, self.hlc, row["key_id"]),
                    )
            for key_id, key in keys.items():
                self.execute(
                    "INSERT INTO artifact_keys (key_id, name, public_key, state, is_on_box, created_at_ms, updated_at_ms,"
                    " origin, hlc) VALUES (?, ?, ?, 'trusted', ?, ?, ?, ?, ?) ON CONFLICT (key_id) DO UPDATE SET"
                    " name = excluded.name, state = 'trusted', is_on_box = excluded.is_on_box,"
                    " updated_at_ms = excluded.updated_at_ms, origin = excluded.origin, hlc = excluded.hlc",
                    (
                        key_id,
                        key.name,
                        key.public,
                        int(key_id == on_box),
                        now_ms,
                        now_ms,
                        self.origin,
                        self.hlc,
                    ),
                )
            self._set(_SET, {"version": wanted.version, "threshold": wanted.threshold})

    def unsigned_policy(self) -> UnsignedPolicy:
        """What may be rolled out without a manifest that is signed here."""
        found: UnsignedPolicy = self._setting(_UNSIGNED) or "refuse"
        return found

    def set_unsigned_policy(self, policy: UnsignedPolicy) -> None:
        """Change it."""
        with self.transaction():
            self._set(_UNSIGNED, policy)

    def _setting(self, key: str) -> Any:
        found = self.row("SELECT value FROM settings WHERE key = ?", (key,))
        return None if found is None else json.loads(found[0])

    def _set(self, key: str, value: object) -> None:
        self.execute(
            "INSERT INTO settings (key, value, origin, hlc) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
            "SET value = excluded.value, origin = excluded.origin, hlc = excluded.hlc",
            (key, json.dumps(value), self.origin, self.hlc),
        )
