"""What is kept of sign-ins beside who is signed in: failures and waits, known addresses, used one-time codes.

Rows of this node only. The rule of the waits is appliance.management.lockout's.
"""

from __future__ import annotations

from appliance.core.limits import LOCKOUT_COUNT_MAX, LOCKOUT_FORGET_MS, SIGN_IN_ADDRESS_PER_USER_COUNT_MAX
from appliance.management.lockout import UNLOCKED, Lockout, Lockouts, after_failure
from storage.catalog.database import CatalogDatabase


class SignInTable(CatalogDatabase):
    """Methods of the catalog about sign-ins."""

    def lockout_of(self, subject: str) -> Lockout:
        """How often a subject failed and until when it waits.

        Args:
            subject: `user:…`, `address:…`, or `nobody:…` for a name that nobody has.
        """
        found = self.row(
            "SELECT * FROM lockouts WHERE subject = ? AND last_failure_at_ms > ?",
            (subject, self._clock.now_ms() - LOCKOUT_FORGET_MS),
        )
        return Lockout(found["failure_count"], found["locked_until_ms"]) if found else UNLOCKED

    def note_failure(self, subject: str, *, free_count: int) -> Lockout:
        """Count a failure of a subject that doesn't wait; returns how it stands now."""
        now_ms = self._clock.now_ms()
        with self.transaction():
            lockout = after_failure(self.lockout_of(subject), now_ms, free_count=free_count)
            self.execute(
                "INSERT INTO lockouts (subject, failure_count, last_failure_at_ms, locked_until_ms) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (subject) DO UPDATE SET failure_count = excluded.failure_count, "
                "last_failure_at_ms = excluded.last_failure_at_ms, locked_until_ms = excluded.locked_until_ms",
                (subject, lockout.failure_count, now_ms, lockout.locked_until_ms),
            )
            self.execute(
                "DELETE FROM lockouts WHERE subject IN (SELECT subject FROM lockouts ORDER BY last_failure_at_ms DESC "
                "LIMIT -1 OFFSET ?)",
                (LOCKOUT_COUNT_MAX,),
            )
        return lockout

    def clear_failures(self, subject: str) -> None:
        """Begin a subject's count anew."""
        with self.transaction():
            self.execute("DELETE FROM lockouts WHERE subject = ?", (subject,))

    def count_lockouts(self) -> Lockouts:
        """How many subjects are remembered and how many wait now."""
        found = self.row(
            "SELECT count(*), coalesce(sum(locked_until_ms > ?), 0) FROM lockouts", (self._clock.now_ms(),)
        )
        assert found
        return Lockouts(found[0], found[1])

    def note_sign_in(self, user_id: str, address: str) -> None:
        """Remember where somebody signed in from, and count their failures anew.

        Args:
            address: As appliance.core.token_bucket.network_of gives it.
        """
        with self.transaction():
            self.execute(
                "INSERT OR REPLACE INTO sign_in_addresses (user_id, address, last_signed_in_at_ms) VALUES (?, ?, ?)",
                (user_id, address, self._clock.now_ms()),
            )
            self.execute(
                "DELETE FROM sign_in_addresses WHERE user_id = ? AND address IN (SELECT address FROM sign_in_addresses "
                "WHERE user_id = ? ORDER BY last_signed_in_at_ms DESC LIMIT -1 OFFSET ?)",
                (user_id, user_id, SIGN_IN_ADDRESS_PER_USER_COUNT_MAX),
            )
            self.clear_failures(f"user:{user_id}")

    def has_signed_in_from(self, user_id: str, address: str) -> bool:
        """Whether somebody signed in from there before."""
        return (
            self.row("SELECT 1 FROM sign_in_addresses WHERE user_id = ? AND address = ?", (user_id, address))
            is not None
        )

    def last_sign_ins(self) -> dict[str, int]:
        """When each user last signed in on this node, UTC ms, by user id."""
        found = self.rows("SELECT user_id, max(last_signed_in_at_ms) FROM sign_in_addresses GROUP BY user_id")
        return {row[0]: row[1] for row in found}

    def use_totp_step(self, user_id: str, step: int) -> bool:
        """Take a time step's code; False if it or a later one was used before (RFC 6238 §5.2)."""
        with self.transaction():
            taken = self.execute(
                "INSERT INTO totp_uses (user_id, step) VALUES (?, ?) "
                "ON CONFLICT (user_id) DO UPDATE SET step = excluded.step WHERE excluded.step > totp_uses.step",
                (user_id, step),
            )
        return taken > 0

    def forget_sign_ins(self, user_id: str) -> None:
        """Forget addresses, used codes and failures of a user who is gone."""
        with self.transaction():
            self.execute("DELETE FROM sign_in_addresses WHERE user_id = ?", (user_id,))
            self.execute("DELETE FROM totp_uses WHERE user_id = ?", (user_id,))
            self.clear_failures(f"user:{user_id}")
