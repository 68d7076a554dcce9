"""The first run: from the setup code to the first value, on a phone, without JavaScript, and for whoever comes second."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Callable

from playwright.sync_api import Page, expect

from appliance.identity.recovery_kit import RecoveryKit
from tests.browser import world
from tests.browser.conftest import PHONE, Watched
from tests.browser.node_kit import PASSWORD, TestNode
from tests.browser.test_pages import check_looks

Fresh = tuple[TestNode, str]


def claim(page: Page, url: str, code: str) -> None:
    page.goto(url)
    expect(page).to_have_url(f"{url}/setup")
    page.get_by_label("Setup code").fill(code)
    page.get_by_label("Choose a password").fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Become the owner").click()


def go_to_the_device(page: Page, url: str) -> None:
    """Through the steps between, taking what they propose; the recovery kit is put off."""
    expect(page).to_have_url(f"{url}/setup/site")
    page.get_by_role("button", name="Save and go on").click()
    expect(page).to_have_url(f"{url}/setup/storage")
    page.get_by_role("button", name="Go on").click()
    expect(page).to_have_url(f"{url}/setup/recovery-kit")
    page.get_by_role("button", name="Later").click()
    expect(page).to_have_url(f"{url}/devices/new?first=1")


def test_from_the_setup_code_to_the_first_value_on_a_phone(
    unclaimed_node: Fresh, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    page = watched.page(signed_in=False, viewport=PHONE, color_scheme="dark", timezone_id="Europe/Vienna")
    claim(page, node.url, code)

    expect(page.get_by_label("Time zone")).to_have_value("Europe/Vienna")
    expect(page.get_by_text("Your browser's time zone is chosen")).to_be_visible()
    expect(page.get_by_text("The clock of the device in your hand agrees.")).to_be_visible()
    page.get_by_label("Site name").fill("Sawmill")
    check_axe(page)
    go_to_the_device(page, node.url)
    kept = node.catalog(lambda c: [c.get_setting("site.name"), c.get_setting("site.time_zone")])
    assert kept == ["Sawmill", "Europe/Vienna"]
    expect(page.get_by_role("banner")).to_contain_text("Sawmill")

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
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    assert page.locator("img.qr").evaluate("image => image.naturalWidth") > 0
    check_axe(page)

    expect(page.get_by_text("Waiting for the first message…")).to_be_in_viewport()
    expect(page.locator("#link")).to_have_text("Live")
    node.call(lambda: world.put(node, "pump-1", "temperature_celsius", 21.5))
    done = page.locator("#first-message .done")
    expect(done).to_contain_text("temperature_celsius = 21.5 °C")
    check_axe(page)
    page.get_by_role("link", name="Finish").click()
    expect(page).to_have_url(f"{node.url}/")
    expect(page.get_by_text("isn't finished")).to_have_count(0)
    expect(page.get_by_text("The recovery kit isn't kept anywhere yet")).to_be_visible()


def test_the_recovery_kit_is_shown_saved_and_confirmed_once(unclaimed_node: Fresh, watched: Watched) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    watched.expected = ("status of 422",)
    page = watched.page(signed_in=False, viewport=PHONE)
    claim(page, node.url, code)
    page.goto(f"{node.url}/setup/recovery-kit")
    kit = RecoveryKit.of(node.services.config.node.data_dir)
    assert RecoveryKit.parse(page.locator("pre.kit").inner_text()) == kit
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as a file").click()
    assert RecoveryKit.parse(saved.value.path().read_text()) == kit
    page.get_by_role("button", name="Confirm and go on").click()
    expect(page.get_by_role("alert").first).to_contain_text("Nothing was confirmed")
    page.get_by_label("I have printed or saved it").check()
    page.get_by_role("button", name="Confirm and go on").click()
    expect(page).to_have_url(f"{node.url}/devices/new?first=1")
    page.goto(f"{node.url}/setup/recovery-kit")
    expect(page.get_by_text("It was saved and confirmed")).to_be_visible()
    expect(page.locator("pre.kit")).to_have_count(0)
    page.goto(node.url)
    expect(page.get_by_text("The recovery kit isn't kept anywhere yet")).to_have_count(0)
    actions = node.catalog(
        lambda c: [
            row["action"] for row in c.rows("SELECT action FROM audit WHERE object_kind = 'recovery_kit'")
        ]
    )
    assert actions == ["recovery_kit.show"] * 3 + ["recovery_kit.confirm"]


def test_each_step_looks_right(
    unclaimed_node: Fresh, watched: Watched, check_axe: Callable[[Page], None]
) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    page = watched.page(signed_in=False, reduced_motion="reduce")
    page.goto(f"{node.url}/setup")
    check_looks(page, check_axe)
    claim(page, node.url, code)
    for path in ("/setup/site", "/setup/storage", "/setup/recovery-kit", "/devices/new?first=1"):
        page.goto(node.url + path)
        check_looks(page, check_axe)
    stranger = watched.page(signed_in=False, reduced_motion="reduce")
    stranger.goto(f"{node.url}/setup")
    expect(stranger.get_by_role("heading", level=1, name="This box has an owner")).to_be_visible()
    check_looks(stranger, check_axe)


def test_a_second_visitor_cannot_claim_the_box(unclaimed_node: Fresh, watched: Watched) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    watched.expected = ("status of 403",)
    first, second = watched.page(signed_in=False), watched.page(signed_in=False)
    second.goto(f"{node.url}/setup")
    claim(first, node.url, code)
    expect(first.get_by_role("heading", name="Your site")).to_be_visible()
    second.get_by_label("Setup code").fill(code)
    second.get_by_label("Choose a password").fill(PASSWORD)
    second.get_by_label("The same password again").fill(PASSWORD)
    second.get_by_role("button", name="Become the owner").click()
    expect(second.get_by_role("heading", name="This box has an owner")).to_be_visible()
    expect(second.get_by_role("alert")).to_contain_text("was used already")
    second.goto(f"{node.url}/")
    expect(second).to_have_url(f"{node.url}/sign-in")


def test_a_wrong_code_and_differing_passwords_say_what_to_do(unclaimed_node: Fresh, watched: Watched) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    watched.expected = ("status of 403", "status of 422")
    page = watched.page(signed_in=False)
    claim(page, node.url, "AAAAA-AAAAA")
    expect(page.get_by_role("alert").first).to_contain_text("The setup code is wrong")
    page.get_by_label("Setup code").fill(code)
    page.get_by_label("Choose a password").fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD + "!")
    page.get_by_role("button", name="Become the owner").click()
    expect(page.get_by_text("The two passwords differ")).to_be_visible()
    expect(page.get_by_label("Setup code")).to_have_value(code)


def test_closing_the_browser_in_between_loses_nothing(unclaimed_node: Fresh, watched: Watched) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    page = watched.page(signed_in=False)
    claim(page, node.url, code)
    page.get_by_role("button", name="Save and go on").click()
    expect(page).to_have_url(f"{node.url}/setup/storage")
    page.context.clear_cookies()
    page.goto(node.url)
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Setting up this box isn't finished. Next: storage.")).to_be_visible()
    page.get_by_role("link", name="Go on").click()
    expect(page).to_have_url(f"{node.url}/setup/storage")
    page.get_by_role("link", name="Site").click()
    expect(page.get_by_role("heading", name="Your site")).to_be_visible()


def test_the_whole_first_run_works_without_javascript(unclaimed_node: Fresh, watched: Watched) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    page = watched.page(signed_in=False, java_script_enabled=False, viewport=PHONE)
    claim(page, node.url, code)
    page.get_by_label("Time zone").select_option("America/Argentina/Ushuaia")
    page.get_by_label("Dates look like").select_option("dmy")
    go_to_the_device(page, node.url)
    assert node.catalog(lambda c: c.get_setting("site.time_zone")) == "America/Argentina/Ushuaia"
    page.goto(f"{node.url}/setup/storage")
    page.get_by_label("Messages a minute").fill("60000000")
    page.get_by_role("button", name="Reckon again").click()
    expect(page.get_by_text("Less than a day")).to_be_visible()
    page.goto(f"{node.url}/setup")
    expect(page).to_have_url(f"{node.url}/devices/new?first=1")
    page.get_by_label("Device id").fill("pump-1")
    page.get_by_role("button", name="Make its token").click()
    assert page.locator("#token").inner_text().startswith("hpd_")
    page.goto(f"{node.url}/setup")
    expect(page).to_have_url(f"{node.url}/")


def test_a_clock_that_is_wrong_is_seen(unclaimed_node: Fresh, watched: Watched) -> None:
    node, code = unclaimed_node
    watched.allow(node.url)
    page = watched.page(signed_in=False)
    claim(page, node.url, code)
    expect(page).to_have_url(f"{node.url}/setup/site")
    page.clock.set_fixed_time(dt.datetime.now(dt.UTC) + dt.timedelta(hours=5))
    page.reload()
    expect(page.get_by_text("the box is 5 hours behind")).to_be_visible()


def test_a_password_s_strength_is_said_in_words(unclaimed_node: Fresh, watched: Watched) -> None:
    node, _ = unclaimed_node
    watched.allow(node.url)
    page = watched.page(signed_in=False)
    page.goto(f"{node.url}/setup")
    told = page.locator("[data-strength-of]")
    expect(told).to_be_hidden()
    for text, words in (
        ("short", "7 more characters"),
        ("aaaaaaaaaaaa", "Too simple"),
        ("administrator1", "Weak"),
        ("kT9-vw_Qz4.m", "Strong"),
        ("four words in a row", "Strong"),
    ):
        page.get_by_label("Choose a password").fill(text)
        expect(told).to_contain_text(words)
