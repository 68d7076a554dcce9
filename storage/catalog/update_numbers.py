"""How updates stand, in numbers: for metrics, health and the doctor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.core.limits_updates import ROLLOUT_DEVICE_COUNT_MAX
from storage.catalog.execution_lists import Drift, ExecutionListTable
from storage.catalog.executions import ExecutionTable
from storage.catalog.rollouts import RolloutTable

NAMED_COUNT = 10
"""Devices that a sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateNumbers:
    """See the module's docstring.

    Attributes:
        executions, rollouts: By state; every state of a rollout has an entry.
        in_need: Executions in the work queue.
        rollback_attempts: Of executions that have not ended, all together.
        drifted: Devices that report something else than their last update ended with.
    """

    executions: Mapping[str, int]
    rollouts: Mapping[str, int]
    in_need: int
    rollback_attempts: int
    drifted: tuple[Drift, ...]

    def sentences(self) -> list[str]:
        """What wants somebody to look; nothing when all is as it should be."""
        found = []
        if self.in_need:
            found.append(f"{_devices(self.in_need)} need{'s' * (self.in_need == 1)} a hand after an update.")
        if self.drifted:
            named = ", ".join(each.device_id for each in self.drifted[:NAMED_COUNT])
            more = " …" if len(self.drifted) > NAMED_COUNT else ""
            runs = "runs" if len(self.drifted) == 1 else "run"
            found.append(
                f"{_devices(len(self.drifted))} {runs} something else than the last update ended with: {named}{more}."
            )
        return found


class UpdateNumbersTable(ExecutionListTable, ExecutionTable, RolloutTable):
    """Methods of the catalog that count."""

    def update_numbers(self) -> UpdateNumbers:
        """How updates stand now."""
        attempts = self.row(
            "SELECT coalesce(sum(rollback_attempt_count), 0) FROM executions WHERE ended_at_ms IS NULL"
        )
        assert attempts
        return UpdateNumbers(
            executions=self.count_executions(),
            rollouts={state.value: count for state, count in self.count_rollouts().items()},
            in_need=self.count_in_need(),
            rollback_attempts=int(attempts[0]),
            drifted=self.drift(limit=ROLLOUT_DEVICE_COUNT_MAX),
        )


def _devices(count: int) -> str:
    return f"{count} device{'s' * (count != 1)}"
