"""Twin and commands on a device's page: live, edited by two people, sent to a device that listens; with and without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from appliance.management.commands import CommandAnswer
from appliance.management.twin import SectionChange, TwinChange
from broker.control_messages import SessionEvent
from storage.catalog import Catalog
from tests.browser.conftest import PHONE, Watched
from tests.browser.node_kit import TestNode
from tests.browser.test_devices import _picture
from tests.browser.test_pages import check_looks

DESIRED = {"rate_s": 5, "mode": "eco", "net": {"ntp": "10.0.0.1", "vlan": 12}}
REPORTED = {"rate_s": 10, "mode": "eco", "net": {"ntp": "10.0.0.1"}, "uptime_s": 86_400}


@pytest.fixture
def valve(node: TestNode, request: pytest.FixtureRequest) -> str:
    """A device of this test's own, with a twin and a named one."""
    device_id = f"valve-{abs(hash(request.node.name)) % 10_000}"

    def fill(catalog: Catalog) -> None:
        if catalog.find_device(device_id) is not None:
            return
        catalog.add_device(device_id)
        catalog.update_twin(device_id, "", TwinChange(desired=SectionChange(values=DESIRED)))
        catalog.update_twin(device_id, "", TwinChange(reported=SectionChange(values=REPORTED)))
        reported = {"schedule": ["06:00", "18:30"], "note": "a rather long text " * 12}
        catalog.update_twin(device_id, "config", TwinChange(reported=SectionChange(values=reported)))

    node.catalog(fill)
    return device_id


def _report(node: TestNode, device_id: str, **values: object) -> None:
    """What a device that reports does, and what the node makes of it."""
    change = TwinChange(reported=SectionChange(values=values))
    changed = node.catalog(lambda c: c.update_twin(device_id, "", change))
    node.call(lambda: node.services.twins.desk.changed(changed))


def test_what_a_device_reports_is_seen_at_once(
    node: TestNode, watched: Watched, valve: str, check_axe: Callable[[Page], None]
) -> None:
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{node.url}/devices/{valve}")
    expect(page.locator("#link")).to_have_text("Live")
    twin = page.locator("#twin-body")
    expect(twin.get_by_text("2 values not as desired")).to_be_visible()
    expect(twin.locator("tbody tr").first).to_contain_text("net.vlan")
    _picture(page, "device-twin")
    check_looks(page, check_axe)
    _report(node, valve, rate_s=5, net={"vlan": 12})
    expect(twin.get_by_text("Everything is as desired").first).to_be_visible()
    expect(twin.get_by_text("differs")).to_have_count(0)


def test_two_people_edit_what_is_desired(
    node: TestNode, watched: Watched, valve: str, check_axe: Callable[[Page], None]
) -> None:
    watched.expected = ("status of 409", "status of 422")
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{node.url}/devices/{valve}/twin")
    text = page.get_by_label("Desired")
    assert json.loads(text.input_value()) == DESIRED
    change = TwinChange(desired=SectionChange(values={"mode": "full"}))
    node.catalog(lambda c: c.update_twin(valve, "", change))
    text.fill('{"mode": "mine"')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("not well-formed JSON")).to_be_visible()
    page.get_by_label("Desired").fill('{"mode": "mine"}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="What is desired of")).to_be_visible()
    _picture(page, "device-twin-edit")
    check_looks(page, check_axe)


def test_a_command_is_sent_and_its_answer_seen(
    node: TestNode, watched: Watched, valve: str, check_axe: Callable[[Page], None]
) -> None:
    node.call(
        lambda: node.listeners.take([SessionEvent(principal=valve, client_id="c", what="listening")], False)
    )
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{node.url}/devices/{valve}")
    page.get_by_text("Send a command").click()
    page.get_by_label("Method").fill("valve/open")
    page.get_by_label("Params").fill('{"percent": 40}')
    page.get_by_label("Expires after").select_option("600")
    _picture(page, "device-command-form")
    check_looks(page, check_axe)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#link")).to_have_text("Live")
    row = page.locator("#commands-body tbody tr").first
    expect(row).to_contain_text("sent, no answer yet")
    (command,) = node.catalog(lambda c: c.list_commands(valve)).commands
    assert node.pushes.said[-1][1] == f"dm/{valve}/cmd/{command.command_id}"
    answer = CommandAnswer(ok=False, error="the valve is stuck at 12 %")
    node.catalog(lambda c: c.answer_command(valve, command.command_id, answer))
    node.call(lambda: node.services.twins.commands.look([valve]))
    expect(row).to_contain_text("the valve is stuck at 12 %")
    expect(row).to_contain_text("failed")
    _picture(page, "device-commands")
    check_looks(page, check_axe)


def test_both_can_be_done_without_javascript_on_a_phone(node: TestNode, watched: Watched, valve: str) -> None:
    watched.expected = ("status of 409",)
    page = watched.page(java_script_enabled=False, viewport=PHONE)
    page.goto(f"{node.url}/devices/{valve}")
    page.get_by_role("link", name="Change what is desired in the twin without a name").click()
    page.get_by_label("Desired").fill('{"rate_s": 10}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("What is desired is set")).to_be_visible()
    page.get_by_text("Send a command").click()
    page.get_by_label("Method").fill("reboot")
    page.get_by_label("don't send it").check()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("is not listening")).to_be_visible()
    page.get_by_label("wait until it does").check()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("waits for the device")).to_be_visible()
    page.get_by_role("button", name="Cancel reboot").click()
    expect(page.get_by_text("The command is taken back.")).to_be_visible()
