"""What people do: sign in, connect a device, look for something, and all of it without JavaScript."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Watched
from tests.browser.node_kit import PASSWORD, TestNode
from tests.browser.world import put


def test_signing_in_leads_to_the_page_that_was_wanted(node: TestNode, watched: Watched) -> None:
    watched.expected = ("status of 401",)
    page = watched.page(signed_in=False)
    page.goto(f"{node.url}/devices?state=lost")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("The user name, the password or the code is wrong")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{node.url}/devices?state=lost")


def test_a_new_token_ends_the_old_one(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/devices/press-3")
    page.get_by_role("button", name="Issue a token").click()
    first = page.locator("#token").inner_text()
    page.get_by_role("link", name="Go to the device's page").click()
    page.get_by_role("button", name="Issue a new token").click()
    second = page.locator("#token").inner_text()
    assert first != second
    hashes = node.catalog(lambda c: [t.token_hash for t in c.tokens_of("press-3")])
    assert hashes == [node.services.keys.token_hash(second.encode())]
    assert node.broker.revoked[-1:] == ["press-3"]


def test_only_what_comes_after_a_new_token_is_its_first_message(node: TestNode, watched: Watched) -> None:
    """A device that spoke before, with another token or as other hardware, has not shown that this one works."""
    node.call(lambda: put(node, "press-4", "temperature_celsius", 19.5))
    page = watched.page()
    page.goto(f"{node.url}/devices/press-4")
    page.get_by_role("button", name="Issue a").click()
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.get_by_text("Waiting for the first message…")).to_be_visible()
    node.call(lambda: put(node, "press-4", "temperature_celsius", 21.5))
    expect(page.locator("#first-message .done")).to_contain_text("temperature_celsius = 21.5 °C")


def test_a_taken_or_bad_device_id_is_refused_with_the_reason(node: TestNode, watched: Watched) -> None:
    watched.expected = ("status of 409", "status of 422")
    page = watched.page()
    page.goto(f"{node.url}/devices/new")
    page.get_by_label("Device id").fill("press-0")
    page.get_by_role("button", name="Make its token").click()
    expect(page.get_by_text("There is a device “press-0” already")).to_be_visible()
    page.get_by_label("Device id").fill("a/b")
    page.get_by_role("button", name="Make its token").click()
    expect(page.get_by_text("separate and match topic levels")).to_be_visible()


def test_the_list_is_paged_and_back_works(node: TestNode, watched: Watched) -> None:
    node.catalog(
        lambda c: (
            [c.add_device(f"zz-many-{i:03d}") for i in range(120)] if not c.find_device("zz-many-000") else []
        )
    )
    page = watched.page()
    page.goto(f"{node.url}/devices?q=zz-many")
    expect(page.locator("#rows tr")).to_have_count(50)
    page.get_by_role("link", name="Next page").click()
    expect(page).to_have_url(re.compile(r"after=zz-many-049"))
    expect(page.locator("#rows tr").first).to_contain_text("zz-many-050")
    page.go_back()
    expect(page.locator("#rows tr").first).to_contain_text("zz-many-000")


def test_dead_letters_are_grouped_and_filtered(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/dead-letters")
    expect(page.locator("section[aria-labelledby^='r-'] h2")).to_have_count(3)
    page.get_by_role("link", name=re.compile("^bad utf8")).click()
    expect(page.get_by_role("heading", level=2)).to_have_text(["bad utf8"])
    expect(page.locator("pre.payload")).to_contain_text("hex: 80 81 82")


def test_everything_works_without_javascript(node: TestNode, watched: Watched) -> None:
    page = watched.page(java_script_enabled=False, signed_in=False)
    page.goto(f"{node.url}/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#link")).to_have_text(re.compile(r"^As of \d\d:\d\d:\d\d UTC$"))
    expect(page.locator("#banner")).to_be_hidden()
    page.get_by_role("link", name=re.compile(r"^\d+ lost")).click()
    page.get_by_role("link", name="press-5").click()
    expect(page.locator("#state")).to_contain_text("lost")
    page.goto(f"{node.url}/devices/press-0")
    expect(page.get_by_role("row", name=re.compile("temperature_celsius"))).to_contain_text("fresh")
    page.get_by_role("checkbox", name="cycles_count").check()
    page.get_by_role("button", name="Draw").click()
    expect(page).to_have_url(re.compile("metric=cycles_count"))
    page.goto(f"{node.url}/devices")
    page.get_by_role("row", name=re.compile("newcomer-b")).get_by_role("button", name="Reject").click()
    expect(page.get_by_text("Rejected. It stays out.")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{node.url}/sign-in")


@pytest.mark.parametrize(
    "target", ["https://example.net/", "//example.net", "/\\example.net", "javascript:alert(1)"]
)
def test_signing_in_never_leads_to_a_foreign_page(node: TestNode, watched: Watched, target: str) -> None:
    page = watched.page()
    page.goto(f"{node.url}/sign-in?next={target}")
    expect(page).to_have_url(f"{node.url}/")
