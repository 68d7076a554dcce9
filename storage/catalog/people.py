"""Users: who may sign in, as what, and for which groups of devices.

Two rules hold whoever asks: an enabled admin of the whole site stays (`last_admin`), and whatever changes what somebody may or
how they prove who they are moves `credentials_changed_at_ms` on, which ends their access tokens at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from appliance.core.errors import Conflict, LimitExceeded, NotAuthorized, NotFound, UsageError
from appliance.core.limits import (
    SCOPE_GROUP_COUNT_MAX,
    USER_COUNT_MAX,
    USER_DISPLAY_NAME_LENGTH_MAX,
    USER_NAME_LENGTH_MAX,
)
from appliance.management.permissions import Role, Scope, scope_from_json, scope_to_json
from storage.catalog.api_tokens import ApiTokenTable
from storage.catalog.browser_sessions import BrowserSessionTable
from storage.catalog.rows import User
from storage.catalog.sign_ins import SignInTable
from storage.catalog.token_families import TokenFamilyTable

RESERVED_NAMES = frozenset({"local", "homeport", ".", ".."})
"""What the audit calls programs on the box and Homeport itself; and what browsers remove from addresses."""


class PeopleTable(BrowserSessionTable, TokenFamilyTable, ApiTokenTable, SignInTable):
    """Methods of the catalog about users."""

    def add_user(
        self, user_id: str, *, role: Role, password_hash: str, scope: Scope = None, display_name: str = ""
    ) -> User:
        """Create a user.

        Args:
            user_id: 1..64 visible characters without spaces around them and without "/"; compared exactly.
            password_hash: From identity.passwords, never a password.
            scope: Ids of groups that exist; None for the whole site.
        Raises:
            UsageError: a bad name, or `group_unknown`. Conflict: `user_exists`. LimitExceeded: `user_count`.
        """
        assert password_hash.startswith("$argon2id$")
        _check_name(user_id)
        _check_display_name(display_name)
        with self.transaction():
            self._check_scope(scope)
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
                "INSERT INTO users (user_id, role, password_hash, created_at_ms, credentials_changed_at_ms, display_name, "
                "scope, updated_at_ms, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (user_id, role, password_hash, now_ms, now_ms, display_name, scope_to_json(scope), now_ms,
                 self.origin, self.hlc),
            )  # fmt: skip
            return self.get_user(user_id)

    def find_user(self, user_id: str) -> User | None:
        """The user, or None."""
        found = self.row("SELECT * FROM users WHERE user_id = ?", (user_id,))
        return _user(found) if found else None

    def get_user(self, user_id: str) -> User:
        """The user.

        Raises:
            NotFound: `user_unknown`.
        """
        user = self.find_user(user_id)
        if user is None:
            raise NotFound(
                f"There is no user “{user_id[:USER_NAME_LENGTH_MAX]}”.",
                hint="See the People page or `homeport user list`.",
                code="user_unknown",
            )
        return user

    def list_users(self) -> list[User]:
        """All users in the order of their names; at most USER_COUNT_MAX."""
        return [_user(found) for found in self.rows("SELECT * FROM users ORDER BY user_id")]

    def count_users(self) -> int:
        found = self.row("SELECT count(*) FROM users")
        assert found
        return int(found[0])

    def has_admin(self) -> bool:
        """Whether the box has been claimed: there is an admin who may sign in."""
        return self.row("SELECT 1 FROM users WHERE role = 'admin' AND NOT disabled LIMIT 1") is not None

    def set_display_name(self, user_id: str, display_name: str) -> User:
        """Change what people call a user. Raises as get_user; UsageError: `display_name_invalid`."""
        _check_display_name(display_name)
        with self.transaction():
            self.get_user(user_id)
            self._update(user_id, "display_name = ?", display_name)
            return self.get_user(user_id)

    def set_role(self, user_id: str, role: Role, scope: Scope) -> User:
        """Change what a user may. It holds for their next request: sessions go on as what they may now, access tokens must be
        refreshed, API tokens never exceed it.

        Args:
            scope: Ids of groups that exist; None for the whole site.
        Raises:
            NotFound: `user_unknown`. UsageError: `group_unknown`. Conflict: `last_admin`.
        """
        with self.transaction(), self._keeping_an_admin():
            user = self.get_user(user_id)
            if (role, scope) != (user.role, user.scope):
                self._check_scope(scope)
                self._update(user_id, "role = ?, scope = ?", role, scope_to_json(scope))
                self._move_credentials_on(user)
            return self.get_user(user_id)

    def disable_user(self, user_id: str) -> User:
        """Keep a user from signing in and end all that they are signed in with. API tokens rest until they are enabled again.

        Raises:
            NotFound: `user_unknown`. Conflict: `last_admin`.
        """
        with self.transaction(), self._keeping_an_admin():
            user = self.get_user(user_id)
            if not user.disabled:
                self._update(user_id, "disabled = 1")
                self._move_credentials_on(user)
                self.end_sign_ins(user_id, because="user_disabled")
            return self.get_user(user_id)

    def enable_user(self, user_id: str) -> User:
        """Let a user sign in again. Raises as get_user."""
        with self.transaction():
            user = self.get_user(user_id)
            if user.disabled:
                self._update(user_id, "disabled = 0")
                self._move_credentials_on(user)
            return self.get_user(user_id)

    def remove_user(self, user_id: str) -> None:
        """Remove a user, all that they are signed in with and their API tokens; the audit goes on naming them.

        Raises:
            NotFound: `user_unknown`. Conflict: `last_admin`.
        """
        with self.transaction(), self._keeping_an_admin():
            self.get_user(user_id)
            self.end_sign_ins(user_id, because="user_removed")
            self.revoke_api_tokens(user_id)
            self.forget_sign_ins(user_id)
            self.execute("DELETE FROM users WHERE user_id = ?", (user_id,))

    def set_password(self, user_id: str, password_hash: str, *, keep_session: bytes = b"") -> None:
        """Change a password hash and end all that the user is signed in with.

        Args:
            keep_session: The hash of a browser's session that goes on: the one in which they change it themselves.
        Raises:
            NotFound: `user_unknown`.
        """
        assert password_hash.startswith("$argon2id$")
        with self.transaction():
            user = self.get_user(user_id)
            self._update(user_id, "password_hash = ?", password_hash)
            self._move_credentials_on(user)
            self.end_sign_ins(user_id, because="password_changed", keep_session=keep_session)
            self.clear_failures(f"user:{user_id}")

    def set_totp(self, user_id: str, sealed: str | None, *, keep_session: bytes = b"") -> None:
        """Set or take away the second factor and end all that the user is signed in with.

        Args:
            sealed: The sealed secret as hexadecimal digits; None for no second factor.
            keep_session: As in set_password.
        Raises:
            NotFound: `user_unknown`.
        """
        with self.transaction():
            user = self.get_user(user_id)
            self._update(user_id, "totp_sealed = ?", sealed)
            self._move_credentials_on(user)
            self.end_sign_ins(user_id, because="second_factor_changed", keep_session=keep_session)

    def check_unchanged(self, user: User) -> None:
        """Refuse what rests on a proof that is out of date. Within the transaction of what it is for: checking a password takes a
        tenth of a second, and somebody may have changed it, or disabled the account, meanwhile.

        Args:
            user: As it was when the proof was checked.
        Raises:
            NotAuthorized: `credentials_changed`.
        """
        now = self.find_user(user.user_id)
        if now is None or now.credentials_changed_at_ms != user.credentials_changed_at_ms:
            raise NotAuthorized(
                "The account changed at this very moment.",
                hint="Sign in again.",
                code="credentials_changed",
            )

    def end_sign_ins(
        self, user_id: str | None, *, because: str, keep_session: bytes = b"", keep_family: str = ""
    ) -> int:
        """End all browser sessions and token families of a user, of everybody for None; returns how many."""
        with self.transaction():
            sessions = self.close_sessions(user_id, keep=keep_session)
            return sessions + self.end_families(user_id, because=because, keep=keep_family)

    def _update(self, user_id: str, columns: str, *values: str | int | None) -> None:
        """Args: columns: SQL of ours, never of a caller's making."""
        self.execute(
            f"UPDATE users SET {columns}, updated_at_ms = ?, origin = ?, hlc = ? WHERE user_id = ?",  # noqa: S608
            (*values, self._clock.now_ms(), self.origin, self.hlc, user_id),
        )

    def _move_credentials_on(self, user: User) -> None:
        """Always forward, also when the machine's clock went back: a token made before must not look like one made after."""
        changed_at_ms = max(self._clock.now_ms(), user.credentials_changed_at_ms + 1)
        self._update(user.user_id, "credentials_changed_at_ms = ?", changed_at_ms)

    @contextmanager
    def _keeping_an_admin(self) -> Iterator[None]:
        """Refuse what leaves the site without somebody who may do everything. Within a transaction, which then ends in nothing."""
        had_one = self._has_site_admin()
        yield
        if had_one and not self._has_site_admin():
            raise Conflict(
                "This is the last admin of the whole site.",
                hint="Make somebody else an admin first.",
                code="last_admin",
            )

    def _has_site_admin(self) -> bool:
        found = self.row(
            "SELECT 1 FROM users WHERE role = 'admin' AND NOT disabled AND scope = 'null' LIMIT 1"
        )
        return found is not None

    def _check_scope(self, scope: Scope) -> None:
        if scope is None:
            return
        if len(scope) > SCOPE_GROUP_COUNT_MAX:
            raise LimitExceeded(
                f"A scope has at most {SCOPE_GROUP_COUNT_MAX} groups.",
                hint="Put those devices into one group, or give the whole site.",
                code="scope_group_count",
            )
        for group_id in sorted(scope):
            if self.row("SELECT 1 FROM groups WHERE group_id = ?", (group_id,)) is None:
                raise UsageError(
                    f"There is no group “{group_id[:100]}”.",
                    hint="Make the group first, or choose one that is there.",
                    code="group_unknown",
                )


