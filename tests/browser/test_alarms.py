"""Alarms in Chromium: acknowledged with one key and seen by a second browser, shelved until an end, rules made, with and without JavaScript."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from storage.catalog import Catalog
from tests.browser.alarm_world import HOT, METRIC, RULE_IDS, alarm_id, raise_alarm
from tests.browser.conftest import PHONE, Watched
from tests.browser.node_kit import TestNode

SOON_MS = 30_000
"""Longest wait until another browser sees what one did; beside other tests the first look takes seconds."""
URL = "/alarms?device=press-4"


def open_live(watched: Watched, node: TestNode, path: str, **options: Any) -> Page:
    page = watched.page(**options)
    page.goto(f"{node.url}{path}")
    expect(page.locator("#link")).to_have_text("Live")
    return page


def test_one_key_acknowledges_and_another_browser_sees_who_and_when(node: TestNode, watched: Watched) -> None:
    raise_alarm(node, "press-4")
    other = open_live(watched, node, "/alarms?device=press-4", viewport=PHONE)
    expect(other.get_by_text("active, not acknowledged")).to_be_visible()
    page = open_live(watched, node, URL)
    page.keyboard.press("a")
    expect(page.locator("#alarm-status")).to_have_text("Move to an alarm with j or k first, then press a.")
    page.keyboard.press("j")
    expect(page.locator("[data-alarm-link]").first).to_be_focused()
    page.keyboard.press("a")
    expect(other.get_by_text("active, acknowledged")).to_be_visible(timeout=SOON_MS)
    expect(other.locator("#alarms-open")).to_contain_text(
        re.compile("acknowledged by admin (just now|[0-9]+ s ago)")
    )
    expect(page.get_by_text("active, acknowledged")).to_be_visible(timeout=SOON_MS)
    expect(page.locator("#alarm-status")).to_contain_text("Acknowledged: Oven too hot")
    # The row is there anew and has the focus still.
    expect(page.locator("[data-alarm-link]").first).to_be_focused()
    page.keyboard.press("a")
    expect(page.locator("#alarm-status")).to_have_text("This one needs no acknowledging.")


def test_keys_move_from_alarm_to_alarm_and_can_be_switched_off(node: TestNode, watched: Watched) -> None:
    page = open_live(watched, node, "/alarms")
    links = page.locator("#alarms-open [data-alarm-link]")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(links.nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(links.nth(0)).to_be_focused()
    page.get_by_text("Narrow them down").click()
    page.get_by_label("Device").fill("jak")
    expect(page.get_by_label("Device")).to_have_value("jak")  # Typed, not taken for keys.
    page.get_by_role("button", name="Switch keys off").click()
    page.locator("h1").click()
    page.keyboard.press("j")
    expect(page.get_by_text("Keys are off.")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Keys are off.")).to_be_visible()
    page.get_by_role("button", name="Switch keys on").click()
    page.keyboard.press("j")
    expect(links.nth(0)).to_be_focused()


def test_on_the_page_of_one_alarm_the_key_is_enough(node: TestNode, watched: Watched) -> None:
    one = raise_alarm(node, "never-1")
    page = open_live(watched, node, f"/alarms/{one}")
    expect(page.locator("figure.chart canvas")).to_be_visible()
    expect(page.get_by_role("list", name="Alarms in this chart")).to_contain_text("P1 Oven too hot: since")
    page.keyboard.press("a")
    expect(page.get_by_text("by admin")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("Acknowledged.*admin"))).to_be_visible()


def test_what_is_shelved_comes_back_by_itself(node: TestNode, watched: Watched) -> None:
    one = raise_alarm(node, "never-1")
    page = open_live(watched, node, "/alarms?device=never-1")
    row = page.locator("#alarms-open li.alarm")
    expect(row).to_have_count(1)
    now_ms = node.services.clock.now_ms()

    def shelve(catalog: Catalog) -> None:
        node.services.alarms.book.shelve(
            catalog, [one], until_ms=now_ms + 2_500, reason="For a moment", actor="bert"
        )

    node.catalog(shelve)
    expect(row).to_have_count(0)
    expect(page.locator("#n-shelved")).to_have_text("1")
    expect(page.locator("#c-shelved")).not_to_have_text("0")
    page.locator("#s-shelved summary").click()
    expect(page.locator("#in-shelved")).to_contain_text("For a moment")
    expect(row).to_have_count(1, timeout=8_000)
    expect(page.locator("#n-shelved")).to_have_text("0")


def test_many_are_ticked_and_the_button_says_how_many(node: TestNode, watched: Watched) -> None:
    for device_id in ("newcomer-a", "newcomer-b"):
        raise_alarm(node, device_id)
    page = open_live(watched, node, f"/alarms?rule={RULE_IDS[HOT]}&state=unacknowledged")
    for device_id in ("newcomer-a", "newcomer-b"):
        page.get_by_role("checkbox", name=f"Tick Oven too hot, {device_id}").check()
    page.get_by_text("Shelve them…").click()
    page.get_by_label("Why").fill("Both are new")
    page.get_by_role("button", name="Shelve (2)").click()
    expect(page.get_by_text("2 alarms shelved.")).to_be_visible()
    expect(page.locator("#alarms-open")).not_to_contain_text("newcomer-a")


def test_without_javascript_everything_can_be_done(node: TestNode, watched: Watched) -> None:
    one = raise_alarm(node, "press-4")
    node.catalog(lambda catalog: node.services.alarms.book.unshelve(catalog, [one], actor="bert"))
    page = watched.page(java_script_enabled=False, viewport=PHONE)
    page.goto(f"{node.url}/alarms/{one}")
    page.get_by_label("Why").fill("The fan comes tomorrow")
    page.get_by_role("button", name="Shelve it").click()
    expect(page.get_by_text("1 alarm shelved.")).to_be_visible()
    page.get_by_role("button", name="Take it off the shelf").click()
    expect(page.get_by_text("1 alarm taken off the shelf.")).to_be_visible()
    page.goto(f"{node.url}/alarms/rules/new?kind=threshold")
    page.get_by_role("textbox", name="Name what people").fill("Made without scripts")
    page.get_by_role("radio", name="P3").check()
    page.locator("[name=metric]").fill(METRIC)
    page.locator("[name='c.limit']").fill("80")
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("Saved. It holds for every reading from now on.")).to_be_visible()
    page.get_by_label("Type “remove” to confirm").fill("remove")
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("The rule is gone.")).to_be_visible()


def test_how_many_devices_a_rule_is_for_is_counted_while_one_types(node: TestNode, watched: Watched) -> None:
    page = watched.page(viewport=PHONE)
    page.goto(f"{node.url}/alarms/rules/new?kind=connection")
    expect(page.locator("#scope-count")).to_contain_text(re.compile("[0-9]+ devices now"))
    page.get_by_role("checkbox", name="All devices").uncheck()
    expect(page.locator("#scope-count")).to_contain_text("No device is named yet.")
    page.get_by_label("Devices by id").fill("press-0\npress-1")
    expect(page.locator("#scope-count")).to_contain_text("2 devices now")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_take_their_colours_from_the_scheme(node: TestNode, watched: Watched, scheme: str) -> None:
    page = watched.page(color_scheme=scheme)
    page.goto(f"{node.url}/devices/press-0?range=24h&metric={METRIC}")
    expect(page.get_by_role("list", name="Alarms in this chart")).to_contain_text("P1 Oven too hot")
    wanted = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--hp-p1').trim()")
    red, green, blue = (int(wanted[i : i + 2], 16) for i in (1, 3, 5))
    found = page.evaluate(
        """([r, g, b]) => { const c = document.querySelector('figure.chart canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
        for (let i = 0; i < d.length; i += 4) if (d[i] === r && d[i + 1] === g && d[i + 2] === b && d[i + 3] === 255) n++;
        return n; }""",
        [red, green, blue],
    )
    assert found > 20, wanted
    assert alarm_id(RULE_IDS[HOT], "press-0", METRIC) in page.content()


def test_a_rule_is_tried_on_past_readings_before_it_is_saved(node: TestNode, watched: Watched) -> None:
    page = watched.page(viewport=PHONE)
    page.goto(f"{node.url}/alarms/rules/new?kind=threshold&device=press-0&metric={METRIC}")
    page.get_by_role("textbox", name="Name what people").fill("Rather warm")
    page.locator("[name='c.limit']").fill("23")
    page.get_by_role("button", name="Try it").click()
    heading = page.get_by_role(
        "heading", name=re.compile("In the last 24 hours it would have raised [1-9][0-9]* alarm")
    )
    expect(heading).to_be_visible()
    expect(page.locator("#tried canvas")).to_be_visible()
    expect(page.get_by_role("list", name="Alarms in this chart")).to_contain_text("P2 Rather warm")
    expect(page.locator("#tried tbody tr").first).to_contain_text("press-0 temperature_celsius")
    expect(page.locator("[name='c.limit']")).to_have_value("23")
    page.get_by_label("Try it on the last").select_option("7 days")
    page.locator("[name='c.limit']").fill("99")
    page.get_by_role("button", name="Try it").click()
    expect(
        page.get_by_role("heading", name="In the last 7 days it would have raised 0 alarms")
    ).to_be_visible()
    expect(page.get_by_text("Nothing would have been raised.")).to_be_visible()
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("Saved. It holds for every reading from now on.")).to_be_visible()
    page.get_by_label("Type “remove” to confirm").fill("remove")
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("The rule is gone.")).to_be_visible()
