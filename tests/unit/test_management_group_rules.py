"""Which groups somebody with a scope may put devices into, and what they let devices reach."""

from __future__ import annotations

import pytest

from appliance.core.errors import NotAuthorized
from appliance.management.access import Access
from appliance.management.group_rules import OWN_TOPICS, check_access_change, check_group_change
from appliance.management.permissions import Scope


@pytest.mark.parametrize(
    ("scope", "before", "after", "allowed"),
    [
        (None, [], ["any"], True),
        (None, ["a"], [], True),
        (frozenset({"a", "b"}), [], ["a"], True),
        (frozenset({"a", "b"}), ["a"], ["b"], True),
        (frozenset({"a"}), ["a", "other"], ["a", "other"], True),
        (frozenset({"a"}), ["other", "a"], ["a"], False),  # took it out of somebody else's sight
        (frozenset({"a"}), ["a"], ["a", "other"], False),  # put it into somebody else's
        (frozenset({"a"}), ["a", "other"], ["other"], False),  # out of their own
        (frozenset({"a"}), [], [], False),
        (frozenset(), [], [], False),
    ],
)
def test_a_scope_bounds_what_groups_change(
    scope: Scope, before: list[str], after: list[str], allowed: bool
) -> None:
    if allowed:
        check_group_change(scope, before=before, after=after)
        return
    with pytest.raises(NotAuthorized) as refused:
        check_group_change(scope, before=before, after=after)
    assert refused.value.code == "groups_out_of_scope"


@pytest.mark.parametrize(
    ("scope", "before", "after", "allowed"),
    [
        (None, OWN_TOPICS, ("site", ""), True),
        (frozenset({"a"}), OWN_TOPICS, OWN_TOPICS, True),
        (frozenset({"a"}), ("site", ""), ("site", ""), True),
        (frozenset({"a"}), ("site", ""), OWN_TOPICS, True),
        (frozenset({"a"}), OWN_TOPICS, ("site", ""), False),
        (frozenset({"a"}), OWN_TOPICS, ("own", "reader"), False),
        (frozenset({"a"}), ("own", "reader"), ("own", "writer"), False),
        (frozenset(), OWN_TOPICS, ("site", ""), False),
    ],
)
def test_a_scope_bounds_what_devices_reach(
    scope: Scope, before: tuple[Access, str], after: tuple[Access, str], allowed: bool
) -> None:
    if allowed:
        check_access_change(scope, before=before, after=after)
        return
    with pytest.raises(NotAuthorized) as refused:
        check_access_change(scope, before=before, after=after)
    assert refused.value.code == "scope_too_narrow"
