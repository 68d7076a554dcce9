"""The plain header of a repository."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.core.errors import StorageError
from storage.backup.header import Header, decode_header, encode_header

HEADER = Header(
    repository_id="01" * 16,
    node_id="02" * 16,
    recipient="03" * 32,
    sealed_key="04" * 80,
    made_at_ms=1_795_000_000_000,
    tag="05" * 32,
)


def test_it_comes_back_and_says_what_it_is() -> None:
    assert decode_header(encode_header(HEADER)) == HEADER
    assert b"homeport restore" in encode_header(HEADER)


def test_the_tag_is_made_of_all_else() -> None:
    fields = json.loads(encode_header(HEADER))
    for name in ("repository_id", "node_id", "recipient", "sealed_key"):
        other = {**fields, name: "ff" * (len(fields[name]) // 2)}
        assert decode_header(json.dumps(other).encode()).tagged_bytes() != HEADER.tagged_bytes()


@pytest.mark.parametrize(
    "fields",
    [
        {"repository_id": "../../x"},
        {"repository_id": "01"},
        {"node_id": None},
        {"recipient": "0" * 63},
        {"sealed_key": ""},
        {"sealed_key": 7},
        {"made_at_ms": -1},
        {"made_at_ms": "now"},
        {"tag": "zz" * 32},
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    found = {**json.loads(encode_header(HEADER)), **fields}
    with pytest.raises(StorageError) as error:
        decode_header(json.dumps(found).encode())
    assert error.value.code == "backup_damaged"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 20_000])
def test_what_is_no_header_is_refused(content: bytes) -> None:
    with pytest.raises(StorageError) as error:
        decode_header(content)
    assert error.value.code == "backup_damaged"


def test_a_newer_format_says_so() -> None:
    content = encode_header(HEADER).replace(b'"format": 1', b'"format": 9')
    with pytest.raises(StorageError, match="format 9") as error:
        decode_header(content)
    assert error.value.code == "backup_too_new"
