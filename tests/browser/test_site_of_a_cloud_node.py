"""A cloud node's pages of a site in Chromium: in both schemes and sizes, with charts drawn, and where the site may not be read or is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest
from playwright.sync_api import Page, expect

from appliance.core.clock import SystemClock
from appliance.management.replication_state import ReplicationState, SiteNodeState
from appliance.management.site_reading import key_of
from tests.browser.conftest import PHONE, Watched
from tests.browser.node_kit import TestNode
from tests.browser.test_pages import check_looks, has_horizontal_scroll
from tests.site_reading_kit import CLOUD, MILL, SITE, STATE
from ui.app import create_app
from ui.site_answers import SiteAnswers
from ui.site_reading import SiteReadingDesk


class Sites:
    """What the cloud node knows of the site, which is this very node."""

    def __init__(self, node: TestNode) -> None:
        self.node = node
        self.box = MILL
        self._app = create_app(node.services, with_pages=False)

    def is_told(self, **changes: object) -> None:
        self.box = msgspec.structs.replace(self.box, **changes)

    async def known(self) -> ReplicationState:
        now_ms = SystemClock().now_ms()
        heard_ms = now_ms - (2_000 if self.box.is_fresh else 900_000)
        boxes: tuple[SiteNodeState, ...] = (msgspec.structs.replace(self.box, heard_at_ms=heard_ms),)
        return msgspec.structs.replace(STATE, sites=boxes)

    async def ask(self, _: str, *question: str) -> tuple[int, bytes]:
        return await SiteAnswers(self.node.services, self._app).read(CLOUD, "cloud-1", *question)


@pytest.fixture
def sites(node: TestNode) -> Iterator[Sites]:
    sites = Sites(node)
    desk = SiteReadingDesk(sites.ask, sites.known, node.services.catalog, clock=SystemClock())
    object.__setattr__(node.services, "site_reading", desk)
    node.catalog(lambda catalog: catalog.set_setting(key_of(CLOUD), True))
    node.is_cloud = True
    yield sites
    node.is_cloud = False
    object.__setattr__(node.services, "site_reading", None)


def test_a_site_and_its_devices_are_read(
    sites: Sites, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{sites.node.url}/sites/site?site={SITE}")
    expect(page.get_by_role("heading", name="Open alarms")).to_be_visible()
    check_looks(page, check_axe)
    page.get_by_role("searchbox").fill("press")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="press-0", exact=True).last.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("press-0")
    expect(page.locator("figure.chart canvas").first).to_be_visible()
    check_looks(page, check_axe)
    page.set_viewport_size(PHONE)
    assert not has_horizontal_scroll(page)
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("heading", name="Last 7 days")).to_be_visible()


def test_a_site_that_is_silent_or_forbids_it_says_so(
    sites: Sites, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    page = watched.page(reduced_motion="reduce")
    sites.is_told(is_fresh=False)
    page.goto(f"{sites.node.url}/sites/site?site={SITE}")
    expect(page.get_by_text("No box of the site was heard for 15 min")).to_be_visible()
    expect(page.get_by_text("2 devices, 1 online; active alarms: 1 P1, 2 P3")).to_be_visible()
    check_looks(page, check_axe)
    sites.is_told(is_fresh=True, may_read=False)
    page.reload()
    expect(page.get_by_text("At the site, an admin allows it")).to_be_visible()
    expect(page.get_by_role("heading", name="Devices")).to_have_count(0)
