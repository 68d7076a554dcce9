"""What PostgreSQL must be for a tier, and the tables that are made there, in numbered steps.

    frames    pieces: (stream, epoch, first_seq) is the key, and the fence
    objects   by their key
    homeport  one row: how many steps were done

Names sort by their bytes (COLLATE "C"), whatever the database's own order is. Nothing is compressed: pieces are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg import sql

from replication.tier.engine import TierUnfit
from replication.tier.engines.postgres_sessions import Session

VERSION_MIN: Final = 140_000
STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        'CREATE TABLE {}.frames (stream text COLLATE "C" NOT NULL, epoch bigint NOT NULL, first_seq bigint NOT NULL,'
        " prev_hash bytea NOT NULL, next_seq bigint NOT NULL, hash bytea NOT NULL, last_at_ms bigint NOT NULL,"
        " data bytea NOT NULL, PRIMARY KEY (stream, epoch, first_seq))",
        "ALTER TABLE {}.frames ALTER COLUMN data SET STORAGE EXTERNAL",
        'CREATE TABLE {}.objects (key text COLLATE "C" PRIMARY KEY, data bytea NOT NULL)',
        "ALTER TABLE {}.objects ALTER COLUMN data SET STORAGE EXTERNAL",
    ),
)
TABLES: Final = ("frames", "objects")
_WRONG: Final[dict[str, str]] = {
    "fsync": "it acknowledges what is not on its disk",
    "full_page_writes": "a power cut can leave half a page of what it acknowledged",
}
_ENOUGH: Final = frozenset({"on", "remote_apply"})


def prepare(session: Session) -> None:
    """See to it that what a new connection commits is durable when it says so.

    Raises:
        TierUnfit: the server is too old, or its settings lose what it acknowledged.
    """
    if session.info.server_version < VERSION_MIN:
        raise _unfit(f"its version is {session.info.server_version // 10_000}", "Use PostgreSQL 14 or newer.")
    found = dict(
        session.execute("SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY(%s)", [[*_WRONG]])
    )
    for name, why in _WRONG.items():
        if found.get(name) != "on":
            raise _unfit(
                f"{name} is {found.get(name)}: {why}", f"Set {name} = on in postgresql.conf and restart it."
            )
    if _synchronous_commit(session) not in _ENOUGH:
        session.execute("SET synchronous_commit = on")
        if (now := _synchronous_commit(session)) not in _ENOUGH:
            raise _unfit(
                f"synchronous_commit stays {now}", "Connect to the server itself, or to a pool of sessions."
            )


def make_tables(
    session: Session,
    schema: str,
    *,
    counter: str = "homeport",
    steps: Sequence[Sequence[str]] = STEPS,
    tables: Sequence[str] = TABLES,
) -> None:
    """Make the schema and its tables, or what is missing of them.

    Args:
        counter: The table that says how many of the steps were done.
        tables: Those that must survive a crash.
    Raises:
        TierUnfit: a later release made them, or they are kept in memory. psycopg.Error: of rights, among others.
    """
    counted = (sql.Identifier(schema), sql.Identifier(counter))
    with session.transaction():
        session.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"homeport tier {schema}"])
        if not _has(session, "SELECT 1 FROM pg_namespace WHERE nspname = %s", schema):
            session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        if not _has(
            session, "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = %s", schema, counter
        ):
            session.execute(sql.SQL("CREATE TABLE {}.{} (steps integer NOT NULL)").format(*counted))
            session.execute(sql.SQL("INSERT INTO {}.{} VALUES (0)").format(*counted))
        row = session.execute(sql.SQL("SELECT steps FROM {}.{}").format(*counted)).fetchone()
        done = int(row[0]) if row else 0
        if done > len(steps):
            raise _unfit(f"a later release of Homeport made the schema {schema}", "Update this box.")
        for step in steps[done:]:
            for statement in step:
                named = sql.SQL(statement.replace("{}", "{schema}")).format(schema=sql.Identifier(schema))
                session.execute(named)
        if done < len(steps):
            session.execute(sql.SQL("UPDATE {}.{} SET steps = %s").format(*counted), [len(steps)])
    lost = session.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = ANY(%s) AND c.relpersistence <> 'p'",
        [schema, [*tables]],
    ).fetchone()
    if lost is not None:
        raise _unfit(
            f"the table {schema}.{lost[0]} is emptied by a crash (UNLOGGED)",
            f"ALTER TABLE {schema}.{lost[0]} SET LOGGED",
        )


def _has(session: Session, question: str, *names: str) -> bool:
    return session.execute(question, names).fetchone() is not None


def _synchronous_commit(session: Session) -> str:
    row = session.execute("SELECT current_setting('synchronous_commit')").fetchone()
    return str(row[0]) if row else ""


def _unfit(what: str, hint: str) -> TierUnfit:
    return TierUnfit(f"PostgreSQL can't keep a tier: {what}.", hint=hint, code="tier_unfit")
