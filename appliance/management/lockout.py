"""How long an account or an address waits after failed sign-ins. Pure; the waits double and have an end.

Two subjects are counted apart, and both must be free:

* an **address** (an IPv4 address, or an IPv6 network of 64 bits, since one household has a whole one), whoever it tries to be;
* an **account**, whoever tries. A stranger can make it wait; so its wait is short, attempts during it neither count nor lengthen
  it, and it doesn't apply to addresses from which its user signed in before: nobody is kept out of the place where they work.

Must not know: tables, requests. storage/catalog/sign_ins.py keeps the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.core.limits import LOCKOUT_WAIT_FIRST_MS, LOCKOUT_WAIT_MS_MAX


@dataclass(frozen=True, slots=True)
class Lockout:
    """A subject's failures, and until when it waits (UTC ms, 0 for not at all)."""

    failure_count: int
    locked_until_ms: int

    def is_locked(self, now_ms: int) -> bool:
        """Whether attempts are refused now. A clock that went back doesn't lengthen a wait beyond the longest one."""
        return now_ms < self.locked_until_ms <= now_ms + LOCKOUT_WAIT_MS_MAX


UNLOCKED: Final = Lockout(0, 0)


@dataclass(frozen=True, slots=True)
class Lockouts:
    """How many accounts and addresses failed lately, and how many of them wait now."""

    remembered: int
    locked: int


def after_failure(lockout: Lockout, now_ms: int, *, free_count: int) -> Lockout:
    """How a subject stands after one more failure.

    Args:
        free_count: Failures that cost nothing.
    """
    count = lockout.failure_count + 1
    beyond = count - free_count
    if beyond < 1:
        return Lockout(count, 0)
    doublings = min(beyond - 1, LOCKOUT_WAIT_MS_MAX.bit_length())
    return Lockout(count, now_ms + min(LOCKOUT_WAIT_FIRST_MS << doublings, LOCKOUT_WAIT_MS_MAX))
