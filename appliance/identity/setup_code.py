"""The code that lets its finder claim a new box: shown once, used once, for 15 minutes.

Ten characters of Crockford's alphabet (no I, L, O, U) are 50 random bits; 20 wrong guesses end it. Only a hash under
a key of this process is kept, and nothing is on disk. Case, dashes and spaces don't matter, and O, I and L are
read as 0, 1 and 1.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from appliance.core.clock import Clock
from appliance.core.errors import NotAuthorized
from appliance.core.limits import SETUP_CODE_ATTEMPT_COUNT_MAX, SETUP_CODE_WINDOW_MS
from appliance.identity.crockford import ALPHABET, normal

LENGTH = 10


class SetupState(StrEnum):
    NONE = "none"
    """No code was made: the box has an admin."""
    VALID = "valid"
    CLAIMING = "claiming"
    """The right code came and the claim is under way."""
    USED = "used"
    EXPIRED = "expired"
    LOCKED = "locked"
    """Too many wrong guesses."""


class SetupCode:
    """See the module's docstring. Used from one event loop.

    Args:
        clock: Its monotonic time ends the window.
        choose: Picks a character; randomness comes in as an argument.
    """

    def __init__(self, *, clock: Clock, choose: Callable[[str], str] = secrets.choice) -> None:
        self._clock = clock
        self._choose = choose
        self._key = secrets.token_bytes(32)
        self._hash = b""
        self._state = SetupState.NONE
        self._ends_mono_ms = 0
        self._attempts = 0

    def issue(self) -> str:
        """Make a new code, ending the one before.

        Returns:
            The code as `XXXXX-XXXXX`, for the one who can see this machine; it can't be asked for again.
        """
        code = "".join(self._choose(ALPHABET) for _ in range(LENGTH))
        self._hash = self._hash_of(code)
        self._state = SetupState.VALID
        self._ends_mono_ms = self._clock.mono_ms() + SETUP_CODE_WINDOW_MS
        self._attempts = 0
        return f"{code[:5]}-{code[5:]}"

    def end(self) -> None:
        """There is no code any more: the box got its admin another way, by a command on it."""
        self._hash = b""
        self._state = SetupState.NONE

    @property
    def state(self) -> SetupState:
        if self._state is SetupState.VALID and self._clock.mono_ms() >= self._ends_mono_ms:
            return SetupState.EXPIRED
        return self._state

    @property
    def remaining_ms(self) -> int:
        """How long the code is still good, 0 when it isn't."""
        return self._ends_mono_ms - self._clock.mono_ms() if self.state is SetupState.VALID else 0

    @contextmanager
    def claiming(self, offered: str) -> Iterator[None]:
        """Use the code up if what happens within succeeds; if that raises, the code is good again.

        Raises:
            NotAuthorized: `setup_code_wrong`, `_expired`, `_used`, `_locked`, `_missing`; the state decides, so a wrong
                guess learns nothing about the code.
        """
        state = self.state
        right = hmac.compare_digest(self._hash_of(offered), self._hash)
        if state is not SetupState.VALID:
            raise _refused(state)
        if not right:
            self._attempts += 1
            if self._attempts >= SETUP_CODE_ATTEMPT_COUNT_MAX:
                self._state = SetupState.LOCKED
            raise NotAuthorized(
                "The setup code is wrong.",
                hint="Type the ten characters that the installer printed; letters and digits, no matter which case.",
                code="setup_code_wrong",
            )
        hash_claimed = self._hash
        self._state = SetupState.CLAIMING
        try:
            yield
        except BaseException:
            # Unless a new code was issued meanwhile, or none is wanted any more.
            if self._hash == hash_claimed:
                self._state = SetupState.VALID
            raise
        self._state = SetupState.USED

    def _hash_of(self, code: str) -> bytes:
        offered = normal(code[:64]).encode("utf-8", "replace")
        return hashlib.blake2b(offered, digest_size=32, key=self._key).digest()


_AGAIN = "Run `homeport setup-code` on the box: it prints a new one while nobody has claimed it."
_REFUSALS = {
    SetupState.NONE: (
        "setup_code_missing",
        "There is no setup code: the box was claimed already.",
        "Sign in instead.",
    ),
    SetupState.USED: ("setup_code_used", "The setup code was used already.", "Sign in instead."),
    SetupState.CLAIMING: ("setup_code_used", "The setup code is being used right now.", "Sign in instead."),
    SetupState.EXPIRED: ("setup_code_expired", "The setup code's 15 minutes are over.", _AGAIN),
    SetupState.LOCKED: ("setup_code_locked", "There were too many wrong setup codes.", _AGAIN),
}


def _refused(state: SetupState) -> NotAuthorized:
    code, message, hint = _REFUSALS[state]
    return NotAuthorized(message, hint=hint, code=code)
