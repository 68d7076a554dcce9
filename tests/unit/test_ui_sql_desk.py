"""Questions in SQL: what the audit says, and answers as CSV."""

from __future__ import annotations

from pathlib import Path

from appliance.core.errors import Unavailable
from storage.telemetry.sql_box import SqlAnswer
from tests.node_kit import Node, running_node
from ui import sql_desk


async def _audit(node: Node) -> list[tuple[str, str, str, str]]:
    return await node.catalog.read(
        lambda reader: [
            tuple(row)
            for row in reader.connection.execute(
                "SELECT action, object_kind, outcome, detail FROM audit WHERE action = 'query.run' ORDER BY seq"
            )
        ]
    )


async def test_it_is_noted_by_hash_and_length(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        assert (await client.post("/api/v1/query", json={"sql": "SELECT 'a secret'"})).status_code == 200
        assert node.sql.asked == ["SELECT 'a secret'"]
        assert await _audit(node) == [("query.run", "query", "done", "17 bytes of SQL")]


async def test_a_failure_is_noted_too(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        node.sql.error = Unavailable("It took too long.", hint="Ask for less.", code="sql_timeout")
        assert (await client.post("/api/v1/query", json={"sql": "SELECT 1"})).status_code == 503
        assert [(row[2], row[3]) for row in await _audit(node)] == [
            ("done", "8 bytes of SQL"),
            ("refused", "It failed: It took too long. (sql_timeout)"),
        ]


def test_csv() -> None:
    answer = SqlAnswer(
        columns=(("a,b", "VARCHAR"), ("n", "DOUBLE"), ("l", "DOUBLE[]")),
        rows=(('x"y\n', 1.5, [1.0, None]), ("=1+1", None, None), (True, float("nan"), [])),
        cut_by="",
        duration_ms=1.0,
    )
    assert sql_desk.csv_of(answer).decode() == (
        '"a,b",n,l\r\n"x""y\n",1.5,"[1.0, null]"\r\n\'=1+1,,\r\ntrue,nan,[]\r\n'
    )


def test_a_number_stays_one_in_csv_and_a_text_is_no_formula() -> None:
    answer = SqlAnswer(
        columns=(("-n", "DOUBLE"), ("t", "VARCHAR")),
        rows=((-5.5, "-5.5"), (-3, "@x"), (float("-inf"), "a-b")),
        cut_by="",
        duration_ms=1.0,
    )
    assert sql_desk.csv_of(answer).decode() == "'-n,t\r\n-5.5,'-5.5\r\n-3,'@x\r\n-inf,a-b\r\n"
