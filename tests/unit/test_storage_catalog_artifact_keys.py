"""The set of keys in the catalog."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.management.artifact_keys import NOBODY, KeySet, PublicKey
from storage.catalog import Catalog

ONE, TWO = (PublicKey(name=f"key {n}", public=base64.b64encode(bytes([n]) * 32).decode()) for n in (1, 2))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(now_ms=5), node_id=bytes(16))
    yield opened
    opened.close()


def test_nobody_is_trusted_at_first(catalog: Catalog) -> None:
    assert (catalog.artifact_key_set(), catalog.artifact_keys()) == (NOBODY, ())


def test_a_key_that_is_taken_out_is_remembered(catalog: Catalog) -> None:
    first = KeySet(version=1, threshold=2, keys=[ONE, TWO])
    catalog.set_artifact_key_set(first, on_box=TWO.key_id)
    assert catalog.artifact_key_set().by_id() == first.by_id()
    assert catalog.artifact_key_set().threshold == 2
    second = KeySet(version=2, threshold=1, keys=[PublicKey(name="renamed", public=TWO.public)])
    catalog.set_artifact_key_set(second, on_box="")
    assert catalog.artifact_key_set() == second
    assert [(each.name, each.state, each.is_on_box) for each in catalog.artifact_keys()] == [
        ("renamed", "trusted", False),
        ("key 1", "retired", False),
    ]
    catalog.set_artifact_key_set(KeySet(version=3, threshold=1, keys=[ONE]), on_box="")
    assert [each.key_id for each in catalog.artifact_keys() if each.state == "trusted"] == [ONE.key_id]


def test_what_may_go_unsigned_is_said(catalog: Catalog) -> None:
    assert catalog.unsigned_policy() == "refuse"
    catalog.set_unsigned_policy("vendor_signed")
    assert catalog.unsigned_policy() == "vendor_signed"
