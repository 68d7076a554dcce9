"""Groups of devices, and tags of many devices at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from storage.catalog import Catalog
from storage.catalog import groups as module
from storage.catalog.rows import TagCount


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def test_a_group_is_made_edited_and_removed(catalog: Catalog, clock: ManualClock) -> None:
    made = catalog.add_group("hall-3", name=" Hall 3 ", description="Behind the\nold gate")
    assert (made.name, made.description, made.device_count) == ("Hall 3", "Behind the\nold gate", 0)
    clock.advance(5)
    edited = catalog.edit_group("hall-3", name="Hall three")
    assert (edited.name, edited.description) == ("Hall three", "Behind the\nold gate")
    assert edited.version > made.version
    assert edited.updated_at_ms == made.updated_at_ms + 5
    assert catalog.edit_group("hall-3").version == edited.version
    catalog.remove_group("hall-3")
    with pytest.raises(NotFound) as unknown:
        catalog.get_group("hall-3")
    assert unknown.value.code == "group_unknown"


@pytest.mark.parametrize("group_id", ["", "A", "-a", "a b", "ä", "a/b", "x" * 65])
def test_an_id_that_is_none_is_refused(catalog: Catalog, group_id: str) -> None:
    with pytest.raises(UsageError) as refused:
        catalog.add_group(group_id)
    assert refused.value.code == "group_id_invalid"


@pytest.mark.parametrize("words", [{"name": "x" * 201}, {"name": "a\nb"}, {"description": "x" * 1001}])
def test_words_are_bounded(catalog: Catalog, words: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        catalog.add_group("g", **words)
    assert refused.value.code == "group_words_invalid"


def test_groups_are_limited_and_unique(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_COUNT_MAX", 1)
    catalog.add_group("g")
    with pytest.raises(Conflict) as twice:
        catalog.add_group("g")
    assert twice.value.code == "group_exists"
    with pytest.raises(LimitExceeded) as full:
        catalog.add_group("h")
    assert full.value.code == "group_count"


def test_counts_are_of_devices_that_name_it_and_a_scope_hides_the_rest(catalog: Catalog) -> None:
    for group_id in ("a", "b", "c"):
        catalog.add_group(group_id)
    catalog.add_device("d1", groups=("a", "b"))
    catalog.add_device("d2", groups=("a",))
    counts = {group.group_id: group.device_count for group in catalog.list_groups()}
    assert counts == {"a": 2, "b": 1, "c": 0}
    assert {group.device_count for group in catalog.list_groups(counted=False)} == {0}
    assert [group.group_id for group in catalog.list_groups(scope=frozenset({"b", "gone"}))] == ["b"]
    assert catalog.get_group("a").device_count == 2
    with pytest.raises(NotFound):
        catalog.get_group("a", scope=frozenset({"b"}))


def test_a_group_with_devices_goes_only_once_they_are_out_of_it(catalog: Catalog) -> None:
    catalog.add_group("g")
    catalog.add_group("h")
    for number in range(5):
        catalog.add_device(f"d{number}", groups=("g", "h"))
    with pytest.raises(Conflict) as refused:
        catalog.remove_group("g")
    assert refused.value.code == "group_has_devices"
    assert "5 devices are" in refused.value.message
    assert [catalog.clean_group("g", count_max=2) for _ in range(4)] == [2, 2, 1, 0]
    catalog.remove_group("g")
    assert catalog.get_device("d3").groups == ("h",)


def test_a_group_that_an_account_a_token_or_a_claim_names_stays(catalog: Catalog) -> None:
    catalog.add_group("g")
    catalog.add_user("ann", role="viewer", password_hash="$argon2id$x")
    with catalog.transaction():
        stamp = (catalog.origin, catalog.hlc)
        catalog.execute("UPDATE users SET scope = '[\"g\"]', origin = ?, hlc = ?", stamp)
        catalog.execute(
            "INSERT INTO api_tokens (token_id, token_hash, user_id, name, role, scope, created_at_ms, expires_at_ms, "
            "origin, hlc) VALUES ('t', ?, 'ann', 'backup', 'viewer', '[\"g\"]', 1, 2, ?, ?)",
            ("0" * 64, *stamp),
        )
        catalog.execute(
            "INSERT INTO claims (claim_id, token_hash, groups, use_count_max, created_by, created_at_ms, expires_at_ms, "
            "origin, hlc) VALUES ('c7', ?, '[\"g\"]', 5, 'ann', 1, 2, ?, ?)",
            ("1" * 64, *stamp),
        )

    def refused_for() -> str:
        with pytest.raises(Conflict) as refused:
            catalog.check_group_unnamed("g")
        assert refused.value.code == "group_in_use"
        return refused.value.message

    assert "user “ann”" in refused_for()
    for freed, next_name in (
        ("UPDATE users SET scope = 'null', origin = ?, hlc = ?", "API token “backup”"),
        ("UPDATE api_tokens SET revoked_at_ms = 3, origin = ?, hlc = ?", "claim “c7”"),
    ):
        with catalog.transaction():
            catalog.execute(freed, (catalog.origin, catalog.hlc))
        assert next_name in refused_for()
    with catalog.transaction():
        catalog.execute("UPDATE claims SET use_count = 5, origin = ?, hlc = ?", (catalog.origin, catalog.hlc))
    catalog.remove_group("g")


def test_a_device_is_only_in_groups_that_there_are(catalog: Catalog) -> None:
    with pytest.raises(NotFound) as refused:
        catalog.add_device("d", groups=("nowhere",))
    assert refused.value.code == "group_unknown"
    assert catalog.find_device("d") is None
    with pytest.raises(UsageError) as many:
        catalog.add_device("d", groups=[f"g{n}" for n in range(33)])
    assert many.value.code == "device_groups_invalid"


def test_tags_are_listed_in_pages_with_their_counts(catalog: Catalog) -> None:
    catalog.add_group("g")
    catalog.add_device("d1", tags=("roof", "old"), groups=("g",))
    catalog.add_device("d2", tags=("roof",))
    first, cursor = catalog.list_tags(limit=1)
    assert (first, cursor) == ([TagCount("old", 1)], "old")
    assert catalog.list_tags(cursor="old") == ([TagCount("roof", 2)], None)
    assert catalog.list_tags(scope=frozenset({"g"}))[0] == [TagCount("old", 1), TagCount("roof", 1)]


def test_a_tag_is_renamed_where_it_is_and_taken_off(catalog: Catalog) -> None:
    catalog.add_group("g")
    catalog.add_device("d1", tags=("x", "roof", "top"), groups=("g",))
    catalog.add_device("d2", tags=("roof",))
    assert catalog.change_tag("roof", " top ", scope=frozenset({"g"}), count_max=10) == 1
    assert catalog.get_device("d1").tags == ("x", "top")
    assert catalog.get_device("d2").tags == ("roof",)
    assert catalog.change_tag("roof", "roof", scope=None, count_max=10) == 0
    assert catalog.change_tag("roof", None, scope=None, count_max=10) == 1
    assert catalog.change_tag("roof", None, scope=None, count_max=10) == 0
    assert catalog.get_device("d2").tags == ()
    with pytest.raises(UsageError):
        catalog.change_tag("top", "x" * 65, scope=None, count_max=10)
