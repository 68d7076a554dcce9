"""Which generation of the site's key seals what goes to the cloud tier: as it is recorded in the catalog, for all boxes of the site. Pure.

The keys themselves are derived of the site key (replication/tier/keys.py), so a generation is a number, and no secret.
"""

from __future__ import annotations

from typing import Final

from appliance.core.errors import Conflict, NotFound
from appliance.core.limits_replication import TIER_KEY_GENERATION_MAX

SETTING: Final = "tier.key_generation"
ROTATE: Final = "tier.rotate_key"
"""The action, as the audit names it."""


def recorded(value: object) -> int:
    """The generation that a setting's value says; 0 for none, and for what no version of Homeport writes."""
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return value if 1 <= value <= TIER_KEY_GENERATION_MAX else 0


def next_generation(configured: int, value: object) -> int:
    """The generation after the one that seals now.

    Args:
        configured: By the file, which may be ahead.
        value: The setting's.
    Raises:
        Conflict: `tier_key_generations`.
    """
    found = max(configured, recorded(value)) + 1
    if found > TIER_KEY_GENERATION_MAX:
        raise Conflict(
            f"There are no more than {TIER_KEY_GENERATION_MAX} generations of the tier's key.",
            hint="Look in the audit who changed it so often.",
            code="tier_key_generations",
        )
    return found


def check_sealing(region_count: int, *, is_sealed: bool) -> None:
    """Whether there is a key that could be changed.

    Raises:
        NotFound: `tier_missing`. Conflict: `tier_not_sealed`.
    """
    if not region_count:
        raise NotFound(
            "No region of a cloud is configured on this box.",
            hint="docs/CLOUD.md says how one is.",
            code="tier_missing",
        )
    if not is_sealed:
        raise Conflict(
            "What this box puts into the cloud is not sealed (tier.encrypt is off).",
            hint="Switch it on first; then a new generation has something to seal.",
            code="tier_not_sealed",
        )
