"""What updates ask an operator to look at, for the Overview."""

from __future__ import annotations

from typing import Final

from appliance.core.limits_updates import DAY_MS
from appliance.management.rollouts import RolloutState
from ui.pages.addresses import rollout_url
from ui.pages.format import plural, visible
from ui.pages.update_facts import Updates
from ui.pages.views import Attention

ROLLED_BACK_SHOWN_MS: Final = 3 * DAY_MS
"""So long the Overview says that a rollout went back by itself or by somebody: a weekend."""


def update_attention(updates: Updates, now_ms: int) -> tuple[Attention, ...]:
    """Lines for the Overview, worst first; each leads to its list.

    Args:
        now_ms: UTC ms.
    """
    found: list[Attention] = []
    if updates.in_need:
        found.append(
            Attention(
                tone="bad",
                text=f"{plural(updates.in_need, 'device needs', 'devices need')} a hand after an update.",
                url="/firmware/work-queue",
                action="Show them",
                needs="firmware.read",
            )
        )
    for each in updates.rollouts:
        name = visible(each.name)
        if each.state is RolloutState.PAUSED:
            text, action = f"The rollout “{name}” is paused. {each.reason}".strip(), "Decide"
        elif each.state is RolloutState.AWAITING_APPROVAL:
            text, action = f"The rollout “{name}” waits for a second person.", "Look at it"
        elif (
            each.state is RolloutState.ROLLED_BACK and (each.ended_at_ms or 0) > now_ms - ROLLED_BACK_SHOWN_MS
        ):
            text, action = f"The rollout “{name}” was rolled back. {each.reason}".strip(), "See why"
        else:
            continue
        found.append(
            Attention(
                tone="warn", text=text, url=rollout_url(each.rollout_id), action=action, needs="firmware.read"
            )
        )
    return tuple(found)
