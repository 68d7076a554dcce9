"""The walk by allow-list, over trees that no DuckDB of today makes. Those it does make: test_storage_telemetry_sql_check.py."""

from __future__ import annotations

import pytest

from storage.telemetry.sql_refused import SqlRefused
from storage.telemetry.sql_walk import Walk

TABLES = ("readings", "newest", "series")


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"type": "NEW_NODE"}, "new node is not taken here"),
        ({"type": "SELECT_NODE", "new_key": 1}, "new key is not taken with"),
        ("text", "is not taken"),
        (
            {"type": "SELECT_NODE", "select_list": [{"class": "NEW", "type": "NEW"}], "from_table": {"type": "EMPTY"}},
            "new is not taken here",
        ),
        (
            {"type": "SELECT_NODE", "select_list": [], "from_table": {"type": "NEW_REF"}},
            "new ref is not taken behind FROM",
        ),
        (
            {"type": "SELECT_NODE", "select_list": [], "from_table": {"type": "EMPTY"}, "aggregate_handling": {"a": 1}},
            "aggregate_handling is not taken here",
        ),
        (
            {"type": "SELECT_NODE", "select_list": [], "from_table": {"type": "EMPTY"}, "modifiers": [{"type": "NEW"}]},
            "new is not taken here",
        ),
    ],
)  # fmt: skip
def test_what_a_newer_duckdb_may_add_is_refused(node: object, words: str) -> None:
    walk = Walk(b"", frozenset(TABLES))
    with pytest.raises(SqlRefused, match=words):
        walk.statement({"node": node})


def test_a_place_is_counted_in_letters() -> None:
    walk = Walk("é\n é x".encode(), frozenset())
    assert walk.place(0) == (1, 1)
    assert walk.place(2) == (1, 2)
    assert walk.place(4) == (2, 2)
    assert walk.place(7) == (2, 4)
    assert [walk.place(offset) for offset in (-1, 99, None, "1")] == [(0, 0)] * 4
