"""What the telling of alarms asks somebody to do, for the Overview: nobody would hear of an urgent one. Pure."""

from __future__ import annotations

from ui.pages.views import Attention


def telling_attention(*, is_anybody_told: bool) -> tuple[Attention, ...]:
    """A line for the Overview.

    Args:
        is_anybody_told: Whether an on-call list has a target that is on for urgent alarms (P1).
    """
    if is_anybody_told:
        return ()
    return (
        Attention(
            tone="warn",
            text="Nobody would be told of an urgent alarm (P1).",
            url="/notifications",
            action="Say who is told",
            needs="notifications.manage",
        ),
    )
