"""The site's time zone, by which times of the day are meant."""

from __future__ import annotations

import datetime as dt
import zoneinfo

from storage.catalog.catalog import Catalog


def site_zone(catalog: Catalog) -> dt.tzinfo:
    """The zone that the site chose; UTC where nobody did, or where this machine does not know it."""
    name = str(catalog.get_setting("site.time_zone", "UTC"))
    try:
        return dt.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return dt.UTC  # replicated from a node that knows more zones than this one
