"""Tokens of programs: made by a person, never more than that person may, with an end.

The row says what the token was given; what it may now is the lower of that and of what its user may now, which whoever looks it
up works out. When they were last used is of this node only.
"""

from __future__ import annotations

from typing import Any

from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits import (
    API_TOKEN_KEPT_COUNT_MAX,
    API_TOKEN_LIFETIME_MS_MAX,
    API_TOKEN_NAME_LENGTH_MAX,
    API_TOKEN_PER_USER_COUNT_MAX,
)
from appliance.management.permissions import Role, Scope, covers, narrower, scope_from_json, scope_to_json
from storage.catalog.database import CatalogDatabase
from storage.catalog.rows import ApiToken, User

_SELECT = (
    "SELECT t.*, u.last_used_at_ms, coalesce(u.address, '') AS last_address FROM api_tokens t "
    "LEFT JOIN api_token_uses u USING (token_id)"
)


class ApiTokenTable(CatalogDatabase):
    """Methods of the catalog about tokens of programs."""

    def add_api_token(
        self,
        token_id: str,
        *,
        token_hash: bytes,
        user: User,
        name: str,
        role: Role,
        scope: Scope,
        expires_at_ms: int,
    ) -> ApiToken:
        """Keep a new token.

        Args:
            token_id: Its public name, random.
            token_hash: Keyed hash of it, 32 bytes.
            user: Whose it is.
            name: What it is for, in words: 1..64 visible characters, one that no valid token of that user has.
        Raises:
            UsageError: the name or the end can't be used, or role or scope are more than the user's.
            Conflict: `api_token_exists`. LimitExceeded: `api_token_count`.
        """
        assert len(token_hash) == 32
        now_ms = self._clock.now_ms()
        _check(user, name, role, scope, expires_at_ms - now_ms)
        with self.transaction():
            valid = [t for t in self.list_api_tokens(user.user_id) if is_valid(t, now_ms)]
            if any(token.name == name for token in valid):
                raise Conflict(
                    f"{user.user_id} has a token “{name}” already.",
                    hint="Choose another name, or revoke that one first.",
                    code="api_token_exists",
                )
            if len(valid) >= API_TOKEN_PER_USER_COUNT_MAX:
                raise LimitExceeded(
                    f"A user has at most {API_TOKEN_PER_USER_COUNT_MAX} API tokens.",
                    hint="Revoke one that isn't used any more.",
                    code="api_token_count",
                )
            self._forget_ended(user.user_id, now_ms)
            self.execute(
                "INSERT INTO api_tokens (token_id, token_hash, user_id, name, role, scope, created_at_ms, expires_at_ms, "
                "origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (token_id, token_hash.hex(), user.user_id, name, role, scope_to_json(scope), now_ms, expires_at_ms,
                 self.origin, self.hlc),
            )  # fmt: skip
            return self.get_api_token(token_id)

    def get_api_token(self, token_id: str) -> ApiToken:
        """The token, valid or not.

        Raises:
            NotFound: `api_token_unknown`.
        """
        found = self.row(f"{_SELECT} WHERE t.token_id = ?", (token_id,))
        if not found:
            raise NotFound(
                "There is no such API token.",
                hint="See GET /api/v1/api-tokens or `homeport token list`.",
                code="api_token_unknown",
            )
        return _token(found)

    def find_api_token(self, token_hash: bytes) -> ApiToken | None:
        """The token with that hash, valid or not, or None."""
        found = self.row(f"{_SELECT} WHERE t.token_hash = ?", (token_hash.hex(),))
        return _token(found) if found else None

    def list_api_tokens(self, user_id: str | None = None) -> list[ApiToken]:
        """Those of a user, or of everybody, ended ones too, the newest first."""
        found = self.rows(
            f"{_SELECT} WHERE t.user_id = coalesce(?, t.user_id) ORDER BY t.created_at_ms DESC, t.token_id",
            (user_id,),
        )
        return [_token(row) for row in found]

    def revoke_api_token(self, token_id: str) -> ApiToken:
        """End a token at once; one that ended already stays as it is. Raises as get_api_token."""
        with self.transaction():
            self.get_api_token(token_id)
            self._revoke("token_id = ?", token_id)
            return self.get_api_token(token_id)

    def revoke_api_tokens(self, user_id: str | None) -> int:
        """End all tokens of a user, of everybody for None; returns how many."""
        with self.transaction():
            return self._revoke("user_id = coalesce(?, user_id)", user_id)

    def touch_api_token(self, token_id: str, *, address: str) -> None:
        """Note that a token is in use, and from where."""
        with self.transaction():
            self.execute(
                "INSERT INTO api_token_uses (token_id, last_used_at_ms, address) VALUES (?, ?, ?) "
                "ON CONFLICT (token_id) DO UPDATE SET last_used_at_ms = excluded.last_used_at_ms, address = excluded.address",
                (token_id, self._clock.now_ms(), address[:64]),
            )
            self.touched("api_tokens", token_id)

    def _revoke(self, where: str, value: str | None) -> int:
        """Args: where: SQL of ours, never of a caller's making."""
        return self.execute(
            f"UPDATE api_tokens SET revoked_at_ms = ?, origin = ?, hlc = ? WHERE revoked_at_ms IS NULL AND {where}",  # noqa: S608
            (self._clock.now_ms(), self.origin, self.hlc, value),
        )

    def _forget_ended(self, user_id: str, now_ms: int) -> None:
        ended = [t for t in self.list_api_tokens(user_id) if not is_valid(t, now_ms)]
        for token in ended[API_TOKEN_KEPT_COUNT_MAX - 1 :]:
            self.execute("DELETE FROM api_tokens WHERE token_id = ?", (token.token_id,))
            self.execute("DELETE FROM api_token_uses WHERE token_id = ?", (token.token_id,))


