"""Artifacts in a browser: uploaded with progress and after a cut, signed, looked at in both schemes and sizes, removed; with JavaScript and without."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.artifact_kit import esp32
from tests.browser.conftest import Watched
from tests.browser.node_kit import TestNode
from tests.browser.test_pages import check_looks

NEW = "/firmware/artifacts/new"


def fill(page: Page, node: TestNode, path: Path, name: str, version: str = "") -> None:
    page.goto(node.url + NEW)
    page.get_by_label(re.compile("^Name")).fill(name)
    page.get_by_label(re.compile("^Version")).fill(version)
    page.get_by_label(re.compile("^File")).set_input_files(path)
    page.get_by_role("button", name="Upload").click()


@pytest.mark.parametrize("java_script_enabled", [True, False])
def test_an_image_is_added_signed_and_removed(
    node: TestNode,
    watched: Watched,
    check_axe: Callable[[Page], None],
    tmp_path: Path,
    java_script_enabled: bool,
) -> None:
    watched.expected = ("status of 422",)
    name = f"pump-{java_script_enabled}".lower()
    image = tmp_path / "pump.bin"
    image.write_bytes(esp32(version=b"v7"))
    page = watched.page(java_script_enabled=java_script_enabled, reduced_motion="reduce")
    fill(page, node, image, name, "9")
    expect(page.get_by_role("alert").first).to_contain_text("version v7, not 9")
    fill(page, node, image, name)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{name} v7")
    expect(page.get_by_text("The image is here.")).to_be_visible()
    expect(page.get_by_text("ESP32-S3")).to_be_visible()
    page.goto(f"{node.url}/firmware/keys")
    make = page.get_by_role("button", name="Make a key on this box")
    if make.count():
        make.click()
        expect(page.get_by_text("This box has a signing key now.")).to_be_visible()
    page.goto(f"{node.url}/firmware/artifacts")
    page.get_by_role("link", name=f"{name} v7").click()
    page.get_by_role("button", name="Sign with this box's key").click()
    expect(page.get_by_text("The signature is added.")).to_be_visible()
    expect(page.get_by_text("1 good, 1 needed")).to_be_visible()
    if java_script_enabled:
        one = page.url
        for path in (one, f"{node.url}/firmware/artifacts", f"{node.url}/firmware/keys", node.url + NEW):
            page.goto(path)
            check_looks(page, check_axe)
        page.goto(one)
    page.get_by_label("Name and version").fill(f"{name} v7")
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("The artifact is removed.")).to_be_visible()


def test_an_upload_goes_on_after_a_cut(node: TestNode, watched: Watched, tmp_path: Path) -> None:
    """The second piece meets a dead network once; the first one is not sent again."""
    watched.expected = ("ERR_FAILED", "ERR_INTERNET_DISCONNECTED")
    image = tmp_path / "big.bin"
    image.write_bytes(os.urandom(1 << 20) * 20)
    page = watched.page()
    sent: list[str] = []

    def cut(route: Route) -> None:
        if route.request.method == "PATCH":
            sent.append(route.request.url.rpartition("=")[2])
            if len(sent) == 2:
                route.abort()
                return
        route.continue_()

    page.route("**/api/v1/artifact-uploads/**", cut)
    fill(page, node, image, "big", "1")
    expect(page.get_by_role("heading", level=1)).to_have_text("big 1", timeout=60_000)
    piece = 8 << 20
    assert sent == ["0", str(piece), str(piece), str(2 * piece)]
    page.get_by_label("Name and version").fill("big 1")
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("The artifact is removed.")).to_be_visible()
