"""Which bytes a device may have while it is being updated. Pure.

What an execution of its own that has not ended names, and nothing else: the target on the way there, where it came from on the way back.

Must not know: tables, topics, time.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from appliance.management.executions import State

_S: Final = State


class Share(StrEnum):
    """What of an execution its device may have."""

    TARGET = "target"
    ORIGIN = "origin"
    """The version that it goes back to."""
    LATER = "later"
    """Nothing now: it is paused, or its wave is not open."""
    NOTHING = "nothing"


_SHARES: Final[dict[State, Share]] = {
    **dict.fromkeys(
        (
            _S.NOTIFIED, _S.DOWNLOADING, _S.DOWNLOADED, _S.VERIFIED, _S.WAIT_WINDOW, _S.INSTALLING,
            # Another attempt is due, or it has begun and its report is still on its way.
            _S.FAILED,
        ),
        Share.TARGET,
    ),
    **dict.fromkeys((_S.ROLLBACK_PENDING, _S.ROLLING_BACK), Share.ORIGIN),
    _S.PAUSED: Share.LATER,
}  # fmt: skip


def share(state: State, *, is_admitted: bool) -> Share:
    """What of an execution in this state its device may have.

    Args:
        is_admitted: Its wave is open: then QUEUED may begin, since the report that it has may come after its first request.
    """
    if state is State.QUEUED:
        return Share.TARGET if is_admitted else Share.LATER
    return _SHARES.get(state, Share.NOTHING)
