"""Settings of the site."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LimitExceeded
from storage.catalog import Catalog


def test_settings(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    assert catalog.get_setting("zone", "UTC") == "UTC"
    catalog.set_setting("zone", {"name": "Europe/Zürich"})
    catalog.set_setting("zone", ["a"])
    assert catalog.get_setting("zone") == ["a"]
    with pytest.raises(LimitExceeded):
        catalog.set_setting("zone", "x" * 70_000)
    catalog.close()