def is_valid(token: ApiToken, now_ms: int) -> bool:
    """Whether a token is neither revoked nor past its end."""
    return token.revoked_at_ms is None and now_ms < token.expires_at_ms


def _check(user: User, name: str, role: Role, scope: Scope, lifetime_ms: int) -> None:
    if not 1 <= len(name) <= API_TOKEN_NAME_LENGTH_MAX or name != name.strip() or not name.isprintable():
        raise UsageError(
            f"A token's name has 1 to {API_TOKEN_NAME_LENGTH_MAX} visible characters.",
            hint="Say what it is for, for example grafana.",
            code="api_token_name_invalid",
        )
    if not 0 < lifetime_ms <= API_TOKEN_LIFETIME_MS_MAX:
        raise UsageError(
            f"A token ends in the future, within {API_TOKEN_LIFETIME_MS_MAX // 86_400_000} days.",
            hint="Choose an end, and make a new token before it.",
            code="api_token_end_invalid",
        )
    if not covers(user.role, role):
        raise UsageError(
            f"A token of {user.user_id} can't be more than {user.role}.",
            hint="Choose that role or a lower one.",
            code="api_token_role_too_high",
        )
    if narrower(scope, user.scope) != scope:
        raise UsageError(
            f"{user.user_id} is limited to some groups, and so are their tokens.",
            hint="Choose among the user's own groups.",
            code="api_token_scope_too_wide",
        )


def _token(row: Any) -> ApiToken:
    return ApiToken(
        token_id=row["token_id"],
        token_hash=row["token_hash"],
        user_id=row["user_id"],
        name=row["name"],
        role=row["role"],
        scope=scope_from_json(row["scope"]),
        created_at_ms=row["created_at_ms"],
        expires_at_ms=row["expires_at_ms"],
        revoked_at_ms=row["revoked_at_ms"],
        last_used_at_ms=row["last_used_at_ms"],
        last_address=row["last_address"],
    )
