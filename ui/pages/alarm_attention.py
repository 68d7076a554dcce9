"""What alarms ask an operator to look at, for the Overview: the unacknowledged ones by name, the worst first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ui.pages.alarm_facts import count_words
from ui.pages.alarm_views import AlarmView
from ui.pages.format import visible
from ui.pages.looks import Tone
from ui.pages.views import Attention

NAMED_COUNT: Final = 5
_TONES: Final[dict[str, Tone]] = {"P1": "bad", "P2": "warn", "P3": "idle"}


def alarm_attention(alarms: Sequence[AlarmView], by_severity: dict[str, int]) -> tuple[Attention, ...]:
    """Lines for the Overview.

    Args:
        alarms: Unacknowledged ones, in the order in which somebody should look.
        by_severity: How many there are of each severity in all.
    """
    named = alarms[:NAMED_COUNT]
    lines = [
        Attention(
            tone=_TONES.get(each.severity, "warn"),
            text=" ".join(
                filter(
                    None,
                    (
                        f"{each.severity}: {visible(each.rule_name)}, {visible(each.where)}.",
                        visible(each.text),
                        "" if each.is_active else "It is over, and nobody has acknowledged it.",
                    ),
                )
            ),
            url=each.url,
            action="Look at it",
            needs="alarms.read",
        )
        for each in named
    ]
    total = sum(by_severity.values())
    if total > len(named):
        lines.append(
            Attention(
                tone="bad" if by_severity.get("P1") else "warn",
                text=f"{total} alarms are not acknowledged: {count_words(by_severity)}.",
                url="/alarms",
                action="Show them all",
                needs="alarms.read",
            )
        )
    return tuple(lines)
