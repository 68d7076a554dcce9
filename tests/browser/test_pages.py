"""Each page in both schemes and both sizes: nothing for axe to find, no error, nothing off the origin, no scrolling sideways.

What must never happen on any page (console errors, foreign requests, dialogs) is asserted by the `watched` fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from storage.catalog import Catalog
from tests.browser.alarm_world import HOT, METRIC, ODD, RULE_IDS, SITE, alarm_id
from tests.browser.conftest import DESKTOP, PHONE, Watched
from tests.browser.firmware_world import ARTIFACT, PAUSED, RUNNING, WAITING
from tests.browser.node_kit import TestNode
from tests.browser.world import HOSTILE_ID, HOSTILE_METRIC, HOSTILE_TRACE_ID
from tests.merge_kit import contradict
from tests.sampling import IS_LONG, a_few
from tests.trace_kit import TRACE_ID
from ui.pages.rule_kinds import KINDS

ALARM_IDS = (
    alarm_id(RULE_IDS[HOT], "press-0", METRIC),
    alarm_id(RULE_IDS[HOT], "press-3", METRIC),
    alarm_id(RULE_IDS[ODD], HOSTILE_ID, HOSTILE_METRIC),
    alarm_id(RULE_IDS[SITE], "", ""),
)
LIVE_PAGES = (
    "/",
    "/alarms",
    "/alarms?state=shelved&severity=P1",
    *(f"/alarms/{each}" for each in ALARM_IDS),
    "/devices",
    "/devices?state=lost",
    "/bridges",
    "/backups",
    "/firmware",
    f"/firmware/rollouts/{PAUSED}",
    f"/firmware/rollouts/{RUNNING}?kind=waiting",
    f"/firmware/rollouts/{WAITING}",
    "/firmware/work-queue",
    "/devices/press-0",
    "/devices/press-1",
    f"/devices/{quote(HOSTILE_ID, safe='')}",
    "/broker",
    "/broker/client?id=dashboard",
    "/broker/client?id=tablet",
    f"/broker/client?id={quote(HOSTILE_ID, safe='')}",
)
FORM = f"artifact={ARTIFACT}&devices=press-0"
STILL_PAGES = (
    "/alarms?state=history",
    "/alarms/rules",
    "/alarms/rules/new",
    *(f"/alarms/rules/new?kind={kind}" for kind in KINDS),
    f"/alarms/rules/{RULE_IDS[ODD]}",
    "/alarms/maintenance",
    "/alarms/notifications",
    *(f"/alarms/notifications/targets/new?kind={kind}" for kind in ("webhook", "email", "mqtt")),
    "/alarms/notifications/lists/new",
    "/firmware/rollouts/new",
    *(f"/firmware/rollouts/new?step={step}&{FORM}" for step in ("targets", "waves", "limits", "review")),
    f"/firmware/rollouts/new?step=review&{FORM}&waves=1",
    f"/firmware/rollouts/{PAUSED}/rollback?wave=0",
    f"/firmware/rollouts/{PAUSED}/abort",
    f"/firmware/rollouts/{WAITING}/refuse",
    "/account",
    "/people",
    "/people/new",
    "/people/user?id=admin",
    "/settings",
    "/audit",
    "/audit?action=device&outcome=done",
    "/setup/site",
    "/setup/storage",
    "/devices/new",
    "/devices/press-0/edit",
    "/devices/press-0/replace",
    "/devices/press-0/decommission",
    "/devices/press-0/erase",
    "/devices/press-0/twin",
    "/devices/press-0/twin?new=1",
    "/devices/press-0/commands",
    f"/traces/{TRACE_ID}",
    f"/traces/{HOSTILE_TRACE_ID}",
    "/storage",
    "/device-import",
    "/groups",
    "/claims",
    "/claims/new",
    "/telemetry",
    "/telemetry?device=press-0&device=press-1&metric=temperature_celsius&metric=running",
    f"/telemetry?device={quote(HOSTILE_ID, safe='')}",
    "/telemetry?device=press-0&view=table",
    "/dead-letters",
    "/mappings",
    "/mappings/new?pattern=dm/%7Bdevice%7D/telemetry&source=dead_letters",
    "/firmware/artifacts",
    "/firmware/artifacts/new",
    "/firmware/keys",
    "/patterns",
    "/devices/nobody",
    "/broker/retained",
    "/broker/retained/clear?seq=2",
    "/broker/client?id=nobody",
)
LOOKS: tuple[tuple[Literal["light", "dark"], ViewportSize], ...] = (
    ("light", DESKTOP),
    ("light", PHONE),
    ("dark", PHONE),
    ("dark", DESKTOP),
)
CROSSED: Final = ((LOOKS[0], LOOKS[2]), (LOOKS[1], LOOKS[3]))
"""Two looks have both schemes and both sizes."""


def has_horizontal_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def check_looks(page: Page, check_axe: Callable[[Page], None]) -> None:
    """Both schemes and both sizes, one after the other in the same page (without transitions: they would be measured half-way).

    axe, which takes most of the time, looks at one of the two crossings, and at all four in the long run.
    """
    seen = LOOKS if IS_LONG else a_few(CROSSED, 1, of=page.url.split("/", 3)[3])[0]
    for scheme, size in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        if (scheme, size) in seen:
            check_axe(page)
        assert not has_horizontal_scroll(page), (scheme, size)


@pytest.mark.parametrize("path", [*LIVE_PAGES, *STILL_PAGES])
def test_a_page_is_accessible_and_keeps_to_itself(
    node: TestNode, watched: Watched, check_axe: Callable[[Page], None], path: str
) -> None:
    if path.endswith(("nobody", "waves=1")):
        watched.expected = ("status of 404", "status of 422")
    page = watched.page(reduced_motion="reduce")
    page.goto(node.url + path)
    if path in LIVE_PAGES:
        expect(page.locator("#link")).to_have_text("Live")
    check_looks(page, check_axe)


@pytest.fixture
def peers(node: TestNode) -> Iterator[TestNode]:
    """The box belongs to a fleet in which little is well, meanwhile."""
    node.has_peers = True
    node.catalog(lambda catalog: catalog.count_conflicts() or contradict(catalog, "differing"))
    yield node
    node.has_peers = False


def test_sites_is_accessible_whatever_is_wrong(
    peers: TestNode, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{peers.url}/sites")
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.get_by_text("Written differently on two boxes")).to_be_visible()
    expect(page.get_by_text("They are a gap from then on")).to_be_visible()
    check_looks(page, check_axe)
    page.get_by_role("button", name="Make an invitation").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Invitation for a box of this site")
    check_looks(page, check_axe)


@pytest.fixture
def cloud(node: TestNode) -> Iterator[TestNode]:
    """The box is a cloud node for some sites, meanwhile."""
    node.is_cloud = True
    yield node
    node.is_cloud = False


def test_all_sites_of_a_cloud_node_are_accessible(
    cloud: TestNode, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{cloud.url}/sites")
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.get_by_text("2 sites with 4 boxes")).to_be_visible()
    check_looks(page, check_axe)
    page.set_viewport_size(PHONE)
    expect(page.get_by_text("not heard from").first).to_be_visible()
    assert not has_horizontal_scroll(page)


def test_sites_works_without_scripts(peers: TestNode, watched: Watched) -> None:
    page = watched.page(java_script_enabled=False, viewport=PHONE)
    page.goto(f"{peers.url}/sites")
    page.get_by_label("A box of another site").check()
    page.get_by_label("Note").fill("<b>for the barn</b>")
    page.get_by_role("button", name="Make an invitation").click()
    page.get_by_role("link", name="I have it").click()
    waiting = page.get_by_role("listitem").filter(has_text="<b>for the barn</b>")
    expect(waiting).to_be_visible()
    assert not has_horizontal_scroll(page)
    waiting.get_by_role("button", name="Call it off").click()
    expect(page.get_by_text("nobody can come by it any more")).to_be_visible()
    expect(waiting).to_have_count(0)


def test_the_door_is_accessible(
    unclaimed_node: tuple[TestNode, str], node: TestNode, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    fresh, _ = unclaimed_node
    watched.allow(fresh.url)
    page = watched.page(signed_in=False, reduced_motion="reduce")
    for url in (f"{fresh.url}/setup", f"{node.url}/sign-in"):
        page.goto(url)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        check_looks(page, check_axe)


@pytest.mark.parametrize("path", ["/", "/devices", "/devices/press-0", "/dead-letters", "/mappings/new?pattern=%7Bdevice%7D/%23&source=dead_letters", "/patterns", "/broker", "/bridges", "/broker/client?id=dashboard",
     "/broker/retained", "/settings", "/people", "/account", "/people/user?id=admin", "/setup/storage",
     "/telemetry?device=press-0&device=press-1", "/firmware", f"/firmware/rollouts/{PAUSED}", "/firmware/work-queue",
     f"/firmware/rollouts/new?step=waves&{FORM}", f"/firmware/rollouts/{PAUSED}/rollback?wave=0"],
)  # fmt: skip
def test_nothing_is_cut_off_at_200_percent(node: TestNode, watched: Watched, path: str) -> None:
    """A 1100 px window zoomed to 200 % has 550 CSS pixels (WCAG 2.2, 1.4.4 and 1.4.10)."""
    page = watched.page(viewport={"width": 550, "height": 400}, device_scale_factor=2)
    page.goto(node.url + path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert not has_horizontal_scroll(page)


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_navigation_is_one_row_of_groups_and_one_of_pages(
    node: TestNode, watched: Watched, size: ViewportSize
) -> None:
    page = watched.page(viewport=size)
    page.goto(f"{node.url}/dead-letters")
    for name, texts in (
        ("Main", ["Overview", "Alarms", "Devices", "Telemetry", "Firmware", "Messages", "Data", "Box"]),
        ("Messages", ["Broker", "Mappings", "Dead letters"]),
    ):
        links = page.get_by_role("navigation", name=name).get_by_role("link")
        # How many alarms wait stands behind the word.
        shown = [text.splitlines()[0].rstrip("0123456789 ") for text in links.all_inner_texts()]
        assert shown[: len(texts)] == texts
        boxes = [links.nth(index).bounding_box() for index in range(links.count())]
        assert all(box is not None for box in boxes)
        rows = {round(box["y"]) for box in boxes if box is not None}
        # Eight groups have two rows on a phone: all of them are seen, which a row that scrolls would not show.
        assert len(rows) <= (2 if size is PHONE and name == "Main" else 1), "no entry wraps"
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= size["width"] for box in boxes if box)
        assert all(box["height"] >= 24 for box in boxes if box), "a thumb finds it"
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Data").click()
    page.get_by_role("navigation", name="Data").get_by_role("link", name="Backups").click()
    expect(page.get_by_role("heading", level=1, name="Backups")).to_be_visible()


def test_the_end_of_a_token_fits_a_phone(node: TestNode, watched: Watched) -> None:
    """Two tokens: the one before ends at an instant that is written out."""
    ends_ms = node.services.clock.now_ms() + 86_400_000

    def write(catalog: Catalog) -> None:
        catalog.set_token("press-5", b"1" * 32)
        catalog.set_token("press-5", b"2" * 32, old_valid_until_ms=ends_ms)

    node.catalog(write)
    page = watched.page(viewport=PHONE)
    page.goto(f"{node.url}/devices/press-5")
    expect(page.locator("#credentials tbody tr")).to_have_count(2)
    assert not has_horizontal_scroll(page)


def test_every_state_is_a_word_and_an_icon_not_a_colour(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/patterns")
    pills = page.locator(".pill")
    assert pills.count() > 40
    for index in range(pills.count()):
        pill = pills.nth(index)
        assert pill.inner_text().strip()
        assert pill.locator("use").get_attribute("href") != ""


def test_every_icon_that_is_used_exists(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    for path in (
        "/patterns",
        "/",
        "/devices",
        "/devices/press-0",
        "/broker",
        "/bridges",
        "/broker/client?id=dashboard",
        "/firmware",
        f"/firmware/rollouts/{PAUSED}",
        "/firmware/work-queue",
    ):
        page.goto(node.url + path)
        missing = page.evaluate(
            "[...document.querySelectorAll('use')].map(u => u.getAttribute('href')).filter(h => !document.querySelector(h))"
        )
        assert missing == []


def test_the_keyboard_reaches_the_content_first(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/devices")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_device_is_found_and_opened_with_the_keyboard_alone(node: TestNode, watched: Watched) -> None:
    page = watched.page()
    page.goto(f"{node.url}/devices")
    search = page.get_by_role("searchbox")
    for _ in range(40):
        page.keyboard.press("Tab")
        if search.evaluate("e => e === document.activeElement"):
            break
    page.keyboard.type("press-4")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{node.url}/devices?q=press-4")
    link = page.get_by_role("link", name="press-4")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="press-4")).to_be_visible()


def test_a_scheme_change_redraws_the_charts(node: TestNode, watched: Watched) -> None:
    """uPlot paints into a canvas, where no style sheet reaches: axis colours must follow the scheme."""
    page = watched.page(color_scheme="light")
    page.goto(f"{node.url}/devices/press-0")
    canvas = page.locator(".u-wrap canvas").first
    expect(canvas).to_be_visible()
    expect(page.locator(".readout").first).to_contain_text("lowest")
    light = canvas.evaluate("c => c.toDataURL()")
    page.emulate_media(color_scheme="dark")
    expect_changed(page, light)


def expect_changed(page: Page, before: str) -> None:
    handle = page.locator(".u-wrap canvas").first
    for _ in range(50):
        if handle.evaluate("c => c.toDataURL()") != before:
            return
        page.wait_for_timeout(100)
    raise AssertionError("the chart still has the other scheme's colours")
