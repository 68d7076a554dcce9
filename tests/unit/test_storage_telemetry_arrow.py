"""Buffers to DuckDB and back."""

from __future__ import annotations

from array import array

import duckdb

from storage.telemetry.arrow import ArrowTable


def test_all_types_survive_and_a_table_may_be_scanned_twice() -> None:
    table = ArrowTable(9)
    table.add("u", "u32", array("I", range(9))).add("i", "i64", array("q", range(-4, 5)))
    table.add("f", "f64", array("d", [0.5] * 9)).add("b", "u8", bytes(range(9)))
    table.add_texts("t", ["", "é\0z", *"abcdefg"]).add_optional("o", [None, -1, *range(7)])
    table.add_binaries("x", [b"1", None, b"", None, b"\xff", b"5", None, b"7", None])
    connection = duckdb.connect()
    connection.register("incoming", table)
    for _ in range(2):
        rows = connection.execute("SELECT * FROM incoming ORDER BY u").fetchall()
        assert rows[0] == (0, -4, 0.5, 0, "", None, b"1")
        assert rows[1] == (1, -3, 0.5, 1, "é\0z", -1, None)
        assert rows[2][6] == b""
        assert rows[8] == (8, 4, 0.5, 8, "g", 6, None)
    assert len(table) == 9
    connection.close()
