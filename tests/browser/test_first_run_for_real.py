"""The first run against the appliance itself: from what it prints on a terminal to a reading by mosquitto_pub, shown green."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PHONE, Watched
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
PASSWORD = "correct horse battery"
CONFIG = """\
[node]
name = "plant-9"
data_dir = "{folder}/data"
run_dir = "{folder}/run"
[broker]
tcp_bind = "off"
tls_bind = "127.0.0.1:{tls}"
[devices]
https_bind = "127.0.0.1:{https}"
[ui]
bind = "127.0.0.1:{ui}"
"""


class Terminal:
    """`homeport run` on a terminal of its own, whose lines are read here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "homeport.toml"
        self.config.write_text(
            CONFIG.format(folder=folder, tls=free_port(), https=free_port(), ui=free_port())
        )
        self._screen, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "run", "--config", str(self.config)],
            cwd=ROOT, stdin=inner, stdout=inner, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(inner)
        self.text = ""

    def wait_for(self, pattern: str) -> str:
        """The first group of a pattern, as soon as it is on the screen."""
        end = time.monotonic() + DEADLINE_S
        while (found := re.search(pattern, self.text)) is None:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < end, self.text
            if select.select([self._screen], [], [], 0.5)[0]:
                self.text += os.read(self._screen, 4096).decode()
        return found.group(1)

    def homeport(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "appliance", *words, "--config", str(self.config)],
            cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=True,
        )  # fmt: skip
        return done.stdout

    def close(self) -> None:
        self.process.terminate()
        end = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:  # a full terminal would hold it up
            assert time.monotonic() < end, "the appliance did not stop"
            if select.select([self._screen], [], [], 0.2)[0]:
                try:
                    os.read(self._screen, 4096)
                except OSError:  # its other end is closed
                    self.process.wait(DEADLINE_S)
        os.close(self._screen)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    # A short path: the name of a Unix socket has about a hundred bytes.
    with tempfile.TemporaryDirectory(prefix="homeport-") as folder:
        terminal = Terminal(Path(folder))
        yield terminal
        terminal.close()


def test_from_the_printed_code_to_a_green_first_message(
    terminal: Terminal, browser: Browser, check_axe: Callable[[Page], None]
) -> None:
    code = terminal.wait_for(r"Setup code (\S+)")
    url = terminal.wait_for(r"Open (https://\S+)/\s")
    fingerprint = terminal.wait_for(r"fingerprint \(SHA-256\) (\S+)")
    watched = Watched(browser, url, None)
    page = watched.page(signed_in=False, viewport=PHONE, timezone_id="Europe/Vienna")

    page.goto(url)
    expect(page.get_by_text(fingerprint)).to_be_visible()
    page.get_by_label("Setup code").fill(code)
    page.get_by_label("Choose a password").fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Become the owner").click()

    page.get_by_label("Site name").fill("Sawmill")
    page.get_by_role("button", name="Save and go on").click()
    expect(page.get_by_role("heading", name="Storage")).to_be_visible()
    check_axe(page)
    page.get_by_role("button", name="Go on").click()

    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as a file").click()
    kit = terminal.folder / "kit.txt"
    saved.value.save_as(kit)
    page.get_by_label("I have printed or saved it").check()
    page.get_by_role("button", name="Confirm and go on").click()
    assert not (terminal.folder / "data" / "identity" / "ca" / "root.secret").exists()
    terminal.homeport("recovery-kit", "check", str(kit))

    page.get_by_label("Device id").fill("pump-1")
    page.get_by_role("button", name="Make its token").click()
    expect(page.get_by_text("Waiting for the first message…")).to_be_visible()
    expect(page.locator("#link")).to_have_text("Live")
    command = shlex.split(page.locator("#try-tls").inner_text())
    (terminal.folder / "homeport-ca.pem").write_bytes(page.request.get(f"{url}/homeport-ca.pem").body())
    subprocess.run(command, cwd=terminal.folder, timeout=DEADLINE_S, check=True)
    done = page.locator("#first-message .done")
    expect(done).to_contain_text("temperature_celsius = 21.5 °C")
    check_axe(page)
    page.get_by_role("link", name="Finish").click()
    expect(page.get_by_role("banner")).to_contain_text("Sawmill")
    expect(page.get_by_text("isn't finished")).to_have_count(0)
    assert terminal.homeport("setting", "get", "site.time_zone").strip() == "Europe/Vienna"

    status = terminal.homeport("status")
    assert url in status
    assert "Setup code" not in status, "a code that is used up looks like a way in"
    second = watched.page(signed_in=False, viewport=PHONE)
    second.goto(f"{url}/setup")
    expect(second.get_by_role("heading", name="This box has an owner")).to_be_visible()
    watched.close()
