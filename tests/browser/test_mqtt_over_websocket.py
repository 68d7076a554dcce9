"""MQTT.js, unmodified, in a page of Chromium against the live broker: pages of this box, of elsewhere, and with TLS."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.interop import brokers
from tests.interop.brokers import LiveBroker
from tests.interop.clients import mqttjs_folder
from tests.ports import free_port

DEADLINE_MS = 20_000
ROUND_TRIP = """
([url, username, password]) => new Promise((resolve, reject) => {
  const client = mqtt.connect(url, { username, password, protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 10000 });
  const large = new Uint8Array(200000).map((_, at) => at % 251);
  client.on("error", (error) => reject(new Error(`${error.message} ${error.code ?? ""}`)));
  client.on("close", () => reject(new Error("closed")));
  client.on("message", (topic, payload) => {
    if (topic.endsWith("text")) return;
    const whole = payload.length === large.length && payload.every((byte, at) => byte === at % 251);
    client.removeAllListeners("close");
    client.end(false, {}, () => resolve(whole));
  });
  client.on("connect", async () => {
    await client.subscribeAsync("page/#", { qos: 1 });
    await client.publishAsync("page/text", "hello", { qos: 1 });
    await client.publishAsync("page/large", large, { qos: 1 });
  });
})
"""


class _Pages(http.server.BaseHTTPRequestHandler):
    """One empty page with MQTT.js in it."""

    script = b""

    def do_GET(self) -> None:
        is_script = self.path == "/mqtt.js"
        body = self.script if is_script else b"<!doctype html><title>t</title><script src=/mqtt.js></script>"
        self.send_response(200)
        self.send_header("content-type", "text/javascript" if is_script else "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: pytest has the output."""


@dataclass(frozen=True, slots=True)
class Web:
    """A broker with web doors, and a server of pages on the same machine."""

    broker: LiveBroker
    page_port: int
    ws_port: int
    wss_port: int

    def refused_pages(self) -> int:
        """How many pages the broker says it has refused."""
        return self.broker.output().count("websocket_origin")

    def is_refused(self, page: Page, url: str) -> bool:
        """Whether a page that tries does not get in, and the broker says that this is why."""
        before = self.refused_pages()
        with pytest.raises(Error):
            self.round_trip(page, url)
        deadline = time.monotonic() + DEADLINE_MS / 1000
        while self.refused_pages() == before and time.monotonic() < deadline:
            time.sleep(0.02)
        # Not exactly one more: on a busy machine the word about the page before may come this late.
        return self.refused_pages() > before

    def round_trip(self, page: Page, url: str, password: str | None = None) -> object:
        credential = self.broker.credentials[0]
        return page.evaluate(ROUND_TRIP, [url, credential.username, password or credential.password])


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    _Pages.script = (mqttjs_folder() / "node_modules" / "mqtt" / "dist" / "mqtt.min.js").read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    ws_port, wss_port, listed = free_port(), free_port(), f"http://localhost:{server.server_port}"
    settings = (
        f'ws_bind = "127.0.0.1:{ws_port}"\nwss_bind = "127.0.0.1:{wss_port}"\n'
        f"ws_origins = {json.dumps([listed])}\n"
    )
    folder: Path = tmp_path_factory.mktemp("homeport")
    try:
        with brokers.homeport(folder, settings=settings) as broker:
            yield Web(broker, server.server_port, ws_port, wss_port)
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True)
    made = context.new_page()
    made.set_default_timeout(DEADLINE_MS)
    yield made
    context.close()


@pytest.mark.parametrize("is_secure", [False, True], ids=["ws", "wss"])
def test_a_page_of_this_box_publishes_and_receives(web: Web, page: Page, is_secure: bool) -> None:
    page.goto(f"http://127.0.0.1:{web.page_port}/")
    url = f"wss://127.0.0.1:{web.wss_port}/mqtt" if is_secure else f"ws://127.0.0.1:{web.ws_port}/mqtt"
    assert web.round_trip(page, url) is True


def test_a_page_that_is_listed(web: Web, page: Page) -> None:
    page.goto(f"http://localhost:{web.page_port}/")
    assert web.round_trip(page, f"ws://127.0.0.1:{web.ws_port}/mqtt") is True


def test_a_page_of_elsewhere_is_refused(web: Web, page: Page) -> None:
    """The same server by a name that is no address and not listed: what a page of the internet would be."""
    page.goto(f"http://elsewhere.localhost:{web.page_port}/")
    assert web.is_refused(page, f"ws://127.0.0.1:{web.ws_port}/mqtt")
    page.goto(f"http://127.0.0.1:{web.page_port}/")
    assert web.round_trip(page, f"ws://127.0.0.1:{web.ws_port}/mqtt") is True


def test_a_name_that_resolves_to_the_box_is_refused(web: Web, page: Page) -> None:
    """DNS rebinding: page and broker under one name, which is not the box's."""
    page.goto(f"http://elsewhere.localhost:{web.page_port}/")
    assert web.is_refused(page, f"ws://elsewhere.localhost:{web.ws_port}/mqtt")


def test_a_wrong_token_is_said_in_mqtts_words(web: Web, page: Page) -> None:
    page.goto(f"http://127.0.0.1:{web.page_port}/")
    with pytest.raises(Error, match="134"):
        web.round_trip(page, f"ws://127.0.0.1:{web.ws_port}/mqtt", password="wrong")
