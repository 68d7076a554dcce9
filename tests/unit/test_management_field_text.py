"""Rules for fields as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.management.field_text import parse_fields, write_fields
from appliance.management.mapping import FieldRule


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("a = b", FieldRule(path="a", metric="b")),
        ("  ENERGY.Power=power_kw * 0.001 ", FieldRule(path="ENERGY.Power", metric="power_kw", scale=0.001)),
        ("t = celsius * 0.1 - 40", FieldRule(path="t", metric="celsius", scale=0.1, offset=-40)),
        ("t = k + 273.15", FieldRule(path="t", metric="k", offset=273.15)),
        ("t = x * -2e-3 + 1E2", FieldRule(path="t", metric="x", scale=-0.002, offset=100)),
        ("= level * 10", FieldRule(path="", metric="level", scale=10)),
        ("a b = c d", FieldRule(path="a b", metric="c d")),
        ("a = b-c*2", FieldRule(path="a", metric="b-c*2")),
        ("a = b = c", FieldRule(path="a", metric="b = c")),
    ],
)
def test_a_line_is_a_rule(line: str, rule: FieldRule) -> None:
    assert parse_fields(["", line, "  "]) == (rule,)
    assert parse_fields(write_fields([rule])) == (rule,)


@pytest.mark.parametrize(
    "line",
    [
        "a", "a =", "=", "x" * 601 + " = b", "a = b * x", "a = b *2x", "a = b / 10", "a = b + ", "a = b * 0,1", "a = b * 2 - forty", "a = b + offset",
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_shown(line: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_fields([line])
    assert refused.value.code == "mapping_field_invalid"


words = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,20}", fullmatch=True)
finite = st.floats(-1e12, 1e12).filter(bool)


@given(words, words, finite, finite)
def test_what_is_written_reads_back(path: str, metric: str, scale: float, offset: float) -> None:
    rule = FieldRule(path=path, metric=metric, scale=scale, offset=offset)
    assert parse_fields(write_fields([rule])) == (rule,)
