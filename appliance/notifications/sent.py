"""What came of one attempt to send something, whichever way."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.limits_notifications import NOTIFICATION_OUTCOME_LENGTH_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The outcome.

    Attributes:
        is_sent: The receiver has it.
        words: What the receiver said, or why it has not got it; one line.
        is_answer: The receiver answered, if only to refuse: it is there, and others may be sent to it.
        retry_after_s: When it said that it may be asked again, or None.
    """

    is_sent: bool
    words: str
    is_answer: bool = False
    retry_after_s: int | None = None


def line(words: str) -> str:
    """Words of a receiver in one line, without what a terminal would obey, shortened."""
    plain = " ".join("".join(sign if sign.isprintable() else " " for sign in words).split())
    return plain[:NOTIFICATION_OUTCOME_LENGTH_MAX]
