"""Where signing in may lead; the navigation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.node_kit import running_node
from tests.people_kit import person
from ui.pages.shell import BRIDGES_KEY, NAV, local_path


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


async def test_the_navigation_has_one_row_of_groups_and_the_pages_of_the_one_that_is_open(
    tmp_path: Path,
) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        overview = (await client.get("/")).text
        assert re.findall(r">(\w+)</a>", _nav(overview, "Main")) == [
            "Overview", "Devices", "Telemetry", "Firmware", "Messages", "Data", "Box",
        ]  # fmt: skip
        assert 'aria-label="Box"' not in overview
        people = (await client.get("/people")).text
        assert 'href="/settings" aria-current="true"' in _nav(people, "Main")
        below = _nav(people, "Box")
        assert re.findall(r'href="([^"]+)"', below) == ["/settings", "/people", "/audit"]
        assert 'href="/people" aria-current="page"' in below


async def test_every_page_of_the_navigation_shows_where_it_is(tmp_path: Path) -> None:
    """Each item's key is the `section` that its page renders with: else the row below would vanish on that page."""
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        for item in (item for group in NAV for item in group.items if item.key != BRIDGES_KEY):
            page = (await client.get(item.url)).text
            assert f'href="{item.url}" aria-current="page"' in page, item.label


async def test_a_group_of_one_page_has_its_name(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "viewer") as client:
        main = _nav((await client.get("/")).text, "Main")
        assert "/people" not in main
        assert "/settings" not in main or ">Settings<" in main


def _nav(page: str, label: str) -> str:
    found = re.search(rf'<nav aria-label="{label}">(.*?)</nav>', page, re.DOTALL)
    assert found is not None, label
    return found[1]
