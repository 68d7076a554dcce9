"""Asking in SQL in a browser: an example from the list, the answer, a refusal; with JavaScript and without."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from storage.telemetry.sql_box import SqlAnswer, Value
from storage.telemetry.sql_refused import SqlRefused
from tests.browser.conftest import Watched
from tests.browser.node_kit import TestNode
from tests.browser.test_pages import check_looks
from tests.node_kit import Sql

ROW: tuple[Value, ...] = (
    "press-0",
    "2026-11-27T14:00:00.000Z",
    21.53210987,
    None,
    "a longer text " * 12,
    [0.5, 1.5],
)
ANSWER = SqlAnswer(
    columns=tuple(zip(("device", "hour", "mean", "nothing", "text", "quantiles"), ("VARCHAR", "TIMESTAMP", "DOUBLE", "DOUBLE", "VARCHAR", "DOUBLE[]"), strict=True)),
    rows=(ROW,) * 40,
    cut_by="rows",
    duration_ms=83.2,
)  # fmt: skip


@pytest.fixture
def sql(node: TestNode) -> Iterator[Sql]:
    before = node.sql.answer
    node.sql.answer = ANSWER
    yield node.sql
    node.sql.answer, node.sql.error = before, None


def test_an_example_is_asked_and_answered(
    node: TestNode, watched: Watched, check_axe: Callable[[Page], None], sql: Sql
) -> None:
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{node.url}/telemetry/sql")
    check_looks(page, check_axe)
    page.get_by_role("link", name="Quantiles of each metric").click()
    expect(page.get_by_label("Question")).to_have_value(re.compile("quantile_cont"))
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("region", name="Rows of the answer").get_by_role("row")).to_have_count(41)
    expect(page.get_by_text("40 rows in 83.2 ms")).to_be_visible()
    expect(page.get_by_label("Question")).to_have_value(re.compile("quantile_cont"))
    check_looks(page, check_axe)
    assert sql.asked[-1].startswith("SELECT metric, quantile_cont")


def test_a_refusal_stands_above_the_question(
    node: TestNode, watched: Watched, check_axe: Callable[[Page], None], sql: Sql
) -> None:
    sql.error = SqlRefused("There is no table 'redings' here.", hint="Did you mean readings?", place=(2, 6))
    watched.expected = ("status of 422",)
    page = watched.page(reduced_motion="reduce")
    page.goto(f"{node.url}/telemetry/sql")
    page.get_by_label("Question").fill("SELECT 1\nFROM redings")
    page.get_by_role("button", name="Ask").click()
    expect(
        page.get_by_text("Line 2, column 6: There is no table 'redings' here. Did you mean readings?")
    ).to_be_visible()
    expect(page.get_by_label("Question")).to_have_value("SELECT 1\nFROM redings")
    check_looks(page, check_axe)


def test_it_works_without_javascript(node: TestNode, watched: Watched, sql: Sql) -> None:
    page = watched.page(java_script_enabled=False)
    page.goto(f"{node.url}/telemetry/sql?q=SELECT%201")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("cell", name="press-0").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    assert download.value.suggested_filename == "answer.csv"
    page.get_by_role("link", name="Link to this question").click()
    expect(page.get_by_label("Question")).to_have_value("SELECT 1")
