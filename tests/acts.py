"""What tests do to a catalog, and as whom, where it does not matter."""

from __future__ import annotations

from typing import Final

from appliance.management.audit import Act

ACT: Final = Act(action="test.write")
