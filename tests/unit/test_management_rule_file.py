"""Rules as a file: what comes back, and what is refused with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.core.errors import UsageError
from appliance.management import rule_file
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import Threshold
from appliance.management.rule_file import FiledRule, read, write

RULE = FiledRule(
    name="Too warm",
    is_enabled=False,
    definition=RuleDefinition(
        severity="P1", scope=RuleScope(tags=("oven",)), metric="t", condition=Threshold(is_="above", limit=80)
    ),
)


def document(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(write([RULE]))
    found["rules"][0] |= changes
    return found


def test_a_file_comes_back_as_it_was_written() -> None:
    written = write([RULE])
    assert read(written).rules == (RULE,)
    assert written.count(b"\n") > 5, "a person can read it"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "can't be read"),
        (b"\xff\xfe", "can't be read"),
        (b"[]", "can't be read"),
        (json.dumps(document() | {"homeport_rules": 2}).encode(), "format 2, this Homeport reads 1"),
        (json.dumps(document(color="red")).encode(), "color"),
        (json.dumps(document(name="")).encode(), "name has 1 to"),
        (
            json.dumps(document() | {"rules": document()["rules"] * 2}).encode(),
            "Two rules of the file are called “Too warm”",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_whole(data: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        read(data)
    assert refused.value.hint


def test_a_rule_that_makes_no_sense_is_named() -> None:
    bad = document()
    bad["rules"][0]["definition"]["condition"]["hysteresis"] = -1
    with pytest.raises(UsageError, match="Rule “Too warm”: hysteresis is -1") as refused:
        read(json.dumps(bad).encode())
    assert refused.value.code == "rule_invalid"


def test_a_file_has_so_many_rules_and_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_file, "RULE_COUNT_MAX", 0)
    with pytest.raises(UsageError, match="more than 0 rules"):
        read(write([RULE]))
    monkeypatch.setattr(rule_file, "RULE_FILE_BYTES_MAX", 10)
    with pytest.raises(UsageError, match="larger than"):
        read(write([RULE]))
