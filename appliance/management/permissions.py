"""What people may do: four roles, each with what the one below it has, and scopes. Pure; the table is the rule.

A scope is a set of groups of devices, or None for the whole site. Whoever has one sees and changes the devices of these
groups and nothing else: what concerns the whole site (`site_wide`) is refused, whatever the role.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, get_args

from appliance.core.errors import NotAuthorized

Role = Literal["viewer", "operator", "installer", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""The lowest first."""
Scope = frozenset[str] | None
"""Group ids; None for the whole site."""

Permission = Literal[
    "account.own",
    "node.read",
    "devices.read",
    "telemetry.read",
    "groups.read",
    "devices.operate",
    "devices.manage",
    "dead_letters.read",
    "dead_letters.replay",
    "mappings.read",
    "mappings.manage",
    "telemetry.query",
    "telemetry.erase",
    "archive.read",
    "archive.manage",
    "backups.read",
    "backups.manage",
    "twins.write",
    "commands.send",
    "firmware.read",
    "artifacts.manage",
    "artifact_keys.manage",
    "rollouts.manage",
    "rollouts.approve",
    "executions.operate",
    "alarms.read",
    "alarms.operate",
    "maintenance.manage",
    "rules.read",
    "rules.manage",
    "notifications.read",
    "notifications.manage",
    "traces.read",
    "broker.read",
    "broker.operate",
    "bridges.read",
    "sites.read",
    "sites.manage",
    "conflicts.read",
    "conflicts.resolve",
    "groups.manage",
    "claims.manage",
    "certificates.read",
    "certificates.manage",
    "settings.read",
    "settings.manage",
    "users.manage",
    "audit.read",
    "keys.manage",
]
PERMISSIONS: Final[tuple[Permission, ...]] = get_args(Permission)


@dataclass(frozen=True, slots=True)
class Rule:
    """The lowest role that has a permission, and whether it concerns the whole site."""

    role: Role
    site_wide: bool = False


RULES: Final[dict[Permission, Rule]] = {
    "account.own": Rule("viewer"),  # one's own password, second factor, sessions and tokens
    "node.read": Rule("viewer"),
    "devices.read": Rule("viewer"),
    "telemetry.read": Rule("viewer"),
    "groups.read": Rule("viewer"),
    "devices.operate": Rule("operator"),  # adopt, reject, name, tags
    "devices.manage": Rule("installer"),  # register, credentials, access, decommission, replace
    "certificates.read": Rule("operator"),
    "certificates.manage": Rule("installer"),
    "dead_letters.read": Rule("operator", site_wide=True),
    "dead_letters.replay": Rule("operator", site_wide=True),
    "mappings.read": Rule("operator", site_wide=True),
    "mappings.manage": Rule("installer", site_wide=True),
    "telemetry.query": Rule("operator", site_wide=True),  # SQL over the readings of all devices
    "telemetry.erase": Rule("admin", site_wide=True),
    "archive.read": Rule("operator", site_wide=True),
    "archive.manage": Rule("installer", site_wide=True),  # verify, restore, retention
    "backups.read": Rule("operator", site_wide=True),
    "backups.manage": Rule("admin", site_wide=True),
    "twins.write": Rule("operator"),
    "commands.send": Rule("operator"),
    "firmware.read": Rule("viewer"),  # artifacts, rollouts, executions of the devices in one's scope
    "artifacts.manage": Rule("installer", site_wide=True),
    "artifact_keys.manage": Rule("admin", site_wide=True),
    "rollouts.manage": Rule("operator", site_wide=True),  # make, start, pause, stop, roll back
    "rollouts.approve": Rule("installer", site_wide=True),  # by somebody else than who made it
    "executions.operate": Rule("operator"),  # the work queue
    "alarms.read": Rule("viewer"),  # of the devices in one's scope; of the node for those without one
    "alarms.operate": Rule("operator"),  # acknowledge, shelve
    "maintenance.manage": Rule("operator", site_wide=True),
    "rules.read": Rule("operator", site_wide=True),
    "rules.manage": Rule("installer", site_wide=True),
    "notifications.read": Rule("operator", site_wide=True),
    "notifications.manage": Rule("installer", site_wide=True),  # targets, on-call lists
    "traces.read": Rule("operator"),
    "broker.read": Rule("viewer", site_wide=True),
    "broker.operate": Rule("operator", site_wide=True),
    "bridges.read": Rule("viewer", site_wide=True),
    "sites.read": Rule("viewer", site_wide=True),
    "sites.manage": Rule("admin", site_wide=True),
    "conflicts.read": Rule("installer", site_wide=True),  # rights of people are among the values
    "conflicts.resolve": Rule("admin", site_wide=True),
    "groups.manage": Rule("installer", site_wide=True),
    "claims.manage": Rule("installer", site_wide=True),
    "settings.read": Rule("operator", site_wide=True),
    "settings.manage": Rule("installer", site_wide=True),
    "users.manage": Rule("admin", site_wide=True),
    "audit.read": Rule("admin", site_wide=True),
    "keys.manage": Rule("admin", site_wide=True),
}


def covers(role: Role, other: Role) -> bool:
    """Whether a role has all that another one has."""
    return ROLES.index(role) >= ROLES.index(other)


def may(role: Role, scope: Scope, permission: Permission) -> bool:
    """Whether somebody of that role and scope has a permission (for some devices at least)."""
    rule = RULES[permission]
    return covers(role, rule.role) and (scope is None or not rule.site_wide)


def check(role: Role, scope: Scope, permission: Permission) -> None:
    """Refuse what `may` denies.

    Raises:
        NotAuthorized: `role_too_low`, or `scope_too_narrow` where the role would do.
    """
    rule = RULES[permission]
    if not covers(role, rule.role):
        raise NotAuthorized(
            f"This needs the role {rule.role}, and yours is {role}.",
            hint="Ask an admin of this box to do it or to give you the role.",
            code="role_too_low",
        )
    if scope is not None and rule.site_wide:
        raise NotAuthorized(
            "This concerns the whole site, and your account is limited to some groups of devices.",
            hint="Ask an admin of this box to do it or to widen your account.",
            code="scope_too_narrow",
        )


def sees(scope: Scope, groups: Collection[str]) -> bool:
    """Whether a device in these groups lies within a scope."""
    return scope is None or not scope.isdisjoint(groups)


def narrower(scope: Scope, other: Scope) -> Scope:
    """What lies in both scopes."""
    if scope is None:
        return other
    return scope if other is None else scope & other


def scope_to_json(scope: Scope) -> str:
    """A scope as the catalog keeps it: null, or an array of group ids in order."""
    return json.dumps(None if scope is None else sorted(scope))


def scope_from_json(text: str) -> Scope:
    """The scope that `scope_to_json` wrote. What is no array of texts is no group at all: a scope never widens by mistake."""
    value = json.loads(text)
    if value is None:
        return None
    return (
        frozenset(value)
        if isinstance(value, list) and all(isinstance(g, str) for g in value)
        else frozenset()
    )
