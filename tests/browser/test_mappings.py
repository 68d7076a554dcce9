"""Mappings and dead letters in a browser: from a letter to a mended mapping, tried before it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Watched
from tests.browser.node_kit import Letter, TestNode

PATTERN = "plant/{device}/level"


@pytest.fixture
def letters(node: TestNode) -> Iterator[None]:
    """A plain value that no mapping names."""
    kept = list(node.telemetry.letters)
    node.call(lambda: node.telemetry.letters.append(Letter(epoch=9, seq=9, topic="plant/silo-1/level", device="silo-1", reason="no_metric", payload=b"42.5", payload_bytes=4)))  # fmt: skip
    yield
    node.call(lambda: setattr(node.telemetry, "letters", kept))


@pytest.mark.parametrize("java_script_enabled", [True, False])
def test_a_dead_letter_leads_to_a_mended_mapping_and_is_read_again(
    node: TestNode, watched: Watched, letters: None, java_script_enabled: bool
) -> None:
    watched.expected = ("status of 422",)
    page = watched.page(java_script_enabled=java_script_enabled)
    page.goto(f"{node.url}/dead-letters")
    row = page.get_by_role("row", name=re.compile("plant.*level"))
    row.get_by_role("link", name=re.compile("Mend the mapping")).click()
    expect(page.get_by_label(re.compile("^Topic"))).to_have_value(PATTERN)
    expect(page.get_by_role("heading", name="0 of 1 would become readings")).to_be_visible()
    page.get_by_label(re.compile("^Metric")).fill("level_percent")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_role("heading", name="1 of 1 would become readings")).to_be_visible()
    expect(page.get_by_text("silo-1 · level_percent = 42.5")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The mapping holds for every message from now on.")).to_be_visible()
    row = page.get_by_role("row", name=re.compile("plant.*level")).first
    row.get_by_role("link", name=re.compile("Change")).click()
    expect(page.get_by_label(re.compile("^Metric"))).to_have_value("level_percent")
    page.get_by_label(re.compile("^Fields")).fill("nonsense")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("can't be read")
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("The mapping is gone.")).to_be_visible()
    page.goto(f"{node.url}/dead-letters")
    page.get_by_role("row", name=re.compile("plant.*level")).get_by_role(
        "button", name=re.compile("Read again")
    ).click()
    expect(page.get_by_text("They are being read again.")).to_be_visible()
    expect(page.get_by_role("heading", name="Read again")).to_be_visible()
