"""storage.catalog.auditing: what a transaction leaves in the audit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core import logs
from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict
from appliance.core.limits import AUDIT_DETAIL_LENGTH_MAX
from appliance.management.audit import FIRST_PREVIOUS_HASH, HIDDEN, SYSTEM, Act, Actor, AuditEntry, hash_of
from storage.catalog import Catalog

NODE = bytes(range(16))
ANNA = Actor(name="anna", kind="user", address="192.0.2.7")
HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(now_ms=1_800_000_000_000), node_id=NODE)
    yield opened
    opened.close()


def entries(catalog: Catalog) -> list[dict[str, Any]]:
    return [dict(row) for row in catalog.rows("SELECT * FROM audit ORDER BY seq")]


def values(entry: dict[str, Any]) -> tuple[Any, Any]:
    return tuple(None if entry[side] is None else json.loads(entry[side]) for side in ("before", "after"))  # type: ignore[return-value]


def test_a_change_says_who_what_and_from_where(catalog: Catalog) -> None:
    with logs.trace() as trace_id, catalog.transaction(Act(action="device.create", actor=ANNA)):
        catalog.add_device("d", name="Pump")
    (entry,) = entries(catalog)
    assert (entry["actor"], entry["actor_kind"], entry["address"]) == ("anna", "user", "192.0.2.7")
    assert (entry["action"], entry["object_kind"], entry["object_id"]) == ("device.create", "device", "d")
    assert (entry["outcome"], entry["trace_id"]) == ("done", trace_id)
    before, after = values(entry)
    assert before is None
    assert (after["name"], after["state"]) == ("Pump", "active")
    assert not {"hlc", "origin"} & set(after)


def test_an_update_has_the_values_before_and_after_and_no_others(catalog: Catalog) -> None:
    catalog.note_first_contact(["d"], at_ms=1)
    with catalog.transaction(Act(action="device.adopt", actor=ANNA)):
        catalog.adopt_device("d")
    assert values(entries(catalog)[-1]) == ({"state": "waiting"}, {"state": "active"})


def test_two_changes_of_a_row_in_one_transaction_are_one_entry(catalog: Catalog) -> None:
    catalog.note_first_contact(["d"], at_ms=1)
    with catalog.transaction(Act(action="device.edit", actor=ANNA)):
        catalog.adopt_device("d")
        catalog.decommission_device("d")
    assert values(entries(catalog)[-1]) == ({"state": "waiting"}, {"state": "decommissioned"})
    with catalog.transaction(Act(action="setting.set", actor=ANNA)):
        catalog.set_setting("k", 1)
        catalog.set_setting("k", 2)
    before, after = values(entries(catalog)[-1])
    assert (before, after["value"]) == (None, "2")
    with catalog.transaction(Act(action="setting.clear", actor=ANNA)):
        catalog.set_setting("k", 3)
        catalog.execute("DELETE FROM settings WHERE key = 'k'")
    before, after = values(entries(catalog)[-1])
    assert (before["value"], after) == ("2", None)
    assert len(entries(catalog)) == 4


def test_a_secret_is_hidden_and_its_change_is_not(catalog: Catalog) -> None:
    with catalog.transaction(Act(action="user.create", actor=ANNA)):
        catalog.add_user("bob", role="viewer", password_hash=HASH)
    with catalog.transaction(Act(action="user.set_password", actor=ANNA)):
        catalog.set_password("bob", HASH + "2")
    with catalog.transaction(Act(action="device_token.create", actor=ANNA)):
        catalog.add_device("d")
        catalog.set_token("d", bytes(range(32)))
    assert values(entries(catalog)[1])[1]["password_hash"] == HIDDEN
    token = entries(catalog)[-1]
    assert (token["object_kind"], token["object_id"]) == ("device_token", "d")
    text = json.dumps(entries(catalog))
    assert HASH not in text
    assert bytes(range(32)).hex() not in text


def test_what_changes_no_row_is_noted(catalog: Catalog) -> None:
    with catalog.transaction(Act(action="session.sign_in", actor=ANNA)):
        catalog.note("session.sign_in", object_kind="user", object_id="anna")
        catalog.note(
            "session.refused",
            object_kind="user",
            object_id="eve",
            outcome="refused",
            detail="x" * 5000,
            actor=Actor(name="", kind="nobody", address="192.0.2.9"),
        )
    first, second = entries(catalog)
    assert (first["actor"], first["outcome"], first["detail"]) == ("anna", "done", "")
    assert (second["actor_kind"], second["outcome"]) == ("nobody", "refused")
    assert len(second["detail"]) == AUDIT_DETAIL_LENGTH_MAX


def test_a_change_that_changes_nothing_leaves_no_entry(catalog: Catalog) -> None:
    catalog.add_device("d")
    catalog.set_access("d", access="own", role="")
    assert len(entries(catalog)) == 1


def test_what_is_rolled_back_leaves_no_entry(catalog: Catalog) -> None:
    def fail() -> None:
        with catalog.transaction(Act(action="device.create", actor=ANNA)):
            catalog.note("x.y", object_kind="a", object_id="b")
            catalog.add_device("d")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert entries(catalog) == []


def test_entries_are_a_chain_over_restarts(tmp_path: Path) -> None:
    first = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(now_ms=1), node_id=NODE)
    first.add_device("a")
    first.close()
    again = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(now_ms=1), node_id=NODE)
    with again.transaction():
        again.add_device("b")
        again.add_device("c")
    previous = FIRST_PREVIOUS_HASH
    for number, row in enumerate(entries(again), start=1):
        entry_id = row.pop("entry_id")
        del row["hlc"]
        entry = AuditEntry(**row)
        assert (entry.seq, entry.previous_hash, entry.entry_id) == (number, previous, entry_id)
        assert hash_of(entry) == entry.hash
        previous = entry.hash
    assert number == 3
    again.close()


@pytest.mark.parametrize("sql", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
def test_entries_neither_change_nor_go(catalog: Catalog, sql: str) -> None:
    catalog.add_device("d")
    with pytest.raises(Conflict, match="audit: entries never"), catalog.transaction():
        catalog.execute(sql)
    assert len(entries(catalog)) == 1


def test_subscribers_do_not_hear_of_entries(catalog: Catalog) -> None:
    catalog.add_device("d")
    assert [change.table for change in catalog.last_changes] == ["devices"]


ADD_KNOWN_BAD = (
    "INSERT INTO known_bad (known_bad_id, device_id, digest, execution_id, reason, created_at_ms, origin, hlc)"
    " VALUES (?, 'd', 'x', 'e', 'fell back', 1, ?, ?)"
)


@pytest.mark.parametrize(
    ("actor", "count"),
    [(ANNA, 1), (SYSTEM, 0), (Actor(name="d", kind="device"), 0), (Actor(name="", kind="nobody"), 1)],
)
def test_what_tells_itself_what_devices_did_is_audited_for_people(
    catalog: Catalog, actor: Actor, count: int
) -> None:
    with catalog.transaction(Act(action="execution.retry", actor=actor)):
        catalog.execute(ADD_KNOWN_BAD, ("d/x", catalog.origin, catalog.hlc))
    assert len(entries(catalog)) == count
    assert [row.table for row in catalog.outbox_after(0) if row.table != "audit"] == ["known_bad"]
