"""The table of permissions as docs/PEOPLE.md has it: `python -m appliance.management.permission_text` prints it. Pure."""

from __future__ import annotations

import sys
from typing import Final

from appliance.management.permissions import PERMISSIONS, ROLES, RULES, Permission, covers

WORDS: Final[dict[Permission, str]] = {
    "account.own": "one's own password, second factor, sessions and API tokens",
    "node.read": "see how the node is",
    "devices.read": "see devices",
    "telemetry.read": "see readings",
    "groups.read": "see groups",
    "devices.operate": "adopt and reject devices, name and tag them",
    "devices.manage": "register devices, give and end credentials, access, decommission, replace",
    "dead_letters.read": "see messages that could not be read",
    "dead_letters.replay": "read dead letters again after a mapping was mended",
    "mappings.read": "see how payloads are read, and try it on recent messages",
    "mappings.manage": "change how payloads are read",
    "telemetry.query": "ask in SQL, over the readings of all devices",
    "telemetry.erase": "erase a device's readings for good",
    "archive.read": "see what is archived and how long readings are kept",
    "archive.manage": "verify and restore the archive, change how long readings are kept",
    "backups.read": "see the backups",
    "backups.manage": "make, verify and remove backups",
    "twins.write": "set what a device should be (its twin)",
    "commands.send": "send commands to devices",
    "firmware.read": "see artifacts, rollouts and how far each device is",
    "artifacts.manage": "add and remove artifacts",
    "artifact_keys.manage": "say whose signatures count on artifacts",
    "rollouts.manage": "make, start, pause, stop and roll back rollouts",
    "rollouts.approve": "approve somebody else's rollout",
    "executions.operate": "work through the devices that need a hand after an update",
    "alarms.read": "see alarms and their history",
    "alarms.operate": "acknowledge and shelve alarms",
    "maintenance.manage": "say when and where work is done, so that nobody is told of its alarms",
    "rules.read": "see what is watched for",
    "rules.manage": "make, change and remove rules, and try them on past readings",
    "notifications.read": "see who is told of alarms, and what was sent",
    "notifications.manage": "say who is told of alarms, and how",
    "traces.read": "see where a reading spent its time",
    "broker.read": "see the broker's clients and numbers",
    "broker.operate": "end connections and sessions, clear retained messages",
    "bridges.read": "see bridges",
    "sites.read": "see other boxes and what is safe there",
    "sites.manage": "invite other boxes, call that off, take a box out for good, try a restore",
    "conflicts.read": "see what people wrote on boxes of a site that did not know of each other",
    "conflicts.resolve": "decide between such values",
    "groups.manage": "make, change and remove groups",
    "claims.manage": "make and end claim tokens",
    "certificates.read": "see devices' certificates",
    "certificates.manage": "issue and revoke devices' certificates",
    "settings.read": "see settings",
    "settings.manage": "change settings",
    "users.manage": "users, their roles, scopes, sessions and tokens",
    "audit.read": "read and export the audit",
    "keys.manage": "the emergency brake, the recovery kit",
}


def as_markdown() -> str:
    """The table: a row per permission, who has it, and whether it concerns the whole site."""
    lines = [
        f"| Permission | What it is for | {' | '.join(ROLES)} | Site only |",
        "|---|---|" + "---|" * (len(ROLES) + 1),
    ]
    for permission in PERMISSIONS:
        rule = RULES[permission]
        marks = ["✓" if covers(role, rule.role) else "" for role in ROLES]
        cells = [f"`{permission}`", WORDS[permission], *marks, "yes" if rule.site_wide else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":  # pragma: no cover - a way to call the above
    sys.stdout.write(as_markdown())
