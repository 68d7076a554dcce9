"""What a rule found: something began to be so, or is over. Pure.

A transition's key is what it is about and when it happened by the readings, so that evaluating the same readings again finds
the same transitions, and whoever applies them twice applies them once.
"""

from __future__ import annotations

from typing import Any

import msgspec


class AlarmKey(msgspec.Struct, frozen=True):
    """What an alarm is about.

    Attributes:
        device_id: "" for one of the node, the site or a group. group_id: "" for none.
        series: The metric, or what is watched; "" for none.
    """

    rule_id: str
    device_id: str = ""
    group_id: str = ""
    series: str = ""


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm's condition began or ended.

    Attributes:
        rule_version: Which definition said so.
        is_raised: It began; otherwise it is over.
        at_ms: When, by the readings (for no data: when the time was up), UTC ms. Not when it was noticed.
        value: The reading that decided, or None.
        explanation: `text` for people, and what the text is made of (limit, usual, spreads, since_ms …): JSON types only.
        epoch, seq: Position in the log up to which was read when it was found; of a clock's tick the cursor.
        trace_id: Of the message that decided, "" for none.
    """

    key: AlarmKey
    rule_version: int
    is_raised: bool
    at_ms: int
    value: float | None = None
    explanation: dict[str, Any] = {}
    epoch: int = 0
    seq: int = 0
    trace_id: str = ""
