"""Two catalogs that hear of each other: what was changed on one is on the other, and what contradicts is decided or shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.core.clock import ManualClock
from appliance.management import hlc
from appliance.management.permissions import Role
from appliance.management.row_change import Clock
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import Threshold
from storage.catalog import DeviceAuthReader, capture
from storage.catalog.merging import Followed
from storage.catalog.renaming import instead_of
from storage.catalog_stream.following import read_record
from tests.merge_kit import SiteNode, converge, differences

HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaA"
TOKEN = bytes(range(32))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[SiteNode, SiteNode]]:
    clock = ManualClock()
    nodes = SiteNode(tmp_path, 1, clock), SiteNode(tmp_path, 2, clock)
    yield nodes
    for node in nodes:
        node.close()


def same(*nodes: SiteNode) -> None:
    converge(*nodes)
    for other in nodes[1:]:
        assert differences(nodes[0], other) == ""


def test_a_device_registered_on_one_node_signs_in_at_the_other_until_it_is_revoked(
    site: tuple[SiteNode, SiteNode],
) -> None:
    one, two = site
    reader = DeviceAuthReader(two.path, clock=two.clock)
    one.catalog.add_device("pump-1", name="Pumpe")
    one.catalog.set_token("pump-1", TOKEN)
    assert reader.lookup("pump-1") is None
    two.hear(one)
    known = reader.lookup("pump-1")
    assert known is not None
    assert known.tokens[0].hash == TOKEN
    one.catalog.decommission_device("pump-1")
    two.hear(one)
    known = reader.lookup("pump-1")
    assert known is not None
    assert (known.state, known.tokens) == ("decommissioned", ())
    same(one, two)


def test_what_was_applied_is_told_as_what_was_changed_here(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_device("pump-1")
    two.hear(one)
    assert {(each.table, each.key) for each in two.catalog.last_changes} >= {("devices", "pump-1")}
    # And is neither sent on nor in this node's audit.
    assert two.payloads() == []
    assert [row["origin"] for row in two.catalog.rows("SELECT origin FROM audit")] == [one.node_id]


def test_fields_that_two_nodes_changed_are_both_there(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_device("pump-1", name="old")
    converge(one, two)
    one.catalog.edit_device("pump-1", name="new")
    two.catalog.edit_device("pump-1", tags=("cellar",))
    same(one, two)
    device = two.catalog.get_device("pump-1")
    assert (device.name, device.tags) == ("new", ("cellar",))


def test_the_last_name_stands_on_both(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_device("pump-1")
    converge(one, two)
    two.catalog.edit_device("pump-1", name="second")
    one.clock.advance(10)
    one.catalog.edit_device("pump-1", name="last")
    same(one, two)
    assert two.catalog.get_device("pump-1").name == "last"


def test_what_people_meant_is_shown_until_one_of_them_decides(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_user("root", role="admin", password_hash=HASH)
    one.catalog.add_user("ada", role="viewer", password_hash=HASH)
    converge(one, two)
    one.catalog.set_role("ada", "admin", None)
    one.clock.advance(10)
    two.catalog.set_role("ada", "operator", None)
    same(one, two)
    for node in site:
        (conflict,) = node.catalog.list_conflicts().conflicts
        assert (conflict.table, conflict.key, conflict.register) == ("users", "ada", "rights")
        assert [each.values["role"] for each in conflict.candidates] == ["operator", "admin"]
        assert [each.clock.origin for each in conflict.candidates] == [two.node_id, one.node_id]
    found = one.catalog.resolve_conflict(conflict.conflict_id, 1, by="bob")
    assert (found.state, found.resolved_by) == ("resolved", "bob")
    same(one, two)
    for node in site:
        assert node.catalog.get_user("ada").role == "admin"
        assert node.catalog.list_conflicts().conflicts == ()
        (resolved,) = node.catalog.list_conflicts(state="resolved").conflicts
        assert resolved.resolved_by == "bob"


def test_choosing_what_is_in_force_ends_a_conflict_everywhere(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_user("root", role="admin", password_hash=HASH)
    one.catalog.add_user("ada", role="viewer", password_hash=HASH)
    converge(one, two)
    one.catalog.set_role("ada", "admin", None)
    two.catalog.set_role("ada", "operator", None)
    converge(one, two)
    (conflict,) = one.catalog.list_conflicts().conflicts
    in_force = conflict.candidates[0].values["role"]
    one.catalog.resolve_conflict(conflict.conflict_id, 0, by="bob")
    same(one, two)
    assert two.catalog.list_conflicts().conflicts == ()
    assert two.catalog.get_user("ada").role == in_force


def test_changing_it_again_ends_a_conflict_too(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_user("root", role="admin", password_hash=HASH)
    one.catalog.add_user("ada", role="viewer", password_hash=HASH)
    converge(one, two)
    one.catalog.set_role("ada", "admin", None)
    two.catalog.set_role("ada", "operator", None)
    converge(one, two)
    two.catalog.set_role("ada", "installer", None)
    same(one, two)
    assert one.catalog.count_conflicts() == two.catalog.count_conflicts() == 0
    assert one.catalog.get_user("ada").role == "installer"


def test_one_after_the_other_is_no_conflict(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_user("root", role="admin", password_hash=HASH)
    one.catalog.add_user("ada", role="viewer", password_hash=HASH)
    roles: tuple[Role, ...] = ("admin", "operator", "viewer")
    for role in roles:
        converge(one, two)
        one.catalog.set_role("ada", role, None)
        two.hear(one)
        two.catalog.set_role("ada", "installer", None)
        same(one, two)
        assert one.catalog.count_conflicts() == 0
        assert one.catalog.get_user("ada").role == "installer"


def test_a_decommissioning_is_never_undone(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.note_first_contact(["pump-1"], at_ms=one.clock.now_ms())
    converge(one, two)
    one.catalog.decommission_device("pump-1")
    two.clock.advance(1_000)
    two.catalog.adopt_device("pump-1")
    same(one, two)
    assert two.catalog.get_device("pump-1").state == "decommissioned"
    assert two.catalog.count_conflicts() == 0


def test_nothing_that_was_meant_for_a_deleted_row_reaches_one_made_anew(
    site: tuple[SiteNode, SiteNode],
) -> None:
    one, two = site
    one.catalog.add_group("cellar", name="Keller")
    converge(one, two)
    one.catalog.remove_group("cellar")
    two.clock.advance(1_000)
    two.catalog.edit_group("cellar", description="late, and of the one before")
    same(one, two)
    assert one.rows("groups") == []
    two.catalog.add_group("cellar", name="again")
    same(one, two)
    assert [(row["name"], row["description"]) for row in one.rows("groups")] == [("again", "")]


def test_the_same_key_made_on_both_is_one_row(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_device("pump-1", name="Pumpe")
    one.clock.advance(5_000)
    # It came to the other node before that had heard of it.
    two.catalog.note_first_contact(["pump-1"], at_ms=two.clock.now_ms())
    same(one, two)
    (conflict,) = [each for each in two.catalog.list_conflicts().conflicts if each.register == "state"]
    assert {each.values["state"] for each in conflict.candidates} == {"active", "waiting"}


def write_list(node: SiteNode, list_id: str, name: str) -> None:
    with node.catalog.transaction():
        node.catalog.execute(
            "INSERT INTO on_call_lists (list_id, name, definition, created_at_ms, updated_at_ms, origin, hlc) "
            "VALUES (?, ?, '{}', 0, 0, ?, ?) ON CONFLICT (list_id) DO UPDATE SET name = excluded.name, "
            "origin = excluded.origin, hlc = excluded.hlc",
            (list_id, name, node.node_id, node.catalog.hlc),
        )


def names(node: SiteNode) -> dict[str, str]:
    return {row["list_id"]: row["name"] for row in node.rows("on_call_lists")}


def test_of_two_of_one_name_the_first_keeps_it_until_it_is_called_otherwise(
    site: tuple[SiteNode, SiteNode],
) -> None:
    one, two = site
    write_list(one, "first", "Nights")
    two.clock.advance(10)
    write_list(two, "second", "Nights")
    same(one, two)
    assert names(one)["first"] == "Nights"
    assert names(one)["second"].startswith("Nights ~")
    assert instead_of("Nights", "second") == names(two)["second"]
    one.clock.advance(10)
    write_list(one, "first", "Weekends")
    two.hear(one)
    assert names(two) == {"first": "Weekends", "second": "Nights"}


def test_three_of_one_name_are_the_same_on_all_in_any_order(tmp_path: Path) -> None:
    clock = ManualClock()
    nodes = [SiteNode(tmp_path, number, clock) for number in (1, 2, 3)]
    for number, node in enumerate(nodes):
        clock.advance(1)
        write_list(node, f"list-{number}", "Nights")
    one, two, three = nodes
    three.hear(two)
    three.hear(one)
    one.hear(three)
    same(*nodes)
    assert names(two)["list-0"] == "Nights"
    assert len(set(names(two).values())) == 3
    for node in nodes:
        node.close()


def test_a_rule_that_every_node_makes_by_itself_says_nothing_against_what_somebody_wrote(
    site: tuple[SiteNode, SiteNode],
) -> None:
    one, two = site
    definition = RuleDefinition(
        severity="P2", scope=RuleScope(all=True), metric="t", condition=Threshold(is_="above", limit=80)
    )
    one.catalog.add_rule("Warm", definition, position=(1, 1), by="homeport", built_in_id="warm")
    one.clock.advance(10)
    one.catalog.edit_rule("warm", position=(1, 1), by="ada", is_enabled=False)
    two.clock.advance(10)
    two.catalog.add_rule("Warm", definition, position=(1, 1), by="homeport", built_in_id="warm")
    same(one, two)
    assert two.catalog.count_conflicts() == 0
    assert not two.catalog.get_rule("warm").is_enabled


def test_whoever_changes_how_they_sign_in_is_signed_out_everywhere(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_user("ada", role="admin", password_hash=HASH)
    two.hear(one)
    two.catalog.open_session(TOKEN, user_id="ada", expires_at_ms=2**50, address="::1", agent="")
    one.clock.advance(10)
    one.catalog.set_display_name("ada", "Ada")
    two.hear(one)
    assert two.catalog.find_session(TOKEN) is not None
    one.catalog.set_password("ada", HASH + "b")
    two.hear(one)
    assert two.catalog.find_session(TOKEN) is None


def test_a_clock_that_is_ahead_counts_and_is_not_followed(tmp_path: Path) -> None:
    one = SiteNode(tmp_path, 1, ManualClock(1_000_000))
    two = SiteNode(tmp_path, 2, ManualClock(1_000_000 + 86_400_000))
    two.catalog.add_device("pump-1", name="ahead")
    one.hear(two)
    followed = one.catalog.find_followed(two.node_id)
    assert followed is not None
    assert followed.ahead_ms > hlc.AHEAD_MS_MAX
    one.catalog.add_device("pump-2")
    (row,) = one.catalog.rows("SELECT hlc FROM devices WHERE device_id = 'pump-2'")
    assert hlc.wall_ms(row["hlc"]) < 2_000_000
    # What is changed here after it is later all the same, and so it is there.
    one.catalog.edit_device("pump-1", name="put right")
    same(one, two)
    assert two.catalog.get_device("pump-1").name == "put right"
    for node in (one, two):
        node.close()


def test_what_a_later_release_wrote_is_kept_and_applied_after_the_upgrade(
    site: tuple[SiteNode, SiteNode],
) -> None:
    one, two = site
    one.catalog.connection.execute("ALTER TABLE devices ADD COLUMN place TEXT NOT NULL DEFAULT ''")
    capture.remove(one.catalog.connection)
    capture.install(one.catalog.connection)
    one.catalog.add_device("pump-1", name="Pumpe")
    with one.catalog.transaction():
        one.catalog.execute(
            "UPDATE devices SET place = 'cellar', hlc = ?, origin = ?", (one.catalog.hlc, one.node_id)
        )
    two.hear(one)
    # What this release knows is there at once.
    assert two.catalog.get_device("pump-1").name == "Pumpe"
    assert {each.why for each in two.catalog.list_set_aside()} == {"newer"}
    two.catalog.connection.execute("ALTER TABLE devices ADD COLUMN place TEXT NOT NULL DEFAULT ''")
    aside = two.catalog.list_set_aside()
    two.catalog.retry_set_aside([(each, read_record(each.seq, each.payload, each.node_id)) for each in aside])
    assert two.catalog.count_set_aside() == 0
    assert [row["place"] for row in two.rows("devices")] == ["cellar"]


def test_what_can_not_be_applied_is_set_aside_and_holds_nothing_up(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_device("pump-1")
    one.catalog.add_device("pump-2")
    payloads = one.payloads()
    wrong = msgspec.msgpack.decode(payloads[0])
    wrong[7] = json.dumps({**json.loads(wrong[7]), "state": "flying"})
    unknown = [*wrong[:5], "no_such_table", *wrong[6:]]
    applied = two.take(
        one.node_id,
        [
            msgspec.msgpack.encode(wrong),
            msgspec.msgpack.encode(unknown),
            b"garbage",
            msgspec.msgpack.encode([9]),
            *payloads[1:],
        ],
    )
    assert applied.set_aside == 4
    assert [(each.seq, each.why) for each in two.catalog.list_set_aside()] == [
        (1, "constraint"), (2, "newer"), (3, "damaged"), (4, "newer"),
    ]  # fmt: skip
    assert [row["device_id"] for row in two.rows("devices")] == ["pump-2"]


def test_how_far_it_was_followed_is_in_the_transaction(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_device("pump-1")
    two.hear(one, count=1)
    followed = two.catalog.find_followed(one.node_id)
    assert followed is not None
    assert (followed.epoch, followed.next_seq, followed.applied_total) == (1, 2, 1)

    def fail() -> None:
        with two.catalog.transaction():
            two.hear(one)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert two.catalog.find_followed(one.node_id) == followed
    assert two.catalog.list_followed() == [followed]
    (clock,) = two.catalog.rows("SELECT capture FROM change_clock")
    assert clock["capture"] == 1


def test_what_is_written_after_a_restart_is_later_than_what_was_followed(tmp_path: Path) -> None:
    one, two = SiteNode(tmp_path, 1, ManualClock(1_000_000)), SiteNode(tmp_path, 2, ManualClock(1_000_000))
    two.clock.advance(60_000)
    two.catalog.add_device("pump-1", name="a")
    one.hear(two)
    one.close()
    one = SiteNode(tmp_path, 1, ManualClock(1_000_000))
    one.catalog.add_device("pump-2")
    (later,) = one.catalog.rows(
        "SELECT max(hlc) FILTER (WHERE device_id = 'pump-2') > max(hlc) FILTER (WHERE device_id = 'pump-1') FROM devices"
    )
    assert later[0]
    for node in (one, two):
        node.close()


def test_records_that_come_twice_change_nothing(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_device("pump-1")
    one.catalog.edit_device("pump-1", name="x")
    two.hear(one)
    applied = two.hear(one, again=100)
    assert applied.changed == {}
    assert applied.ignored == applied.records > 0
    assert Followed(node_id="a", epoch=1, next_seq=1, hash=b"").applied_total == 0
    assert Clock(1, "a") < Clock(1, "b")
