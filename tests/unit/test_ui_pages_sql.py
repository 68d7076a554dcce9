"""The page that asks in SQL."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.core.errors import Unavailable
from appliance.core.limits import SQL_LINK_BYTES_MAX, SQL_PAGE_ROW_COUNT_MAX
from storage.telemetry.sql_box import SqlAnswer, Value
from storage.telemetry.sql_refused import SqlRefused
from tests.node_kit import running_node
from ui.pages.sql import CELL_LENGTH_MAX, answer_view, link_of

QUESTION = "SELECT '<b>' &\nFROM readings"


async def test_a_link_fills_the_editor_and_runs_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        page = (await client.get(link_of(QUESTION))).text
        assert re.search(r"<textarea[^>]*>\nSELECT &#39;&lt;b&gt;&#39; &amp;\nFROM readings</textarea>", page)
        assert node.sql.asked == []
        assert "<code>observed_at</code>" in page
        assert "Quantiles of each metric" in page


async def test_an_answer_is_a_table(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        node.sql.answer = SqlAnswer(
            columns=(("device", "VARCHAR"), ("n", "BIGINT")),
            rows=(("<i>\u202e", 3), (None, None)),
            cut_by="rows",
            duration_ms=12.5,
        )
        page = (await client.post("/telemetry/sql", data={"q": QUESTION.replace("\n", "\r\n")})).text
        assert node.sql.asked == [QUESTION]
        assert "2 rows in 12.5 ms" in page
        assert "There are more rows: these are the first 2." in page
        assert '<td class="words">&lt;i&gt;' in page
        assert "\u202e" not in page
        assert '<td class="num">3</td>' in page
        assert '<span class="muted">null</span>' in page
        assert "Link to this question" in page


async def test_a_file(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        answer = await client.post("/telemetry/sql", data={"q": "SELECT 1", "format": "csv"})
        assert answer.text == "n\r\n1\r\n"
        assert answer.headers["content-disposition"] == 'attachment; filename="answer.csv"'
        assert node.sql.asked == ["SELECT 1"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SqlRefused("There is no table 'x'.", hint="There is readings.", place=(1, 15)), 422),
        (Unavailable("It took too long.", hint="Ask for less.", code="sql_timeout"), 503),
    ],
)
async def test_what_is_wrong_stands_above_the_question(
    tmp_path: Path, error: SqlRefused, status: int
) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        node.sql.error = error
        answer = await client.post("/telemetry/sql", data={"q": "SELECT * FROM x"})
        assert answer.status_code == status
        assert error.hint in answer.text
        assert "SELECT * FROM x</textarea>" in answer.text
        assert 'aria-invalid="true"' in answer.text


def test_what_a_page_shows_is_bounded() -> None:
    row: tuple[Value, ...] = ("x" * 2_000, [1.0])
    view = answer_view(
        SqlAnswer(
            columns=(("a", "VARCHAR"), ("b", "DOUBLE[]")),
            rows=(row,) * (SQL_PAGE_ROW_COUNT_MAX + 1),
            cut_by="",
            duration_ms=1.0,
        )
    )
    assert (view.shown_count, view.row_count, len(view.rows)) == (
        SQL_PAGE_ROW_COUNT_MAX,
        SQL_PAGE_ROW_COUNT_MAX + 1,
        SQL_PAGE_ROW_COUNT_MAX,
    )
    assert view.rows[0][0].text == "x" * CELL_LENGTH_MAX + "…"
    assert (view.rows[0][1].text, view.rows[0][1].look) == ("[1.0]", "words")


def test_a_long_question_has_no_link() -> None:
    assert link_of("x") == "/telemetry/sql?q=x"
    assert link_of("x" * SQL_LINK_BYTES_MAX) == ""


async def test_nothing_is_asked_with_an_empty_box(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        answer = await client.post("/telemetry/sql", data={"q": " \n"})
        assert (answer.status_code, node.sql.asked) == (200, [])
