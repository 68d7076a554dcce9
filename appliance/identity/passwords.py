"""People's passwords: argon2id, in a thread, a few at a time.

The rule: 12 to 256 characters of any kind that take more than 10^10.5 guesses, as zxcvbn counts them: it knows 30,000 leaked
passwords, names, words and the ways in which people change and join them, and gets the user's name and the product's as
words to try first. No rule about digits or signs and no expiry (NIST SP 800-63B §5.1.1.2); a sentence is welcome. A list of leaked
passwords alone would be long and see less: "password1234" and "iloveyou123456" are found by their making. Text is normalised (NFKC) first, so that it can be typed on another keyboard.

Parameters: argon2id with 64 MiB, 3 passes, 4 lanes (RFC 9106 §4, second recommended option). A hash made with other
parameters still verifies and says that it should be made again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final, TypeVar

import argon2
import trio

from appliance.core.errors import Unavailable, UsageError
from appliance.core.limits import (
    PASSWORD_GUESSES_LOG10_MIN,
    PASSWORD_HASH_CONCURRENCY_MAX,
    PASSWORD_HASH_QUEUE_DEPTH_MAX,
    PASSWORD_JUDGED_LENGTH_MAX,
    PASSWORD_LENGTH_MAX,
    PASSWORD_LENGTH_MIN,
)

T = TypeVar("T")
PRODUCT_WORDS: Final = ("homeport", "appliance", "broker", "mqtt")
"""Tried first by who guesses, beside the user's name."""


def check_password(password: str, *, user_id: str = "") -> str:
    """Return the password as it is hashed, or say why it can't be one. Takes up to 20 ms.

    Raises:
        UsageError: `password_too_short`, `password_too_long`, `password_too_simple`.
    """
    normal = unicodedata.normalize("NFKC", password)
    if len(normal) < PASSWORD_LENGTH_MIN:
        raise UsageError(
            f"The password has {len(normal)} characters; it needs at least {PASSWORD_LENGTH_MIN}.",
            hint="A short sentence of four or more words is easy to remember and long enough.",
            code="password_too_short",
        )
    if len(normal) > PASSWORD_LENGTH_MAX:
        raise UsageError(
            f"The password has more than {PASSWORD_LENGTH_MAX} characters.",
            hint="Choose a shorter one.",
            code="password_too_long",
        )
    # Imported here: the dictionaries take 14 MB, which a box that nobody changes a password on need not hold.
    from zxcvbn import zxcvbn

    words = [user_id, *PRODUCT_WORDS] if user_id else list(PRODUCT_WORDS)
    judged = zxcvbn(normal[:PASSWORD_JUDGED_LENGTH_MAX], user_inputs=words)
    if judged["guesses_log10"] < PASSWORD_GUESSES_LOG10_MIN:
        why = judged["feedback"]["warning"] or "It is made of what is tried first."
        raise UsageError(
            f"The password is easy to guess. {why}",
            hint="A short sentence of four or more words is easy to remember and hard to guess.",
            code="password_too_simple",
        )
    return normal


class Passwords:
    """Hashes and verifies. One per process: it bounds the memory and the cores that argon2 takes.

    Args:
        hasher: Other parameters, for tests.
    """

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)
        self._limiter = trio.CapacityLimiter(PASSWORD_HASH_CONCURRENCY_MAX)
        # Verified against when there is no such user, so that the answer takes the same time.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str, *, user_id: str = "") -> str:
        """The hash of a new password, as argon2's own text form.

        Raises:
            UsageError: see check_password. Unavailable: `password_queue_full`.
        """
        return await self._run(lambda: self._hasher.hash(check_password(password, user_id=user_id)))

    def hash_now(self, password: str, *, user_id: str = "") -> str:
        """As `hash`, for a command that has no event loop."""
        return self._hasher.hash(check_password(password, user_id=user_id))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether this is the password. Takes as long for no hash (no such user) as for a wrong password.

        Raises:
            Unavailable: `password_queue_full`.
        """
        normal = unicodedata.normalize("NFKC", password[: PASSWORD_LENGTH_MAX + 1])
        against = password_hash or self._nobody

        def run() -> bool:
            try:
                return self._hasher.verify(against, normal)
            except argon2.exceptions.VerifyMismatchError:
                return False

        return await self._run(run) and password_hash is not None

    def should_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def _run(self, fn: Callable[[], T]) -> T:
        if self._limiter.statistics().tasks_waiting >= PASSWORD_HASH_QUEUE_DEPTH_MAX:
            raise Unavailable(
                "Too many people sign in at the same moment.",
                hint="Try again in a few seconds.",
                code="password_queue_full",
            )
        return await trio.to_thread.run_sync(fn, limiter=self._limiter)
