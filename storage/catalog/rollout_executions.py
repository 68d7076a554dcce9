"""A rollout's executions as its planner sees them: how they stand, who may start, who has to make room. In batches.

Only their making is written here; what becomes of them is the engine's (storage/catalog/executions.py).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.management.executions import State
from appliance.management.gates import Health
from appliance.management.permissions import Scope
from appliance.management.wave_counts import Standing
from storage.catalog.database import CatalogDatabase
from storage.catalog.homes import OWN_HOME
from storage.catalog.rollouts import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExecution:
    """An execution to be made.

    Attributes:
        from_version, from_digest: What the device runs, "" while it never said.
        is_noop: It runs the artifact already: the execution ends as it begins.
    """

    execution_id: str
    device_id: str
    wave: int
    from_version: str
    from_digest: str
    is_noop: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """An execution that may be moved: its id, its device, where it is and was."""

    execution_id: str
    device_id: str
    state: State
    before_pause: str
    wave: int


_CHANGED_SINCE: Final = (
    "SELECT later.execution_id FROM executions AS later WHERE later.device_id = executions.device_id "
    "AND later.started_at_ms > executions.started_at_ms AND (later.slot_touched = 1 OR later.state = 'succeeded' "
    "OR (later.ended_at_ms IS NULL AND later.state <> 'queued'))"
)
"""Later updates that changed the device, or may at any moment. One that ended before it wrote anything left all as it was."""


class RolloutExecutionTable(CatalogDatabase):
    """Methods of the catalog about the executions of a rollout."""

    def add_executions(
        self,
        rollout: Rollout,
        made: Sequence[NewExecution],
        *,
        to_version: str,
        to_digest: str,
        size_bytes: int,
        deadline_at_ms: int,
    ) -> None:
        """Make executions, in the transaction that starts the rollout: QUEUED and not admitted, or NOOP."""
        now_ms = self._clock.now_ms()
        for each in made:
            self.execute(
                "INSERT INTO executions (execution_id, rollout_id, device_id, wave, number, state, max_attempts, "
                "max_rollback_attempts, from_version, from_digest, to_version, to_digest, bytes_total, end_by_at_ms, "
                "ended_at_ms, state_since_ms, created_at_ms, updated_at_ms, home, origin, hlc) "
                "VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    each.execution_id, rollout.rollout_id, each.device_id, each.wave,
                    State.NOOP if each.is_noop else State.QUEUED, rollout.policy.max_attempts,
                    rollout.policy.max_rollback_attempts, each.from_version, each.from_digest, to_version, to_digest,
                    size_bytes, deadline_at_ms, now_ms if each.is_noop else None, now_ms, now_ms, now_ms, self.origin,
                    self.origin, self.hlc,
                ),
            )  # fmt: skip

    def standings(self, rollout_id: str, *, scope: Scope = None) -> list[Standing]:
        """How a rollout's executions stand, those that stand alike together.

        Args:
            scope: Of devices in these groups only; None for all.
        """
        return [
            Standing(
                wave=row["wave"],
                state=State(row["state"]),
                before_pause=row["before_pause"],
                is_admitted=bool(row["is_admitted"]),
                is_started=bool(row["is_started"]),
                is_touched=bool(row["slot_touched"]),
                is_over=bool(row["is_over"]),
                needs_hand=bool(row["needs_manual_intervention"]),
                has_moved_on=bool(row["has_moved_on"]),
                count=row["count"],
            )
            for row in self.rows(
                "SELECT wave, state, before_pause, is_admitted, started_at_ms IS NOT NULL AS is_started, slot_touched, "  # noqa: S608 - our own text
                "ended_at_ms IS NOT NULL AS is_over, needs_manual_intervention, "
                f"CASE WHEN state = 'succeeded' THEN EXISTS ({_CHANGED_SINCE}) ELSE 0 END AS has_moved_on, count(*) AS count FROM executions "
                "WHERE rollout_id = ? AND (? OR EXISTS (SELECT 1 FROM devices AS d, json_each(d.groups) AS g WHERE d.device_id = "
                "executions.device_id AND g.value IN (SELECT value FROM json_each(?)))) GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9",
                (rollout_id, scope is None, json.dumps(sorted(scope or ()))),
            )
        ]

    def waiting_for_admission(self, rollout_id: str, *, wave_max: int) -> list[Waiting]:
        """QUEUED and not admitted, up to a wave, whose device is in no other execution; the earliest wave first."""
        return _waiting(
            self.rows(
                f"SELECT execution_id, device_id, state, before_pause, wave FROM executions AS e WHERE rollout_id = ? AND {OWN_HOME} "  # noqa: S608
                "AND state = 'queued' AND is_admitted = 0 AND wave <= ? AND NOT EXISTS (SELECT 1 FROM executions AS other "
                "WHERE other.device_id = e.device_id AND other.ended_at_ms IS NULL AND other.execution_id <> e.execution_id "
                "AND (other.state <> 'queued' OR (other.created_at_ms, other.rollout_id) < (e.created_at_ms, e.rollout_id))) ORDER BY wave, execution_id",
                (rollout_id, wave_max),
            )
        )

    def admitted(self, rollout_id: str, *, since_max_ms: int | None = None) -> list[Waiting]:
        """QUEUED and admitted: they may start at any moment.

        Args:
            since_max_ms: Only those of which nothing was heard since then, UTC ms.
        """
        return _waiting(
            self.rows(
                "SELECT execution_id, device_id, state, before_pause, wave FROM executions WHERE rollout_id = ? "
                "AND state = 'queued' AND is_admitted = 1 AND updated_at_ms <= coalesce(?, updated_at_ms)",
                (rollout_id, since_max_ms),
            )
        )

    def executions_to_move(
        self, rollout_id: str, states: Collection[State], *, wave_min: int = 0, limit: int
    ) -> list[Waiting]:
        """Those in any of these states; FAILED only while it would be tried again by itself, SUCCEEDED only while it is its device's last."""
        return _waiting(
            self.rows(
                f"SELECT execution_id, device_id, state, before_pause, wave FROM executions WHERE rollout_id = ? AND wave >= ? AND {OWN_HOME} "  # noqa: S608 - our own text
                "AND state IN (SELECT value FROM json_each(?)) AND (state <> 'failed' OR ended_at_ms IS NULL) "
                f"AND (state <> 'succeeded' OR NOT EXISTS ({_CHANGED_SINCE})) "
                "ORDER BY is_admitted DESC, wave, execution_id LIMIT ?",
                (rollout_id, wave_min, json.dumps(sorted(states)), limit),
            )
        )

    def queued_with_groups(self, rollout_id: str) -> list[tuple[Waiting, tuple[str, ...]]]:
        """QUEUED ones with the groups of their devices, in order."""
        found = self.rows(
            "SELECT execution_id, e.device_id, e.state, before_pause, wave, d.groups FROM executions AS e "  # noqa: S608
            f"JOIN devices AS d USING (device_id) WHERE rollout_id = ? AND e.state = 'queued' AND e.{OWN_HOME} ORDER BY wave, execution_id",
            (rollout_id,),
        )
        return list(zip(_waiting(found), (tuple(json.loads(row["groups"])) for row in found), strict=True))

    def open_executions(self, rollout_id: str) -> list[str]:
        """Those that have not ended and that this node drives."""
        return [
            row[0]
            for row in self.rows(
                f"SELECT execution_id FROM executions WHERE rollout_id = ? AND ended_at_ms IS NULL AND {OWN_HOME}",  # noqa: S608
                (rollout_id,),
            )
        ]

    def superseded(self, *, limit: int) -> list[Waiting]:
        """Those that a newer rollout's execution for the same device makes needless, and that can give way: all others finish first."""
        return _waiting(
            self.rows(
                f"SELECT execution_id, device_id, state, before_pause, wave FROM executions AS e WHERE ended_at_ms IS NULL AND {OWN_HOME} "  # noqa: S608
                "AND state IN ('queued', 'notified', 'paused') AND device_id IN (SELECT device_id FROM executions "
                # Of 10,000 devices few have two: those come from the index alone, and only they are compared.
                "WHERE ended_at_ms IS NULL GROUP BY device_id HAVING count(*) > 1) AND EXISTS (SELECT 1 FROM executions AS newer "
                "WHERE newer.device_id = e.device_id AND newer.ended_at_ms IS NULL "
                "AND (newer.created_at_ms, newer.rollout_id) > (e.created_at_ms, e.rollout_id)) "
                "LIMIT ?",
                (limit,),
            )
        )

    def changed_since(self, execution_id: str) -> str | None:
        """The later update that changed its device, or may at any moment; None for none."""
        found = self.row(
            f"SELECT ({_CHANGED_SINCE} ORDER BY later.started_at_ms DESC LIMIT 1) FROM executions WHERE execution_id = ?",  # noqa: S608 - our own text
            (execution_id,),
        )
        return found[0] if found else None

    def has_open_executions(self) -> bool:
        """Whether any of any rollout that this node drives has not ended."""
        return (
            self.row(f"SELECT 1 FROM executions WHERE ended_at_ms IS NULL AND {OWN_HOME} LIMIT 1")  # noqa: S608
            is not None
        )

    def of_devices_gone(self, *, limit: int) -> list[Waiting]:
        """Those whose device was rejected, decommissioned or removed; what is back on its old version ends by itself."""
        return _waiting(
            self.rows(
                f"SELECT execution_id, device_id, state, before_pause, wave FROM executions AS e WHERE ended_at_ms IS NULL AND {OWN_HOME} "  # noqa: S608
                "AND state <> 'rolled_back' AND NOT EXISTS (SELECT 1 FROM devices AS d WHERE d.device_id = e.device_id AND d.state = 'active') LIMIT ?",
                (limit,),
            )
        )

    def health_before(self, rollout_id: str, *, wave_max: int) -> dict[str, Health]:
        """How the devices that succeeded were before, of the waves so far; without those of which nothing is known."""
        return {
            device_id: Health(**json.loads(text))
            for device_id, text in self.rows(
                "SELECT device_id, json_extract(health, '$.before') FROM executions WHERE rollout_id = ? AND wave <= ? "
                "AND state = 'succeeded' AND json_extract(health, '$.before') IS NOT NULL",
                (rollout_id, wave_max),
            )
        }


def _waiting(rows: Sequence[Mapping[str, Any]]) -> list[Waiting]:
    return [
        Waiting(row["execution_id"], row["device_id"], State(row["state"]), row["before_pause"], row["wave"])
        for row in rows
    ]
