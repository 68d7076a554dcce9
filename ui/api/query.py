"""The endpoint for questions in SQL. What may be asked is storage/telemetry/sql_check.py's to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from appliance.core.limits import SQL_TEXT_BYTES_MAX
from storage.telemetry.sql_views import TABLES
from ui import sql_desk
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.structs import Answer

MISSING_DAYS_MAX = 100
"""Named in a header; JSON has all."""


class Question(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One SELECT over the tables that `GET /query/tables` describes."""

    sql: Annotated[str, Meta(min_length=1, max_length=SQL_TEXT_BYTES_MAX)]
    format: Literal["json", "csv"] = "json"


class QueryColumn(Answer, kw_only=True, frozen=True):
    """`type` is DuckDB's."""

    name: str
    type: str


class QueryAnswer(Answer, kw_only=True, frozen=True):
    """Each of `rows` has a value for each of `columns`: a number, text, truth, null, or a list of them.

    Times are ISO 8601 in UTC; whole numbers beyond 64 bits are texts, NaN and infinite numbers null. `cut_by` says what kept
    further rows out: "rows", "bytes", or "" where these are all; `missing_days` of which days readings are missing, since files of the archive are gone.
    """

    columns: tuple[QueryColumn, ...]
    rows: tuple[tuple[Any, ...], ...]
    cut_by: Literal["", "rows", "bytes"]
    duration_ms: float
    missing_days: tuple[str, ...] = ()


class QueryTableColumn(Answer, kw_only=True, frozen=True):
    name: str
    type: str
    about: str


class QueryTable(Answer, kw_only=True, frozen=True):
    name: str
    about: str
    columns: tuple[QueryTableColumn, ...]


class QueryTables(Answer, kw_only=True, frozen=True):
    """What may stand behind FROM."""

    tables: tuple[QueryTable, ...]


async def run_query(call: Call) -> Reply:
    body: Question = call.body
    answer = await sql_desk.ask(call.request, body.sql)
    if body.format == "csv":
        return Reply(
            content=None, response=csv_response(sql_desk.csv_of(answer), answer.cut_by, answer.missing_days)
        )
    return Reply(
        content=QueryAnswer(
            columns=tuple(QueryColumn(name=name, type=kind) for name, kind in answer.columns),
            rows=answer.rows,
            cut_by=answer.cut_by,
            duration_ms=answer.duration_ms,
            missing_days=answer.missing_days,
        )
    )


def csv_response(content: bytes, cut_by: str, missing_days: Sequence[str] = ()) -> Response:
    """A file; the fields Homeport-Cut-By and Homeport-Missing-Days say what JSON says in `cut_by` and `missing_days`."""
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="{sql_desk.FILE_NAME}"',
    }
    if cut_by:
        headers["homeport-cut-by"] = cut_by
    if missing_days:
        headers["homeport-missing-days"] = ",".join(missing_days[:MISSING_DAYS_MAX])
    return Response(content, media_type=f"{sql_desk.CSV}; charset=utf-8; header=present", headers=headers)


async def list_query_tables(call: Call) -> Reply:
    return Reply(
        content=QueryTables(
            tables=tuple(
                QueryTable(
                    name=table.name,
                    about=table.about,
                    columns=tuple(
                        QueryTableColumn(name=name, type=kind, about=about)
                        for name, kind, about in table.columns
                    ),
                )
                for table in TABLES
            )
        )
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/query",
        handler=run_query,
        needs="telemetry.query",
        action=sql_desk.ACTION,
        summary="Ask one SELECT over all readings",
        body=Question,
        answer=QueryAnswer,
        media=(sql_desk.CSV,),
        codes={
            422: ("sql_refused", "sql_syntax", "sql_invalid", "sql_too_large"),
            429: ("sql_busy",),
            503: ("sql_timeout", "sql_memory", "sql_interrupted"),
        },
        tags=("telemetry",),
    ),
    Endpoint(
        method="GET",
        path="/query/tables",
        handler=list_query_tables,
        needs="telemetry.query",
        summary="The tables that questions in SQL are about",
        answer=QueryTables,
        tags=("telemetry",),
    ),
)
