"""The lists of what is allowed, against the DuckDB that is installed."""

from __future__ import annotations

import duckdb

from storage.telemetry import sql_grammar as grammar


def _functions() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    with duckdb.connect() as connection:
        for name, kind in connection.execute(
            "SELECT function_name, function_type FROM duckdb_functions()"
        ).fetchall():
            found.setdefault(name, set()).add(kind)
    return found


def test_every_function_exists_and_is_none_of_a_table() -> None:
    known = _functions()
    assert known.keys() >= grammar.FUNCTIONS | grammar.TABLE_FUNCTIONS
    # `unnest` and `repeat` have a form for FROM; the check takes only TABLE_FUNCTIONS there.
    assert {name for name in grammar.FUNCTIONS if known[name] <= {"table", "table_macro", "pragma"}} <= {
        "unnest"
    }
    assert grammar.ARGUMENT_COUNT_MAX.keys() | grammar.JOINING <= grammar.FUNCTIONS


def test_nothing_that_reaches_out_is_among_them() -> None:
    words = ("read", "scan", "glob", "pragma", "duckdb", "setting", "env", "query", "schema", "user", "json", "sleep", "log_", "setseed",
             "nextval", "repeat", "pad", "format", "replace", "file", "path", "secret", "catalog", "version", "lambda", "apply")  # fmt: skip
    assert {
        name for name in grammar.FUNCTIONS | grammar.TABLE_FUNCTIONS if any(word in name for word in words)
    } == set()


def test_names_that_are_functions_without_brackets_are_known() -> None:
    """DuckDB takes a column that isn't there for a function in some cases; those are refused, all but the date."""
    taken = set()
    with duckdb.connect() as connection:
        for name in {
            *_functions(),
            "current_catalog",
            "current_role",
            "current_time",
            "localtime",
            "session_user",
            "user",
        }:
            try:
                connection.execute(f'SELECT "{name}"').fetchall()
            except duckdb.Error:
                continue
            taken.add(name)
    assert taken - grammar.COLUMN_FUNCTIONS == {"current_date"} - grammar.COLUMN_FUNCTIONS


def test_every_type_exists() -> None:
    with duckdb.connect() as connection:
        for name in grammar.TYPES:
            connection.execute(f"SELECT NULL::{name}").fetchall()
