"""Whether a question in SQL may be asked: one SELECT, of nothing but what storage/telemetry/sql_grammar.py names.

DuckDB's own parser makes the tree (`json_serialize_sql`, which gives trees of SELECTs and refuses all else), in a database of
its own that holds nothing and may reach nothing. The tree is walked by allow-list (sql_walk.py). What is then executed is the very text that was parsed, by the same parser;
DESIGN.md says why not the tree.

Before it is parsed, a text is bounded in its length and brackets: the parser can't be interrupted.
Must not know the store: it takes text, and the names of the tables that there are.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final, NoReturn

import duckdb

from appliance.core.limits import SQL_DEPTH_MAX, SQL_TEXT_BYTES_MAX
from storage.telemetry.sql_refused import SqlRefused, too_deep
from storage.telemetry.sql_walk import Node, Walk

_PARSE: Final = (
    "SELECT json_serialize_sql(?::VARCHAR, skip_null := true, skip_empty := true, skip_default := true)"
)


class SqlChecker:
    """Parses and checks. One thread at a time.

    Args:
        tables: Names of what may stand behind FROM, lower case.
    """

    def __init__(self, tables: Collection[str]) -> None:
        self._tables = frozenset(tables)
        self._parser = duckdb.connect(
            ":memory:",
            config={
                "threads": 1,
                "memory_limit": "64MiB",
                "autoload_known_extensions": False,
                "autoinstall_known_extensions": False,
                "python_enable_replacements": False,
                "enable_external_access": False,
                "lock_configuration": True,
            },
        )

    def check(self, text: str) -> None:
        """Refuse what is not allowed.

        Raises:
            SqlRefused: with what was wrong, where, and what there is instead.
        """
        _check_text(text)
        walk = Walk(text.encode(), self._tables)
        try:
            (answer,) = self._parser.execute(_PARSE, [text]).fetchall()[0]
            tree = json.loads(answer)
        except RecursionError:
            raise too_deep() from None
        except duckdb.Error as error:
            # The parser gives its errors as an answer; what is raised is about the text as such, such as a NUL in it.
            raise SqlRefused(
                f"This can't be parsed: {_first_line(error)}", hint="Ask one SELECT.", code="sql_syntax"
            ) from error
        if tree["error"]:
            _refuse_unparsed(tree, walk)
        statements = tree["statements"]
        if len(statements) != 1:
            raise SqlRefused(
                f"There must be one SELECT, not {len(statements) or 'nothing'}.",
                hint="Ask one question at a time; leave the others out.",
            )
        walk.statement(statements[0])

    def close(self) -> None:
        self._parser.close()


def _check_text(text: str) -> None:
    """Bounds that the parser itself doesn't have: brackets cost it quadratic time."""
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise SqlRefused(
            "The question is no well-formed text.", hint="Send it as UTF-8.", code="sql_syntax"
        ) from None
    if size_bytes > SQL_TEXT_BYTES_MAX:
        raise SqlRefused(
            f"The question has {size_bytes} bytes; {SQL_TEXT_BYTES_MAX} is the most.",
            hint="Ask for less at once.",
            code="sql_too_large",
        )
    if "\0" in text:
        raise SqlRefused("The question has a NUL in it.", hint="Leave it out.", code="sql_syntax")
    depth = deepest = 0
    for letter in text:
        # Brackets in a text or a comment count too: nobody writes fifty of them there.
        if letter in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in ")]}":
            depth -= 1
    if deepest > SQL_DEPTH_MAX:
        raise too_deep()


def _refuse_unparsed(tree: Node, walk: Walk) -> NoReturn:
    message = str(tree.get("error_message", ""))
    if tree.get("error_type") != "parser":
        raise SqlRefused(
            "Only a SELECT is taken here: this is something else.",
            hint="Ask with SELECT … FROM readings; nothing can be changed, loaded, exported or set.",
        )
    if "expression depth" in message:
        raise too_deep()
    position = str(tree.get("position", ""))
    raise SqlRefused(
        f"{message[:1].upper()}{message[1:]}.",
        hint="Check the commas, brackets and quotes before it.",
        code="sql_syntax",
        place=walk.place(int(position)) if position.isdigit() else (0, 0),
    )


def _first_line(error: duckdb.Error) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
