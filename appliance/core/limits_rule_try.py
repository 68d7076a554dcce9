"""Limits of trying a rule out on past readings (appliance/alarms/rule_try.py)."""

from __future__ import annotations

from typing import Final

RULE_TRY_SERIES_COUNT_MAX: Final = 200
"""Each is read in pieces of its own, about 20 ms: 4 s."""
RULE_TRY_READING_COUNT_MAX: Final = 1_000_000
"""29 bytes each in columns, twice while they are put into order: 60 MB. A week of 16 series that send every 10 s."""
RULE_TRY_SPAN_MS_MAX: Final = 7 * 86_400_000
RULE_TRY_WARM_UP_MS_MAX: Final = 86_400_000
RULE_TRY_READ_S: Final = 15.0
RULE_TRY_EVALUATE_S: Final = 15.0
"""Both together stay below the 60 s after which browsers and proxies give up."""
RULE_TRY_WAIT_S: Final = 5.0
"""How long somebody waits for another one's try; one at a time."""
RULE_TRY_ALARM_COUNT_MAX: Final = 1_000
"""Alarms that an answer names, the newest; how many there are in all it says in a number."""
RULE_TRY_STEP_COUNT: Final = 2_000
"""Into so many steps a span is cut: what is decided doesn't depend on it, how soon a try can be broken off does."""