def _check_name(user_id: str) -> None:
    if (
        not 1 <= len(user_id) <= USER_NAME_LENGTH_MAX
        or user_id != user_id.strip()
        or not user_id.isprintable()
        or "/" in user_id
        or user_id in RESERVED_NAMES
    ):
        raise UsageError(
            f"A user name has 1 to {USER_NAME_LENGTH_MAX} visible characters, no “/”, and isn't one of "
            f"{', '.join(sorted(RESERVED_NAMES))}.",
            hint="Choose another name, for example anna.",
            code="user_name_invalid",
        )


def _check_display_name(display_name: str) -> None:
    if len(display_name) > USER_DISPLAY_NAME_LENGTH_MAX or not display_name.isprintable():
        raise UsageError(
            f"A name to show has at most {USER_DISPLAY_NAME_LENGTH_MAX} visible characters.",
            hint="Shorten it.",
            code="display_name_invalid",
        )


def _user(row: Any) -> User:
    return User(
        user_id=row["user_id"],
        role=row["role"],
        password_hash=row["password_hash"],
        disabled=bool(row["disabled"]),
        created_at_ms=row["created_at_ms"],
        credentials_changed_at_ms=row["credentials_changed_at_ms"],
        display_name=row["display_name"],
        scope=scope_from_json(row["scope"]),
        totp_sealed=row["totp_sealed"],
    )
