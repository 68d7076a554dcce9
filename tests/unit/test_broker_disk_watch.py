"""What the broker needs of the log, by the level of the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.disk_watch import DiskWatch
from storage.log.disk_level import DiskLevel


@dataclass
class House:
    """What is needed of the writer's housekeeping."""

    level: DiskLevel = DiskLevel.OK
    holders: dict[str, Callable[[], int]] = field(default_factory=dict)

    def hold(self, name: str, needed_seq: Callable[[], int]) -> None:
        self.holders[name] = needed_seq


def watch(house: House, *, checkpoint_seq: int, session_seq: int | None) -> DiskWatch:
    house_statistics = SimpleNamespace(
        failures_total=0, last_failure="", removed_segments_total=0, dropped_rule="", dropped_next_seq=1,
        dropped_unread_records=0, needed_by="",
    )  # fmt: skip
    statistics = SimpleNamespace(
        housekeeping=house_statistics, write_failures_total=0, last_write_failure="",
        upkeep_failures_total=0, last_upkeep_failure="",
    )  # fmt: skip
    writer: Any = SimpleNamespace(housekeeping=house, statistics=lambda: statistics)
    keeper: Any = SimpleNamespace(durable_seq=checkpoint_seq)
    sessions: Any = SimpleNamespace(needed_seq=lambda: session_seq)
    return DiskWatch(cast(Any, writer), keeper, sessions)


@pytest.mark.parametrize(
    ("level", "session_seq", "needed"),
    [
        (DiskLevel.OK, None, 90),
        (DiskLevel.OK, 40, 40),
        (DiskLevel.OK, 95, 90),
        (DiskLevel.LOW, 40, 90),
        (DiskLevel.HOLD, 40, 90),
        (DiskLevel.READ_ONLY, 40, 90),
    ],
)
def test_sessions_hold_the_log_only_while_there_is_room(
    level: DiskLevel, session_seq: int | None, needed: int
) -> None:
    house = House(level)
    watch(house, checkpoint_seq=90, session_seq=session_seq).look()
    assert house.holders["broker"]() == needed
