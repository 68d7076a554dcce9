"""The site's own settings as pages use them: its name, its time zone, how its dates are written.

Kept in memory, read again after a change. While the catalog can't be read, what was known last holds.
"""

from __future__ import annotations

import datetime as dt
import functools
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog
import trio

from appliance.core.errors import Unavailable
from appliance.management.site_settings import SITE_SETTINGS, UTC, check_value, find_setting
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.database import Change

_log = structlog.get_logger(__name__)

DATE_FORMATS: Final = {"iso": "%Y-%m-%d", "dmy": "%d.%m.%Y", "dmy_slash": "%d/%m/%Y", "mdy": "%m/%d/%Y"}
CHANGE_ACTION: Final = "setting.set"


@functools.cache
def time_zones() -> tuple[str, ...]:
    """The time zones that this machine knows, in order, UTC first; only UTC where it has no list."""
    regions = sorted(zone for zone in zoneinfo.available_timezones() if "/" in zone and zone[:4] != "Etc/")
    return (UTC, *regions)


@dataclass(frozen=True, slots=True)
class Site:
    """The values of SITE_SETTINGS that hold, "" for a name that nobody chose."""

    name: str = ""
    time_zone: str = UTC
    date_format: str = "iso"
    language: str = "en"
    _zone: dt.tzinfo = field(init=False, repr=False, compare=False, default=dt.UTC)

    def __post_init__(self) -> None:
        try:
            zone: dt.tzinfo = zoneinfo.ZoneInfo(self.time_zone) if self.time_zone != UTC else dt.UTC
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            zone = dt.UTC  # replicated from a node that knows more zones than this one
        object.__setattr__(self, "_zone", zone)

    def local_text(self, at_ms: int) -> str:
        """A time at the site: "27.11.2026 13:05:09 CET"; "" for times no calendar holds."""
        try:
            at = dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC).astimezone(self._zone)
        except (OverflowError, ValueError, OSError):
            return ""
        return f"{at:{DATE_FORMATS.get(self.date_format, DATE_FORMATS['iso'])}} {at:%H:%M:%S} {at.tzname()}"


class SiteFacts:
    """The site's settings, kept until one changes."""

    def __init__(self, catalog: AsyncCatalog) -> None:
        self._catalog = catalog
        self._is_stale = True
        self._lock = trio.Lock()
        self.current = Site()
        """What was read last; `get` reads again after a change."""
        catalog.subscribe(self._note)

    def _note(self, changes: tuple[Change, ...]) -> None:
        if any(change.table == "settings" for change in changes):
            self._is_stale = True

    async def get(self) -> Site:
        """The settings that hold; what was known last (at first the defaults) while the catalog can't be asked, or is being
        asked already: no page fails or waits in a queue for the site's name.
        """
        if not self._is_stale or self._lock.locked():
            return self.current
        async with self._lock:
            self._is_stale = False
            try:
                values = await self._catalog.read(read_settings)
            except Unavailable as error:
                self._is_stale = True
                _log.warning("the site's settings can't be read", code=error.code)
                return self.current
            except BaseException:
                self._is_stale = True
                raise
            self.current = Site(
                name=values["site.name"],
                time_zone=values["site.time_zone"],
                date_format=values["site.date_format"],
                language=values["site.language"],
            )
        return self.current


def read_settings(catalog: Catalog) -> dict[str, str]:
    """Every site setting's value by its key; the default where nobody has set it."""
    return {key: str(catalog.get_setting(key, setting.default)) for key, setting in SITE_SETTINGS.items()}


def checked(values: Mapping[str, str]) -> dict[str, str]:
    """New values as they are kept; asked before anything is written, so that one bad value changes nothing.

    Raises:
        NotFound: `setting_unknown`. UsageError: `setting_value`.
    """
    return {key: check_value(find_setting(key), value, zones=time_zones) for key, value in values.items()}


def write_settings(catalog: Catalog, values: Mapping[str, str]) -> dict[str, str]:
    """Keep some of the site's settings; a value that holds already is not written again.

    Args:
        values: From `checked`.
    Returns:
        All of them, as they are then.
    """
    for key, value in values.items():
        if catalog.get_setting(key) != value:
            catalog.set_setting(key, value)
    return read_settings(catalog)
