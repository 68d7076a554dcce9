"""A keeper that keeps nothing: days as a test puts them, and what was asked of it."""

from __future__ import annotations

from dataclasses import replace

from appliance.core.errors import NotFound
from appliance.pipeline.keeper_forecast import ClassForecast, Forecast
from appliance.pipeline.keeper_statistics import DayView, KeeperStatistics
from storage.archive.checking import Fault
from storage.archive.sizes import StoreSize

TODAY = 20_509
"""2026-02-25, on which the nodes of tests live."""
VERIFIED_AT_MS = 1_771_900_000_000


def day(ago: int, **changes: object) -> DayView:
    """A day that the store and the archive have."""
    view = DayView(
        day=TODAY - ago,
        where="both",
        generation=1,
        hot_rows=720_000,
        pending_rows=0,
        archived_rows=720_000,
        archived_bytes=6_300_000,
        verified_at_ms=VERIFIED_AT_MS,
    )
    return replace(view, **changes)  # type: ignore[arg-type]


class Keeper:
    """Answers as appliance.pipeline.keeper.Keeper."""

    def __init__(self) -> None:
        self.found = [
            day(100, where="archived", hot_rows=0),
            day(50, faults=(("default-000.parquet", "it is missing"),)),
            day(2, pending_rows=12, hot_rows=720_012),
            day(1, where="hot", generation=None, archived_rows=0, archived_bytes=0, verified_at_ms=None),
        ]
        self.now = KeeperStatistics(
            state="idle", archive_bytes=18_900_000, archive_rows=2_160_000, archive_days=3, faulty_days=1,
            unarchived_days=1, cooled_total={"hot_days": 1},
        )  # fmt: skip
        self.days_left: float | None = 41.5
        self.rate_bytes = 1.5e7
        self.restored: list[tuple[int, int]] = []

    def days(self) -> list[DayView]:
        return self.found

    def statistics(self) -> KeeperStatistics:
        return self.now

    @property
    def size(self) -> StoreSize:
        return StoreSize(used_bytes=40_000_000, free_bytes=2_000_000)

    def forecast(self, disk_room_bytes: int) -> Forecast:
        classes = (ClassForecast("default", 720_000.0, 1.3e9, 4.6e9),)
        return Forecast(classes, self.rate_bytes, 6.3e6, self.days_left)

    async def verify(self, number: int) -> list[Fault]:
        view = next((each for each in self.found if each.day == number), None)
        if view is None:
            raise NotFound("There is no such day.", hint="Look at the list.", code="archive_day_unknown")
        return [Fault(number, 1, file, problem) for file, problem in view.faults]

    async def restore(self, number: int, until_day: int) -> int:
        self.restored.append((number, until_day))
        return 720_000

    def restore_soon(self, number: int, until_day: int) -> None:
        self.restored.append((number, until_day))
