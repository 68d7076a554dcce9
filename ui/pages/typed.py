"""What can't be undone is done once its name was typed."""

from __future__ import annotations

from appliance.core.errors import UsageError


def check_typed(typed: str, wanted: str) -> None:
    """Refuse unless exactly this was typed.

    Raises:
        UsageError: `not_confirmed`.
    """
    if typed.strip() != wanted:
        raise UsageError(
            f"Nothing was changed: “{wanted}” was not typed.",
            hint="Go back, type it into the field, and try again.",
            code="not_confirmed",
        )
