"""The broker's reader of credentials: always current while the catalog can be read, last known good while it can't."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Unavailable
from appliance.core.limits import AUTH_LAST_KNOWN_GOOD_MS, AUTH_RETRY_AFTER_MS
from appliance.management.access import certificate_proof
from storage.catalog import Catalog, DeviceAuthReader, schema
from storage.catalog.auth import ClaimCredential


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def catalog(path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(path, clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


@pytest.fixture
def reader(path: Path, clock: ManualClock) -> Iterator[DeviceAuthReader]:
    opened = DeviceAuthReader(path, clock=clock)
    yield opened
    opened.close()


def _add(catalog: Catalog, device_id: str, number: int = 1) -> None:
    with catalog.transaction():
        catalog.add_device(device_id)
        catalog.set_token(device_id, bytes([number]) * 32)


def _hashes(reader: DeviceAuthReader, device_id: str) -> list[bytes] | None:
    credential = reader.lookup(device_id)
    return [token.hash for token in credential.tokens] if credential else None


def _put_in_place(other: Path, path: Path) -> None:
    """What a restore does: the write-ahead log belongs to the file before, so it goes with it."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    other.rename(path)


class Locked:
    """Holds the catalog's file so that nobody can read it."""

    def __init__(self, path: Path) -> None:
        self._aside = path.with_name("aside.db")
        self._path = path

    def __enter__(self) -> None:
        self._path.rename(self._aside)

    def __exit__(self, *_: object) -> None:
        self._aside.rename(self._path)


def test_each_change_is_seen_at_the_next_look_up(catalog: Catalog, reader: DeviceAuthReader) -> None:
    assert reader.lookup("d") is None
    _add(catalog, "d")
    credential = reader.lookup("d")
    assert credential
    assert (credential.kind, credential.access, credential.state) == ("device", "own", "active")
    assert _hashes(reader, "d") == [b"\x01" * 32]
    catalog.set_token("d", b"\x02" * 32)
    assert sorted(_hashes(reader, "d") or []) == [b"\x01" * 32, b"\x02" * 32]
    catalog.revoke_tokens("d", keep=[b"\x02" * 32])
    assert _hashes(reader, "d") == [b"\x02" * 32]
    catalog.decommission_device("d")
    credential = reader.lookup("d")
    assert credential
    assert (credential.state, credential.tokens) == ("decommissioned", ())


def test_only_what_changed_is_read_again(catalog: Catalog, reader: DeviceAuthReader) -> None:
    for number in range(5):
        _add(catalog, f"d{number}", number)
    kept = reader.lookup("d0")
    catalog.set_token("d1", b"\x09" * 32)
    reader.lookup("d1")
    assert reader.lookup("d0") is kept
    reloads = reader.statistics().reloads_total
    for _ in range(10):
        reader.lookup("d0")
    assert reader.statistics().reloads_total == reloads


def test_a_change_of_something_else_changes_no_credential(catalog: Catalog, reader: DeviceAuthReader) -> None:
    _add(catalog, "d")
    kept = reader.lookup("d")
    catalog.set_setting("a", 1)
    assert reader.lookup("d") is kept


def test_a_row_that_was_deleted_is_gone(catalog: Catalog, reader: DeviceAuthReader) -> None:
    _add(catalog, "d")
    assert reader.lookup("d")
    with catalog.transaction():
        catalog.execute("DELETE FROM device_tokens WHERE device_id = 'd'")
        catalog.execute("DELETE FROM devices WHERE device_id = 'd'")
    assert reader.lookup("d") is None


def test_nobody_is_let_in_before_the_catalog_was_ever_read(reader: DeviceAuthReader) -> None:
    with pytest.raises(Unavailable) as refused:
        reader.lookup("d")
    assert refused.value.code == "catalog_unreadable"
    assert not reader.statistics().readable


def test_it_works_once_the_catalog_appears(path: Path, clock: ManualClock, reader: DeviceAuthReader) -> None:
    with pytest.raises(Unavailable):
        reader.lookup("d")
    catalog = Catalog.open(path, clock=clock, node_id=bytes(16))
    _add(catalog, "d")
    clock.advance(AUTH_RETRY_AFTER_MS)
    assert reader.lookup("d")
    assert reader.statistics().readable
    catalog.close()


