"""Rollouts and the work queue in Chromium: made step by step, seen by a second browser, taken back, with and without JavaScript."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from appliance.management.executions import State
from storage.catalog import Catalog
from tests.browser.conftest import PHONE, Watched
from tests.browser.firmware_world import MINE, PAUSED, WAITING, execution
from tests.browser.node_kit import TestNode

SOON_MS = 30_000
"""Longest wait until another browser sees what one did; beside other tests the first look takes seconds."""


def go_on(page: Page, title: str) -> None:
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
    page.wait_for_load_state("load")  # Before that no script hears what is typed.


def fill_in(page: Page, node: TestNode, device_id: str) -> None:
    """From the list to the last step."""
    page.goto(f"{node.url}/firmware")
    page.get_by_role("link", name="New rollout").click()
    page.get_by_role("radio", name="pump 2.0").check()
    go_on(page, "To which devices?")
    page.get_by_label("Devices by id").fill(device_id)


def test_a_rollout_is_made_step_by_step_and_seen_by_a_second_browser(
    node: TestNode, watched: Watched
) -> None:
    other = watched.page()
    other.goto(f"{node.url}/firmware")
    expect(other.locator("#link")).to_have_text("Live")
    page = watched.page(viewport=PHONE)
    fill_in(page, node, "never-1")
    expect(page.locator("#chosen")).to_contain_text("1 device")  # By itself, while one types.
    page.get_by_label("Devices by id").fill("never-2")
    expect(page.locator("#chosen")).to_contain_text("There is no device “never-2”")
    page.get_by_label("Devices by id").fill("never-1")
    expect(page.locator("#chosen")).to_contain_text("Waves: 1 device.")
    go_on(page, "In which waves?")
    page.get_by_label("Minutes of watching").fill("0.5")
    go_on(page, "When, and how fast?")
    page.go_back()
    expect(page.get_by_label("Minutes of watching")).to_have_value("0.5")
    page.go_forward()
    go_on(page, "Is all of it right?")
    expect(page.get_by_text("30 s have passed")).to_be_visible()
    page.get_by_label("Name").fill("Of the test")
    page.get_by_role("button", name="Start now: 1 device").click()
    expect(page.get_by_text("Started.")).to_be_visible()
    expect(page.get_by_role("img", name="All devices: 1 waiting")).to_be_visible()
    expect(other.get_by_role("link", name="Of the test")).to_be_visible(timeout=SOON_MS)

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    card = other.get_by_role("region", name="Of the test")
    expect(card.get_by_text("Paused by hand.")).to_be_visible(timeout=SOON_MS)

    page.get_by_role("link", name="Abort…").click()
    page.get_by_label("Why").fill("Only a test.")
    page.get_by_label("Type “abort 1” to confirm").fill("abort 2")
    watched.expected = ("status of 422",)
    page.get_by_role("button", name="Abort: 1 device").click()
    expect(page.get_by_role("alert").filter(has_text="was not typed")).to_be_visible()
    page.get_by_label("Type “abort 1” to confirm").fill("abort 1")
    page.get_by_role("button", name="Abort: 1 device").click()
    expect(page.get_by_role("heading", name="Stopping: whoever is in the middle finishes")).to_be_visible()
    expect(card.get_by_text("Only a test.")).to_be_visible(timeout=SOON_MS)


def test_the_form_works_without_javascript(node: TestNode, watched: Watched) -> None:
    watched.expected = ("status of 422",)
    page = watched.page(java_script_enabled=False)
    fill_in(page, node, "press-0")
    page.get_by_role("button", name="Count again").click()
    expect(page.locator("#chosen")).to_contain_text("1 device")
    page.get_by_label("Devices by id").fill("")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert").filter(has_text="names no devices")).to_be_visible()
    page.get_by_label("Devices by id").fill("press-0")
    go_on(page, "In which waves?")
    page.get_by_label("Waves").fill("nonsense")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert").filter(has_text="“nonsense” is no wave")).to_be_visible()
    page.get_by_label("Waves").fill("100%")
    go_on(page, "When, and how fast?")
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_label("Waves")).to_have_value("100%")
    go_on(page, "When, and how fast?")
    go_on(page, "Is all of it right?")
    page.get_by_role("button", name="Save as a draft").click()
    expect(page.get_by_text("Saved as a draft.")).to_be_visible()
    page.get_by_role("link", name="Change…").click()
    go_on(page, "To which devices?")
    expect(page.get_by_label("Devices by id")).to_have_value("press-0")


def test_only_somebody_else_approves(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/firmware/rollouts/{MINE}")
    expect(page.get_by_text("You made it, so somebody else has to approve it")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    page.goto(f"{node.url}/firmware/rollouts/{WAITING}")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    expect(page.locator("#plan")).to_contain_text("by admin")


def test_one_click_lists_the_failed_devices(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/firmware")
    page.get_by_role("region", name=re.compile("script")).get_by_role("link", name="1 failed").click()
    rows = page.locator("#devices tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Its own self-test failed with the new version.")
    page.go_back()
    expect(page.get_by_role("heading", level=1, name="Rollouts")).to_be_visible()


@pytest.mark.parametrize("with_javascript", [True, False])
def test_the_work_queue_is_emptied(node: TestNode, watched: Watched, with_javascript: bool) -> None:
    """Of one rollout's devices: what the page shows of others stays."""
    number = 90 + with_javascript
    now_ms = node.services.clock.now_ms()

    def write(catalog: Catalog) -> None:
        for offset, state in ((0, State.REGRESSED), (10, State.MANUAL)):
            one = execution(PAUSED, number + offset, "never-1", state, now_ms)
            catalog.insert_execution(replace(one, number=number + offset))

    node.catalog(write)
    other = watched.page()
    other.goto(f"{node.url}/firmware/work-queue")
    page = watched.page(java_script_enabled=with_javascript)
    page.goto(f"{node.url}/firmware/work-queue")
    items = page.locator(f"#x-{PAUSED}-{number}, #x-{PAUSED}-{number + 10}")
    expect(items).to_have_count(2)
    page.locator(f"#x-{PAUSED}-{number}").get_by_role("button", name="Leave it on the old version").click()
    expect(page.get_by_text("It stays on the old version.", exact=True)).to_be_visible()
    stuck = page.locator(f"#x-{PAUSED}-{number + 10}")
    stuck.get_by_text("Ignore it…").click()
    if with_javascript:
        # What comes in meanwhile closes nothing that somebody has opened.
        third = execution(PAUSED, number + 20, "never-1", State.MANUAL, now_ms)
        node.catalog(lambda catalog: catalog.insert_execution(replace(third, number=number + 20)))
        expect(page.locator(f"#x-{PAUSED}-{number + 20}")).to_be_visible(timeout=SOON_MS)
    stuck.locator("details[open]").get_by_label("Why").fill("It burnt down.")
    stuck.locator("details[open]").get_by_role("button", name="Ignore it").click()
    expect(page.get_by_text("Ignored, with your reason in its history.")).to_be_visible()
    expect(items).to_have_count(0)
    expect(other.locator(f"#x-{PAUSED}-{number}, #x-{PAUSED}-{number + 10}")).to_have_count(
        0, timeout=SOON_MS
    )
    page.goto(f"{node.url}/devices/never-1")
    page.locator("#firmware details").filter(has_text="canceled").first.click()
    expect(page.locator("#firmware")).to_contain_text("ignored with a reason It burnt down.")
