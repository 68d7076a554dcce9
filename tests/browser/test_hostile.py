"""Whatever a device sends or is called stays text: on the page as it is loaded and in what arrives live."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser import world
from tests.browser.conftest import Watched
from tests.browser.node_kit import TestNode

DEVICE_PATH = "/devices/" + quote(world.HOSTILE_ID, safe="")


@pytest.mark.parametrize(
    "path", ["/devices", DEVICE_PATH, "/dead-letters", "/patterns", f"/devices?q={quote(world.HOSTILE_NAME)}"]
)
def test_nothing_of_it_becomes_an_element(node: TestNode, watched: Watched, path: str) -> None:
    """The `watched` fixture fails on a dialog, a console error (a refused script) and a foreign request."""
    page = watched.page()
    page.goto(node.url + path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    # The page of patterns shows a QR code, swatches and bars of rollouts, which are ours: all else that is an element was made by what others wrote.
    assert (
        page.locator("main img:not(.qr), main script, main hx-partial, main [onload], main [onerror]").count()
        == 0
    )
    assert page.locator("main svg:not(.icon, .swatch, .kind, .spent, .progress-bar > svg)").count() == 0


def test_nothing_of_what_arrives_live_does(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(node.url + DEVICE_PATH)
    expect(page.locator("#link")).to_have_text("Live")
    node.call(
        lambda: world.put(node, world.HOSTILE_ID, "note", world.HOSTILE_TEXT + "</hx-partial><img src=y>")
    )
    row = page.locator("#newest tr", has_text="note")
    expect(row).to_contain_text("<img src=y>")
    expect(row).to_contain_text('<hx-partial hx-target="#main">gone</hx-partial>')
    assert page.locator("#newest img, #newest svg:not(.icon)").count() == 0
    expect(page.get_by_role("heading", level=1)).to_contain_text(world.HOSTILE_ID)


def test_hidden_characters_are_shown(node: TestNode, watched: Watched) -> None:
    """A right-to-left override would turn the rest of the row around."""
    page = watched.page()
    page.goto(node.url + DEVICE_PATH)
    expect(page.locator("#newest tr", has_text="note")).to_contain_text("\\u202e")
