"""Merging, case by case; that the order never matters is in tests/properties/test_management_merge.py."""

from __future__ import annotations

from dataclasses import replace

from appliance.management.merge import Candidate, KeyState, RowState, contested, merge
from appliance.management.merge_rules import rules_of
from appliance.management.row_change import Clock, Operation, RowChange, Value

HERE, THERE = "aa", "bb"


def change(
    table: str, hlc: int, origin: str, op: Operation = "insert", changed: tuple[str, ...] = (), **row: Value
) -> RowChange:
    return RowChange(
        position=1, table=table, key="k", op=op, row=row, changed=changed, clock=Clock(hlc, origin)
    )


def after(*changes: RowChange) -> KeyState:
    state = KeyState()
    for each in changes:
        state = merge(rules_of(each.table, each.key), state, each)
    return state


def values(state: KeyState) -> dict[str, Value]:
    assert state.row is not None
    return dict(state.row.values)


def test_what_a_write_carried_along_gives_way_to_any_write() -> None:
    late = change("devices", 9, THERE, "update", ("name",), name="b", tags="[]", state="active")
    earlier = change("devices", 5, HERE, name="a", tags='["t"]', state="waiting")
    for order in ((late, earlier), (earlier, late)):
        assert values(after(*order)) == {"name": "b", "tags": '["t"]', "state": "waiting"}
    newer = replace(late, clock=Clock(10, THERE), changed=("state",), row={**late.row, "tags": '["u"]'})
    assert values(after(late, newer))["tags"] == '["u"]'


def test_a_revocation_stands_whatever_is_later() -> None:
    revoked = change(
        "device_tokens", 5, HERE, "update", ("revoked_at_ms",), revoked_at_ms=7, expires_at_ms=None
    )
    extended = change(
        "device_tokens", 9, THERE, "update", ("expires_at_ms",), revoked_at_ms=None, expires_at_ms=8
    )
    again = replace(revoked, clock=Clock(11, THERE), row={**revoked.row, "revoked_at_ms": 9})
    for order in ((revoked, extended, again), (again, extended, revoked)):
        assert values(after(*order)) == {"revoked_at_ms": 7, "expires_at_ms": 8}


def test_counts_and_fences_only_grow() -> None:
    low, high = (change("settings", n, HERE, value=value) for n, value in ((9, "9"), (5, "10")))
    rules = rules_of("settings", "firmware_fence")
    state = merge(rules, merge(rules, KeyState(), replace(low, key="firmware_fence")), high)
    assert values(state) == {"value": "10"}


def test_the_higher_fence_has_the_whole_row() -> None:
    here = change("executions", 9, HERE, state="failed", home=HERE, home_fence=0)
    there = change("executions", 5, THERE, state="installing", home=THERE, home_fence=1)
    for order in ((here, there), (there, here)):
        assert values(after(*order))["state"] == "installing"
    before_homes = change("executions", 99, HERE, state="queued", home=None, home_fence=0)
    assert values(after(before_homes, here))["state"] == "failed"


def test_of_an_entry_of_a_history_the_first_stays() -> None:
    first, second = (
        change("rollout_events", 5, HERE, reason="a"),
        change("rollout_events", 9, THERE, reason="b"),
    )
    for order in ((first, second), (second, first)):
        assert values(after(*order)) == {"reason": "a"}


def test_a_delete_ends_what_it_knew_of_and_nothing_made_anew() -> None:
    made = change("groups", 5, HERE, name="a")
    gone = replace(made, op="delete", clock=Clock(6, HERE))
    late = change("groups", 9, THERE, "update", ("name",), name="b")
    anew = replace(made, clock=Clock(7, HERE), generation=2)
    assert after(made, gone, late) == KeyState(dead=1)
    assert after(gone, made) == KeyState(dead=1)
    assert values(after(anew, gone, late)) == {"name": "a"}
    assert merge(rules_of("groups"), after(anew), gone) == after(anew)


def test_values_that_nobody_had_seen_both_of_stand_beside_each_other() -> None:
    made = change("rules", 1, HERE, definition="{}", version=1, name="n")
    here = change("rules", 5, HERE, "update", ("definition",), definition="a", version=2, name="n")
    there = change("rules", 6, THERE, "update", ("definition",), definition="b", version=2, name="n")
    there = replace(there, seen={"definition": {HERE: 1}})
    for order in ((made, here, there), (there, here, made)):
        row = after(*order).row
        assert row is not None
        assert row.values["definition"] == "b"
        assert [each.values for each in row.written["definition"].others] == [("a", 2)]
        register = rules_of("rules").register_of("definition")
        assert contested(row, register)
        assert row.written["definition"].context() == {HERE: 5, THERE: 6}
        decision = change("rules", 9, "cc", "update", ("definition",), definition="a", version=2, name="n")
        decision = replace(decision, seen={"definition": {HERE: 5, THERE: 6}})
        decided = merge(rules_of("rules"), KeyState(row=row), decision).row
        assert decided is not None
        assert not contested(decided, register)
    assert not contested(RowState(values={}, written={}), register)


def test_the_same_value_twice_is_no_conflict() -> None:
    made = change("users", 1, HERE, role="viewer", scope="null")
    here = change("users", 5, HERE, "update", ("role",), role="admin", scope="null")
    there = replace(here, clock=Clock(6, THERE), seen={"rights": {HERE: 1}})
    row = after(made, here, there).row
    assert row is not None
    assert row.written["rights"].others
    assert not contested(row, rules_of("users").register_of("role"))


def test_what_is_for_good_has_nothing_beside_it() -> None:
    made = change("devices", 1, HERE, state="active")
    ended = change("devices", 5, HERE, "update", ("state",), state="decommissioned")
    rejected = replace(ended, clock=Clock(9, THERE), row={"state": "rejected"}, seen={"state": {HERE: 1}})
    for order in ((made, ended, rejected), (rejected, ended, made)):
        row = after(*order).row
        assert row is not None
        assert row.values["state"] == "decommissioned"
        assert row.written["state"].others == ()


def test_columns_that_its_writer_did_not_have_stay_as_they_are() -> None:
    made = change("devices", 1, HERE, kind="device", access="own", role="reader")
    older = change("devices", 5, THERE, "update", ("access",), kind="device", access="site")
    assert values(after(made, older)) == {"kind": "device", "access": "site", "role": "reader"}
    assert values(after(older, older)) == {"kind": "device", "access": "site"}


def test_a_writer_has_seen_its_own() -> None:
    one = Candidate(values=(1,), clock=Clock(5, HERE))
    assert Candidate(values=(2,), clock=Clock(6, HERE)).covers(one)
    assert not one.covers(Candidate(values=(2,), clock=Clock(6, HERE)))
    assert not Candidate(values=(2,), clock=Clock(6, THERE)).covers(one)


def test_what_homeport_makes_everywhere_gives_way_to_what_somebody_wrote() -> None:
    here = change("rules", 1, HERE, definition="{}", version=1, name="n", is_enabled=1, is_built_in=1)
    off = change("rules", 5, HERE, "update", ("is_enabled",), **{**here.row, "is_enabled": 0})
    there = replace(here, clock=Clock(9, THERE))
    for order in ((here, off, there), (there, here, off), (off, there, here)):
        row = after(*order).row
        assert row is not None
        assert row.values["is_enabled"] == 0
        assert not contested(row, rules_of("rules").register_of("is_enabled"))
