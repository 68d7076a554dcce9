"""The engine of PostgreSQL and a real server: what it refuses and why, rights, connections that go, and calls that are given up.

What it keeps is in tests/contracts/test_tier_engine.py.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
import trio

from replication.tier.engine import TierAway, TierUnfit
from replication.tier.engines.address import parse_address
from replication.tier.engines.credentials import Credentials
from replication.tier.engines.opening import opening
from replication.tier.engines.postgres import connection_of
from replication.tier.engines.postgres_engine import PostgresEngine
from replication.tier.engines.postgres_schema import STEPS, prepare
from replication.tier.engines.postgres_sessions import Session, sessions
from tests.postgres_kit import PostgresServer, postgres_server
from tests.tier_kit import STREAM, piece_after, pieces_after


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def schema() -> str:
    return f"tier_{secrets.token_hex(4)}"


async def refused(server: PostgresServer, address: str, credentials: Credentials | None = None) -> TierUnfit:
    with pytest.raises(TierUnfit) as caught:
        async with opening(address, credentials or server.credentials)():
            pass
    assert server.password not in str(caught.value)
    assert caught.value.hint
    return caught.value


async def shown(server: PostgresServer, name: str, value: str) -> None:
    """Wait until the server has read a setting."""
    with trio.fail_after(60):
        while True:
            if server.execute(f"SHOW {name}") == [(value,)]:
                return
            await trio.sleep(0.02)


async def test_a_server_that_is_too_old_is_refused(
    server: PostgresServer, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replication.tier.engines.postgres_schema.VERSION_MIN", 990_000)
    assert "its version is" in (await refused(server, server.address(schema))).message


async def test_a_pool_that_does_not_keep_settings_is_refused() -> None:
    """pgbouncer's pools of transactions take a SET and forget it."""

    class Forgetful:
        class info:  # noqa: N801
            server_version = 150_000

        def execute(self, statement: str, *_: object) -> Forgetful | list[tuple[str, str]]:
            if "pg_settings" in statement:
                return [("fsync", "on"), ("full_page_writes", "on")]
            return self

        def fetchone(self) -> tuple[str]:
            return ("off",)

    with pytest.raises(TierUnfit, match="synchronous_commit stays off"):
        prepare(Forgetful())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
async def test_a_server_that_loses_what_it_acknowledged_is_refused(
    server: PostgresServer, schema: str, name: str
) -> None:
    server.reload(f"{name} = off\n")
    try:
        await shown(server, name, "off")
        told = await refused(server, server.address(schema))
    finally:
        server.reload("")
    assert f"{name} is off" in told.message
    await shown(server, name, "on")


async def test_commits_are_synchronous_whatever_the_servers_default_is(
    server: PostgresServer, schema: str
) -> None:
    server.execute("ALTER ROLE homeport SET synchronous_commit = off")
    try:
        conninfo, _ = connection_of(parse_address(server.address(schema)), server.credentials)
        async with sessions(conninfo, prepare) as connected:
            assert await connected.run(
                "get", lambda session: session.execute("SHOW synchronous_commit").fetchone()
            ) == ("on",)
    finally:
        server.execute("ALTER ROLE homeport RESET synchronous_commit")


async def test_who_is_not_let_in_is_told_what_to_mend(server: PostgresServer, schema: str) -> None:
    told = await refused(server, server.address(schema), Credentials({"password": "wrong"}))
    assert "authentication failed" in told.message
    assert "does not exist" in (await refused(server, server.address(schema, database="other"))).message
    server.execute(f"CREATE USER stranger PASSWORD '{server.password}'")
    try:
        told = await refused(server, server.address(schema, user="stranger"))
        assert "permission denied" in told.message
    finally:
        server.execute("DROP USER stranger")


