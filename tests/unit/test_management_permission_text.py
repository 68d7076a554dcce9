"""The table of permissions says what the rules say."""

from __future__ import annotations

from appliance.management.permission_text import WORDS, as_markdown
from appliance.management.permissions import PERMISSIONS


def test_every_permission_has_a_row_and_words() -> None:
    assert set(WORDS) == set(PERMISSIONS)
    rows = as_markdown().splitlines()
    assert len(rows) == len(PERMISSIONS) + 2
    assert "| `users.manage` | users, their roles, scopes, sessions and tokens |  |  |  | ✓ | yes |" in rows
    assert "| `devices.read` | see devices | ✓ | ✓ | ✓ | ✓ |  |" in rows
