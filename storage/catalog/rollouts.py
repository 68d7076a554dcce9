"""Rollouts: an artifact, devices, a plan, and how far it has come.

A row is changed by people's acts and by the planner, each in its transaction; what may follow what is rollouts.TRANSITIONS' to say, and the
acts' in appliance/updates to ask.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.core.errors import NotFound, UsageError
from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT, PAGE_ITEM_COUNT_MAX
from appliance.core.limits_updates import ROLLOUT_REASON_LENGTH_MAX
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.rollouts import LIVE, RolloutEvent, RolloutState
from storage.catalog.database import CatalogDatabase, Value
from storage.catalog.homes import OWN_HOME

ID_BYTES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A rollout. Times are UTC ms.

    Attributes:
        before_pause: The state that it goes on in, "" while it is not paused.
        wave: The current one, from 0.
        reason: Why it is paused, stopped, going back, or complete with a blemish; a sentence.
        rollback_from_wave: This wave and later ones go back; None for none.
        accepted_failures: Somebody looked at so many and went on all the same.
        fence: Devices refuse orders under a lower one.
        approved_device_count: How many devices it was for when it was approved.
        created_by: Who made it, or changed it last while it was a draft: they may not approve it.
        version: Of the row: another after every change of it, for If-Match.
    """

    rollout_id: str
    name: str
    artifact_id: str
    state: RolloutState
    before_pause: str
    wave: int
    targets: Targets
    plan: Plan
    policy: Policy
    reason: str
    rollback_from_wave: int | None
    accepted_failures: int
    wave_started_at_ms: int | None
    soak_until_at_ms: int | None
    deadline_at_ms: int | None
    fence: int
    created_by: str
    created_by_name: str
    approved_by: str
    approved_at_ms: int | None
    approved_device_count: int | None
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    updated_at_ms: int
    version: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutMove:
    """One row of a rollout's history; `actor` is "" for Homeport itself. Times are UTC ms."""

    number: int
    at_ms: int
    event: str
    from_state: str
    to_state: str
    wave: int
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPage:
    """Rollouts, the newest first; `next_cursor` is where the next page begins, None at the end."""

    rollouts: tuple[Rollout, ...]
    next_cursor: str | None


_JSON: Final = ("targets", "plan", "policy")


def make_rollout_id(now_ms: int, random: bytes) -> str:
    """An id that sorts by the time of its making.

    Args:
        random: ID_BYTES bytes.
    """
    return f"{now_ms:012x}{random.hex()}"


