"""What the catalog's connections ask an operator to look at; nothing while they are well."""

from __future__ import annotations

from storage.catalog import AsyncCatalog
from ui.pages.format import plural
from ui.pages.views import Attention


def catalog_attention(catalog: AsyncCatalog) -> tuple[Attention, ...]:
    """Lines for the Overview, worst first."""
    lines: list[Attention] = []
    away = [name for name, cache in catalog.statistics().caches.items() if cache.away]
    if away:
        text = "The catalog can't be read: who was signed in is served from memory, for some minutes. Devices notice nothing."
        lines.append(Attention(tone="bad", text=text))
    for alarm in catalog.watch.alarms():
        if alarm.is_nearly_used_up:
            percent = round(100 * alarm.utilization_ratio)
            text = f"{percent} % of the catalog's connections ({alarm.pool}) are in use: answers will be slow or refused."
            lines.append(Attention(tone="warn", text=text))
        if alarm.overdue:
            count = plural(len(alarm.overdue), "connection", "connections")
            one = alarm.overdue[0]
            text = f"{count} of the catalog ({alarm.pool}) did not come back: {one.who}, for {one.held_ms // 1000} s. Look at the disk."
            lines.append(Attention(tone="bad", text=text))
    return tuple(lines)
