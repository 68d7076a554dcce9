"""What somebody with a scope may change of devices beyond having them: their groups, and what they reach. Pure.

Whoever is limited to some groups changes membership in these and no others, and every device they make or change stays in
one of them: so nobody widens what they or others see, and nothing of theirs gets out of their sight by mistake. Nor do they
give a device more than its own topics: with its credential they would read and command what lies outside.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from appliance.core.errors import NotAuthorized
from appliance.management.access import Access
from appliance.management.permissions import Scope, sees


def check_group_change(scope: Scope, *, before: Collection[str], after: Collection[str]) -> None:
    """Refuse a change of a device's groups that goes beyond a scope.

    Args:
        scope: Of whoever asks; None for the whole site.
        before: The device's groups, none for one that is being made.
    Raises:
        NotAuthorized: `groups_out_of_scope`, whether there are such groups or not.
    """
    if scope is None:
        return
    beyond = sorted((set(before) ^ set(after)) - scope)
    yours = ", ".join(sorted(scope)) or "none"
    if beyond:
        raise NotAuthorized(
            f"Your account is limited to some groups, and “{beyond[0][:100]}” is not one of them.",
            hint=f"Use your own: {yours}.",
            code="groups_out_of_scope",
        )
    if not sees(scope, after):
        raise NotAuthorized(
            "Your account is limited to some groups, and the device would be in none of them.",
            hint=f"Put it into one of yours: {yours}.",
            code="groups_out_of_scope",
        )


OWN_TOPICS: Final[tuple[Access, str]] = ("own", "")
"""Access and role of a device that reaches its own topics and nothing else."""


def check_access_change(
    scope: Scope, *, before: tuple[Access, str] = OWN_TOPICS, after: tuple[Access, str]
) -> None:
    """Refuse a change of a device's access that goes beyond a scope.

    Args:
        scope: Of whoever asks; None for the whole site.
        before, after: Access and role; without `before` of one that is being made.
    Raises:
        NotAuthorized: `scope_too_narrow`.
    """
    if scope is not None and after not in (before, OWN_TOPICS):
        raise NotAuthorized(
            "Your account is limited to some groups, and the device would reach topics of others.",
            hint="Leave access “own” and no role, or ask somebody whose account is for the whole site.",
            code="scope_too_narrow",
        )
