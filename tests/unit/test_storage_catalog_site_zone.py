"""The site's zone: what was chosen, and UTC where that is nothing this machine knows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from appliance.core.clock import ManualClock
from storage.catalog import Catalog
from storage.catalog.site_zone import site_zone


def test_the_zone(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    assert site_zone(catalog) is dt.UTC
    catalog.set_setting("site.time_zone", "Europe/Vienna")
    assert str(site_zone(catalog)) == "Europe/Vienna"
    for unknown in ("Europe/Atlantis", "../../etc/passwd"):
        catalog.set_setting("site.time_zone", unknown)
        assert site_zone(catalog) is dt.UTC
    catalog.close()
