"""What changes on the node shows on the page, and a page that hears nothing says so."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from tests.browser import world
from tests.browser.conftest import Watched
from tests.browser.node_kit import TestNode

LOST_WITHIN_MS = 5_000
LINK_ERRORS = ("net::ERR", "Failed to load resource", "htmx:sse:error")
"""What Chromium and htmx say when a server is away."""
GREEN = {"light": "rgb(23, 102, 58)", "dark": "rgb(132, 217, 160)"}
"""--hp-good of app.css."""


def go_live(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#link")).to_have_text("Live")


def test_a_device_that_is_lost_shows_it_with_the_reason(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    go_live(page, f"{node.url}/devices")
    row = page.get_by_role("row", name=re.compile("press-1"))
    expect(row).to_contain_text("online")
    node.call(lambda: node.live.set_device("press-1", presence="lost", presence_reason="keep_alive"))
    expect(row).to_contain_text("lost")
    expect(row).to_contain_text("keep alive passed without a packet")


def test_a_value_arrives_and_grows_stale_on_its_own(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    go_live(page, f"{node.url}/devices/press-0")
    node.call(lambda: world.put(node, "press-0", "temperature_celsius", 98.75))
    row = page.get_by_role("row", name=re.compile("temperature_celsius"))
    expect(row).to_contain_text("98.75 °C")
    expect(row).to_contain_text("fresh")
    page.evaluate(
        "document.querySelectorAll('#newest [data-fresh-at]').forEach(p => p.dataset.freshAt -= 3600000)"
    )
    page.evaluate("document.querySelectorAll('#newest time').forEach(t => t.dataset.at -= 3600000)")
    expect(row).to_contain_text("stale")
    expect(row).to_contain_text("1 h ago")


def test_ages_and_freshness_tick_as_the_server_renders_them(node: TestNode, watched: Watched) -> None:
    """js/ages.js and ui/pages/format.py are the same rules twice; here they are compared."""
    from appliance.management.freshness import freshness
    from ui.pages.format import age_text

    page = watched.page()
    page.goto(f"{node.url}/patterns")
    source = page.locator("script[type=module]").get_attribute("src")
    assert source is not None
    ages_url = source.partition("?")[0].replace("main.js", "ages.js")
    ages_ms = [-90_000, -2_500, 0, 1_999, 2_000, 20_000, 20_001, 59_999, 60_000, 60_001, 3_599_999, 3_600_000]
    ages_ms += [172_799_999, 172_800_000, 10**9, 10**11]
    ticked = page.evaluate(
        "async ([url, ages]) => { const m = await import(url); return ages.map(a => [m.ageText(a), m.freshnessOf(a, 60000)]) }",
        [ages_url, ages_ms],
    )
    now_ms = 2_000_000_000_000
    rendered = [[age_text(now_ms - a, now_ms), str(freshness(now_ms - a, now_ms, 60_000))] for a in ages_ms]
    assert ticked == rendered


def test_a_laptop_whose_clock_is_wrong_shows_right_ages(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.clock.install(time=time.time() - 600)
    page.clock.resume()
    go_live(page, f"{node.url}/devices/press-0")
    node.call(lambda: world.put(node, "press-0", "humidity_percent", 51.5))
    row = page.get_by_role("row", name=re.compile("humidity_percent"))
    expect(row).to_contain_text("51.5")
    expect(row).to_contain_text(re.compile(r"just now|[2-9] s ago"))


def test_the_overview_counts_and_says_that_readings_are_safe(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    go_live(page, f"{node.url}/")
    lost = page.get_by_role("link", name=re.compile(r"^\d+ lost"))
    expect(lost).to_have_text(re.compile("1 ?lost"))

    def trouble() -> None:
        node.live.set_device("press-1", presence="lost")
        node.pipeline.numbers.breaker = "open"
        node.pipeline.numbers.behind_records = 12_345

    node.call(trouble)
    expect(lost).to_have_text(re.compile("2 ?lost"))
    expect(page.locator("#overview")).to_contain_text("Readings are safe, not yet searchable, 12 345 behind")
    lost.click()
    expect(page).to_have_url(f"{node.url}/devices?state=lost")
    expect(page.locator("#rows tr")).to_have_count(2)


def test_a_newcomer_appears_and_is_adopted(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    go_live(page, f"{node.url}/devices")
    node.catalog(lambda c: c.note_first_contact(["newcomer-c"], at_ms=node.services.clock.now_ms()))
    waiting = page.get_by_role("row", name=re.compile("newcomer-c"))
    expect(waiting).to_be_visible(timeout=10_000)
    waiting.get_by_role("button", name="Adopt").click()
    expect(page.get_by_text("Adopted. Give it a token")).to_be_visible()
    expect(page.get_by_role("link", name="newcomer-c")).to_be_visible()
    node.catalog(lambda c: c.decommission_device("newcomer-c"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/devices", "/devices/press-0"])
def test_a_stopped_server_is_noticed_nothing_stays_green_and_it_comes_back(
    node: TestNode, watched: Watched, path: str, scheme: str
) -> None:
    watched.expected = LINK_ERRORS
    page = watched.page(color_scheme=scheme)
    go_live(page, node.url + path)
    assert GREEN[scheme] in colours(page)
    node.stop_server()
    try:
        banner = page.locator("#banner")
        expect(banner).to_contain_text(re.compile(r"lost at \d{2}:\d{2}:\d{2}"), timeout=LOST_WITHIN_MS)
        assert GREEN[scheme] not in colours(page)
        for pill in page.locator("main .pill").all():
            expect(pill).to_contain_text("(last known)")
        page.evaluate("window.stillTheSamePage = true")
    finally:
        node.start_server()
    expect(page.locator("#link")).to_have_text("Live", timeout=15_000)
    expect(banner).to_be_hidden()
    assert page.evaluate("window.stillTheSamePage")
    assert GREEN[scheme] in colours(page)


def colours(page: Page) -> set[str]:
    """Every colour in which something visible is written or drawn."""
    found: list[str] = page.evaluate(
        """[...document.body.querySelectorAll("*")].filter(e => e.checkVisibility() && !e.closest(".sprite"))
        .flatMap(e => { const s = getComputedStyle(e); return [s.color, s.borderTopColor, s.backgroundColor] })"""
    )
    return set(found)


def test_a_silent_link_is_noticed_too(node: TestNode, watched: Watched) -> None:
    """A cable pulled somewhere: the connection stays open and nothing comes."""
    page = watched.page()
    go_live(page, f"{node.url}/")
    node.call(node.fall_silent)
    try:
        expect(page.locator("#banner")).to_contain_text("lost at", timeout=LOST_WITHIN_MS)
    finally:
        node.call(node.speak_again)
    expect(page.locator("#link")).to_have_text("Live", timeout=15_000)


def test_after_a_gap_the_page_is_sent_afresh(node: TestNode, watched: Watched) -> None:
    watched.expected = LINK_ERRORS
    page = watched.page()
    go_live(page, f"{node.url}/devices")
    node.stop_server()
    try:
        node.call(lambda: node.live.set_device("press-2", presence="sleeping"))
        expect(page.locator("#banner")).to_be_visible()
    finally:
        node.start_server()
    expect(page.locator("#link")).to_have_text("Live", timeout=15_000)
    expect(page.get_by_role("row", name=re.compile("press-2"))).to_contain_text("sleeping")


def test_eight_tabs_are_all_live_over_http2(node: TestNode, watched: Watched) -> None:
    """Over HTTP/1.1 the seventh would be frozen: a browser keeps six connections."""
    first = watched.page()
    pages = [first, *(first.context.new_page() for _ in range(7))]
    for page in pages:
        go_live(page, f"{node.url}/devices/press-0")
        protocol = page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
        assert protocol == "h2"
    node.call(lambda: world.put(node, "press-0", "temperature_celsius", 55.125))
    for page in pages:
        expect(page.locator("#newest")).to_contain_text("55.12")


def test_signing_out_in_one_tab_ends_the_stream_of_another(node: TestNode, watched: Watched) -> None:
    first = watched.page(signed_in=False)
    first.goto(f"{node.url}/sign-in")
    first.get_by_label("User name").fill("admin")
    first.get_by_label("Password").fill("correct horse battery")
    first.get_by_role("button", name="Sign in").click()
    expect(first.locator("#link")).to_have_text("Live")
    second = first.context.new_page()
    go_live(second, f"{node.url}/devices")
    watched.expected = (*LINK_ERRORS, "status of 401")
    first.get_by_role("button", name="Sign out").click()
    expect(first).to_have_url(f"{node.url}/sign-in")
    expect(second).to_have_url(re.compile("/sign-in"), timeout=10_000)
    expect(second.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_chart_takes_in_what_arrives(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    go_live(page, f"{node.url}/devices/press-0?range=15m&metric=temperature_celsius")
    readout = page.locator("figure.chart .readout")
    expect(readout).to_contain_text("highest")
    node.call(lambda: world.put(node, "press-0", "temperature_celsius", 77.5))
    expect(readout).to_contain_text("highest 77.5")


def test_the_charts_of_the_url_are_drawn(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    go_live(page, f"{node.url}/devices/press-0")
    expect(page.locator("figure.chart")).to_have_count(3)
    page.get_by_role("checkbox", name="cycles_count").check()
    expect(page).to_have_url(re.compile("metric=cycles_count"))
    expect(page.locator("figure.chart")).to_have_count(4)
    page.go_back()
    expect(page.locator("figure.chart")).to_have_count(3)


def test_a_bridge_that_goes_down_is_shown_with_what_to_do(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/bridges")
    expect(page.locator("#link")).to_have_text("Live")
    cloud = page.get_by_role("region", name="cloud")
    expect(cloud.locator(".pill")).to_contain_text("connected")

    def down() -> None:
        node.bridges[0] = replace(
            node.bridges[0], state="stopped", error="The password file is gone.", hint="Put it back."
        )

    node.call(down)
    expect(cloud.locator(".pill")).to_contain_text("stopped")
    expect(cloud).to_contain_text("The password file is gone. Put it back.")
