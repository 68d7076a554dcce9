"""Which rows this node drives: executions, rollouts and commands have a home, one node at a time.

The other nodes of the site have the rows too and leave them alone. A take-over writes the own name as the home, with a fence that is one
higher: merging has the whole row of the higher fence win (appliance/management/merge_rules.py), so a home of before that comes back sees that
it is none any more and stops. Two that take over at once both raise it, and the same one of them stands on every node.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.management.rollouts import LIVE
from storage.catalog.database import CatalogDatabase

OWN_HOME: Final = "home IN ('', (SELECT node_id FROM change_clock))"
"""For a WHERE. A row that the release before wrote has none: it is of the node that has it."""
OWN_ORIGIN: Final = "origin = (SELECT node_id FROM change_clock)"
"""Of rows that only the node changes that made them."""


_BY: Final = f"origin IN (SELECT value FROM json_each(?1)) AND NOT {OWN_ORIGIN}"  # noqa: S608
_TO_BEGIN_ELSEWHERE: Final = f"state = 'queued' AND {OWN_HOME} AND rollout_id IN (SELECT rollout_id FROM rollouts WHERE NOT {OWN_HOME})"  # noqa: S608
IN_DOUBT: Final = "The box that sent it is gone; it may have arrived."


_ENDED: Final = f"""home IN (SELECT value FROM json_each(?1)) AND NOT {OWN_HOME} AND state IN (SELECT value FROM json_each(?2))
AND NOT EXISTS (SELECT 1 FROM executions AS e WHERE e.rollout_id = rollouts.rollout_id AND e.ended_at_ms IS NULL)"""  # noqa: S608
"""Rollouts under way of which no device has anything to do any more: they soak, or end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """What a node took over: ids of executions, rollouts and commands."""

    executions: tuple[str, ...] = ()
    rollouts: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.executions or self.rollouts or self.commands)


