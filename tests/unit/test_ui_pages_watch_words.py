"""What is said of rules for which there was no room."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from appliance.pipeline.watch_statistics import WatchFeedStatistics, WatchState
from ui.pages.watch_words import left_out_text


def watch(state: WatchState, *, left_out: dict[str, int] | None = None, **more: Any) -> WatchFeedStatistics:
    fields: dict[str, Any] = dict.fromkeys(WatchFeedStatistics.__dataclass_fields__, 0)
    rules = SimpleNamespace(left_out=left_out or {})
    fields |= {"state": state, "incident": "", "rebuild_s": None, "watch": SimpleNamespace(rules=rules)}
    return WatchFeedStatistics(**{**fields, **more})


def test_rules_without_room_are_named() -> None:
    left_out = {"a": 1_200, "b": 3, "c": 1, "d": 1, "e": 1}
    text = left_out_text(watch(WatchState.UP_TO_DATE, left_out=left_out), {"a": "Hot", "b": "Odd\u202e"})
    assert "“Hot” (1\u202f200), “Odd\\u202e” (3), “c” (1) and 2 more rules." in text
    assert left_out_text(watch(WatchState.UP_TO_DATE), {}) == ""
    assert left_out_text(None, {}) == ""
