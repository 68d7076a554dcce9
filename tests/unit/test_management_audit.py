"""appliance.management.audit: what an entry says, and its hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from appliance.management.audit import FIRST_PREVIOUS_HASH, HIDDEN, AuditEntry, hash_of, shown

ENTRY = AuditEntry(
    seq=1,
    origin="ab" * 16,
    at_ms=5,
    actor="anna",
    actor_kind="user",
    address="192.0.2.1",
    action="device.adopt",
    object_kind="device",
    object_id="pumpe-ü",
    outcome="done",
    before='{"state": "waiting"}',
    after='{"state": "active"}',
    detail="",
    trace_id="0af7651916cd43dd8448eb211c80319c",
    previous_hash=FIRST_PREVIOUS_HASH,
)


def test_the_hash_is_what_the_docstring_says() -> None:
    text = (
        f'[1,"{"ab" * 16}",5,"anna","user","192.0.2.1","device.adopt","device","pumpe-\\u00fc","done",'
        '"{\\"state\\": \\"waiting\\"}","{\\"state\\": \\"active\\"}","","0af7651916cd43dd8448eb211c80319c",'
        f'"{"0" * 64}"]'
    )
    assert json.loads(text)[8] == "pumpe-ü"
    assert hash_of(ENTRY) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(AuditEntry) if f.name not in ("hash", "seq", "at_ms")]
)
def test_no_field_can_change_without_the_hash(field: str) -> None:
    change: Any = {field: "other"}
    assert hash_of(dataclasses.replace(ENTRY, **change)) != hash_of(ENTRY)


def test_the_order_of_entries_is_in_the_hash() -> None:
    assert hash_of(dataclasses.replace(ENTRY, seq=2)) != hash_of(ENTRY)
    assert hash_of(dataclasses.replace(ENTRY, at_ms=6)) != hash_of(ENTRY)


def test_secrets_are_hidden_and_bookkeeping_left_out() -> None:
    row = {
        "user_id": "anna",
        "password_hash": "$argon2id$x",
        "totp_sealed": None,
        "hlc": 7,
        "origin": "n",
        "updated_at_ms": 1,
    }
    assert shown(row) == {"user_id": "anna", "password_hash": HIDDEN, "totp_sealed": None}


def test_an_entry_has_a_name_that_is_unique_among_nodes() -> None:
    assert ENTRY.entry_id == "ab" * 16 + "-1"
