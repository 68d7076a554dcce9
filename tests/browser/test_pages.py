"""Each page in both schemes and both sizes: nothing for axe to find, no error, nothing off the origin, no scrolling sideways.

What must never happen on any page (console errors, foreign requests, dialogs) is asserted by the `watched` fixture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.conftest import DESKTOP, PHONE, Watched
from tests.browser.node_kit import TestNode
from tests.browser.world import HOSTILE_ID

LIVE_PAGES = (
    "/",
    "/devices",
    "/devices?state=lost",
    "/bridges",
    "/devices/press-0",
    f"/devices/{quote(HOSTILE_ID, safe='')}",
    "/broker",
    "/broker/client?id=dashboard",
    "/broker/client?id=tablet",
    f"/broker/client?id={quote(HOSTILE_ID, safe='')}",
)
STILL_PAGES = (
    "/devices/new",
    "/dead-letters",
    "/patterns",
    "/devices/nobody",
    "/broker/retained",
    "/broker/retained/clear?seq=2",
    "/broker/client?id=nobody",
)
LOOKS: tuple[tuple[Literal["light", "dark"], ViewportSize], ...] = (
    ("light", DESKTOP),
    ("light", PHONE),
    ("dark", PHONE),
    ("dark", DESKTOP),
)


def has_horizontal_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def check_looks(page: Page, check_axe: Callable[[Page], None]) -> None:
    """Both schemes in both sizes, one after the other in the same page (without transitions: they would be measured half-way)."""
    for scheme, size in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        check_axe(page)
        assert not has_horizontal_scroll(page), (scheme, size)


@pytest.mark.parametrize("path", [*LIVE_PAGES, *STILL_PAGES])
def test_a_page_is_accessible_and_keeps_to_itself(
    node: TestNode, watched: Watched, check_axe: Callable[[Page], None], path: str
) -> None:
    if path.endswith("nobody"):
        watched.expected = ("status of 404",)
    page = watched.page(reduced_motion="reduce")
    page.goto(node.url + path)
    if path in LIVE_PAGES:
        expect(page.locator("#link")).to_have_text("Live")
    check_looks(page, check_axe)


def test_the_door_is_accessible(
    unclaimed_node: tuple[TestNode, str], node: TestNode, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    fresh, _ = unclaimed_node
    watched.allow(fresh.url)
    page = watched.page(signed_in=False, reduced_motion="reduce")
    for url in (f"{fresh.url}/setup", f"{node.url}/sign-in"):
        page.goto(url)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        check_looks(page, check_axe)


@pytest.mark.parametrize("path", ["/", "/devices", "/devices/press-0", "/dead-letters", "/patterns", "/broker", "/bridges", "/broker/client?id=dashboard",
     "/broker/retained"],
)  # fmt: skip
def test_nothing_is_cut_off_at_200_percent(node: TestNode, watched: Watched, path: str) -> None:
    """A 1100 px window zoomed to 200 % has 550 CSS pixels (WCAG 2.2, 1.4.4 and 1.4.10)."""
    page = watched.page(viewport={"width": 550, "height": 400}, device_scale_factor=2)
    page.goto(node.url + path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert not has_horizontal_scroll(page)


def test_every_state_is_a_word_and_an_icon_not_a_colour(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/patterns")
    pills = page.locator(".pill")
    assert pills.count() > 40
    for index in range(pills.count()):
        pill = pills.nth(index)
        assert pill.inner_text().strip()
        assert pill.locator("use").get_attribute("href") != ""


def test_every_icon_that_is_used_exists(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    for path in (
        "/patterns",
        "/",
        "/devices",
        "/devices/press-0",
        "/broker",
        "/bridges",
        "/broker/client?id=dashboard",
    ):
        page.goto(node.url + path)
        missing = page.evaluate(
            "[...document.querySelectorAll('use')].map(u => u.getAttribute('href')).filter(h => !document.querySelector(h))"
        )
        assert missing == []


def test_the_keyboard_reaches_the_content_first(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/devices")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_device_is_found_and_opened_with_the_keyboard_alone(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/devices")
    search = page.get_by_role("searchbox")
    for _ in range(40):
        page.keyboard.press("Tab")
        if search.evaluate("e => e === document.activeElement"):
            break
    page.keyboard.type("press-4")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{node.url}/devices?q=press-4")
    link = page.get_by_role("link", name="press-4")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="press-4")).to_be_visible()


def test_a_scheme_change_redraws_the_charts(node: TestNode, watched: Watched) -> None:
    """uPlot paints into a canvas, where no style sheet reaches: axis colours must follow the scheme."""
    page = watched.page(color_scheme="light")
    page.goto(f"{node.url}/devices/press-0")
    canvas = page.locator(".u-wrap canvas").first
    expect(canvas).to_be_visible()
    expect(page.locator(".readout").first).to_contain_text("lowest")
    light = canvas.evaluate("c => c.toDataURL()")
    page.emulate_media(color_scheme="dark")
    expect_changed(page, light)


def expect_changed(page: Page, before: str) -> None:
    handle = page.locator(".u-wrap canvas").first
    for _ in range(50):
        if handle.evaluate("c => c.toDataURL()") != before:
            return
        page.wait_for_timeout(100)
    raise AssertionError("the chart still has the other scheme's colours")
