"""Programs that are signed in for a person: families of access and refresh tokens. Rows of this node only.

A family begins with a sign-in. Its access tokens are in no table, but what ends them is: the family's own end, or a token's id
among those that were revoked one by one. Of its refresh tokens one is fresh, the others are used; a used one that comes again
was copied by somebody, and ends the family (RFC 9700 §4.14.2). There is no grace for it: within a grace a thief goes unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from appliance.core.limits import (
    REFRESH_TOKEN_KEPT_COUNT_MAX,
    REVOKED_TOKEN_PER_FAMILY_COUNT_MAX,
    TOKEN_FAMILY_COUNT_MAX,
    TOKEN_FAMILY_PER_USER_COUNT_MAX,
)
from storage.catalog.database import CatalogDatabase, Value
from storage.catalog.rows import TokenFamily

RefreshOutcome = Literal["rotated", "unknown", "ended", "reused"]


@dataclass(frozen=True, slots=True)
class Refresh:
    """What became of a refresh token; the family is None where the token is unknown."""

    outcome: RefreshOutcome
    family: TokenFamily | None = None


class TokenFamilyTable(CatalogDatabase):
    """Methods of the catalog about families of tokens."""

    def open_family(
        self,
        family_id: str,
        *,
        user_id: str,
        refresh_hash: bytes,
        expires_at_ms: int,
        address: str,
        agent: str,
    ) -> TokenFamily:
        """Remember a program that signed in; those unused for longest end when there are too many.

        Args:
            refresh_hash: Keyed hash of its first refresh token, 32 bytes.
            expires_at_ms: The end however much it is used, wall time.
        """
        now_ms = self._clock.now_ms()
        with self.transaction():
            self._remove_families("expires_at_ms <= ?", now_ms)
            for limit, user in (
                (TOKEN_FAMILY_COUNT_MAX, None),
                (TOKEN_FAMILY_PER_USER_COUNT_MAX, user_id),
            ):
                self._remove_families(
                    "family_id IN (SELECT family_id FROM token_families WHERE user_id = coalesce(?, user_id) "
                    "ORDER BY revoked_at_ms IS NOT NULL, last_used_at_ms DESC LIMIT -1 OFFSET ?)",
                    user,
                    limit - 1,
                )
            self.execute(
                "INSERT INTO token_families (family_id, user_id, created_at_ms, last_used_at_ms, expires_at_ms, address, "
                "agent) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (family_id, user_id, now_ms, now_ms, expires_at_ms, address[:64], agent[:200]),
            )
            self._add_refresh_token(refresh_hash, family_id, now_ms)
            family = self.find_family(family_id)
            assert family
            return family

    def find_family(self, family_id: str) -> TokenFamily | None:
        """The family whether it stands or ended, or None."""
        found = self.row("SELECT * FROM token_families WHERE family_id = ?", (family_id,))
        if not found:
            return None
        revoked = self.rows("SELECT token_id FROM revoked_access_tokens WHERE family_id = ?", (family_id,))
        return _family(found, frozenset(row[0] for row in revoked))

    def list_families(self, user_id: str | None = None) -> list[TokenFamily]:
        """Those of a user, or of everybody, that still stand, the last used first."""
        return [
            _family(found)
            for found in self.rows(
                "SELECT * FROM token_families WHERE user_id = coalesce(?, user_id) AND revoked_at_ms IS NULL "
                "AND expires_at_ms > ? ORDER BY last_used_at_ms DESC",
                (user_id, self._clock.now_ms()),
            )
        ]

    def refresh(self, token_hash: bytes, *, new_hash: bytes) -> Refresh:
        """Use a refresh token: a new one takes its place. One that was used before ends its family.

        Whether its user may still sign in is the caller's to ask.

        Args:
            token_hash, new_hash: Keyed hashes of the token that was shown and of the one to come, 32 bytes each.
        """
        now_ms = self._clock.now_ms()
        with self.transaction():
            found = self.row("SELECT * FROM refresh_tokens WHERE token_hash = ?", (token_hash.hex(),))
            family = self.find_family(found["family_id"]) if found else None
            if found is None or family is None:
                return Refresh("unknown")
            if family.revoked_at_ms is not None or now_ms >= family.expires_at_ms:
                return Refresh("ended", family)
            if found["used_at_ms"] is not None:
                self.end_family(family.family_id, because="refresh_token_reused")
                return Refresh("reused", family)
            self.execute(
                "UPDATE refresh_tokens SET used_at_ms = ? WHERE token_hash = ?", (now_ms, token_hash.hex())
            )
            self._add_refresh_token(new_hash, family.family_id, now_ms)
            self.execute(
                "DELETE FROM refresh_tokens WHERE family_id = ? AND used_at_ms IS NOT NULL AND token_hash IN (SELECT "
                "token_hash FROM refresh_tokens WHERE family_id = ? AND used_at_ms IS NOT NULL ORDER BY used_at_ms DESC "
                "LIMIT -1 OFFSET ?)",
                (family.family_id, family.family_id, REFRESH_TOKEN_KEPT_COUNT_MAX),
            )
            self.execute(
                "UPDATE token_families SET last_used_at_ms = ? WHERE family_id = ?",
                (now_ms, family.family_id),
            )
            self.touched("token_families", family.family_id)
            return Refresh("rotated", family)

    def family_of_refresh_token(self, token_hash: bytes) -> TokenFamily | None:
        """The family of a refresh token, fresh or used; None for no such token."""
        found = self.row("SELECT family_id FROM refresh_tokens WHERE token_hash = ?", (token_hash.hex(),))
        return self.find_family(found[0]) if found else None

    def end_family(self, family_id: str, *, because: str) -> bool:
        """End a family's tokens at once.

        Args:
            because: A word for lists and the audit, such as signed_out.
        Returns:
            Whether it stood until now.
        """
        with self.transaction():
            return self._end_families("family_id = ?", family_id, because=because) > 0

    def end_families(self, user_id: str | None, *, because: str, keep: str = "") -> int:
        """End all families of a user (of everybody for None) but one; returns how many."""
        with self.transaction():
            return self._end_families(
                "user_id = coalesce(?, user_id) AND family_id != ?", user_id, keep, because=because
            )

    def revoke_access_token(self, token_id: str, *, family_id: str, expires_at_ms: int) -> bool:
        """End one access token. What says so is kept as long as its family, not only until the token expires: a clock that was
        ahead for a while would make it valid again.

        Returns:
            Whether it was good until now: False too where its family ended.
        """
        with self.transaction():
            family = self.find_family(family_id)
            if family is None or family.revoked_at_ms is not None:
                return False
            if len(family.revoked_tokens) >= REVOKED_TOKEN_PER_FAMILY_COUNT_MAX:
                return self.end_family(family_id, because="too_many_revoked")
            added = self.execute(
                "INSERT OR IGNORE INTO revoked_access_tokens (token_id, family_id, expires_at_ms) VALUES (?, ?, ?)",
                (token_id, family_id, expires_at_ms),
            )
            self.touched("token_families", family_id)
            return added > 0

    def _add_refresh_token(self, token_hash: bytes, family_id: str, now_ms: int) -> None:
        assert len(token_hash) == 32
        self.execute(
            "INSERT INTO refresh_tokens (token_hash, family_id, created_at_ms) VALUES (?, ?, ?)",
            (token_hash.hex(), family_id, now_ms),
        )

    def _end_families(self, where: str, *values: Value, because: str) -> int:
        """Args: where: SQL of ours, never of a caller's making."""
        where = f"revoked_at_ms IS NULL AND {where}"
        ended = self.rows(f"SELECT family_id FROM token_families WHERE {where}", values)  # noqa: S608
        self.execute(
            f"UPDATE token_families SET revoked_at_ms = ?, revoked_because = ? WHERE {where}",  # noqa: S608
            (self._clock.now_ms(), because, *values),
        )
        for row in ended:
            self.touched("token_families", row[0])
        return len(ended)

    def _remove_families(self, where: str, *values: Value) -> None:
        """Args: where: SQL of ours, never of a caller's making."""
        for row in self.rows(f"SELECT family_id FROM token_families WHERE {where}", values):  # noqa: S608
            self.execute("DELETE FROM refresh_tokens WHERE family_id = ?", (row[0],))
            self.execute("DELETE FROM revoked_access_tokens WHERE family_id = ?", (row[0],))
            self.execute("DELETE FROM token_families WHERE family_id = ?", (row[0],))
            self.touched("token_families", row[0])


def _family(row: Any, revoked_tokens: frozenset[str] = frozenset()) -> TokenFamily:
    return TokenFamily(
        family_id=row["family_id"],
        user_id=row["user_id"],
        created_at_ms=row["created_at_ms"],
        last_used_at_ms=row["last_used_at_ms"],
        expires_at_ms=row["expires_at_ms"],
        address=row["address"],
        agent=row["agent"],
        revoked_at_ms=row["revoked_at_ms"],
        revoked_because=row["revoked_because"],
        revoked_tokens=revoked_tokens,
    )
