"""How a refusal reads."""

from __future__ import annotations

from storage.telemetry.sql_refused import SqlRefused, did_you_mean, said, too_deep, too_long


def test_it_says_where() -> None:
    refused = SqlRefused("No.", hint="Ask otherwise.", place=(2, 3))
    assert (refused.line, refused.column, refused.code) == (2, 3, "sql_refused")
    assert str(refused) == "Line 2, column 3: No. Ask otherwise."


def test_it_says_nothing_of_where_when_it_is_of_the_whole() -> None:
    assert str(SqlRefused("No.", hint="Ask otherwise.", code="x")) == "No. Ask otherwise."
    assert too_deep().code == "sql_too_large"


def test_a_kind_of_node_is_said_in_words() -> None:
    assert said("SHOW_REF") == "show ref"


def test_joining_too_much_says_where() -> None:
    assert (too_long((1, 2)).code, too_long((1, 2)).column) == ("sql_too_large", 2)


def test_the_nearest_name_is_offered() -> None:
    assert did_you_mean("reading", ("readings", "newest"), "None.") == "Did you mean readings?"
    assert did_you_mean("zzz", ("readings", "newest"), "None.") == "None."
