"""What a device's page says of its clock, of kept copies, and of a store that is behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.conftest import DESKTOP, PHONE, Watched
from tests.browser.node_kit import TestNode


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["wide", "narrow"])
def test_a_wrong_clock_and_a_kept_copy_are_said(
    node: TestNode, watched: Watched, check_axe: Callable[[Page], None], viewport: ViewportSize
) -> None:
    page = watched.page(viewport=viewport)
    page.goto(f"{node.url}/devices?state=wrong_clock")
    page.get_by_role("link", name="press-1").click()
    state = page.locator("#state")
    expect(state).to_contain_text("wrong")
    expect(state).to_contain_text("1.5 h behind")
    expect(state).to_contain_text("every 10 min")
    expect(page.locator("#newest")).to_contain_text("kept by another broker")
    expect(page.locator("#newest .word")).to_have_text("stale")
    check_axe(page)
    page.goto(node.url)
    expect(page.locator("#overview")).to_contain_text("1 device has a clock that is wrong")


def test_a_store_that_is_behind_is_said_where_one_looks_for_values(node: TestNode, watched: Watched) -> None:
    def fall_behind() -> None:
        node.pipeline.numbers.breaker = "open"
        node.pipeline.numbers.behind_records = 12_000
        node.pipeline.numbers.lag_s = 184.0

    node.call(fall_behind)
    page = watched.page()
    page.goto(f"{node.url}/devices/press-0")
    expect(page.locator("main")).to_contain_text(
        "Readings are safe, not yet searchable, 12 000 behind; the newest of those that are came 3 min ago."
    )
    page.goto(f"{node.url}/telemetry")
    expect(page.locator("main")).to_contain_text("12 000 behind")
