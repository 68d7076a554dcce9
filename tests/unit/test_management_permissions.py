"""appliance.management.permissions: the table, and how a scope narrows it."""

from __future__ import annotations

import pytest

from appliance.core.errors import NotAuthorized
from appliance.management.permissions import (
    PERMISSIONS,
    ROLES,
    RULES,
    Permission,
    Role,
    Scope,
    check,
    covers,
    may,
    narrower,
    scope_from_json,
    scope_to_json,
    sees,
)


def test_every_permission_has_a_rule() -> None:
    assert set(RULES) == set(PERMISSIONS)


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_a_higher_role_has_all_that_a_lower_one_has(permission: Permission) -> None:
    allowed = [may(role, None, permission) for role in ROLES]
    assert allowed == sorted(allowed)
    assert allowed[-1]


@pytest.mark.parametrize(
    ("role", "can", "can_not"),
    [
        ("viewer", "devices.read", "devices.operate"),
        ("operator", "devices.operate", "devices.manage"),
        ("installer", "devices.manage", "users.manage"),
        ("admin", "users.manage", None),
    ],
)
def test_what_each_role_is_for(role: Role, can: Permission, can_not: Permission | None) -> None:
    check(role, None, can)
    if can_not is not None:
        with pytest.raises(NotAuthorized) as refused:
            check(role, None, can_not)
        assert refused.value.code == "role_too_low"
        assert RULES[can_not].role in refused.value.message


def test_a_scope_refuses_what_concerns_the_whole_site_to_an_admin_too() -> None:
    check("admin", frozenset({"hall"}), "devices.manage")
    with pytest.raises(NotAuthorized) as refused:
        check("admin", frozenset({"hall"}), "users.manage")
    assert refused.value.code == "scope_too_narrow"
    assert not may("admin", frozenset({"hall"}), "audit.read")


def test_covers_is_the_order_of_roles() -> None:
    assert [[covers(a, b) for b in ROLES] for a in ROLES] == [[j <= i for j in range(4)] for i in range(4)]


@pytest.mark.parametrize(
    ("scope", "groups", "seen"),
    [
        (None, (), True),
        (frozenset({"a"}), ("a", "b"), True),
        (frozenset({"a"}), ("b",), False),
        (frozenset({"a"}), (), False),
        (frozenset(), ("a",), False),
    ],
)
def test_a_device_is_seen_through_one_of_its_groups(
    scope: Scope, groups: tuple[str, ...], seen: bool
) -> None:
    assert sees(scope, groups) is seen


def test_two_scopes_leave_what_is_in_both() -> None:
    a, ab = frozenset({"a"}), frozenset({"a", "b"})
    assert narrower(None, None) is None
    assert narrower(None, a) == narrower(a, None) == narrower(ab, a) == a
    assert narrower(a, frozenset({"b"})) == frozenset()


@pytest.mark.parametrize("scope", [None, frozenset(), frozenset({"b", "a"})])
def test_a_scope_is_the_same_after_the_catalog(scope: Scope) -> None:
    assert scope_from_json(scope_to_json(scope)) == scope


@pytest.mark.parametrize("text", ["{}", "0", '"a"', "[1]", "true"])
def test_a_scope_that_is_none_opens_nothing(text: str) -> None:
    assert scope_from_json(text) == frozenset()
