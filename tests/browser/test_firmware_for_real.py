"""Firmware against the appliance itself and simulated devices: a bad image stops by itself, a good one comes to its end."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Watched
from tests.browser.test_first_run_for_real import DEADLINE_S, ROOT, Terminal

DEVICES = ("pump-1", "pump-2", "pump-3")
PASSWORD = "correct horse battery"
SLOWLY_MS = 90_000
"""A wave has to boot, prove itself for ten seconds, and be watched."""

pytestmark = pytest.mark.long


class Box(Terminal):
    """The appliance with an admin, and devices that take updates."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fleet: subprocess.Popen[bytes] | None = None
        self.url = self.wait_for(r"Open (https://\S+)/\s")
        self.typed("user", "add", "admin", "--role", "admin", text=PASSWORD)
        self.homeport("artifact", "key", "policy", "allow")
        credentials = [
            {
                "username": name,
                "password": json.loads(self.homeport("device", "add", name, "--json"))["token"],
            }
            for name in DEVICES
        ]
        self._connect(credentials)

    def typed(self, *words: str, text: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "appliance", *words, "--config", str(self.config)],
            cwd=ROOT, input=text, text=True, capture_output=True, timeout=DEADLINE_S, check=True,
        )  # fmt: skip

    def image(self, version: str, behaviour: str = "good") -> Path:
        path = self.folder / f"pump-{version}.bin"
        subprocess.run(
            [sys.executable, "-m", "device_fw_sim", "image", str(path), "--version", version, "--behaviour", behaviour,
             "--size", "65536"],
            cwd=ROOT, capture_output=True, timeout=DEADLINE_S, check=True,
        )  # fmt: skip
        return path

    def close(self) -> None:
        if self.fleet is not None:
            self.fleet.terminate()
            self.fleet.wait(DEADLINE_S)
        super().close()

    def _connect(self, credentials: list[dict[str, str]]) -> None:
        path = self.folder / "credentials.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(credentials))
        port = self.config.read_text().split('tls_bind = "127.0.0.1:')[1].split('"')[0]
        self.fleet = subprocess.Popen(
            [sys.executable, "-m", "device_fw_sim", "fleet", "--tls", "--insecure", "--port", port, "--credentials", str(path),
             "--firmware", "--rate", "1", "--drain", "1"],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture
def box() -> Iterator[Box]:
    with tempfile.TemporaryDirectory(prefix="homeport-") as folder:
        box = Box(Path(folder))
        yield box
        box.close()


def until_listed(page: Page, url: str, count: int) -> None:
    """A list does not grow while somebody reads it: it is loaded until it is whole."""
    end = time.monotonic() + SLOWLY_MS / 1_000
    while page.goto(url) and page.locator("#rows tr").count() != count:
        assert time.monotonic() < end, page.locator("main").inner_text()
        page.wait_for_timeout(500)


def upload(page: Page, box: Box, version: str, image: Path) -> None:
    page.goto(f"{box.url}/firmware/artifacts/new")
    page.get_by_role("textbox", name="Name one").fill("pump")
    page.get_by_role("textbox", name="Version empty").fill(version)
    page.get_by_text("More", exact=True).click()
    page.get_by_role("textbox", name="Security epoch").fill("1")
    page.get_by_label("File").set_input_files(image)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", level=1, name=f"pump {version}")).to_be_visible(timeout=SLOWLY_MS)


def start(page: Page, box: Box, version: str, *, without: str = "") -> None:
    """All devices but one, first one and then the others, with short times."""
    page.goto(f"{box.url}/firmware/rollouts/new")
    page.get_by_role("radio", name=f"pump {version}").check()
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Every device of the site").check()
    page.get_by_text("Fewer of them").click()
    page.get_by_label("Without these devices").fill(without)
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Waves").fill("1, 100%")
    page.get_by_label("Minutes of watching").fill("0.05")
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("Times", exact=True).click()
    page.get_by_label("Random start, minutes").fill("0")
    page.get_by_label("A device proves itself, minutes").fill("0.2")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill(f"To {version}")
    page.get_by_role("button", name=f"Start now: {len(DEVICES) - bool(without)} devices").click()
    expect(page.get_by_text("Started.")).to_be_visible()


def test_a_bad_image_stops_by_itself_and_a_good_one_comes_to_its_end(box: Box, browser: Browser) -> None:
    watched = Watched(browser, box.url, None)
    page = watched.page(signed_in=False)
    page.goto(f"{box.url}/sign-in")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    until_listed(page, f"{box.url}/devices?fw=1.4.2", len(DEVICES))

    upload(page, box, "2.0", box.image("2.0", "boot-loop"))
    start(page, box, "2.0")
    expect(page.get_by_text("1 device failed in the first wave.").first).to_be_visible(timeout=SLOWLY_MS)
    expect(page.get_by_role("img", name="All devices: 1 rolled back, 2 paused")).to_be_visible()
    page.locator("#devices").get_by_role("link", name="rolled back 1").click()
    expect(page.locator("#devices tbody tr")).to_have_count(1)
    expect(page.locator("#devices")).to_contain_text("Its bootloader went back to the old version")
    fallen = page.locator("#devices tbody a").first.inner_text()
    page.get_by_role("link", name=fallen).click()
    expect(page.locator("#firmware")).to_contain_text("Not offered to it again")
    page.go_back()
    page.get_by_role("link", name="Abort…").click()
    page.get_by_label("Type “abort 2” to confirm").fill("abort 2")
    page.get_by_role("button", name="Abort: 2 devices").click()
    expect(page.get_by_role("heading", name="Stopped", exact=True)).to_be_visible(timeout=SLOWLY_MS)

    upload(page, box, "2.1", box.image("2.1"))
    start(page, box, "2.1", without=fallen)  # It has to run steadily for five minutes before it is done.
    expect(page.get_by_role("heading", name="Completed")).to_be_visible(timeout=2 * SLOWLY_MS)
    expect(page.get_by_role("img", name="All devices: 2 on the new version")).to_be_visible()
    until_listed(page, f"{box.url}/devices?fw=2.1", 2)
    page.goto(f"{box.url}/firmware/work-queue")
    expect(page.get_by_text("No device needs a hand.")).to_be_visible()
    watched.close()