class HomeTable(CatalogDatabase):
    """Methods of the catalog about homes."""

    def drives_execution(self, execution_id: str) -> bool:
        """Whether an execution is this node's to move."""
        found = self.row(
            f"SELECT 1 FROM executions WHERE execution_id = ? AND {OWN_HOME}",  # noqa: S608
            (execution_id,),
        )
        return found is not None

    def devices_driven_by(self, homes: Sequence[str], *, limit: int) -> list[str]:
        """Devices of which one of these other nodes drives something that is open."""
        open_by = f"home IN (SELECT value FROM json_each(?1)) AND NOT {OWN_HOME}"  # noqa: S608
        found = self.rows(
            f"SELECT device_id FROM executions WHERE ended_at_ms IS NULL AND {open_by} "  # noqa: S608
            f"UNION SELECT device_id FROM commands WHERE state IN ('queued', 'sent') AND {open_by} LIMIT ?2",
            (json.dumps(list(homes)), limit),
        )
        return [row[0] for row in found]

    def devices_with_commands_elsewhere(self, *, limit: int) -> list[str]:
        """Devices for which a command waits on another node."""
        found = self.rows(
            f"SELECT DISTINCT device_id FROM commands WHERE state = 'queued' AND NOT {OWN_HOME} LIMIT ?",  # noqa: S608
            (limit,),
        )
        return [row[0] for row in found]

    def take_over_queued(self, device_ids: Sequence[str]) -> int:
        """Become the home of commands that wait for these devices, which listen here; how many those are."""
        with self.transaction():
            return self.execute(
                "UPDATE commands SET home = ?1, home_fence = home_fence + 1, origin = ?1, hlc = ?2 "  # noqa: S608
                f"WHERE state = 'queued' AND NOT {OWN_HOME} AND device_id IN (SELECT value FROM json_each(?3))",
                (self.origin, self.hlc, json.dumps(list(device_ids))),
            )

    def driven_under_way(self, *, limit: int) -> list[tuple[str, str]]:
        """Executions that this node drives and that have begun, with their devices."""
        found = self.rows(
            f"SELECT execution_id, device_id FROM executions WHERE ended_at_ms IS NULL AND state <> 'queued' AND {OWN_HOME} LIMIT ?",  # noqa: S608
            (limit,),
        )
        return [(row[0], row[1]) for row in found]

    def taken_on(self, *, limit: int) -> list[str]:
        """Executions that this node drives and that another one did before."""
        found = self.rows(
            f"SELECT execution_id FROM executions WHERE ended_at_ms IS NULL AND home_fence > 0 AND {OWN_HOME} LIMIT ?",  # noqa: S608
            (limit,),
        )
        return [row[0] for row in found]

    def hand_over(self, execution_ids: Sequence[str], node_id: str) -> int:
        """Have another node be the home of executions that have begun, whose devices are there; how many those are."""
        with self.transaction():
            return self.execute(
                "UPDATE executions SET home = ?1, home_fence = home_fence + 1, origin = ?2, hlc = ?3 "  # noqa: S608
                f"WHERE ended_at_ms IS NULL AND state <> 'queued' AND {OWN_HOME} AND execution_id IN (SELECT value FROM json_each(?4))",
                (node_id, self.origin, self.hlc, json.dumps(list(execution_ids))),
            )

    def has_handed_back(self) -> bool:
        """Whether one that was handed over here waits to begin again, which its rollout's home decides."""
        return self.row(f"SELECT 1 FROM executions WHERE {_TO_BEGIN_ELSEWHERE} LIMIT 1") is not None  # noqa: S608

    def hand_back(self) -> int:
        """Have those be their rollout's home's again; how many those are."""
        with self.transaction():
            return self.execute(
                "UPDATE executions SET home = (SELECT home FROM rollouts AS r WHERE r.rollout_id = executions.rollout_id), "  # noqa: S608
                f"home_fence = home_fence + 1, origin = ?1, hlc = ?2 WHERE {_TO_BEGIN_ELSEWHERE}",
                (self.origin, self.hlc),
            )

    def has_notifications_of(self, homes: Sequence[str]) -> bool:
        """Whether one of these other nodes made a notification that was not sent, as far as is known here."""
        found = self.row(
            f"SELECT 1 FROM notifications WHERE state IN ('waiting', 'sending') AND {_BY} LIMIT 1",  # noqa: S608
            (json.dumps(list(homes)),),
        )
        return found is not None

    def take_over_notifications(self, homes: Sequence[str], now_ms: int) -> int:
        """Send what these nodes, which are gone, have not sent, as far as is known here; how many those are.

        What one of them was sending, or had sent and could not tell any more, is sent once more: its key is the same.
        """
        with self.transaction():
            return self.execute(
                "UPDATE notifications SET error = CASE state WHEN 'sending' THEN ?4 ELSE error END, state = 'waiting', "  # noqa: S608
                f"next_at_ms = min(next_at_ms, ?5), origin = ?2, hlc = ?3 WHERE state IN ('waiting', 'sending') AND {_BY}",
                (json.dumps(list(homes)), self.origin, self.hlc, IN_DOUBT, now_ms),
            )

    def has_ended_rollouts_of(self, homes: Sequence[str]) -> bool:
        """Whether one of these other nodes drives a rollout of which only the end is left, which no device would bring here."""
        found = self.row(
            f"SELECT 1 FROM rollouts WHERE {_ENDED} LIMIT 1",  # noqa: S608
            (json.dumps(list(homes)), json.dumps(sorted(LIVE))),
        )
        return found is not None

    def take_over_ended_rollouts(self, homes: Sequence[str]) -> int:
        """Become the home of those rollouts; how many they are."""
        with self.transaction():
            return self.execute(
                f"UPDATE rollouts SET home = ?3, home_fence = home_fence + 1, origin = ?3, hlc = ?4 WHERE {_ENDED}",  # noqa: S608
                (json.dumps(list(homes)), json.dumps(sorted(LIVE)), self.origin, self.hlc),
            )

    def take_over(self, device_ids: Sequence[str], homes: Sequence[str]) -> TakenOver:
        """Become the home of what is open of these devices and driven by one of these nodes, and of the rollouts that
        it belongs to.

        Args:
            homes: Node ids that are to be replaced.
        """
        of, by = json.dumps(list(device_ids)), json.dumps(list(homes))
        open_of = (
            "device_id IN (SELECT value FROM json_each(?1)) AND home IN (SELECT value FROM json_each(?2))"
        )
        with self.transaction():
            executions = self.rows(
                f"SELECT execution_id AS id, rollout_id FROM executions WHERE ended_at_ms IS NULL AND {open_of}",  # noqa: S608
                (of, by),
            )
            commands = self.rows(
                f"SELECT command_id AS id FROM commands WHERE state IN ('queued', 'sent') AND {open_of}",  # noqa: S608
                (of, by),
            )
            rollouts = self.rows(
                "SELECT rollout_id AS id FROM rollouts WHERE rollout_id IN (SELECT value FROM json_each(?1)) "
                "AND home IN (SELECT value FROM json_each(?2)) AND state IN (SELECT value FROM json_each(?3))",
                (json.dumps([row["rollout_id"] for row in executions]), by, json.dumps(sorted(LIVE))),
            )
            # All of a rollout goes on from one place: gates look at the whole of a wave.
            others = self.rows(
                "SELECT execution_id AS id FROM executions WHERE ended_at_ms IS NULL AND rollout_id IN (SELECT value FROM json_each(?1)) "
                "AND home IN (SELECT value FROM json_each(?2))",
                (json.dumps([row["id"] for row in rollouts]), by),
            )
            taken = TakenOver(
                executions=tuple(dict.fromkeys(row["id"] for row in (*executions, *others))),
                rollouts=tuple(row["id"] for row in rollouts),
                commands=tuple(row["id"] for row in commands),
            )
            for table, key, ids in (
                ("executions", "execution_id", taken.executions),
                ("commands", "command_id", taken.commands),
                ("rollouts", "rollout_id", taken.rollouts),
            ):
                self.execute(
                    f"UPDATE {table} SET home = ?1, home_fence = home_fence + 1, origin = ?1, hlc = ?2 "  # noqa: S608
                    f"WHERE {key} IN (SELECT value FROM json_each(?3))",
                    (self.origin, self.hlc, json.dumps(list(ids))),
                )
            return taken
