"""POST /query and GET /query/tables."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from appliance.core.errors import HomeportError, LimitExceeded, Unavailable
from appliance.core.limits import SQL_TEXT_BYTES_MAX
from storage.telemetry.sql_box import SqlAnswer
from storage.telemetry.sql_refused import SqlRefused
from storage.telemetry.sql_views import TABLE_NAMES
from tests.node_kit import running_node

ANSWER = SqlAnswer(
    columns=(("device", "VARCHAR"), ("value", "DOUBLE")),
    rows=(("d", 1.5), ("e", math.nan)),
    cut_by="rows",
    duration_ms=2.5,
)


async def test_rows_with_names_and_types(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        node.sql.answer = ANSWER
        answer = await client.post("/api/v1/query", json={"sql": "SELECT 1"})
        assert answer.json() == {
            "columns": [{"name": "device", "type": "VARCHAR"}, {"name": "value", "type": "DOUBLE"}],
            "rows": [["d", 1.5], ["e", None]],
            "cut_by": "rows",
            "missing_days": [],
            "duration_ms": 2.5,
        }
        assert node.sql.asked == ["SELECT 1"]


async def test_csv_is_a_file(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        node.sql.answer = ANSWER
        answer = await client.post("/api/v1/query", json={"sql": "SELECT 1", "format": "csv"})
        assert answer.text == "device,value\r\nd,1.5\r\ne,nan\r\n"
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["content-disposition"] == 'attachment; filename="answer.csv"'
        assert answer.headers["homeport-cut-by"] == "rows"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SqlRefused("No.", hint="Ask otherwise.", place=(1, 2)), 422),
        (LimitExceeded("Busy.", hint="Ask again.", code="sql_busy"), 429),
        (Unavailable("Slow.", hint="Ask for less.", code="sql_timeout"), 503),
        (Unavailable("Interrupted.", hint="Ask again.", code="sql_interrupted"), 503),
    ],
)
async def test_what_went_wrong(tmp_path: Path, error: HomeportError, status: int) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        node.sql.error = error
        answer = await client.post("/api/v1/query", json={"sql": "SELECT 1"})
        assert (answer.status_code, answer.json()["code"]) == (status, error.code)
        assert ("retry-after" in answer.headers) == (status != 422)


@pytest.mark.parametrize(
    "body", [{}, {"sql": ""}, {"sql": "x" * (SQL_TEXT_BYTES_MAX + 1)}, {"sql": "x", "format": "xml"}, {"sql": "x", "y": 1}]
)  # fmt: skip
async def test_bodies_that_are_not_taken(tmp_path: Path, body: dict[str, object]) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        assert (await client.post("/api/v1/query", json=body)).status_code == 422
        assert node.sql.asked == []


async def test_tables_are_described(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        tables = (await client.get("/api/v1/query/tables")).json()["tables"]
        assert {table["name"] for table in tables} == TABLE_NAMES
        assert {"name": "device", "type": "VARCHAR", "about": "the device's id"} in tables[0]["columns"]
