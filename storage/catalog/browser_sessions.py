"""Signed-in browsers. Rows of this node only; caches hear of each one that ends."""

from __future__ import annotations

from typing import Any

from appliance.core.limits import BROWSER_SESSION_COUNT_MAX
from storage.catalog.database import CatalogDatabase, Value
from storage.catalog.rows import BrowserSession


class BrowserSessionTable(CatalogDatabase):
    """Methods of the catalog about browsers' sessions."""

    def open_session(
        self, session_hash: bytes, *, user_id: str, expires_at_ms: int, address: str, agent: str
    ) -> BrowserSession:
        """Remember a signed-in browser; the one unused for longest goes when there are too many.

        Args:
            session_hash: Keyed hash of the cookie, 32 bytes.
            expires_at_ms: The end however much it is used, wall time.
        """
        assert len(session_hash) == 32
        now_ms = self._clock.now_ms()
        with self.transaction():
            self._end_sessions("expires_at_ms <= ?", now_ms)
            self._end_sessions(
                "session_hash IN (SELECT session_hash FROM browser_sessions ORDER BY last_used_at_ms DESC "
                "LIMIT -1 OFFSET ?)",
                BROWSER_SESSION_COUNT_MAX - 1,
            )
            self.execute(
                "INSERT INTO browser_sessions (session_hash, user_id, created_at_ms, last_used_at_ms, expires_at_ms, "
                "address, agent) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (session_hash.hex(), user_id, now_ms, now_ms, expires_at_ms, address[:64], agent[:200]),
            )
            session = self.find_session(session_hash)
            assert session
            return session

    def find_session(self, session_hash: bytes) -> BrowserSession | None:
        """The session whatever its age, or None; it ends with its user."""
        found = self.row(
            "SELECT s.* FROM browser_sessions s JOIN users u USING (user_id) WHERE session_hash = ? AND NOT u.disabled",
            (session_hash.hex(),),
        )
        return _session(found) if found else None

    def list_sessions(self, user_id: str | None = None) -> list[BrowserSession]:
        """Those of a user, or of everybody, the last used first, at most BROWSER_SESSION_COUNT_MAX."""
        return [
            _session(found)
            for found in self.rows(
                "SELECT * FROM browser_sessions WHERE user_id = coalesce(?, user_id) AND expires_at_ms > ? "
                "ORDER BY last_used_at_ms DESC",
                (user_id, self._clock.now_ms()),
            )
        ]

    def touch_session(self, session_hash: bytes) -> None:
        """Note that a session is in use."""
        with self.transaction():
            self.execute(
                "UPDATE browser_sessions SET last_used_at_ms = ? WHERE session_hash = ?",
                (self._clock.now_ms(), session_hash.hex()),
            )
            self.touched("browser_sessions", session_hash.hex())

    def close_session(self, session_hash: bytes) -> None:
        """Forget a session; no matter if it is gone already."""
        with self.transaction():
            self.execute("DELETE FROM browser_sessions WHERE session_hash = ?", (session_hash.hex(),))
            self.touched("browser_sessions", session_hash.hex())

    def close_sessions(self, user_id: str | None, *, keep: bytes = b"") -> int:
        """End all sessions of a user (of everybody for None) but one.

        Args:
            keep: The hash of the one that stays.
        Returns:
            How many ended.
        """
        with self.transaction():
            return self._end_sessions(
                "user_id = coalesce(?, user_id) AND session_hash != ?", user_id, keep.hex()
            )

    def _end_sessions(self, where: str, *values: Value) -> int:
        """Args: where: SQL of ours, never of a caller's making."""
        ended = self.rows(f"SELECT session_hash FROM browser_sessions WHERE {where}", values)  # noqa: S608
        self.execute(f"DELETE FROM browser_sessions WHERE {where}", values)  # noqa: S608
        for row in ended:
            self.touched("browser_sessions", row[0])
        return len(ended)


def _session(row: Any) -> BrowserSession:
    return BrowserSession(
        session_hash=bytes.fromhex(row["session_hash"]),
        user_id=row["user_id"],
        created_at_ms=row["created_at_ms"],
        last_used_at_ms=row["last_used_at_ms"],
        expires_at_ms=row["expires_at_ms"],
        address=row["address"],
        agent=row["agent"],
    )
