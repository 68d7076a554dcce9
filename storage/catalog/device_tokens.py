"""The tokens of devices: at most two that count at a time, kept as keyed hashes."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.core.errors import Conflict, NotAuthorized, NotFound
from appliance.core.limits import DEVICE_TOKEN_COUNT_MAX
from storage.catalog.device_queries import DeviceQueries
from storage.catalog.rows import DeviceToken


class DeviceTokenTable(DeviceQueries):
    """Methods of the catalog about devices' tokens."""

    def set_token(
        self,
        device_id: str,
        token_hash: bytes,
        *,
        old_valid_until_ms: int | None = None,
        expires_at_ms: int | None = None,
    ) -> None:
        """Give a device a token. Its newest earlier one stays valid beside it, all others end.

        Args:
            token_hash: From SiteKeys.token_hash, 32 bytes.
            old_valid_until_ms: When the earlier one ends, wall time; None for when it is revoked or replaced.
            expires_at_ms: When the new one ends; None for never.
        Raises:
            NotFound: `device_unknown`. Conflict: decommissioned or rejected; `token_taken`: it is some device's already.
        """
        assert len(token_hash) == 32
        with self.transaction():
            device = self.get_device(device_id)
            if device.state in ("rejected", "decommissioned"):
                raise Conflict(
                    f"The device “{device_id}” is {device.state}.",
                    hint="Adopt it first." if device.state == "rejected" else "Register it under another id.",
                    code=f"device_{device.state}",
                )
            self.check_token_free(token_hash)
            kept = self.tokens_of(device_id)[: DEVICE_TOKEN_COUNT_MAX - 1]
            self.revoke_tokens(device_id, keep=[token.token_hash for token in kept])
            if old_valid_until_ms is not None:
                for token in kept:
                    ends = min(old_valid_until_ms, token.expires_at_ms or old_valid_until_ms)
                    self.execute(
                        "UPDATE device_tokens SET expires_at_ms = ?, origin = ?, hlc = ? WHERE token_hash = ?",
                        (ends, self.origin, self.hlc, token.token_hash.hex()),
                    )
            self.execute(
                "INSERT INTO device_tokens (token_hash, device_id, created_at_ms, expires_at_ms, origin, hlc) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    token_hash.hex(),
                    device_id,
                    self._clock.now_ms(),
                    expires_at_ms,
                    self.origin,
                    self.hlc,
                ),
            )

    def check_token_free(self, token_hash: bytes) -> None:
        """Refuse a token that some device has or had.

        Raises:
            Conflict: `token_taken`.
        """
        if self.row("SELECT 1 FROM device_tokens WHERE token_hash = ?", (token_hash.hex(),)):
            raise Conflict(
                "This token is in use, or was.",
                hint="Give each device a token of its own; one that ended never counts again.",
                code="token_taken",
            )

    def check_token_counts(self, device_id: str, token_hash: bytes) -> None:
        """Refuse what a device asks for by a token that was revoked since it showed it; one that has only run out may still do.

        Raises:
            NotAuthorized: `bad_credentials`.
        """
        if all(token.token_hash != token_hash for token in self.tokens_of(device_id)):
            raise NotAuthorized(
                "The token was revoked.",
                hint="Give the device a new token on its page, or make a claim for it.",
                code="bad_credentials",
            )

    def tokens_of(self, device_id: str) -> list[DeviceToken]:
        """Tokens that are not revoked, the newest first (expired ones among them)."""
        found = self.rows(
            "SELECT device_id, token_hash, created_at_ms, expires_at_ms FROM device_tokens "
            "WHERE device_id = ? AND revoked_at_ms IS NULL ORDER BY created_at_ms DESC, rowid DESC",
            (device_id,),
        )
        return [
            DeviceToken(
                device_id=row["device_id"],
                token_hash=bytes.fromhex(row["token_hash"]),
                created_at_ms=row["created_at_ms"],
                expires_at_ms=row["expires_at_ms"],
            )
            for row in found
        ]

    def revoke_token(self, device_id: str, token_id: str) -> None:
        """End one token of a device at once.

        Args:
            token_id: DeviceToken.token_id.
        Raises:
            NotFound: `token_unknown`: it has none of that id that still counts.
        """
        with self.transaction():
            tokens = self.tokens_of(device_id)
            if all(token.token_id != token_id for token in tokens):
                raise NotFound(
                    f"The device “{device_id}” has no token {token_id[:16]}.",
                    hint="List its tokens; this one may have ended already.",
                    code="token_unknown",
                )
            self.revoke_tokens(
                device_id, keep=[token.token_hash for token in tokens if token.token_id != token_id]
            )

    def revoke_tokens(self, device_id: str, *, keep: Sequence[bytes] = ()) -> int:
        """End a device's tokens at once and return how many."""
        with self.transaction():
            ended = 0
            for token in self.tokens_of(device_id):
                if token.token_hash not in keep:
                    ended += self.execute(
                        "UPDATE device_tokens SET revoked_at_ms = ?, origin = ?, hlc = ? WHERE token_hash = ?",
                        (self._clock.now_ms(), self.origin, self.hlc, token.token_hash.hex()),
                    )
            return ended