def test_known_devices_are_served_for_ten_minutes_without_the_file(
    path: Path, catalog: Catalog, clock: ManualClock, reader: DeviceAuthReader
) -> None:
    _add(catalog, "never asked for")
    _add(catalog, "d", 2)
    assert reader.lookup("d")
    with Locked(path):
        clock.advance(AUTH_LAST_KNOWN_GOOD_MS)
        assert _hashes(reader, "d") == [b"\x02" * 32]
        assert _hashes(reader, "never asked for") == [b"\x01" * 32]
        assert reader.lookup("stranger") is None
        assert reader.statistics().fallbacks_total == 3
        clock.advance(1)
        with pytest.raises(Unavailable, match="can't be read for 600 s"):
            reader.lookup("d")
    clock.advance(AUTH_RETRY_AFTER_MS)
    assert reader.lookup("d")
    assert reader.statistics().fallbacks_total == 3


def test_a_locked_file_is_not_waited_for_at_every_look_up(
    path: Path, catalog: Catalog, clock: ManualClock, reader: DeviceAuthReader
) -> None:
    _add(catalog, "d")
    assert reader.lookup("d")
    with Locked(path):
        for _ in range(5):
            reader.lookup("d")
        assert reader.statistics().failures_total == 1
        clock.advance(AUTH_RETRY_AFTER_MS)
        reader.lookup("d")
        assert reader.statistics().failures_total == 2


def test_a_revoked_device_is_never_served_from_memory(
    path: Path, catalog: Catalog, clock: ManualClock, reader: DeviceAuthReader
) -> None:
    _add(catalog, "early")
    _add(catalog, "late", 2)
    assert reader.lookup("early")
    catalog.decommission_device("early")
    assert reader.lookup("late")
    with Locked(path):
        credential = reader.lookup("early")
        assert credential
        assert credential.state == "decommissioned"
        assert reader.lookup("late")
        reader.revoke("late")
        assert reader.lookup("late") is None
    clock.advance(AUTH_RETRY_AFTER_MS)
    assert reader.lookup("late")


def test_a_revocation_that_the_catalog_knows_needs_no_list(
    catalog: Catalog, reader: DeviceAuthReader
) -> None:
    _add(catalog, "d")
    assert reader.lookup("d")
    reader.revoke("d")
    assert reader.lookup("d"), "an ended connection may come back while its token is valid"
    catalog.revoke_tokens("d")
    reader.revoke("d")
    assert _hashes(reader, "d") == []


def test_a_restored_backup_is_read_from_the_beginning(
    path: Path, catalog: Catalog, clock: ManualClock, reader: DeviceAuthReader, tmp_path: Path
) -> None:
    for number in range(4):
        _add(catalog, f"d{number}", number)
    assert reader.lookup("d3")
    backup = Catalog.open(tmp_path / "backup.db", clock=clock, node_id=bytes(16))
    _add(backup, "restored", 7)
    backup.close()
    _put_in_place(tmp_path / "backup.db", path)
    assert _hashes(reader, "restored") == [b"\x07" * 32]
    assert reader.lookup("d3") is None


def test_a_damaged_file_is_no_end(
    path: Path, catalog: Catalog, clock: ManualClock, reader: DeviceAuthReader, tmp_path: Path
) -> None:
    _add(catalog, "d")
    assert reader.lookup("d")
    bad = tmp_path / "bad.db"
    bad.write_bytes(b"no database at all, and longer than a page is" * 200)
    _put_in_place(bad, path)
    assert reader.lookup("d")
    assert reader.statistics().fallbacks_total == 1


def test_an_exclusive_lock_is_waited_for_shortly_and_then_worked_around(
    path: Path, clock: ManualClock, tmp_path: Path
) -> None:
    """With a rollback journal (a catalog that a tool converted) a writer locks readers out."""
    catalog = Catalog.open(path, clock=clock, node_id=bytes(16))
    _add(catalog, "d")
    catalog.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = DELETE")
    reader = DeviceAuthReader(path, clock=clock)
    assert reader.lookup("d")
    other.execute("BEGIN EXCLUSIVE")
    other.execute("UPDATE auth_changes SET device_id = device_id")
    assert reader.lookup("d")
    assert reader.statistics().fallbacks_total == 1
    other.execute("ROLLBACK")
    clock.advance(AUTH_RETRY_AFTER_MS)
    assert reader.lookup("d")
    assert reader.statistics().fallbacks_total == 1
    other.close()
    reader.close()


def test_the_writers_checkpoints_are_not_held_up(
    path: Path, catalog: Catalog, reader: DeviceAuthReader
) -> None:
    for number in range(50):
        _add(catalog, f"d{number}", number)
        reader.lookup("d0")
    busy, _, _ = catalog.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0]
    assert busy == 0
    assert path.with_name("catalog.db-wal").stat().st_size == 0


