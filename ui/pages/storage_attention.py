"""What the store and the archive ask an operator to look at."""

from __future__ import annotations

from typing import Any, Final

from ui.pages.format import plural
from ui.pages.views import Attention
from ui.services import Services
from ui.storage_room import disk_room_bytes

DAYS_LEFT_MIN: Final = 7


async def storage_attention(services: Services) -> tuple[Attention, ...]:
    """Lines for the Overview, worst first."""
    if services.keeper is None:
        return ()
    forecast = services.keeper.forecast(await disk_room_bytes(services))
    return lines(services.keeper.statistics(), forecast.days_left)


def lines(keeper: Any, days_left: float | None) -> tuple[Attention, ...]:
    """See `storage_attention`.

    Args:
        keeper: A KeeperStatistics.
    """
    found: list[Attention] = []
    if keeper.faulty_days:
        text = f"{plural(keeper.faulty_days, 'day', 'days')} of the archive failed verification: see the page Storage."
        found.append(
            Attention(tone="bad", text=text, url="/storage#days", action="Storage", needs="archive.read")
        )
    if days_left is not None and days_left < DAYS_LEFT_MIN:
        text = f"At the present rate the disk is full in {plural(int(days_left), 'day', 'days')}."
        found.append(Attention(tone="bad", text=text, url="/storage", action="Storage", needs="archive.read"))
    if keeper.state == "failing":
        text = f"The archive's work fails: {keeper.incident}"
        found.append(
            Attention(tone="warn", text=text, url="/storage", action="Storage", needs="archive.read")
        )
    if pressed := keeper.cooled_total.get("disk_pressure", 0):
        text = f"{plural(pressed, 'day', 'days')} left the store before their time, since the disk is filling up; they are in the archive."
        found.append(
            Attention(tone="warn", text=text, url="/storage", action="Storage", needs="archive.read")
        )
    return tuple(found)
