"""People and one's own account, as an admin and a newcomer use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyotp
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, Watched
from tests.browser.node_kit import PASSWORD, TestNode
from tests.browser.test_pages import check_looks


def test_an_admin_adds_somebody_who_sets_up_a_second_factor(
    unclaimed_node: tuple[TestNode, str], watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    admin = watched.page(signed_in=False, reduced_motion="reduce")
    claim(admin, node, code)
    admin.goto(f"{node.url}/people")
    admin.get_by_role("link", name="Add a user").click()
    admin.get_by_label("User name").fill("anna")
    admin.get_by_role("radio", name="installer").check()
    admin.get_by_label("New password").fill(PASSWORD)
    admin.get_by_label("The same password again").fill(PASSWORD)
    admin.get_by_role("button", name="Add the user").click()
    expect(admin.get_by_text("The user is added")).to_be_visible()
    check_looks(admin, check_axe)

    anna = watched.page(signed_in=False, viewport=PHONE, java_script_enabled=False)
    sign_in(anna, node, "anna", PASSWORD)
    anna.get_by_role("banner").get_by_role("link", name="anna").click()
    anna.get_by_role("button", name="Set it up").click()
    expect(anna.get_by_role("img", name="QR code")).to_be_visible()
    secret = anna.locator("#totp-secret").inner_text()
    anna.get_by_label("The code that the app shows now").fill(pyotp.TOTP(secret).now())
    anna.get_by_label("Your password").fill(PASSWORD)
    anna.get_by_role("button", name="Turn it on").click()
    expect(anna.get_by_text("The second factor is on.")).to_be_visible()

    admin.goto(f"{node.url}/people/user?id=anna")
    admin.get_by_role("radio", name="viewer").check()
    admin.get_by_role("button", name="Save").click()
    expect(admin.get_by_text("It holds for their next request")).to_be_visible()
    admin.get_by_role("button", name="Turn the second factor off").click()
    expect(admin.get_by_text("The second factor is off")).to_be_visible()
    anna.reload()
    expect(anna.get_by_role("heading", name="Sign in")).to_be_visible()
    admin.get_by_label("Type “anna” to confirm").fill("anna")
    admin.get_by_role("button", name="Remove this user").click()
    expect(admin.get_by_text("The user is removed")).to_be_visible()


def test_a_token_is_made_tried_and_revoked(
    unclaimed_node: tuple[TestNode, str], watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    page = watched.page(signed_in=False, reduced_motion="reduce")
    claim(page, node, code)
    page.goto(f"{node.url}/account")
    page.get_by_label("Name what it is for").fill("grafana")
    page.get_by_role("button", name="Make it").click()
    token = page.locator("#api-token").inner_text()
    check_looks(page, check_axe)
    with_token: dict[str, Any] = {"headers": {"authorization": f"Bearer {token}"}}
    assert page.request.get(f"{node.url}/api/v1/status", **with_token).status == 200
    page.get_by_role("link", name="I have it").click()
    page.get_by_role("button", name="Revoke grafana").click()
    expect(page.get_by_text("The token is revoked")).to_be_visible()
    assert page.request.get(f"{node.url}/api/v1/status", **with_token).status == 401


def claim(page: Page, node: TestNode, code: str) -> None:
    page.goto(f"{node.url}/setup")
    page.get_by_label("Setup code").fill(code)
    page.get_by_label("Choose a password").fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Become the owner").click()
    expect(page.get_by_role("heading", name="Your site")).to_be_visible()


def sign_in(page: Page, node: TestNode, user: str, password: str) -> None:
    page.goto(f"{node.url}/sign-in")
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{node.url}/")
