"""What people do: claim a box, connect a device, sign in, and all of it without JavaScript."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import world
from tests.browser.conftest import PHONE, Watched
from tests.browser.node_kit import PASSWORD, TestNode


def claim(page: Page, url: str, code: str) -> None:
    page.goto(url)
    expect(page).to_have_url(f"{url}/setup")
    page.get_by_label("Setup code").fill(code)
    page.get_by_label("Choose a password").fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Set up").click()


def test_from_the_setup_code_to_the_first_value_on_a_phone(
    unclaimed_node: tuple[TestNode, str], watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    page = watched.page(signed_in=False, viewport=PHONE, color_scheme="dark")
    claim(page, node.url, code)
    expect(page.get_by_role("heading", name="Connect your first device")).to_be_visible()
    check_axe(page)
    page.get_by_label("Device id").fill("pump-1")
    page.get_by_role("button", name="Make its token").click()

    token = page.locator("#token").inner_text()
    command = shlex.split(page.locator("#try-tls").inner_text())
    assert command[0] == "mosquitto_pub"
    assert command[command.index("-P") + 1] == token
    assert command[command.index("-t") + 1] == "dm/pump-1/telemetry"
    assert page.request.get(f"{node.url}/homeport-ca.pem").body().startswith(b"-----BEGIN CERTIFICATE-----")
    hashes = node.catalog(lambda c: [t.token_hash for t in c.tokens_of("pump-1")])
    assert hashes == [node.services.keys.token_hash(token.encode())]
    check_axe(page)

    expect(page.get_by_text("Waiting for the first message…")).to_be_visible()
    expect(page.locator("#link")).to_have_text("Live")
    node.call(lambda: world.put(node, "pump-1", "temperature_celsius", 21.5))
    done = page.locator("#first-message .done")
    expect(done).to_contain_text("temperature_celsius = 21.5 °C")
    check_axe(page)
    done.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1, name="pump-1")).to_be_visible()


def test_a_second_visitor_cannot_claim_the_box(
    unclaimed_node: tuple[TestNode, str], watched: Watched
) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    watched.expected = ("status of 403",)
    first, second = watched.page(signed_in=False), watched.page(signed_in=False)
    second.goto(f"{node.url}/setup")
    claim(first, node.url, code)
    expect(first.get_by_role("heading", name="Connect your first device")).to_be_visible()
    second.get_by_label("Setup code").fill(code)
    second.get_by_label("Choose a password").fill(PASSWORD)
    second.get_by_label("The same password again").fill(PASSWORD)
    second.get_by_role("button", name="Set up").click()
    expect(second.get_by_role("alert")).to_contain_text("was used already")
    second.goto(f"{node.url}/")
    expect(second).to_have_url(f"{node.url}/sign-in")


def test_a_wrong_code_and_differing_passwords_say_what_to_do(
    unclaimed_node: tuple[TestNode, str], watched: Watched
) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    watched.expected = ("status of 403", "status of 422")
    page = watched.page(signed_in=False)
    claim(page, node.url, "AAAAA-AAAAA")
    expect(page.get_by_role("alert").first).to_contain_text("The setup code is wrong")
    page.get_by_label("Setup code").fill(code)
    page.get_by_label("Choose a password").fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD + "!")
    page.get_by_role("button", name="Set up").click()
    expect(page.get_by_text("The two passwords differ")).to_be_visible()
    expect(page.get_by_label("Setup code")).to_have_value(code)


def test_signing_in_leads_to_the_page_that_was_wanted(node: TestNode, watched: Watched) -> None:
    watched.expected = ("status of 401",)
    page = watched.page(signed_in=False)
    page.goto(f"{node.url}/devices?state=lost")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("The user name or the password is wrong")).to_be_visible()
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
    expect(page.get_by_role("heading", level=2)).to_have_count(3)
    page.get_by_role("link", name=re.compile("bad utf8")).click()
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
