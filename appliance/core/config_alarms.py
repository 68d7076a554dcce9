"""The section of the configuration about alarms: when raised again is the same one, how long a silent device's waits for an explanation.

config.py says how it is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.settings import whole


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmsConfig:
    """When people are told of what rules find (docs/ALARMS.md)."""

    flap_s: int = whole(
        600,
        unit="s",
        low=0,
        high=86_400,
        help="Raised again within that of being over, an alarm is the same one with a count, and nobody is told anew.",
    )
    explain_wait_s: int = whole(
        90,
        unit="s",
        low=0,
        high=600,
        help="So long the alarm of a silent device waits for one of its site or group that explains it, where a rule could raise one; 0 is not at all.",
    )
