"""The audit's page in a browser: what happened to a device, before and after, and whether it is all there."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import expect

from storage.catalog import Catalog
from tests.browser.conftest import PHONE, Watched
from tests.browser.node_kit import TestNode

EVIL = "=HYPERLINK('x')<img src=x onerror=alert(1)>"


def change_a_device(node: TestNode) -> None:
    def write(catalog: Catalog) -> None:
        catalog.add_device("audited-1", name=EVIL)

    node.catalog(write)
    node.catalog(lambda catalog: catalog.set_access("audited-1", access="site", role=""))


def test_from_a_device_to_what_changed_on_a_phone(node: TestNode, watched: Watched, tmp_path: Path) -> None:
    change_a_device(node)
    page = watched.page(viewport=PHONE)
    page.goto(f"{node.url}/audit")
    page.get_by_role("link", name="audited-1").first.click()
    rows = page.locator("table.audit > tbody > tr")
    expect(rows).to_have_count(2)
    rows.first.locator("summary").click()
    row = rows.first.locator("table.diff tbody tr").filter(has_text="access")
    expect(row.locator("td")).to_have_text(["own", "site"])
    before, after = row.locator("td").all()
    left, right = before.bounding_box(), after.bounding_box()
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"], "side by side"
    assert left["x"] + left["width"] <= right["x"] + 1
    assert right["x"] + right["width"] <= PHONE["width"]

    with page.expect_download() as download:
        page.get_by_role("link", name="JSON lines for a program").click()
    file = tmp_path / "audit.jsonl"
    download.value.save_as(file)
    *entries, last = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [entry["object_id"] for entry in entries] == ["audited-1", "audited-1"]
    assert last["filter"] == {"object_kind": "device", "object_id": "audited-1"}


def test_the_check_says_what_it_found_and_when(node: TestNode, watched: Watched) -> None:
    watched.expected = ("status of 422",)
    page = watched.page()
    page.goto(f"{node.url}/audit")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("status")).to_contain_text("every hash and signature right")
    noted = page.locator("#audit-head").inner_text()
    page.get_by_label("What you noted before").fill(f" {noted} ")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("status")).to_contain_text("every hash and signature right")
    page.get_by_label("What you noted before").fill(f"{10**6}:{'a' * 64}")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("status")).to_contain_text("The newest entries are missing")
    page.get_by_label("What you noted before").fill("nonsense")
    page.get_by_role("button", name="Check now").click()
    expect(page.locator("main")).to_contain_text("SEQ:HASH")
    page.goto(f"{node.url}/audit")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("status")).to_contain_text("every hash and signature right")
