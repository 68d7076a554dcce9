"""The page of readings in a browser: lines of several devices, zooming, searching, following, and the same without a script."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from appliance.core.errors import Unavailable
from tests.browser.conftest import DESKTOP, Watched
from tests.browser.node_kit import TestNode
from tests.browser.world import HOSTILE_ID, put

TWO = "/telemetry?device=press-0&device=press-1&metric=temperature_celsius"


def _query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def _colours(page: Page) -> set[str]:
    """The strong colours of the chart's canvas, as "r,g,b" rounded to 16."""
    script = """() => {
        const c = document.querySelector('.chart canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, found = new Set();
        for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) found.add([d[i] >> 4, d[i + 1] >> 4, d[i + 2] >> 4].join());
        return [...found];
    }"""
    return set(page.evaluate(script))


def _cell(page: Page, name: str) -> str:
    """A CSS colour as `_colours` has it."""
    text = page.evaluate("n => getComputedStyle(document.documentElement).getPropertyValue(n).trim()", name)
    return ",".join(str(int(text[at : at + 2], 16) >> 4) for at in (1, 3, 5))


def test_several_devices_have_lines_of_their_own_in_both_schemes(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(node.url + TWO)
        expect(page.locator(".readout")).to_contain_text("one point per 5 min")
        assert {_cell(page, "--hp-s0"), _cell(page, "--hp-s1")} <= _colours(page), scheme
    dashes = page.locator(".swatch").evaluate_all(
        "list => list.map((e) => getComputedStyle(e).strokeDasharray)"
    )
    assert len(set(dashes)) == 2
    legend = page.locator(".legend li")
    expect(legend).to_have_count(2)
    expect(legend.first).to_contain_text("21.37 °C")
    expect(legend.first).to_contain_text("fresh")
    expect(legend.last).to_contain_text("no value")
    expect(page.locator(".readout")).to_contain_text("from minutes rolled up and single readings")


def test_the_pointer_says_the_values_of_all_lines(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(node.url + TWO)
    expect(page.locator(".readout")).to_contain_text("lowest")
    page.locator(".u-over").hover(position={"x": 200, "y": 50})
    expect(page.locator(".readout")).to_have_text(
        re.compile(r"\d\d:\d\d:\d\d · press-0 [\d.]+ °C \([\d.]+ to [\d.]+\) · press-1 [\d.]+ °C \(.*\)")
    )


def test_dragging_opens_that_part_and_back_comes_back(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(node.url + TWO)
    over = page.locator(".u-over")
    box = over.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=5)
    page.mouse.up()
    page.wait_for_url(re.compile("from=20"))
    query = _query(page)
    assert query["device"] == ["press-0", "press-1"]
    expect(page.get_by_role("textbox", name="From")).to_have_value(query["from"][0])
    expect(page.locator(".readout")).to_contain_text("one point per 1 min")
    page.go_back()
    expect(page.get_by_role("textbox", name="From")).to_have_value("-24h")


def test_a_chart_of_a_device_opens_here(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/devices/press-0?range=6h&metric=humidity_percent")
    page.get_by_role("link", name="Look closer").first.click()
    page.wait_for_url(re.compile("/telemetry"))
    assert _query(page) == {"device": ["press-0"], "metric": ["humidity_percent"], "from": ["-6h"]}
    expect(page.locator(".readout")).to_contain_text("newest")


def test_devices_are_found_while_one_types_and_ticked_ones_stay(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/telemetry")
    page.get_by_label("press-2", exact=True).check()
    page.get_by_label("Find devices").press_sequentially("press-4")
    expect(page.locator("#found input")).to_have_count(2)
    expect(page.get_by_label("press-2", exact=True)).to_be_checked()
    page.get_by_label("press-4", exact=True).check()
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(re.compile("device="))
    assert _query(page)["device"] == ["press-2", "press-4"]


def test_following_asks_again_by_itself(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(node.url + TWO)
    page.get_by_role("link", name="Follow").click()
    expect(page.get_by_role("link", name="Following")).to_be_visible()
    expect(page.locator(".readout")).to_contain_text("one point per")
    asked = node.call(lambda: node.telemetry.asked)
    with page.expect_response(lambda answer: "/telemetry/data" in answer.url, timeout=15_000):
        pass
    assert node.call(lambda: node.telemetry.asked) > asked


def test_the_legend_says_what_is_newest_while_the_page_is_open(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(node.url + TWO)
    expect(page.locator(".legend li").first).to_contain_text("21.37 °C")
    node.call(lambda: put(node, "press-0", "temperature_celsius", 33.5))
    expect(page.locator(".legend li").first).to_contain_text("33.5 °C", timeout=15_000)
    expect(page.locator(".legend li").first).to_contain_text("fresh")


def test_a_store_that_is_away_shows_in_the_chart_and_comes_back(node: TestNode, watched: Watched) -> None:
    watched.expected = ("status of 503",)
    page = watched.page()
    node.call(lambda: setattr(node.telemetry, "failure", Unavailable("The store is away.", hint="Wait.")))
    try:
        page.goto(node.url + TWO)
        expect(page.locator(".readout")).to_have_text("The history can't be read right now; trying again.")
        expect(page.locator(".legend li")).to_have_count(2)
    finally:
        node.call(lambda: setattr(node.telemetry, "failure", None))
    expect(page.locator(".readout")).to_contain_text("one point per 5 min", timeout=15_000)


def test_without_a_script_the_same_is_a_table(node: TestNode, watched: Watched) -> None:
    page = watched.page(java_script_enabled=False)
    page.goto(node.url + TWO)
    page.get_by_role("link", name="the same as a table").click()
    table = page.get_by_role("table")
    expect(table.get_by_role("columnheader")).to_have_text(["Time (UTC)", "press-0", "press-1"])
    assert table.get_by_role("row").count() > 100
    page.get_by_role("textbox", name="From").fill("-1h")
    page.get_by_role("button", name="Show").click()
    assert _query(page)["view"] == ["table"]
    expect(page.get_by_role("table").locator("caption")).to_contain_text("one row per 30 s")


def test_files_are_offered_of_what_is_shown(node: TestNode, watched: Watched) -> None:
    page = watched.page(viewport=DESKTOP)
    page.goto(node.url + TWO)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV for a spreadsheet").click()
    assert download.value.suggested_filename == "homeport-telemetry.csv"
    lines = download.value.path().read_text().splitlines()
    assert list(dict.fromkeys(line.split(",")[0] for line in lines)) == ["device_id", "press-0", "press-1"]


def test_hostile_names_are_text(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/telemetry")
    page.get_by_label(HOSTILE_ID).check()
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".legend a")).to_have_text(HOSTILE_ID)
    expect(page.locator(".readout")).to_contain_text("lowest")
    page.locator(".u-over").hover(position={"x": 200, "y": 50})
    expect(page.locator("main img")).to_have_count(0)
