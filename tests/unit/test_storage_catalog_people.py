"""Users, signed-in browsers and settings in the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from storage.catalog import Catalog, browser_sessions, people

HASH = "$argon2id$something"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def _open(catalog: Catalog, number: int, clock: ManualClock, life_ms: int = 1_000_000) -> bytes:
    key = number.to_bytes(32, "big")
    catalog.open_session(
        key, user_id="ada", expires_at_ms=clock.now_ms() + life_ms, address="a" * 99, agent="b" * 999
    )
    return key


def test_users(catalog: Catalog, clock: ManualClock) -> None:
    assert not catalog.has_admin()
    catalog.add_user("ada", role="admin", password_hash=HASH)
    assert catalog.has_admin()
    user = catalog.find_user("ada")
    assert user
    assert (user.role, user.disabled, user.created_at_ms) == ("admin", False, clock.now_ms())
    assert catalog.find_user("Ada") is None
    with pytest.raises(Conflict):
        catalog.add_user("ada", role="viewer", password_hash=HASH)


@pytest.mark.parametrize("name", ["", " ada", "a\nb", "x" * 65])
def test_user_names(catalog: Catalog, name: str) -> None:
    with pytest.raises(UsageError):
        catalog.add_user(name, role="admin", password_hash=HASH)


def test_users_are_limited(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "USER_COUNT_MAX", 1)
    catalog.add_user("a", role="admin", password_hash=HASH)
    with pytest.raises(LimitExceeded):
        catalog.add_user("b", role="admin", password_hash=HASH)


def test_a_password_is_never_kept_in_clear(catalog: Catalog) -> None:
    with pytest.raises(AssertionError):
        catalog.add_user("a", role="admin", password_hash="secret")


def test_sessions(catalog: Catalog, clock: ManualClock) -> None:
    catalog.add_user("ada", role="admin", password_hash=HASH)
    key = _open(catalog, 1, clock)
    session = catalog.find_session(key)
    assert session
    assert (session.user_id, len(session.address), len(session.agent)) == ("ada", 64, 200)
    clock.advance(500)
    catalog.touch_session(key)
    touched = catalog.find_session(key)
    assert touched
    assert touched.last_used_at_ms == clock.now_ms()
    catalog.close_session(key)
    catalog.close_session(key)
    assert catalog.find_session(key) is None


def test_a_disabled_user_has_no_session(catalog: Catalog, clock: ManualClock) -> None:
    catalog.add_user("ada", role="admin", password_hash=HASH)
    key = _open(catalog, 1, clock)
    with catalog.transaction():
        catalog.execute("UPDATE users SET disabled = 1, hlc = ?", (catalog.hlc,))
    assert catalog.find_session(key) is None
    assert not catalog.has_admin()


def test_sessions_are_limited_and_old_ones_go(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_sessions, "BROWSER_SESSION_COUNT_MAX", 3)
    catalog.add_user("ada", role="admin", password_hash=HASH)
    short = _open(catalog, 0, clock, life_ms=1)
    keys = []
    for number in range(1, 5):
        clock.advance(10)
        keys.append(_open(catalog, number, clock))
    alive = [key for key in (short, *keys) if catalog.find_session(key)]
    assert alive == keys[1:]


def test_a_scope_names_groups_that_exist(catalog: Catalog) -> None:
    catalog.add_group("hall")
    user = catalog.add_user("ada", role="admin", password_hash=HASH, scope=frozenset({"hall"}))
    assert user.scope == frozenset({"hall"})
    for scope, kind in ((frozenset({"gone"}), UsageError), (frozenset(map(str, range(65))), LimitExceeded)):
        with pytest.raises(kind):
            catalog.set_role("ada", "viewer", scope)
    assert catalog.get_user("ada") == user


def test_only_what_changes_moves_the_credentials_on(catalog: Catalog, clock: ManualClock) -> None:
    before = catalog.add_user("ada", role="viewer", password_hash=HASH)
    clock.set_wall(clock.now_ms() - 1000)
    assert catalog.set_role("ada", "viewer", None) == before
    assert catalog.enable_user("ada") == before
    assert (
        catalog.set_display_name("ada", "Ada").credentials_changed_at_ms == before.credentials_changed_at_ms
    )
    changed = catalog.set_role("ada", "operator", None)
    assert changed.credentials_changed_at_ms == before.credentials_changed_at_ms + 1
    catalog.set_totp("ada", "00")
    assert catalog.get_user("ada").credentials_changed_at_ms == before.credentials_changed_at_ms + 2
    catalog.disable_user("ada")
    catalog.disable_user("ada")
    assert catalog.get_user("ada").credentials_changed_at_ms == before.credentials_changed_at_ms + 3


def test_who_is_removed_leaves_nothing_that_signs_in(catalog: Catalog, clock: ManualClock) -> None:
    ada = catalog.add_user("ada", role="viewer", password_hash=HASH)
    key = _open(catalog, 1, clock)
    catalog.add_api_token(
        "t1",
        token_hash=bytes(32),
        user=ada,
        name="x",
        role="viewer",
        scope=None,
        expires_at_ms=clock.now_ms() + 1000,
    )
    catalog.note_sign_in("ada", "192.0.2.1")
    catalog.remove_user("ada")
    assert catalog.find_user("ada") is None
    assert catalog.find_session(key) is None
    assert catalog.get_api_token("t1").revoked_at_ms is not None
    assert catalog.last_sign_ins() == {}
    with pytest.raises(NotFound):
        catalog.remove_user("ada")
