"""Users, signed-in browsers and settings."""

from __future__ import annotations

import json
from typing import Any

from appliance.core.errors import Conflict, LimitExceeded, UsageError
from appliance.core.limits import (
    BROWSER_SESSION_COUNT_MAX,
    SETTING_VALUE_BYTES_MAX,
    USER_COUNT_MAX,
    USER_NAME_LENGTH_MAX,
)
from storage.catalog.database import CatalogDatabase
from storage.catalog.rows import BrowserSession, Role, User


class PeopleTable(CatalogDatabase):
    """Methods of the catalog about people and settings."""

    def add_user(self, user_id: str, *, role: Role, password_hash: str) -> User:
        """Create a user.

        Args:
            user_id: 1..64 visible characters without spaces around them; compared exactly.
            password_hash: From identity.passwords, never a password.
        Raises:
            UsageError: a bad name. Conflict: `user_exists`. LimitExceeded: `user_count`.
        """
        assert password_hash.startswith("$argon2id$")
        if (
            not 1 <= len(user_id) <= USER_NAME_LENGTH_MAX
            or user_id != user_id.strip()
            or not user_id.isprintable()
        ):
            raise UsageError(
                f"A user name has 1 to {USER_NAME_LENGTH_MAX} visible characters.",
                hint="Choose another name, for example admin.",
                code="user_name_invalid",
            )
        with self.transaction():
            if self.find_user(user_id):
                raise Conflict(
                    f"There is a user “{user_id}” already.", hint="Choose another name.", code="user_exists"
                )
            if self.count_users() >= USER_COUNT_MAX:
                raise LimitExceeded(
                    f"A site has at most {USER_COUNT_MAX} users.", hint="Remove one first.", code="user_count"
                )
            now_ms = self._clock.now_ms()
            self.execute(
                "INSERT INTO users (user_id, role, password_hash, created_at_ms, credentials_changed_at_ms, origin, hlc)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (user_id, role, password_hash, now_ms, now_ms, self.origin, self.hlc),
            )
            user = self.find_user(user_id)
            assert user
            return user

    def find_user(self, user_id: str) -> User | None:
        """The user, or None."""
        found = self.row("SELECT * FROM users WHERE user_id = ?", (user_id,))
        if not found:
            return None
        return User(
            user_id=found["user_id"],
            role=found["role"],
            password_hash=found["password_hash"],
            disabled=bool(found["disabled"]),
            created_at_ms=found["created_at_ms"],
            credentials_changed_at_ms=found["credentials_changed_at_ms"],
        )

    def count_users(self) -> int:
        found = self.row("SELECT count(*) FROM users")
        assert found
        return int(found[0])

    def has_admin(self) -> bool:
        """Whether the box has been claimed: there is an admin who may sign in."""
        return self.row("SELECT 1 FROM users WHERE role = 'admin' AND NOT disabled LIMIT 1") is not None

    def set_password(self, user_id: str, password_hash: str) -> None:
        """Change a password hash and end all of the user's browser sessions."""
        assert password_hash.startswith("$argon2id$")
        with self.transaction():
            self.execute(
                "UPDATE users SET password_hash = ?, credentials_changed_at_ms = ?, origin = ?, hlc = ? WHERE user_id = ?",
                (password_hash, self._clock.now_ms(), self.origin, self.hlc, user_id),
            )
            self.execute("DELETE FROM browser_sessions WHERE user_id = ?", (user_id,))

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
            self.execute("DELETE FROM browser_sessions WHERE expires_at_ms <= ?", (now_ms,))
            self.execute(
                "DELETE FROM browser_sessions WHERE session_hash IN (SELECT session_hash FROM browser_sessions "
                "ORDER BY last_used_at_ms DESC LIMIT -1 OFFSET ?)",
                (BROWSER_SESSION_COUNT_MAX - 1,),
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

    def touch_session(self, session_hash: bytes) -> None:
        """Note that a session is in use."""
        with self.transaction():
            self.execute(
                "UPDATE browser_sessions SET last_used_at_ms = ? WHERE session_hash = ?",
                (self._clock.now_ms(), session_hash.hex()),
            )

    def close_session(self, session_hash: bytes) -> None:
        """Forget a session; no matter if it is gone already."""
        with self.transaction():
            self.execute("DELETE FROM browser_sessions WHERE session_hash = ?", (session_hash.hex(),))

    def set_setting(self, key: str, value: object) -> None:
        """Keep a value that JSON can hold. No secrets: settings are replicated in clear.

        Raises:
            LimitExceeded: larger than SETTING_VALUE_BYTES_MAX.
        """
        text = json.dumps(value, ensure_ascii=False)
        if len(text.encode()) > SETTING_VALUE_BYTES_MAX:
            raise LimitExceeded(
                f"The setting “{key}” is larger than {SETTING_VALUE_BYTES_MAX} bytes.",
                hint="Shorten it.",
                code="setting_size",
            )
        with self.transaction():
            self.execute(
                "INSERT INTO settings (key, value, origin, hlc) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
                "SET value = excluded.value, origin = excluded.origin, hlc = excluded.hlc",
                (key, text, self.origin, self.hlc),
            )

    def get_setting(self, key: str, default: object = None) -> Any:
        """A setting's value, or the default."""
        found = self.row("SELECT value FROM settings WHERE key = ?", (key,))
        return json.loads(found[0]) if found else default


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
