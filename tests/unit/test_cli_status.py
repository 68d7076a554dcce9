"""The line of `homeport status` about copies."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.cli.status import copies

PEER: dict[str, Any] = {"state": "admitted", "link": "up"}
BLOB: dict[str, Any] = {"kind": "day", "count": 3, "safe_count": 2}
STATE: dict[str, Any] = {
    "peers": [PEER, {**PEER, "link": "down"}, {**PEER, "state": "decommissioned"}],
    "blobs": [],
    "rpo_ms": 0,
    "rpo_worst_ms": 61_000,
    "unsafe_entries": 0,
    "problem": "",
    "unreadable": "",
}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"is_alone": True, "state": None}, "copies: none, this box is alone (homeport peer invite)"),
        (
            {"state": None, "problem": "It is\x1baway."},
            "copies: NOT KNOWN It is\N{REPLACEMENT CHARACTER}away.",
        ),
        ({}, "copies: 1 of 2 boxes linked, Nothing is only here, worst of 24 h 61.0 s"),
        (
            {"state": STATE | {"unreadable": "1 part"}},
            "copies: 1 of 2 boxes linked, Nothing is only here, worst of 24 h 61.0 s, PARTS OF LOGS CAN'T BE READ (homeport log missing)",
        ),
        (
            {"state": STATE | {"blobs": [BLOB | {"safe_count": 3}]}},
            "copies: 1 of 2 boxes linked, Nothing is only here, worst of 24 h 61.0 s",
        ),
        (
            {"state": STATE | {"blobs": [BLOB, BLOB | {"kind": "image", "count": 0, "safe_count": 0}]}},
            "copies: 1 of 2 boxes linked, Nothing is only here, With a copy that counts: 2 of 3 archived days, worst of 24 h 61.0 s",
        ),
        (
            {"reading": {"incident": "", "logs": [{"stopped": "It is another one."}]}},
            "copies: 1 of 2 boxes linked, Nothing is only here, worst of 24 h 61.0 s, COPIES STAND STILL (homeport doctor)",
        ),
    ],
)
def test_it_says_whether_data_is_safe(answer: dict[str, Any], said: str) -> None:
    base = {"is_alone": False, "problem": "", "state": STATE, "reading": {"incident": "", "logs": []}}
    assert copies(base | answer) == said
