"""Notifications in Chromium: a webhook made and tried against a receiver on this machine, an on-call list, with and without JavaScript."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, Watched
from tests.browser.node_kit import TestNode
from tests.browser.test_pages import check_looks

URL = "/alarms/notifications"


@contextmanager
def receiver(status: int = 204) -> Iterator[tuple[str, list[tuple[dict[str, str], Any]]]]:
    """Something that takes POSTs: its address, and headers and body of what it got."""
    got: list[tuple[dict[str, str], Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(({key.lower(): value for key, value in self.headers.items()}, json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def make_webhook(page: Page, node: TestNode, name: str, url: str) -> None:
    page.goto(f"{node.url}{URL}")
    page.get_by_role("link", name="Add: Webhook").click()
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("textbox", name="URL").fill(url)
    page.get_by_label("Signing secret").fill("between us")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The target is saved.")).to_be_visible()


def remove(page: Page, name: str) -> None:
    page.get_by_role("link", name=name).first.click()
    page.get_by_label("Type “remove” to confirm").fill("remove")
    page.get_by_role("button", name="Remove it").click()


def test_a_webhook_is_tried_and_its_outcome_said(
    node: TestNode, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    page = watched.page(reduced_motion="reduce")
    with receiver() as (url, got):
        make_webhook(page, node, "Chat of hall 2", url)
        page.get_by_role("button", name="Send a try to Chat of hall 2").click()
        expect(page.locator("#outcome")).to_contain_text("The try reached Chat of hall 2.")
    ((headers, body),) = got
    assert headers["idempotency-key"]
    assert body["event"] == "test"
    expect(page.locator("section[aria-labelledby=h-log] tbody tr").first).to_contain_text("sent")
    check_looks(page, check_axe)
    with receiver(503) as (url, got):
        page.get_by_role("link", name="Chat of hall 2").first.click()
        expect(page.get_by_label("Signing secret")).to_have_value("")
        check_looks(page, check_axe)
        page.get_by_role("textbox", name="URL").fill(url)
        page.get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Send a try to Chat of hall 2").click()
        expect(page.locator("#outcome")).to_contain_text("The try did not reach Chat of hall 2.")
        expect(page.locator("#outcome")).to_contain_text("503")
        assert got
    remove(page, "Chat of hall 2")
    expect(page.get_by_text("The target is gone.")).to_be_visible()


def test_an_on_call_list_is_made_without_javascript(
    node: TestNode, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    page = watched.page(java_script_enabled=False, viewport=PHONE)
    make_webhook(page, node, "Pager", "https://pager.example.org/hook")
    page.get_by_role("link", name="New list").click()
    page.locator("[name=name]").fill("Day and night")
    page.locator("[name='m0.name']").fill("Anna")
    page.locator("[name='m0.times']").fill("mon-sun 00:00-00:00")
    page.get_by_role("checkbox", name="Pager").first.check()
    page.locator("[name=quiet]").fill("22:00-06:00")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The on-call list is saved")).to_be_visible()
    expect(page.get_by_role("row", name="Day and night")).to_contain_text("Anna")
    looked_at = watched.page(reduced_motion="reduce")
    looked_at.goto(f"{node.url}{URL}")
    looked_at.get_by_role("link", name="Day and night").click()
    expect(looked_at.locator("#scope-count")).to_contain_text("devices now")
    check_looks(looked_at, check_axe)
    remove(page, "Day and night")
    expect(page.get_by_text("The on-call list is gone.")).to_be_visible()
    remove(page, "Pager")
    expect(page.get_by_text("The target is gone.")).to_be_visible()
