"""How a question in SQL is refused: with what was wrong, where, and what there is instead."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from appliance.core.errors import UsageError
from appliance.core.limits import SQL_DEPTH_MAX, SQL_JOINED_GROWTH_MAX


class SqlRefused(UsageError):  # noqa: N818 - as in the error tree
    """A question that isn't asked.

    Attributes:
        line, column: Where, both from 1; 0 where it is of the whole.
    """

    def __init__(
        self, what: str, *, hint: str, code: str = "sql_refused", place: tuple[int, int] = (0, 0)
    ) -> None:
        self.line, self.column = place
        at = f"Line {self.line}, column {self.column}: " if self.line else ""
        super().__init__(f"{at}{what}", hint=hint, code=code)


def too_deep() -> SqlRefused:
    return SqlRefused(
        f"The question is nested deeper than {SQL_DEPTH_MAX} levels.",
        hint="Split it with WITH, or ask for less at once.",
        code="sql_too_large",
    )


def said(kind: object) -> str:
    """DuckDB's word for a kind of node, for people: `SHOW_REF` is "show ref"."""
    return str(kind).replace("_", " ").lower()


def too_long(place: tuple[int, int]) -> SqlRefused:
    return SqlRefused(
        f"The question may make a text {SQL_JOINED_GROWTH_MAX} times as long, and this joins more: each SELECT counts its joins,"
        " times those of the SELECTs within it.",
        hint="Ask for the parts.",
        code="sql_too_large",
        place=place,
    )


def did_you_mean(name: str, known: Collection[str], otherwise: str) -> str:
    """A hint: the known name that is nearest to one that isn't, or another hint where none is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"Did you mean {near[0]}?" if near else otherwise
