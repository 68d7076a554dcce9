"""RateLimit-Policy and RateLimit as structured fields, read back by a parser of RFC 9651's grammar written here."""

from __future__ import annotations

import re

from appliance.core.token_bucket import Quota
from ui.rate_limit import Allowance, Standing
from ui.rate_limit_fields import fields_of

OWN = Allowance(Quota("user-reads", 600), 599, 1)
TOTAL = Allowance(Quota("all-reads", 6000), 5000, 10)


def parsed(field: str) -> dict[str, dict[str, int]]:
    """A list of strings with integers as parameters (RFC 9651 §3.1)."""
    found = {}
    for item in field.split(", "):
        match = re.fullmatch(r'"([ !#-\[\]-~]*)"((?:;[a-z*][a-z0-9_.*-]*=\d+)*)', item)
        assert match, item
        pairs = (pair.split("=") for pair in match.group(2).split(";")[1:])
        found[match.group(1)] = {key: int(value) for key, value in pairs}
    return found


def test_policies_and_the_nearest_limit() -> None:
    fields = fields_of(Standing(retry_after_s=0, own=OWN, total=TOTAL))
    assert parsed(fields["ratelimit-policy"]) == {
        "user-reads": {"q": 600, "w": 60},
        "all-reads": {"q": 6000, "w": 60},
    }
    assert parsed(fields["ratelimit"]) == {"user-reads": {"r": 599, "t": 1}}
    assert "retry-after" not in fields


def test_the_total_is_told_when_it_is_nearer() -> None:
    near = Allowance(TOTAL.quota, 3, 60)
    assert parsed(fields_of(Standing(retry_after_s=0, own=OWN, total=near))["ratelimit"]) == {
        "all-reads": {"r": 3, "t": 60}
    }


def test_a_refusal_names_its_limit_and_agrees_with_retry_after() -> None:
    why = Allowance(TOTAL.quota, 0, 7)
    fields = fields_of(Standing(retry_after_s=7, own=OWN, total=why, refused_by=why))
    assert parsed(fields["ratelimit"]) == {"all-reads": {"r": 0, "t": 7}}
    assert fields["retry-after"] == "7"


def test_without_limits_nothing_is_said() -> None:
    assert fields_of(Standing(retry_after_s=0, own=None, total=None)) == {}