def test_changes_are_told_once_and_name_who_changed(catalog: Catalog, reader: DeviceAuthReader) -> None:
    _add(catalog, "a", 1)
    _add(catalog, "b", 2)
    assert reader.take_changes() is None, "a file that was never read may hold anything"
    assert reader.take_changes() == frozenset()
    catalog.set_access("a", access="own", role="board")
    credential = reader.lookup("a")
    assert credential
    assert credential.role == "board"
    assert reader.take_changes() == frozenset({"a"}), (
        "a look-up in between has read it, and it is told all the same"
    )
    catalog.revoke_tokens("b")
    catalog.set_access("a", access="site", role="")
    assert reader.take_changes() == frozenset({"a", "b"})


def test_what_changes_while_the_catalog_is_away_is_told_when_it_is_back(
    catalog: Catalog, reader: DeviceAuthReader, path: Path, clock: ManualClock
) -> None:
    _add(catalog, "a")
    reader.take_changes()
    catalog.set_access("a", access="own", role="board")
    with Locked(path):
        assert reader.take_changes() == frozenset()
    clock.advance(AUTH_RETRY_AFTER_MS)
    assert reader.take_changes() == frozenset({"a"})


def test_another_file_may_change_anybody(path: Path, clock: ManualClock, reader: DeviceAuthReader) -> None:
    for name in (path, path.with_name("other.db")):
        Catalog.open(name, clock=clock, node_id=bytes(16)).close()
    assert reader.take_changes() is None
    assert reader.take_changes() == frozenset()
    _put_in_place(path.with_name("other.db"), path)
    assert reader.take_changes() is None


def test_a_catalog_of_the_release_before_has_no_roles(path: Path, clock: ManualClock) -> None:
    """The broker may start before the node has upgraded the catalog, and reads roles from then on."""
    connection = sqlite3.connect(path, isolation_level=None)
    schema.migrate(connection, node_id="00" * 16, now_ms=1, known=schema.migrations()[:1])
    connection.execute("UPDATE change_clock SET hlc = 1")
    connection.execute(
        "INSERT INTO devices (device_id, kind, access, state, created_at_ms, updated_at_ms, origin, hlc) "
        "VALUES ('old', 'device', 'own', 'active', 1, 1, ?, 1)",
        ("00" * 16,),
    )
    connection.close()
    reader = DeviceAuthReader(path, clock=clock)
    credential = reader.lookup("old")
    assert credential
    assert credential.role == ""
    not_upgraded = Catalog.open_read_only(path, clock=clock)
    assert not_upgraded.roles_in_use() == {}
    not_upgraded.close()
    catalog = Catalog.open(path, clock=clock, node_id=bytes(16))
    catalog.set_access("old", access="own", role="board")
    upgraded = reader.lookup("old")
    assert upgraded
    assert upgraded.role == "board"
    assert catalog.get_device("old").role == "board"
    catalog.close()
    reader.close()


def test_the_release_before_reads_and_writes_a_catalog_with_roles(catalog: Catalog, path: Path) -> None:
    """Its statements, word by word: whoever has a role has access "own" there, which opens less."""
    catalog.add_device("a", role="board")
    old = sqlite3.connect(path, isolation_level=None)
    assert old.execute(
        "SELECT device_id, kind, access, state, name, tags, first_contact_at_ms, created_at_ms, updated_at_ms FROM devices"
    ).fetchone()[:4] == ("a", "device", "own", "active")
    assert old.execute(
        "SELECT c.position, c.device_id, d.kind, d.access, d.state, "
        "(SELECT group_concat(t.token_hash || ':' || coalesce(t.expires_at_ms, '')) "
        "FROM device_tokens t WHERE t.device_id = c.device_id AND t.revoked_at_ms IS NULL) "
        "FROM auth_changes c LEFT JOIN devices d USING (device_id) WHERE c.position > 0"
    ).fetchall() == [(1, "a", "device", "own", "active", None)]
    old.execute("BEGIN IMMEDIATE")
    old.execute("UPDATE change_clock SET hlc = hlc + 1")
    old.execute(
        "INSERT INTO devices (device_id, kind, access, state, name, tags, first_contact_at_ms, created_at_ms, updated_at_ms, "
        "origin, hlc) SELECT 'b', 'device', 'own', 'active', '', '[]', NULL, 1, 1, node_id, hlc FROM change_clock"
    )
    old.execute("COMMIT")
    old.close()
    assert catalog.get_device("b").role == ""


def _certificate(catalog: Catalog, serial: str, *, revoked: bool = False) -> None:
    with catalog.transaction():
        catalog.execute(
            "INSERT INTO certificates (serial, device_id, fingerprint, issuer_key_id, issued_by, not_before_at_ms, "
            "not_after_at_ms, issued_at_ms, revoked_at_ms, origin, hlc) VALUES (?, 'd', ?, 'ab', 'mqtt', 0, 1, 0, ?, ?, ?)",
            (serial, "0" * 64, 1 if revoked else None, catalog.origin, catalog.hlc),
        )


