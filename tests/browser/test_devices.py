"""Many devices at once on the page: ticking, what stays ticked while rows arrive anew, the list from a file; with and without JavaScript."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from storage.catalog import Catalog
from tests.browser.conftest import PHONE, Watched
from tests.browser.node_kit import TestNode
from tests.browser.test_pages import check_looks, has_horizontal_scroll

SCREENSHOTS = os.environ.get("HOMEPORT_SCREENSHOTS", "")
"""A folder to look at what the pages look like; nothing is asserted of the pictures."""


@pytest.fixture
def few(node: TestNode) -> list[str]:
    """Devices of this test's own, in a group."""
    ids = [f"few-{number}" for number in range(4)]

    def fill(catalog: Catalog) -> None:
        if catalog.find_group("few") is None:
            catalog.add_group("few", name="A few")
        for device_id in ids:
            if catalog.find_device(device_id) is None:
                catalog.add_device(device_id, groups=("few",), tags=("roof",))

    node.catalog(fill)
    return ids


def _picture(page: Page, name: str) -> None:
    if not SCREENSHOTS:
        return
    for scheme in ("light", "dark"):
        for width in (390, 1100):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 844})
            page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{scheme}-{width}.png", full_page=True)
    page.set_viewport_size({"width": 1100, "height": 800})


def test_ticked_devices_are_counted_stay_ticked_and_are_tagged(
    node: TestNode, watched: Watched, few: list[str], check_axe: Callable[[Page], None]
) -> None:
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{node.url}/devices?group=few")
    expect(page.locator("#link")).to_have_text("Live")
    tag = page.get_by_role("button", name=re.compile("^Tag"))
    expect(tag).to_be_disabled()
    page.get_by_role("checkbox", name="Tick few-0").check()
    page.get_by_role("checkbox", name="Tick few-2").check()
    expect(page.locator("#bulk [data-count]")).to_have_text(" (2)")
    node.call(lambda: node.services.hub.touch(few))
    node.call(lambda: node.services.hub.touch(few))
    expect(page.get_by_role("checkbox", name="Tick few-2")).to_be_checked()
    expect(page.locator("#bulk [data-count]")).to_have_text(" (2)")
    _picture(page, "devices")
    check_looks(page, check_axe)
    tag.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tag: 2 devices")
    page.get_by_label("Tag").fill("cellar")
    _picture(page, "bulk")
    check_looks(page, check_axe)
    page.get_by_role("button", name="Tag: 2 devices").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("2 devices tagged")
    check_looks(page, check_axe)
    tags = node.catalog(lambda c: {each: c.get_device(each).tags for each in few})
    assert tags["few-0"] == tags["few-2"] == ("roof", "cellar")
    assert tags["few-1"] == ("roof",)


def test_ending_many_wants_it_typed_without_javascript_too(
    node: TestNode, watched: Watched, few: list[str]
) -> None:
    watched.expected = ("status of 422",)
    page = watched.page(java_script_enabled=False, viewport=PHONE)
    page.goto(f"{node.url}/devices?group=few")
    page.get_by_role("checkbox", name="Tick few-3").check()
    page.get_by_role("button", name=re.compile("^Decommission")).click()
    expect(page.locator("code")).to_have_text(["few-3"])
    page.get_by_label("Type “decommission 1” to confirm").fill("decommission 2")
    page.get_by_role("button", name="Decommission: 1 device").click()
    expect(page.get_by_text("was not typed")).to_be_visible()
    page.get_by_label("Type “decommission 1” to confirm").fill("decommission 1")
    page.get_by_role("button", name="Decommission: 1 device").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1 device decommissioned")
    assert node.catalog(lambda c: c.get_device("few-3").state) == "decommissioned"


def test_waiting_devices_are_adopted_together_and_their_tokens_shown(
    node: TestNode, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    node.catalog(lambda c: c.note_first_contact(["wait-a", "wait-b"], at_ms=1))
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{node.url}/devices")
    page.get_by_role("checkbox", name="Tick wait-a").check()
    page.get_by_role("checkbox", name="Tick wait-b").check()
    page.get_by_role("button", name="Adopt those ticked (2)…").click()
    page.get_by_role("button", name="Adopt: 2 devices").click()
    expect(page.get_by_role("heading", name="New tokens, shown only now")).to_be_visible()
    _picture(page, "adopted")
    check_looks(page, check_axe)
    assert node.catalog(lambda c: c.get_device("wait-b").state) == "active"


def test_a_list_from_a_file(
    node: TestNode, watched: Watched, tmp_path: Path, check_axe: Callable[[Page], None]
) -> None:
    source = tmp_path / "list.csv"
    source.write_text("device_id;name;tags\nlist-1;Pump;a|b\nbad/id;;\n")
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{node.url}/device-import")
    _picture(page, "import")
    page.locator("input[type=file]").set_input_files(source)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_text("Nothing was changed.")).to_be_visible()
    page.get_by_role("link", name="Import a list").click()
    page.locator("input[type=file]").set_input_files(source)
    page.get_by_label("Only say what would be done").uncheck()
    page.get_by_label("Make a token for each new device").check()
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("heading", name="1 line to look at")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save the tokens").click()
    assert saved.value.suggested_filename == "tokens.csv"
    assert Path(saved.value.path()).read_text().splitlines()[1].startswith("list-1,hpd_")
    _picture(page, "imported")
    check_looks(page, check_axe)


def test_a_device_is_edited_and_replaced(
    node: TestNode, watched: Watched, few: list[str], check_axe: Callable[[Page], None]
) -> None:
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{node.url}/devices/few-1")
    _picture(page, "device")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Serial number").fill("SN 7")
    _picture(page, "edit")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#about")).to_contain_text("SN 7")
    page.get_by_role("link", name="Replace…").click()
    page.get_by_label("Type “few-1” to confirm").fill("few-1")
    _picture(page, "replace")
    page.get_by_role("button", name="Replace").click()
    expect(page.locator("#token")).to_have_text(re.compile("^hpd_"))
    page.goto(f"{node.url}/groups")
    _picture(page, "groups")
    check_looks(page, check_axe)
    assert not has_horizontal_scroll(page)
