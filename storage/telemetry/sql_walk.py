"""The walk through the tree of a question in SQL, by the lists of storage/telemetry/sql_grammar.py: default deny.

A node, key, function, type or table that isn't named there is refused with its name and place. On the way it counts what DuckDB's
planner, which can't be interrupted, would multiply: tables, stars, groupings, and aliases that refer to aliases, which are copied.
Must not know where the tree comes from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from appliance.core.limits import (
    SQL_DEPTH_MAX,
    SQL_GROUPING_COUNT_MAX,
    SQL_JOINED_GROWTH_MAX,
    SQL_NODE_COUNT_MAX,
    SQL_STAR_COUNT_MAX,
    SQL_TABLE_COUNT_MAX,
)
from storage.telemetry import sql_grammar as grammar
from storage.telemetry.sql_refused import SqlRefused, did_you_mean, said, too_deep, too_long

Node = Mapping[str, Any]


@dataclass(slots=True)
class _Select:
    """What a SELECT's own list has named so far: alias → how many nodes stand for it, and how many texts it joins."""

    aliases: dict[str, tuple[int, int]] = field(default_factory=dict)
    joined: int = 0


class Walk:
    """One walk through a tree; counts as it goes."""

    def __init__(self, text: bytes, tables: frozenset[str]) -> None:
        self._text = text
        self._tables = tables
        self._nodes = 0
        self._depth = 0
        self._table_count = 0
        self._star_count = 0
        self._growth = 1
        self._in_list = 0
        self._selects: list[_Select] = []
        self._at: object = None

    def place(self, offset: object) -> tuple[int, int]:
        """Line and column, from 1, of an offset in bytes; (0, 0) for none."""
        if not isinstance(offset, int) or not 0 <= offset <= len(self._text):
            return 0, 0
        before = self._text[:offset].decode(errors="replace")
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1

    def statement(self, statement: Node) -> None:
        """Walk a whole statement. Raises SqlRefused, also for a form that no parser is known to give."""
        try:
            self._statement(statement)
        except (KeyError, TypeError, AttributeError) as error:
            # A node without a part that it always had, or with another kind of one: what isn't known isn't taken.
            raise SqlRefused(
                "The question has a form that is not known here.", hint="Write it in another way."
            ) from error

    def _statement(self, statement: Node) -> None:
        if "named_param_map" in statement:
            self._refuse(
                "Parameters such as ? and $1 are not taken.", hint="Write the value itself into the question."
            )
        self._only(statement, {"node"}, "statement")
        self._query(statement["node"], frozenset())

    # --- Queries

    def _query(self, node: Node, scope: frozenset[str]) -> None:
        self._enter(node)
        kind = node.get("type")
        keys = grammar.QUERY_KEYS.get(str(kind))
        if keys is None:
            hint = (
                "Write it without recursion." if kind == "RECURSIVE_CTE_NODE" else "Ask with a plain SELECT."
            )
            self._refuse(f"{said(kind)} is not taken here.", hint=hint)
        self._only(node, keys, str(kind))
        scope = self._ctes(node.get("cte_map", {}), scope)
        if kind == "SET_OPERATION_NODE":
            before, most = self._growth, self._growth
            for child in node["children"]:
                self._growth = before
                self._query(child, scope)
                most = max(most, self._growth)
            self._growth = most
            self._selects.append(_Select())
        else:
            # What is in FROM comes first: its tables don't see what this SELECT names.
            self._selects.append(_Select())
            self._reference(node["from_table"], scope)
            self._selects.append(select := _Select(joined=self._selects.pop().joined))
            for each in node["select_list"]:
                nodes, joined = self._nodes, select.joined
                self._expression(each, scope)
                alias = each.get("alias")
                if alias:
                    select.aliases[str(alias).lower()] = self._nodes - nodes, select.joined - joined
            if len(node.get("group_sets", ())) > SQL_GROUPING_COUNT_MAX:
                self._refuse(
                    f"There are more than {SQL_GROUPING_COUNT_MAX} groupings.",
                    hint="Use GROUP BY with fewer columns in CUBE or ROLLUP.",
                    code="sql_too_large",
                )
            self._parts(node, keys, scope)
        for modifier in node.get("modifiers", ()):
            self._modifier(modifier, scope)
        # A SELECT that joins so often makes a text as much longer; those around it multiply that.
        self._growth *= 1 + self._selects.pop().joined
        if self._growth > SQL_JOINED_GROWTH_MAX:
            raise too_long(self.place(self._at))
        self._leave()

    def _ctes(self, cte_map: Node, scope: frozenset[str]) -> frozenset[str]:
        """Names that WITH makes; each is seen by those after it, not by itself and not outside."""
        self._only(cte_map, {"map"}, "WITH")
        for entry in cte_map.get("map", ()):
            self._only(entry, {"key", "value"}, "WITH")
            name, value = str(entry["key"]).lower(), entry["value"]
            self._only(value, grammar.CTE_KEYS, "WITH")
            if name in self._tables or name in scope:
                self._refuse(f"WITH can't give the name {name!r} again.", hint="Choose another name.")
            self._names(value.get("aliases", ()))
            self._query(value["query_node"], scope)
            scope |= {name}
        return scope

    def _modifier(self, modifier: Node, scope: frozenset[str]) -> None:
        keys = grammar.MODIFIER_KEYS.get(str(modifier.get("type")))
        if keys is None:
            self._refuse(f"{said(modifier.get('type'))} is not taken here.", hint="Use ORDER BY and LIMIT.")
        self._only(modifier, keys, str(modifier["type"]))
        self._parts(modifier, keys, scope)

    def _subquery(self, statement: Node, scope: frozenset[str]) -> None:
        self._only(statement, {"node"}, "subquery")
        self._query(statement["node"], scope)

    # --- FROM

    def _reference(self, node: Node, scope: frozenset[str]) -> None:
        self._enter(node)
        kind = str(node.get("type"))
        keys = grammar.REFERENCE_KEYS.get(kind)
        if keys is None:
            self._refuse(
                f"{said(kind)} is not taken behind FROM.",
                hint="The tables and their columns are listed beside the question; for a pivot use "
                "avg(value) FILTER (WHERE metric = '…').",
            )
        self._only(node, keys, f"{kind} in FROM")
        if kind == "BASE_TABLE":
            self._table(node, scope)
        elif kind == "TABLE_FUNCTION":
            self._table_function(node["function"], scope)
        elif kind == "EXPRESSION_LIST":
            for row in node["values"]:
                for each in row:
                    self._expression(each, scope)
        self._parts(node, keys, scope)
        self._leave()

    def _table(self, node: Node, scope: frozenset[str]) -> None:
        name = str(node["table_name"])
        if grammar.is_qualified(node, name):
            path = ".".join(map(str, node["qualified_name"].get("path", [name])))
            self._refuse(
                f"{path!r} is not taken: tables have one name here.",
                hint=f"Use one of {', '.join(sorted(self._tables))}.",
            )
        if name.lower() not in self._tables | scope:
            known = self._tables | scope
            self._refuse(
                f"There is no table {name!r} here.",
                hint=did_you_mean(name.lower(), known, f"There are {', '.join(sorted(known))}."),
            )
        self._count_table()

    def _count_table(self) -> None:
        self._table_count += 1
        if self._table_count > SQL_TABLE_COUNT_MAX:
            self._refuse(
                f"The question names more than {SQL_TABLE_COUNT_MAX} tables.", hint="Ask for less at once.",
                code="sql_too_large",
            )  # fmt: skip

    def _table_function(self, function: Node, scope: frozenset[str]) -> None:
        name = str(function.get("function_name"))
        if function.get("class") != "FUNCTION" or name.lower() not in grammar.TABLE_FUNCTIONS:
            self._refuse(
                f"The function {name!r} is not taken behind FROM.",
                hint=f"There are {', '.join(sorted(grammar.TABLE_FUNCTIONS))}; files can't be read.",
            )
        self._count_table()
        self._expression(function, scope, functions=grammar.TABLE_FUNCTIONS)

    # --- Expressions

    def _expression(
        self, node: Node, scope: frozenset[str], functions: frozenset[str] = grammar.FUNCTIONS
    ) -> None:
        self._enter(node)
        kind = str(node.get("class"))
        keys = grammar.EXPRESSION_KEYS.get(kind)
        if keys is None:
            self._refuse(f"{said(kind)} is not taken here.", hint="Write it in another way.")
        if self._in_list and kind not in grammar.LISTED:
            self._refuse(
                f"{said(kind)} is not taken in a list.",
                hint="Write its values out, or give each its own column.",
            )
        self._only(node, keys, kind)
        if kind in ("FUNCTION", "WINDOW"):
            self._function(node, kind, scope, functions)
        elif kind == "OPERATOR" and node["type"] not in grammar.OPERATORS:
            self._refuse(f"{said(node['type'])} is not taken here.", hint="Write it in another way.")
        elif kind == "CONSTANT":
            self._literal(node["literal"])
        elif kind == "COLUMN_REF":
            self._column(node["column_names"])
        elif kind == "CASE":
            for check in node["case_checks"]:
                self._only(check, {"when_expr", "then_expr"}, "CASE")
                self._expression(check["when_expr"], scope)
                self._expression(check["then_expr"], scope)
        elif kind == "CAST":
            self._type(node["type_expr"])
        elif kind == "STAR":
            self._star(node, scope)
        self._parts(node, keys, scope)
        self._leave()

    def _function(self, node: Node, kind: str, scope: frozenset[str], functions: frozenset[str]) -> None:
        name = str(node.get("function_name"))
        lower = name.lower()
        if kind == "WINDOW" and node["type"] not in grammar.WINDOWS:
            self._refuse(f"{said(node['type'])} is not taken here.", hint="Use another window function.")
        if grammar.is_qualified(node, name):
            self._refuse(
                f"The function {name!r} can't be taken from a schema.",
                hint="Leave what stands before it out.",
            )
        if lower not in functions:
            self._refuse(
                f"The function {name!r} is not taken here.",
                hint=did_you_mean(lower, functions, "Functions for numbers, times, texts and groups are."),
            )
        arguments = node.get("arguments", ())
        if len(arguments) > grammar.ARGUMENT_COUNT_MAX.get(lower, len(arguments)):
            self._refuse(
                f"{name} takes {grammar.ARGUMENT_COUNT_MAX[lower]} here.",
                hint="For the first few of each group use row_number() with QUALIFY.",
            )
        if lower in grammar.JOINING:
            self._join(max(1, len(arguments) - 1))
        if lower == grammar.FORMATTING and not grammar.is_short(arguments[-1:]):
            self._join(grammar.FORMATTED_GROWTH)
        is_list = lower == grammar.LIST
        self._in_list += is_list
        for argument in arguments:
            self._only(argument, {"name", "expression"}, "an argument")
            if "name" in argument:
                self._refuse(f"{name} takes no named arguments here.", hint="Give them in order.")
            self._expression(argument["expression"], scope)
        self._in_list -= is_list
        if "order_bys" in node:
            self._modifier(node["order_bys"], scope)

    def _literal(self, literal: object) -> None:
        if not isinstance(literal, dict) or literal.get("kind") not in grammar.LITERALS:
            kind = literal.get("kind") if isinstance(literal, dict) else literal
            self._refuse(
                f"A value of the kind {said(kind)} is not taken here.", hint="Use numbers, texts and times."
            )
        self._only(literal, {"kind", "text"}, "a value")

    def _column(self, names: list[str]) -> None:
        if len(names) > 2:
            self._refuse(f"{'.'.join(names)!r} has too many parts.", hint="Write column, or table.column.")
        lower = names[-1].lower()
        if len(names) == 1 and lower in grammar.COLUMN_FUNCTIONS:
            hint = (
                "Use now(), which is UTC like all times here."
                if "time" in lower
                else "Columns are listed beside the question."
            )
            self._refuse(f"{names[0]!r} is not taken here.", hint=hint)
        for select in self._selects:
            # An alias is copied to where it is named; one that names others grows with each step.
            nodes, joined = select.aliases.get(lower, (0, 0))
            self._count(nodes)
            self._join(joined)

    def _type(self, node: Node) -> None:
        self._only(
            node, {"class", "type", "query_location", "query_location_length", "type_name", "qualified_name", "children"},
            "a type",
        )  # fmt: skip
        name = str(node.get("type_name"))
        if (
            node["class"] != "TYPE"
            or node.get("qualified_name") != {"path": [name]}
            or name.lower() not in grammar.TYPES
        ):
            self._refuse(
                f"The type {name!r} is not taken here.",
                hint="Use DOUBLE, BIGINT, VARCHAR, TIMESTAMP, DATE or INTERVAL.",
            )
        for child in node.get("children", ()):
            # DECIMAL(9, 2): whole numbers and nothing else.
            if child.get("class") != "CONSTANT":
                self._refuse(f"{name} is not taken in this form.", hint="Use a plain type.")
            self._only(child, grammar.EXPRESSION_KEYS["CONSTANT"], "a type")
            self._literal(child.get("literal"))

    def _star(self, node: Node, scope: frozenset[str]) -> None:
        self._star_count += 1
        if self._star_count > SQL_STAR_COUNT_MAX:
            self._refuse(
                f"The question has more than {SQL_STAR_COUNT_MAX} stars.", hint="Name the columns.", code="sql_too_large"
            )  # fmt: skip
        if node.get("columns") and (len(node) > 4 or "expr" in node):
            self._refuse("COLUMNS(…) is not taken here.", hint="Name the columns.")
        for each in node.get("replace_list", ()):
            self._only(each, {"key", "value"}, "REPLACE")
            self._expression(each["value"], scope)

    # --- What all have in common

    def _parts(self, node: Node, keys: Mapping[str, str], scope: frozenset[str]) -> None:
        """Walk what a node's keys say that it holds; what is SPECIAL has been walked."""
        for key, rule in keys.items():
            if key not in node or rule in (grammar.PLAIN, grammar.SPECIAL):
                if rule == grammar.PLAIN and isinstance(node.get(key), (dict, list)):
                    self._refuse(f"{key} is not taken here.", hint="Write it in another way.")
                continue
            value = node[key]
            if rule == grammar.EXPRESSION:
                self._expression(value, scope)
            elif rule == grammar.EXPRESSIONS:
                for each in value:
                    self._expression(each, scope)
            elif rule == grammar.REFERENCE:
                self._reference(value, scope)
            elif rule == grammar.SUBQUERY:
                self._subquery(value, scope)
            elif rule == grammar.NAMES:
                self._names(value)
            else:
                assert rule == grammar.ORDERS
                for each in value:
                    self._only(each, {"type", "null_order", "expression"}, "ORDER BY")
                    self._expression(each["expression"], scope)

    def _names(self, names: Collection[object]) -> None:
        if not all(isinstance(each, str) for each in names):
            self._refuse("Names with more to them are not taken here.", hint="Give plain names.")

    def _only(self, node: Node, keys: Collection[str], what: str) -> None:
        if not isinstance(node, dict):
            self._refuse(f"{what} is not taken in this form.", hint="Write it in another way.")
        unknown = sorted(node.keys() - set(keys))
        if unknown:
            self._refuse(f"{said(unknown[0])} is not taken with {said(what)}.", hint="Leave it out.")

    def _enter(self, node: Node) -> None:
        if not isinstance(node, dict):
            self._refuse("This is not taken here.", hint="Ask with a plain SELECT.")
        self._at = node.get("query_location", self._at)
        self._depth += 1
        if self._depth > SQL_DEPTH_MAX:
            raise too_deep()
        self._count(1)

    def _leave(self) -> None:
        self._depth -= 1

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > SQL_NODE_COUNT_MAX:
            self._refuse(
                f"The question has more than {SQL_NODE_COUNT_MAX} parts, aliases that name aliases counted in full.",
                hint="Ask for less at once.",
                code="sql_too_large",
            )

    def _join(self, times: int) -> None:
        self._selects[-1].joined += times

    def _refuse(self, what: str, *, hint: str, code: str = "sql_refused") -> NoReturn:
        raise SqlRefused(what, hint=hint, code=code, place=self.place(self._at))
