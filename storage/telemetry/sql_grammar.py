"""What a question in SQL may be made of: kinds of nodes with their keys, functions, types and tables.

Everything that is not named here is refused (storage/telemetry/sql_check.py). The names are those of DuckDB's own
`json_serialize_sql`; a test compares them with the DuckDB that is installed, so an upgrade that renames one shows.

What decided whether a function is here: it answers from its arguments alone (no file, setting, catalog, sequence or clock of
another kind than `now`), it can be interrupted, and what it makes is not much larger than what it is given. So there is nothing
that repeats, pads, formats or replaces text, makes lists of rows, or takes quadratic time on long texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

EXPRESSION: Final = "expression"
EXPRESSIONS: Final = "expressions"
PLAIN: Final = "plain"
"""A word, a number or a truth that DuckDB itself has put there: no name of anything."""
NAMES: Final = "names"
SPECIAL: Final = "special"
"""Has a rule of its own in sql_check.py."""
REFERENCE: Final = "reference"
SUBQUERY: Final = "subquery"
ORDERS: Final = "orders"

_EXPRESSION: Final[Mapping[str, str]] = {"class": PLAIN, "type": PLAIN, "alias": PLAIN, "query_location": PLAIN,
    "query_location_length": PLAIN}  # fmt: skip
_QUALIFIERS: Final = {"schema_name": SPECIAL, "catalog_name": SPECIAL, "schema": SPECIAL, "catalog": SPECIAL}
"""Never taken; known so that their refusal says what is meant."""
_WINDOW: Final[Mapping[str, str]] = {
    **_EXPRESSION, "function_name": SPECIAL, "qualified_name": SPECIAL, "arguments": SPECIAL, "partitions": EXPRESSIONS,
    "orders": ORDERS, "arg_orders": ORDERS, "start": PLAIN, "end": PLAIN, "start_expr": EXPRESSION, "end_expr": EXPRESSION,
    "filter_expr": EXPRESSION, "exclude_clause": PLAIN, "ignore_nulls": PLAIN, "distinct": PLAIN, "order_bys": SPECIAL,
    "filter": EXPRESSION, **_QUALIFIERS,
}  # fmt: skip
EXPRESSION_KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "CONSTANT": {**_EXPRESSION, "literal": SPECIAL},
    "COLUMN_REF": {**_EXPRESSION, "column_names": SPECIAL},
    "POSITIONAL_REFERENCE": {**_EXPRESSION, "index": PLAIN},
    "FUNCTION": {
        **_EXPRESSION, "function_name": SPECIAL, "qualified_name": SPECIAL, "arguments": SPECIAL, "filter": EXPRESSION,
        "order_bys": SPECIAL, "distinct": PLAIN, "is_operator": PLAIN, **_QUALIFIERS,
    },
    "WINDOW": _WINDOW,
    "OPERATOR": {**_EXPRESSION, "children": EXPRESSIONS},
    "CONJUNCTION": {**_EXPRESSION, "children": EXPRESSIONS},
    "COMPARISON": {**_EXPRESSION, "left": EXPRESSION, "right": EXPRESSION},
    "BETWEEN": {**_EXPRESSION, "input": EXPRESSION, "lower": EXPRESSION, "upper": EXPRESSION},
    "CASE": {**_EXPRESSION, "case_checks": SPECIAL, "else_expr": EXPRESSION},
    "CAST": {**_EXPRESSION, "child": EXPRESSION, "type_expr": SPECIAL, "try_cast": PLAIN},
    "SUBQUERY": {
        **_EXPRESSION, "subquery_type": PLAIN, "subquery": SUBQUERY, "child": EXPRESSION, "comparison_type": PLAIN,
    },
    "STAR": {**_EXPRESSION, "relation_name": PLAIN, "exclude_list": NAMES, "replace_list": SPECIAL, "columns": SPECIAL},
}  # fmt: skip
"""By `class`."""
OPERATORS: Final = frozenset(
    {"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "COMPARE_IN", "COMPARE_NOT_IN",
     "GROUPING_FUNCTION", "ARRAY_EXTRACT", "OPERATOR_TRY"}
)  # fmt: skip
"""`type` of an OPERATOR."""
WINDOWS: Final = frozenset(
    {"WINDOW_AGGREGATE", "WINDOW_ROW_NUMBER", "WINDOW_RANK", "WINDOW_RANK_DENSE", "WINDOW_PERCENT_RANK", "WINDOW_CUME_DIST",
     "WINDOW_NTILE", "WINDOW_LAG", "WINDOW_LEAD", "WINDOW_FIRST_VALUE", "WINDOW_LAST_VALUE", "WINDOW_NTH_VALUE", "WINDOW_FILL"}
)  # fmt: skip
LITERALS: Final = frozenset({"INTEGER", "NUMERIC", "STRING", "BOOLEAN", "NULL_LITERAL"})

QUALIFIERS: Final = frozenset(_QUALIFIERS)
_REFERENCE: Final[Mapping[str, str]] = {"type": PLAIN, "alias": PLAIN, "query_location": PLAIN, "query_location_length": PLAIN,
    "column_name_alias": NAMES}  # fmt: skip
REFERENCE_KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "EMPTY": _REFERENCE,
    "BASE_TABLE": {**_REFERENCE, "table_name": SPECIAL, "qualified_name": SPECIAL, **_QUALIFIERS},
    "SUBQUERY": {**_REFERENCE, "subquery": SUBQUERY},
    "JOIN": {
        **_REFERENCE, "left": REFERENCE, "right": REFERENCE, "condition": EXPRESSION, "join_type": PLAIN, "ref_type": PLAIN,
        "is_implicit": PLAIN, "using_columns": NAMES,
    },
    "EXPRESSION_LIST": {**_REFERENCE, "values": SPECIAL},
    "TABLE_FUNCTION": {**_REFERENCE, "function": SPECIAL},
}  # fmt: skip
"""What may stand in FROM, by `type`."""
QUERY_KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "SELECT_NODE": {
        "type": PLAIN, "modifiers": SPECIAL, "cte_map": SPECIAL, "select_list": SPECIAL, "from_table": SPECIAL,
        "where_clause": EXPRESSION, "group_expressions": EXPRESSIONS, "group_sets": SPECIAL, "aggregate_handling": PLAIN,
        "having": EXPRESSION, "qualify": EXPRESSION,
    },
    "SET_OPERATION_NODE": {
        "type": PLAIN, "modifiers": SPECIAL, "cte_map": SPECIAL, "setop_type": PLAIN, "setop_all": PLAIN, "children": SPECIAL,
    },
}  # fmt: skip
MODIFIER_KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "ORDER_MODIFIER": {"type": PLAIN, "orders": ORDERS},
    "LIMIT_MODIFIER": {"type": PLAIN, "limit": EXPRESSION, "offset": EXPRESSION, "limit_type": PLAIN},
    "DISTINCT_MODIFIER": {"type": PLAIN, "distinct_on_targets": EXPRESSIONS},
}
CTE_KEYS: Final = frozenset({"aliases", "materialized", "query_node"})

_OPERATORS: Final = "+ - * / // % ** ^ || ~~ !~~ ~~* !~~* & | ~ << >> @ xor"
_NUMBERS: Final = (
    "abs acos asin atan atan2 cbrt ceil ceiling cos cot degrees even exp fdiv floor fmod greatest isfinite isinf isnan least ln log"
    " log10 log2 mod nextafter pi pow power radians round round_even sign signbit sin sqrt tan trunc"
)
_TIMES: Final = (
    "age century date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek"
    " dayofyear days_in_month decade epoch epoch_ms epoch_us hour isodow isoyear last_day make_date make_time make_timestamp"
    " make_timestamp_ms microsecond millisecond minute month monthname now quarter second strftime strptime time_bucket timezone"
    " to_days to_hours to_microseconds to_milliseconds to_minutes to_months to_seconds to_weeks to_years today"
    " try_strptime week weekday weekofyear year yearweek"
)
_TEXTS: Final = (
    "ascii concat concat_ws contains ends_with if instr lcase left len length like_escape lower ltrim not_like_escape nullif position"
    " prefix regexp_extract regexp_full_match regexp_matches right rtrim starts_with strlen strpos substr substring suffix trim ucase"
    " upper"
)
_AGGREGATES: Final = (
    "any_value approx_count_distinct approx_quantile arbitrary arg_max arg_min argmax argmin avg bit_and bit_or bit_xor bool_and"
    " bool_or corr count count_if count_star countif covar_pop covar_samp entropy favg first fsum geomean geometric_mean kahan_sum"
    " kurtosis kurtosis_pop last mad max max_by mean median min min_by mode product quantile quantile_cont quantile_disc regr_avgx"
    " regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy reservoir_quantile sem skewness stddev"
    " stddev_pop stddev_samp sum sumkahan var_pop var_samp variance wavg weighted_avg"
)
_WINDOW_FUNCTIONS: Final = "cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank rank_dense row_number"
FUNCTIONS: Final = frozenset(
    f"{_OPERATORS} {_NUMBERS} {_TIMES} {_TEXTS} {_AGGREGATES} {_WINDOW_FUNCTIONS} list_value unnest".split()
)
ARGUMENT_COUNT_MAX: Final[Mapping[str, int]] = {
    # With one more they keep as many values as they are told, for each group.
    "min": 1, "max": 1, "arg_min": 2, "arg_max": 2, "argmin": 2, "argmax": 2, "min_by": 2, "max_by": 2,
}  # fmt: skip
JOINING: Final = frozenset({"||", "concat", "concat_ws"})
"""What makes a text, or a list, as long as all of its arguments: bounded together (SQL_JOINED_GROWTH_MAX)."""
FORMATTING: Final = "strftime"
FORMATTED_GROWTH: Final = 12
"""Of `%c`, 24 characters for two; it counts where a format is longer than FORMAT_LENGTH_MAX or isn't written out."""
FORMAT_LENGTH_MAX: Final = 64
LIST: Final = "list_value"
"""Makes a list of its arguments: `[0.5, 0.95]`."""
LISTED: Final = frozenset({"CONSTANT", "CAST", "FUNCTION"})
"""What may stand in a list, by `class`: values that are written out. A list of columns that are lists is as long as all of them
together, for each SELECT around it a hundred times; Python then makes an object of each element, and nothing else runs meanwhile."""
TABLE_FUNCTIONS: Final = frozenset({"range", "generate_series", "unnest"})
_TYPES: Final = (
    "boolean bool tinyint smallint integer int bigint hugeint utinyint usmallint uinteger ubigint int1 int2 int4 int8 long short signed"
    " float float4 real double float8 decimal numeric dec varchar text string char bpchar date time timestamp datetime timestamp_s"
    " timestamp_ms timestamp_us interval"
)
TYPES: Final = frozenset(_TYPES.split())
"""None with a time zone: all times here are UTC."""
_COLUMN_FUNCTIONS: Final = (
    "current_catalog current_role current_schema current_user session_user user current_database localtime"
    " localtimestamp current_time current_timestamp"
)
COLUMN_FUNCTIONS: Final = frozenset(_COLUMN_FUNCTIONS.split())
"""Names that DuckDB takes for a function where no column has them: all but `current_date`."""


def is_qualified(node: Mapping[str, Any], name: str) -> bool:
    """Whether a function is named with a schema or database before it."""
    return node.get("qualified_name") != {"path": [name]} or not QUALIFIERS.isdisjoint(node)


def is_short(arguments: Sequence[Mapping[str, Any]]) -> bool:
    """Whether what is given is a short text, written out."""
    literals = [each.get("expression", {}).get("literal", {}) for each in arguments]
    return all(0 < len(str(each.get("text", ""))) <= FORMAT_LENGTH_MAX for each in literals)