def test_revoked_certificates_come_with_the_credential(catalog: Catalog, reader: DeviceAuthReader) -> None:
    _add(catalog, "d")
    reader.take_changes()
    _certificate(catalog, "1a")
    _certificate(catalog, "2b", revoked=True)
    credential = reader.lookup("d")
    assert credential
    assert credential.revoked == {certificate_proof("ab", "2b")}
    assert reader.take_changes() == frozenset({"d"})
    with catalog.transaction():
        catalog.execute(
            "UPDATE certificates SET revoked_at_ms = 5, origin = ?, hlc = ?", (catalog.origin, catalog.hlc)
        )
    assert reader.take_changes() == frozenset({"d"})
    credential = reader.lookup("d")
    assert credential
    assert credential.revoked == {certificate_proof("ab", "1a"), certificate_proof("ab", "2b")}


def test_a_catalog_of_before_there_were_certificates(catalog: Catalog, reader: DeviceAuthReader) -> None:
    catalog.connection.execute("DROP TABLE certificates")
    _add(catalog, "d")
    credential = reader.lookup("d")
    assert credential
    assert credential.revoked == frozenset()


def test_claims_are_asked_of_the_file(
    catalog: Catalog, reader: DeviceAuthReader, path: Path, clock: ManualClock
) -> None:
    ends = clock.now_ms() + 1000
    claim = catalog.create_claim("1", b"c" * 32, life_ms=1000, created_by="anna")
    assert reader.find_claim(bytes(32)) is None
    assert reader.find_claim(b"c" * 32) == ClaimCredential(ends, is_revoked=False, is_used=False)
    with catalog.transaction():
        catalog.count_claim_use(claim.claim_id)
        catalog.revoke_claim(claim.claim_id)
    assert reader.find_claim(b"c" * 32) == ClaimCredential(ends, is_revoked=True, is_used=True)
    with Locked(path):
        for _ in range(2):
            with pytest.raises(Unavailable):
                reader.find_claim(b"c" * 32)
    clock.advance(AUTH_RETRY_AFTER_MS)
    assert reader.find_claim(b"c" * 32) is not None
    catalog.connection.execute("DROP TABLE claims")
    assert reader.find_claim(b"c" * 32) is None, "a catalog of before there were claims"


class ReadersHeldUp:
    """Another process keeps the locks of the WAL: SQLite then tries for ten seconds, whatever its busy timeout is."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-m", "tests.stand_ins.catalog_locker", str(path), "readers", "60", "0"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"

    def let_go(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)


def test_a_file_that_holds_a_thread_up_keeps_nobody_known_out(
    path: Path, catalog: Catalog, clock: ManualClock, reader: DeviceAuthReader
) -> None:
    _add(catalog, "d")
    _add(catalog, "e", 2)
    assert reader.lookup("d")
    held_up = ReadersHeldUp(path)
    try:
        with ThreadPoolExecutor(1) as pool:
            stuck = pool.submit(reader.lookup, "d")
            began_s = time.monotonic()
            while reader.statistics().readable:
                assert reader.lookup("d"), "by the last known good"
                assert time.monotonic() - began_s < 5
            assert reader.take_changes() == frozenset()
            with pytest.raises(Unavailable, match="does not answer"):
                reader.find_claim(bytes(32))
            reader.revoke("e")
            assert reader.lookup("e") is None
            clock.advance(AUTH_LAST_KNOWN_GOOD_MS + 1)
            with pytest.raises(Unavailable, match="can't be read for"):
                reader.lookup("d")
            assert not stuck.done(), "all of that while one thread was held up"
            held_up.let_go()
            assert stuck.result(20)
    finally:
        held_up.let_go()
    assert reader.lookup("e"), "the catalog is read again, and does not say that it was revoked"
    assert reader.statistics().readable
    assert reader.statistics().fallbacks_total >= 1


def test_a_read_that_began_before_a_revocation_does_not_undo_it(
    path: Path, catalog: Catalog, reader: DeviceAuthReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it read may be older than what was revoked."""
    _add(catalog, "d")
    assert reader.lookup("d")
    read_changes = reader._read_changes

    def revoked_meanwhile(connection: sqlite3.Connection) -> None:
        read_changes(connection)
        reader.revoke("d")

    monkeypatch.setattr(reader, "_read_changes", revoked_meanwhile)
    _add(catalog, "e", 2)
    assert reader.lookup("d") is None
    monkeypatch.undo()
    with Locked(path):
        assert reader.lookup("d") is None
