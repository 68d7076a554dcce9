"""One node and one Chromium for the folder; a fresh browser context per test, watched for what must never happen."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.browser import alarm_world, firmware_world, world
from tests.browser.node_kit import PASSWORD, TestNode

CHROMIUM = shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
"""The first is the same engine without a browser's own windows, which are web pages too and took twice as long as ours."""
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE_PACKAGE = "axe-core@4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
EXPECT_MS = 30_000
"""Longest wait for what a page is to show: the machine of the tests is shared."""
DESKTOP: ViewportSize = {"width": 1100, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder drive Chromium."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def axe_source(pytestconfig: pytest.Config) -> str:
    """axe-core's script: from the npm registry the first time, then from pytest's cache; checked each time."""
    assert pytestconfig.cache is not None
    folder = Path(pytestconfig.cache.mkdir("axe-core"))
    script = folder / "axe.min.js"
    if not script.exists() or hashlib.sha256(script.read_bytes()).hexdigest() != AXE_SHA256:
        subprocess.run(
            ["npm", "pack", "--silent", AXE_PACKAGE], cwd=folder, check=True, capture_output=True, timeout=120
        )
        with tarfile.open(next(folder.glob("axe-core-*.tgz"))) as package:
            member = package.extractfile("package/axe.min.js")
            assert member is not None
            script.write_bytes(member.read())
    source = script.read_text(encoding="utf-8")
    assert hashlib.sha256(source.encode()).hexdigest() == AXE_SHA256
    return source


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=EXPECT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def claimed_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    """A node with an admin, the devices of tests/browser/world.py and the rollouts of firmware_world.py."""
    node = TestNode(tmp_path_factory.mktemp("node"))
    node.start()
    world.populate(node)
    firmware_world.populate(node)
    alarm_world.populate(node)
    yield node
    node.close()


@pytest.fixture
def node(claimed_node: TestNode) -> TestNode:
    """The claimed node with its live values made new."""
    claimed_node.call(lambda: world.enliven(claimed_node))
    return claimed_node


@pytest.fixture
def unclaimed_node(tmp_path: Path) -> Iterator[tuple[TestNode, str]]:
    """A node as after its first start, and its setup code."""
    node = TestNode(tmp_path)
    node.start()
    yield node, node.call(node.services.setup_code.issue)
    node.close()


@pytest.fixture(scope="package")
def signed_in_state(browser: Browser, claimed_node: TestNode) -> Any:
    """The cookie of a signed-in browser."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{claimed_node.url}/sign-in")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{claimed_node.url}/")
    state = context.storage_state()
    context.close()
    return state


class Watched:
    """Contexts whose pages may not log an error, ask another origin or open a dialog."""

    def __init__(self, browser: Browser, origin: str, state: Any) -> None:
        self._browser = browser
        self._origins = [origin, "data:", "blob:"]
        self._state = state
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.expected: tuple[str, ...] = ()

    def allow(self, origin: str) -> None:
        """Another node of ours."""
        self._origins.append(origin)

    def page(self, *, signed_in: bool = True, **options: Any) -> Page:
        context = self._browser.new_context(
            ignore_https_errors=True,
            locale="en-GB",
            **{
                "viewport": DESKTOP,
                "timezone_id": "UTC",
                "storage_state": self._state if signed_in else None,
                **options,
            },
        )
        self._contexts.append(context)
        context.on("console", self._console)
        context.on("request", self._request)
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(f"error on the page: {error}"))
        page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(text in message.text for text in self.expected):
            self.complaints.append(f"console {message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(tuple(self._origins)):
            self.complaints.append(f"a request off the origin: {request.url}")

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        assert self.complaints == []


@pytest.fixture
def watched(browser: Browser, node: TestNode, signed_in_state: Any) -> Iterator[Watched]:
    watched = Watched(browser, node.url, signed_in_state)
    yield watched
    watched.close()


@pytest.fixture
def check_axe(axe_source: str) -> Callable[[Page], None]:
    """Fails when axe-core finds anything in a page."""

    def check(page: Page) -> None:
        # Once in a page; and what was found good stays there, which is a hundred times what was not.
        if not page.evaluate("'axe' in window"):
            page.evaluate(axe_source)
        rules = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
        violations = page.evaluate(
            "async tags => (await axe.run({runOnly: tags, resultTypes: ['violations']})).violations", rules
        )
        found = [
            (
                v["id"],
                v["impact"],
                [node["html"][:120] for node in v["nodes"][:3]],
                v["nodes"][0]["failureSummary"],
            )
            for v in violations
        ]
        assert found == []

    return check
