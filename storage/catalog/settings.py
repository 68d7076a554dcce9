"""Settings of the site: small values by name, which every node of it shares."""

from __future__ import annotations

import json
from typing import Any

from appliance.core.errors import LimitExceeded
from appliance.core.limits import SETTING_VALUE_BYTES_MAX
from storage.catalog.database import CatalogDatabase


class SettingTable(CatalogDatabase):
    """Methods of the catalog about settings."""

    def set_setting(self, key: str, value: object) -> None:
        """Keep a value that JSON can hold. No secrets: settings are replicated in clear.

        Raises:
            LimitExceeded: larger than SETTING_VALUE_BYTES_MAX.
        """
        text = json.dumps(value, ensure_ascii=False)
        if len(text.encode()) > SETTING_VALUE_BYTES_MAX:
            raise LimitExceeded(
                f"The setting “{key}” is larger than {SETTING_VALUE_BYTES_MAX} bytes.",
                hint="Shorten it.",
                code="setting_size",
            )
        with self.transaction():
            self.execute(
                "INSERT INTO settings (key, value, origin, hlc) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
                "SET value = excluded.value, origin = excluded.origin, hlc = excluded.hlc",
                (key, text, self.origin, self.hlc),
            )

    def get_setting(self, key: str, default: object = None) -> Any:
        """A setting's value, or the default."""
        found = self.row("SELECT value FROM settings WHERE key = ?", (key,))
        return json.loads(found[0]) if found else default

    def settings_below(self, prefix: str) -> dict[str, Any]:
        """Values of the settings whose key begins so, by key, in order."""
        found = self.rows(
            "SELECT key, value FROM settings WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix)
        )
        return {key: json.loads(value) for key, value in found}
