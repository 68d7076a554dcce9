"""For which rules there was no room, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from appliance.pipeline.watch_statistics import WatchFeedStatistics
from ui.pages.format import count_text, visible

NAMED_COUNT: Final = 3


def left_out_text(watch: WatchFeedStatistics | None, names: Mapping[str, str]) -> str:
    """For which rules there was no room, "" for none.

    Args:
        names: Of the rules, by id.
    """
    rules = watch.watch.rules if watch is not None else None
    left_out: Mapping[str, int] = rules.left_out if rules is not None else {}
    shown = [
        f"“{visible(names.get(rule_id, rule_id))}” ({count_text(count)})"
        for rule_id, count in list(left_out.items())[:NAMED_COUNT]
        if count
    ]
    if not shown:
        return ""
    more = len(left_out) - len(shown)
    others = f" and {count_text(more)} more rules" if more > 0 else ""
    return (
        f"There is no room to watch all series: some are left out of {', '.join(shown)}{others}. "
        "Narrow rules down, or remove some."
    )
