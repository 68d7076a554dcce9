"""Any text at all, and any change to the tree of a good question, is answered or clearly refused: never anything else."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.telemetry.sql_check import SqlChecker
from storage.telemetry.sql_refused import SqlRefused
from storage.telemetry.sql_walk import Walk
from tests.sampling import examples
from tests.sql_kit import _ESCAPES

TABLES: Final = frozenset({"readings", "newest", "series"})
GOOD: Final = (
    "WITH a AS (SELECT * FROM readings WHERE value > 1) SELECT device, avg(value) FILTER (metric = 't') FROM a GROUP BY ALL ORDER BY 1 LIMIT 3",
    "SELECT lag(value) OVER (PARTITION BY device ORDER BY observed_at), value::DECIMAL(9, 2) FROM readings r JOIN newest USING (device)",
    "SELECT CASE WHEN value IN (1, 2) THEN 'a' END FROM readings UNION SELECT text FROM (VALUES ('x')) v(text), range(3)",
)
CHECKER: Final = SqlChecker(TABLES)
WORDS: Final = st.sampled_from(
    sorted(
        {
            word
            for text in (*_ESCAPES[:160], *GOOD)
            for word in text.replace("(", " ( ").replace(",", " , ").split()
            if len(word) < 40
        }
    )
)
NAMES: Final = (
    "read_text",
    "dead_letters",
    "query",
    "getenv",
    "SHOW_REF",
    "PARAMETER",
    "LAMBDA",
    "glob",
    "telemetry",
)


@settings(deadline=None, max_examples=examples(150))
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(WORDS, max_size=25).map(" ".join),
        st.lists(WORDS, max_size=20).map(lambda w: "SELECT " + " ".join(w)),
    )
)
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        CHECKER.check(text)
    except SqlRefused as refused:
        assert refused.message
        assert refused.hint
    else:
        lower = text.lower()
        assert not any(
            f"{name}(" in lower or f"{name} (" in lower for name in ("read_text", "glob", "query", "getenv")
        )


def _trees() -> list[Any]:
    with duckdb.connect() as connection:
        ask = "SELECT json_serialize_sql(?::VARCHAR, skip_null := true, skip_empty := true, skip_default := true)"
        return [
            json.loads(connection.execute(ask, [text]).fetchall()[0][0])["statements"][0] for text in GOOD
        ]


TREES: Final = _trees()


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += _places(value, (*path, key))
    return found


@settings(deadline=None, max_examples=examples(300))
@given(st.data())
def test_any_other_name_in_a_good_tree_is_refused(data: st.DataObject) -> None:
    tree = copy.deepcopy(data.draw(st.sampled_from(TREES)))
    path = data.draw(st.sampled_from([each for each in _places(tree) if each]))
    *above, last = path
    holder = tree
    for key in above:
        holder = holder[key]
    name = data.draw(st.sampled_from(NAMES))
    is_new_key = data.draw(st.booleans()) and isinstance(holder, dict)
    matters = last in (
        "function_name",
        "table_name",
        "class",
        "type_name",
        "qualified_name",
        "cte_map",
        "path",
    )
    if is_new_key:
        holder[name] = True
    else:
        holder[last] = name
    try:
        Walk(b"", TABLES).statement(tree)
    except SqlRefused as refused:
        assert refused.hint
    else:
        assert not is_new_key
        assert not matters


def test_the_good_trees_are_taken() -> None:
    for tree in TREES:
        Walk(b"", TABLES).statement(tree)


@pytest.mark.parametrize("text", GOOD)
def test_the_good_questions_are_taken(text: str) -> None:
    CHECKER.check(text)
