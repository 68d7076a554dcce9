"""Questions in SQL: an editor, the tables beside it, and the answer as a table or a file.

A link holds a question and never runs it: a question costs time, and whoever follows a link should see what they ask first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from appliance.core.errors import HomeportError
from appliance.core.limits import SQL_LINK_BYTES_MAX, SQL_PAGE_ROW_COUNT_MAX, SQL_TEXT_BYTES_MAX
from storage.telemetry.sql_box import SqlAnswer, Value
from storage.telemetry.sql_views import EXAMPLES, TABLES
from ui import sql_desk
from ui.api.query import csv_response
from ui.pages.format import visible
from ui.pages.shell import Shell, form_of
from ui.pages.views import SqlAnswerView, SqlCellView, SqlExampleView
from ui.problem import status_of
from ui.refused_permissions import note_refusal

URL: Final = "/telemetry/sql"
CELL_LENGTH_MAX: Final = 500
_NUMBERS: Final = ("DOUBLE", "FLOAT", "DECIMAL")
Look: TypeAlias = Literal["num", "when", "words"]


async def show(shell: Shell, request: Request) -> Response:
    """`GET /telemetry/sql?q=`: the editor, with the question of a link in it."""
    return await _page(shell, request, _text_of(request.query_params.get("q", "")))


async def ask(shell: Shell, request: Request) -> Response:
    """`POST /telemetry/sql` with q, and format=csv for a file: the answer, or what is wrong beside the question."""
    form = await form_of(request)
    text = _text_of(form.get("q", ""))
    if not text.strip():
        # Nothing was asked, and nothing is noted.
        return await _page(shell, request, "")
    try:
        answer = await sql_desk.ask(request, text)
    except HomeportError as error:
        await note_refusal(request, error)
        return await _page(shell, request, text, error=error)
    if form.get("format") == "csv":
        return csv_response(sql_desk.csv_of(answer), answer.cut_by, answer.missing_days)
    return await _page(shell, request, text, answer=answer)


async def _page(
    shell: Shell,
    request: Request,
    text: str,
    *,
    answer: SqlAnswer | None = None,
    error: HomeportError | None = None,
) -> Response:
    limits = shell.services.config.store
    return await shell.render(
        request,
        "sql.html",
        status=200 if error is None else status_of(error),
        title="Ask in SQL",
        section="telemetry",
        text=text,
        length_max=SQL_TEXT_BYTES_MAX,
        link=link_of(text) if answer is not None else "",
        answer=None if answer is None else answer_view(answer),
        error=error,
        tables=TABLES,
        examples=[SqlExampleView(title=title, text=each, url=link_of(each)) for title, each in EXAMPLES],
        timeout_s=f"{limits.sql_timeout_ms / 1_000:g}",
        rows_max=limits.sql_rows_max,
    )


def link_of(text: str) -> str:
    """The address of a question; "" for one that is too long for an address."""
    url = f"{URL}?{urlencode({'q': text})}"
    return url if len(url) <= SQL_LINK_BYTES_MAX else ""


def answer_view(answer: SqlAnswer) -> SqlAnswerView:
    """An answer as the page shows it: the first rows, and in words what isn't there."""
    looks = [_look(kind) for _, kind in answer.columns]
    shown = answer.rows[:SQL_PAGE_ROW_COUNT_MAX]
    return SqlAnswerView(
        columns=tuple((visible(name), kind) for name, kind in answer.columns),
        rows=tuple(_cells(row, looks) for row in shown),
        row_count=len(answer.rows),
        shown_count=len(shown),
        cut_by=answer.cut_by,
        missing_days=answer.missing_days,
        duration_ms=answer.duration_ms,
    )


def _look(kind: str) -> Look:
    if kind.endswith("]"):
        return "words"
    if kind.startswith(_NUMBERS) or "INT" in kind.partition("(")[0]:
        return "num"
    return "when" if kind.startswith(("TIME", "DATE")) else "words"


def _cells(row: Sequence[Value], looks: Sequence[Look]) -> tuple[SqlCellView, ...]:
    return tuple(
        SqlCellView(text=visible(_cut(sql_desk.text_of(value))), look=look, is_null=value is None)
        for value, look in zip(row, looks, strict=True)
    )


def _cut(text: str) -> str:
    return text if len(text) <= CELL_LENGTH_MAX else f"{text[:CELL_LENGTH_MAX]}…"


def _text_of(text: str) -> str:
    """As it is typed: forms send line ends as CR LF, which would count twice."""
    return text.replace("\r\n", "\n")