class RolloutTable(CatalogDatabase):
    """Methods of the catalog about rollouts."""

    def create_rollout(
        self,
        rollout_id: str,
        *,
        name: str,
        artifact_id: str,
        targets: Targets,
        plan: Plan,
        policy: Policy,
        created_by: str,
        created_by_name: str = "",
    ) -> Rollout:
        """Make a draft."""
        now_ms = self._clock.now_ms()
        with self.transaction():
            self.execute(
                "INSERT INTO rollouts (rollout_id, name, artifact_id, state, targets, plan, policy, created_by, created_by_name, "
                "created_at_ms, updated_at_ms, home, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    rollout_id, name, artifact_id, RolloutState.DRAFT, _text(targets), _text(plan), _text(policy),
                    created_by, created_by_name, now_ms, now_ms, self.origin, self.origin, self.hlc,
                ),
            )  # fmt: skip
            return self.get_rollout(rollout_id)

    def find_rollout(self, rollout_id: str) -> Rollout | None:
        """The rollout, or None."""
        found = self.row("SELECT * FROM rollouts WHERE rollout_id = ?", (rollout_id,))
        return None if found is None else _rollout(found)

    def get_rollout(self, rollout_id: str) -> Rollout:
        """The rollout.

        Raises:
            NotFound: `rollout_unknown`.
        """
        found = self.find_rollout(rollout_id)
        if found is None:
            raise NotFound(
                f"There is no rollout “{rollout_id[:100]}”.",
                hint="Look at the list of rollouts.",
                code="rollout_unknown",
            )
        return found

    def list_rollouts(
        self,
        *,
        states: Collection[RolloutState] = (),
        artifact_id: str = "",
        cursor: str | None = None,
        limit: int = PAGE_ITEM_COUNT_DEFAULT,
    ) -> RolloutPage:
        """A page of rollouts, the newest first.

        Args:
            states: In any of these; none for all.
            cursor: The last page's `next_cursor`.
            limit: 1..1000.
        """
        if not 1 <= limit <= PAGE_ITEM_COUNT_MAX:
            raise UsageError(
                f"A page has 1 to {PAGE_ITEM_COUNT_MAX} items, not {limit}.", hint="Ask for fewer at a time."
            )
        where, parameters = ["TRUE"], []
        if states:
            where.append("state IN (SELECT value FROM json_each(?))")
            parameters.append(json.dumps(sorted(states)))
        if artifact_id:
            where.append("artifact_id = ?")
            parameters.append(artifact_id)
        if cursor is not None:
            where.append("rollout_id < ?")
            parameters.append(cursor)
        found = self.rows(
            f"SELECT * FROM rollouts WHERE {' AND '.join(where)} ORDER BY rollout_id DESC LIMIT ?",  # noqa: S608
            (*parameters, limit + 1),
        )
        rollouts = tuple(map(_rollout, found[:limit]))
        return RolloutPage(
            rollouts=rollouts, next_cursor=rollouts[-1].rollout_id if len(found) > limit else None
        )

    def rollouts_in(self, states: Collection[RolloutState], *, own: bool = False) -> list[Rollout]:
        """All rollouts in any of these states, the oldest first; with `own` those that this node drives."""
        return [
            _rollout(row)
            for row in self.rows(
                f"SELECT * FROM rollouts WHERE state IN (SELECT value FROM json_each(?)) AND (NOT ? OR {OWN_HOME}) "  # noqa: S608
                "ORDER BY rollout_id",
                (json.dumps(sorted(states)), own),
            )
        ]

    def rollouts_followed(self) -> list[Rollout]:
        """Rollouts that another node drives, of which this one drives a device that came here."""
        return [
            _rollout(row)
            for row in self.rows(
                f"SELECT * FROM rollouts WHERE NOT {OWN_HOME} AND rollout_id IN "  # noqa: S608
                f"(SELECT rollout_id FROM executions WHERE ended_at_ms IS NULL AND {OWN_HOME}) ORDER BY rollout_id"
            )
        ]

    def count_rollouts(self) -> dict[RolloutState, int]:
        """How many rollouts are in each state; every state has an entry."""
        counts = {row[0]: row[1] for row in self.rows("SELECT state, count(*) FROM rollouts GROUP BY state")}
        return {state: counts.get(state, 0) for state in RolloutState}

    def change_rollout(self, rollout_id: str, **columns: Any) -> Rollout:
        """Set columns of a rollout; targets, plan and policy as they are, all else as SQLite keeps it."""
        values: dict[str, Value] = {
            name: _text(value) if name in _JSON else value for name, value in columns.items()
        }
        if "reason" in values:
            values["reason"] = str(values["reason"])[:ROLLOUT_REASON_LENGTH_MAX]
        with self.transaction():
            values |= {"updated_at_ms": self._clock.now_ms(), "origin": self.origin, "hlc": self.hlc}
            self.execute(
                f"UPDATE rollouts SET {', '.join(f'{name} = ?' for name in values)} WHERE rollout_id = ?",  # noqa: S608 - our own names
                (*values.values(), rollout_id),
            )
            return self.get_rollout(rollout_id)

    def move_rollout(
        self, rollout: Rollout, event: RolloutEvent, state: RolloutState, *, actor: str = "", **columns: Any
    ) -> Rollout:
        """Move a rollout to another state, with the entry of its history.

        Args:
            actor: Who, "" for Homeport itself.
            columns: What goes with it, as `change_rollout` takes them.
        """
        with self.transaction():
            moved = self.change_rollout(rollout.rollout_id, state=state, **columns)
            found = self.row(
                "SELECT coalesce(max(number), 0) + 1 FROM rollout_events WHERE rollout_id = ?",
                (rollout.rollout_id,),
            )
            assert found
            self.execute(
                "INSERT INTO rollout_events (event_id, rollout_id, number, at_ms, event, from_state, to_state, wave, actor, "
                "reason, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    f"{rollout.rollout_id}/{found[0]}/{self.origin[:8]}", rollout.rollout_id, found[0], self._clock.now_ms(), event,
                    rollout.state, state, moved.wave, actor, moved.reason, self.origin, self.hlc,
                ),
            )  # fmt: skip
            return moved

    def rollout_history(self, rollout_id: str, *, limit: int = PAGE_ITEM_COUNT_MAX) -> list[RolloutMove]:
        """A rollout's moves, the newest first."""
        return [
            RolloutMove(**dict(row))
            for row in self.rows(
                "SELECT number, at_ms, event, from_state, to_state, wave, actor, reason FROM rollout_events "
                "WHERE rollout_id = ? ORDER BY number DESC LIMIT ?",
                (rollout_id, limit),
            )
        ]

    def shift_rollouts(self, by_ms: int) -> None:
        """The wall clock jumped: move the times of those under way that are compared with it."""
        self.execute(
            "UPDATE rollouts SET wave_started_at_ms = wave_started_at_ms + ?, soak_until_at_ms = soak_until_at_ms + ?, "  # noqa: S608
            "deadline_at_ms = deadline_at_ms + ?, origin = ?, hlc = ? WHERE state IN (SELECT value FROM json_each(?)) "
            f"AND {OWN_HOME}",
            (by_ms, by_ms, by_ms, self.origin, self.hlc, json.dumps(sorted(LIVE))),
        )


def _text(value: Targets | Plan | Policy) -> str:
    return json.dumps(value.to_json(), ensure_ascii=False)


def _rollout(row: Mapping[str, Any]) -> Rollout:
    return Rollout(
        rollout_id=row["rollout_id"],
        name=row["name"],
        artifact_id=row["artifact_id"],
        state=RolloutState(row["state"]),
        before_pause=row["before_pause"],
        wave=row["wave"],
        targets=Targets.of_json(json.loads(row["targets"])),
        plan=Plan.of_json(json.loads(row["plan"])),
        policy=Policy.of_json(json.loads(row["policy"])),
        reason=row["reason"],
        rollback_from_wave=row["rollback_from_wave"],
        accepted_failures=row["accepted_failures"],
        wave_started_at_ms=row["wave_started_at_ms"],
        soak_until_at_ms=row["soak_until_at_ms"],
        deadline_at_ms=row["deadline_at_ms"],
        fence=row["fence"],
        created_by=row["created_by"],
        created_by_name=row["created_by_name"],
        approved_by=row["approved_by"],
        approved_at_ms=row["approved_at_ms"],
        approved_device_count=row["approved_device_count"],
        created_at_ms=row["created_at_ms"],
        started_at_ms=row["started_at_ms"],
        ended_at_ms=row["ended_at_ms"],
        updated_at_ms=row["updated_at_ms"],
        version=row["hlc"],
    )
