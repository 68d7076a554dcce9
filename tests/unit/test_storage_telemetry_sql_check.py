"""What may be asked in SQL, and how a refusal reads. What may not: tests/integration/test_sql_escapes.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.core.limits import (
    SQL_JOINED_GROWTH_MAX,
    SQL_NODE_COUNT_MAX,
    SQL_TABLE_COUNT_MAX,
    SQL_TEXT_BYTES_MAX,
)
from storage.telemetry.sql_check import SqlChecker
from storage.telemetry.sql_refused import SqlRefused

TABLES = ("readings", "newest", "series")


@pytest.fixture
def checker() -> Iterator[SqlChecker]:
    opened = SqlChecker(TABLES)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "select 1;",
        "  -- a remark\nSELECT 1 /* and another */ ; -- last",
        "FROM readings",
        "FROM Readings SELECT DEVICE",
        "VALUES (1, 'a'), (2, 'b')",
        "SELECT * EXCLUDE (text) REPLACE (value * 2 AS value) FROM readings",
        "SELECT r.* FROM readings AS r(a, b) ORDER BY ALL",
        "SELECT DISTINCT device FROM readings WHERE metric IN ('t', 'u') AND value NOT BETWEEN 1 AND 2 OR text IS NOT NULL",
        "SELECT DISTINCT ON (device) device, value FROM readings ORDER BY device, observed_at DESC NULLS LAST LIMIT 10 OFFSET 2",
        "SELECT device, avg(value) FILTER (WHERE metric = 't') AS t FROM readings GROUP BY ALL HAVING count(*) > 1",
        "SELECT device, metric, count(*) FROM readings GROUP BY ROLLUP (device, metric)",
        "SELECT grouping(device), count(*) FROM readings GROUP BY GROUPING SETS ((device), ())",
        "SELECT time_bucket(INTERVAL '15 minutes', observed_at) AS t, quantile_cont(value, [0.5, 0.95]) FROM readings GROUP BY t",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FROM readings",
        "SELECT sum(value) OVER w FROM readings WINDOW w AS (PARTITION BY device ORDER BY observed_at ROWS 5 PRECEDING)",
        "SELECT lag(value, 1, 0) OVER (ORDER BY observed_at) AS before FROM readings QUALIFY row_number() OVER () < 9",
        "WITH a AS (SELECT * FROM readings), b AS (FROM a) SELECT * FROM a JOIN b USING (device) LEFT JOIN newest n ON n.device = b.device",
        "SELECT * FROM readings a ASOF JOIN readings b ON a.device = b.device AND a.observed_at >= b.observed_at",
        "SELECT (SELECT max(value) FROM readings r WHERE r.device = s.device) FROM series s WHERE EXISTS (FROM newest)",
        "SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 3 EXCEPT SELECT 4 ORDER BY 1 LIMIT 10%",
        "SELECT CASE metric WHEN 't' THEN 1 ELSE 2 END, CAST(value AS DECIMAL(9, 2)), TRY_CAST(text AS INTEGER), value::BIGINT FROM readings",
        "SELECT i, n FROM range(10) r(i), generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL 1 HOUR) g(n)",
        "SELECT * FROM unnest([1, 2, 3]) u(x)",
        "SELECT observed_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin', extract(hour FROM observed_at) FROM readings",
        "SELECT text LIKE 'a%' ESCAPE '!', text ILIKE 'b', text SIMILAR TO 'c', regexp_extract(text, '(d)', 1) FROM readings",
        "SELECT coalesce(text, 'none') || '!', ifnull(value, 0), nullif(value, 0), -value ** 2 // 3 % 4 FROM readings",
        "SELECT now() - INTERVAL 7 DAYS, current_date, date '2026-01-01', e'a\\n', $$b$$, 1e5, .5, NULL, true",
        "SELECT avg(value) AS value, value + 1 FROM readings GROUP BY ALL",
        "SELECT \"déjà vu\" FROM (SELECT device AS \"déjà vu\" FROM readings)",
    ],
)  # fmt: skip
def test_useful_questions_are_taken(checker: SqlChecker, text: str) -> None:
    checker.check(text)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("SELECT device\nFROM redings", (2, 6), "There is no table 'redings' here. Did you mean readings?"),
        ("SELECT device\nFROM x", (2, 6), "There are newest, readings, series."),
        ("SELECT 'é',\n  avrg(value) FROM readings", (2, 3), "'avrg' is not taken here. Did you mean avg?"),
        ("SELECT 1,\n\n 2 frm x", (3, 8), "Syntax error"),
        ("SELECT a FROM main.readings", (1, 15), "'main.readings' is not taken: tables have one name here."),
        ("SELECT main.sum(1)", (1, 8), "can't be taken from a schema"),
        ("SELECT current_timestamp", (1, 8), "Use now()"),
        ("SELECT current_user", (1, 8), "'current_user' is not taken here"),
        ("SELECT a.b.c FROM readings", (1, 8), "has too many parts"),
        ("SELECT max(value, 3) FROM readings", (1, 8), "max takes 1 here"),
        ("SELECT greatest(a := 1)", (1, 8), "no named arguments"),
        ("SELECT x'00'", (1, 8), "A value of the kind hex"),
        ("SELECT 1::INTEGER[]", (1, 9), "The type 'list' is not taken"),
        ("SELECT $1", (0, 0), "Parameters"),
        ("", (0, 0), "There must be one SELECT, not nothing."),
        ("SELECT 1; SELECT 2", (0, 0), "one SELECT, not 2"),
        ("DROP TABLE x", (0, 0), "this is something else"),
        ("SELECT \0", (0, 0), "NUL"),
        ("SELECT '\ud800'", (0, 0), "well-formed"),
        ("SELECT '" + "x" * SQL_TEXT_BYTES_MAX + "'", (0, 0), "is the most"),
        ("SELECT " + "[" * 100, (0, 0), "nested deeper"),
        ("SELECT " + "NOT " * 100 + "true", (0, 0), "nested deeper"),
        ("SELECT 1" + "+1" * 2_000, (0, 0), "nested deeper"),
        ("FROM readings" + ", readings" * 12, (1, 126), "more than 12 tables"),
        ("SELECT " + "*, " * 9 + "1 FROM readings", (1, 32), "more than 8 stars"),
        ("SELECT 1 IN (" + "1," * SQL_NODE_COUNT_MAX + "1)", (1, 8006), "more than 4000 parts"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_and_where(
    checker: SqlChecker, text: str, place: tuple[int, int], words: str
) -> None:
    with pytest.raises(SqlRefused) as caught:
        checker.check(text)
    assert words in str(caught.value)
    assert (caught.value.line, caught.value.column) == place
    assert caught.value.hint
    assert not place[0] or str(caught.value).startswith(f"Line {place[0]}, column {place[1]}: ")


def test_aliases_of_aliases_are_counted_in_full(checker: SqlChecker) -> None:
    few = "SELECT 1 AS a, a + a AS b, b + b AS c FROM readings WHERE c > 1 ORDER BY c"
    checker.check(few)
    many = "SELECT 1 AS a0" + "".join(f", a{n} + a{n} AS a{n + 1}" for n in range(11))
    with pytest.raises(SqlRefused, match="aliases that name aliases"):
        checker.check(many)


def _nested(levels: int, item: str = "c") -> str:
    table = "readings t(c)"
    for _ in range(levels):
        table = f"(SELECT {item} FROM {table}) t(c)"
    return f"SELECT c FROM {table}"


def test_selects_in_selects_count_their_tables_once(checker: SqlChecker) -> None:
    checker.check(_nested(10))
    checker.check("SELECT count(*) FROM " + ", ".join(f"readings r{at}" for at in range(SQL_TABLE_COUNT_MAX)))
    with pytest.raises(SqlRefused, match=f"more than {SQL_TABLE_COUNT_MAX} tables"):
        checker.check(
            "SELECT count(*) FROM " + ", ".join(f"readings r{at}" for at in range(SQL_TABLE_COUNT_MAX + 1))
        )


@pytest.mark.parametrize(
    "text",
    [
        _nested(5, "c || c"),
        _nested(2, "concat(c, c, c, c, c, c)"),
        "SELECT a || a || a || a || a FROM (SELECT " + " || ".join(["text"] * 6) + " FROM readings) t(a)",
        "WITH a AS (SELECT text || text || text || text || text AS x FROM readings), b AS (SELECT x || x || x || x || x AS y FROM a)"
        " SELECT y || y FROM b",
        "SELECT text || text AS a, a || a AS b, b || b AS c, c || c AS d, d || d AS e FROM readings",
        "SELECT (SELECT a || a || a || a || a) || (SELECT a || a || a || a || a || a) FROM (SELECT text FROM readings) t(a)",
        "SELECT r.text || s.text FROM readings r JOIN (SELECT " + " || ".join(["text"] * 14) + " AS text FROM newest) s ON true",
        "SELECT strftime(observed_at, text) || strftime(observed_at, text) || strftime(observed_at, text) FROM readings",
        "SELECT 1 UNION ALL (SELECT " + " || ".join(["text"] * 26) + " FROM readings)",
    ],
)  # fmt: skip
def test_texts_that_would_grow_are_refused(checker: SqlChecker, text: str) -> None:
    with pytest.raises(SqlRefused, match="as long, and this joins more") as caught:
        checker.check(text)
    assert caught.value.code == "sql_too_large"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT " + " || ".join(["device"] * SQL_JOINED_GROWTH_MAX) + " FROM readings",
        " UNION ALL ".join(["SELECT device || '/' || metric || ' ' || text FROM readings"] * 5),
        "SELECT " + ", ".join(f"strftime(observed_at, '%{letter}')" for letter in "YmdHMS") + " FROM readings",
        "SELECT label || '!' FROM (SELECT device || ' ' || metric || ' ' || strftime(observed_at, '%H:%M') FROM readings) t(label)",
    ],
)  # fmt: skip
def test_texts_for_people_are_joined(checker: SqlChecker, text: str) -> None:
    checker.check(text)
