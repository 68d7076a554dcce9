"""The broker's page in a browser: live, in place, and without JavaScript."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Watched
from tests.browser.node_kit import TestNode


def set_row(node: TestNode, client_id: str, **changes: object) -> None:
    def change() -> None:
        for row in node.broker.clients:
            if row["client_id"] == client_id:
                row.update(changes)

    node.call(change)


def drop(node: TestNode, client_id: str) -> None:
    def change() -> None:
        node.broker.clients = [row for row in node.broker.clients if row["client_id"] != client_id]

    node.call(change)


def test_rows_change_in_their_places_and_one_that_goes_says_so(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/broker?q=press")
    rows = page.locator("#clients tr")
    expect(rows).to_have_count(5)
    expect(page.locator("#link")).to_have_text("Live")
    set_row(node, "press-1", is_lagging=True, lag_records=12, queued_messages=40)
    expect(rows.nth(1)).to_contain_text("fed from the log")
    expect(rows.nth(1)).to_contain_text("40")
    drop(node, "press-1")
    expect(rows.nth(1)).to_contain_text("not connected any more")
    expect(rows).to_have_count(5)
    page.reload()
    expect(rows).to_have_count(4)


def test_a_client_that_goes_while_it_is_looked_at(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/broker/client?id=dashboard")
    expect(page.locator("#client")).to_contain_text("fed from the log")
    drop(node, "dashboard")
    expect(page.locator("#client")).to_contain_text(
        "This client is not connected any more, and has no session."
    )


def test_the_broker_going_away_shows_at_once(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/broker")
    expect(page.locator("#broker")).to_contain_text("broker serving")

    def away() -> None:
        node.broker.connected = False

    node.call(away)
    expect(page.locator("#broker")).to_contain_text("The broker is away")
    expect(page.locator("#broker")).to_contain_text("broker away")
    expect(page.locator("#clients tr")).to_have_count(8)


def test_without_javascript_a_client_is_found_and_disconnected_and_a_message_cleared(
    node: TestNode, watched: Watched
) -> None:
    page = watched.page(java_script_enabled=False)
    page.goto(f"{node.url}/broker")
    page.get_by_role("searchbox").fill("press-2")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="press-2").click()
    page.get_by_label("Disconnect press-2").check()
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_text("The client was disconnected.")).to_be_visible()
    expect(page.get_by_role("link", name="press-2")).to_have_count(0)
    page.get_by_role("link", name="away").click()
    page.get_by_role("link", name="tablet").click()
    page.get_by_label("Type “end” to confirm").fill("end")
    page.get_by_role("button", name="End the session").click()
    expect(page.get_by_text("The session is ended.")).to_be_visible()
    page.get_by_role("link", name="Retained messages").first.click()
    page.get_by_role("link", name="Clear… dm/press-0/status").click()
    page.get_by_label("Type “clear” to confirm").fill("clear")
    page.get_by_role("button", name="Clear it").click()
    expect(page.get_by_text("The retained message is gone.")).to_be_visible()
    expect(page.get_by_text("dm/press-0/status")).to_have_count(0)
