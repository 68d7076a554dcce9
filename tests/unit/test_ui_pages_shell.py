"""Where signing in may lead."""

from __future__ import annotations

import pytest

from ui.pages.shell import local_path


@pytest.mark.parametrize(
    ("wanted", "goes_to"),
    [
        ("/devices?state=lost", "/devices?state=lost"),
        ("https://example.net/", "/"),
        ("//example.net", "/"),
        ("/\\example.net", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
        ("/a\nb", "/"),
    ],
)
def test_signing_in_leads_to_our_own_pages_only(wanted: str, goes_to: str) -> None:
    assert local_path(wanted) == goes_to