async def test_a_user_without_the_right_to_delete_can_ship_and_not_remove(
    server: PostgresServer, schema: str
) -> None:
    """Somebody who takes the password from a box can't remove what is there."""
    piece, further = pieces_after(None, 2)
    async with opening(server.address(schema), server.credentials)() as owner:
        await owner.put(piece)
    server.execute(f"CREATE USER shipper PASSWORD '{server.password}'")
    server.execute(f"GRANT USAGE ON SCHEMA {schema} TO shipper")
    server.execute(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO shipper")
    try:
        async with opening(server.address(schema, user="shipper"), server.credentials)() as engine:
            await engine.put(further)
            with pytest.raises(TierUnfit, match="permission denied"):
                await engine.remove(piece.name)
            assert await engine.get(piece.name) == piece.data
    finally:
        server.execute("DROP OWNED BY shipper")
        server.execute("DROP USER shipper")


async def test_tables_that_others_changed_are_refused(server: PostgresServer, schema: str) -> None:
    async with opening(server.address(schema), server.credentials)() as engine:
        assert isinstance(engine, PostgresEngine)
        server.execute(f"ALTER TABLE {schema}.frames SET UNLOGGED")
        assert "UNLOGGED" in (await refused(server, server.address(schema))).message
        server.execute(f"ALTER TABLE {schema}.frames SET LOGGED")
        server.execute(f"UPDATE {schema}.homeport SET steps = {len(STEPS) + 1}")
        assert "later release" in (await refused(server, server.address(schema))).message
        server.execute(f"DROP TABLE {schema}.frames")
        with pytest.raises(TierUnfit, match="gone or changed"):
            await engine.last(STREAM, 1)


async def test_a_standby_takes_nothing_for_now(server: PostgresServer, schema: str) -> None:
    async with opening(server.address(schema), server.credentials)():
        pass
    server.execute("ALTER ROLE homeport SET default_transaction_read_only = on")
    try:
        async with opening(server.address(schema), server.credentials)() as engine:
            with pytest.raises(TierAway, match="standby"):
                await engine.put(piece_after(None))
    finally:
        server.execute("ALTER ROLE homeport RESET default_transaction_read_only")


async def test_a_connection_that_the_server_ended_is_not_noticed(server: PostgresServer, schema: str) -> None:
    """Also by what is done only once: a connection is looked at before it is used."""
    first, second = pieces_after(None, 2)
    async with opening(server.address(schema), server.credentials)() as engine:
        await engine.put(first)
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'homeport'"
        )
        assert await engine.put_object("nodes/0f", b"x")
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'homeport'"
        )
        await engine.put(second)
        assert isinstance(engine, PostgresEngine)
        assert engine.statistics().requests["put"] == 4  # the tables' among them
        assert engine.statistics().put_bytes > len(second.data)


async def test_what_is_given_up_ends_in_the_server_and_here(server: PostgresServer, schema: str) -> None:
    threads_before = _threads()
    async with opening(server.address(schema), server.credentials)() as engine:
        lock = psycopg.connect(
            host="127.0.0.1", port=server.port, user="postgres", password=server.password, dbname="copies"
        )
        with lock:
            lock.execute(f"LOCK TABLE {schema}.frames")
            begun = time.monotonic()
            with trio.move_on_after(0.3) as scope:
                await engine.put(piece_after(None))
            assert scope.cancelled_caught
            # Far below the time-out of a lock: it was not that which ended it.
            assert time.monotonic() - begun < 8
            lock.rollback()
        await engine.put(piece_after(None))
    assert _threads() <= threads_before + 1


async def test_a_connection_that_nobody_waits_for_any_more_is_closed(
    server: PostgresServer, schema: str
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slow(session: Session) -> None:
        reached.set()
        go_on.wait(20)

    conninfo, _ = connection_of(parse_address(server.address(schema)), server.credentials)
    async with sessions(conninfo, slow) as connected:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connected.run, "get", lambda session: None)
            await trio.to_thread.run_sync(reached.wait)
            nursery.cancel_scope.cancel()
        go_on.set()
    assert server.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'homeport'") == [(0,)]


async def test_a_server_that_does_not_answer_is_away_when_the_time_is_up(
    server: PostgresServer, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replication.tier.engines.pace.TIER_CALL_S", 0.3)
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener[0].socket.getsockname()[1]
    address = re.sub(r":\d+/", f":{port}/", server.address(schema))
    monkeypatch.setattr("replication.tier.engines.postgres.TIER_CONNECT_S", 2)
    async with listener[0]:
        with pytest.raises(TierAway, match=r"within 0 s"):
            async with opening(address, server.credentials)():
                pass


def _threads() -> int:
    return sum("tier" in one.name for one in threading.enumerate())
