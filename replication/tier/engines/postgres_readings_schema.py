"""Tables of readings in PostgreSQL: a partition for each UTC day from FIRST_DAY on, made when a row needs it; all earlier ones in one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Final

from psycopg import sql

from replication.tier.engines.postgres_schema import make_tables
from replication.tier.engines.postgres_sessions import Session

FIRST_DAY: Final = date(2026, 1, 1)
"""Nothing here is older than what sites brought with them, and a device that sends the years since 1970 makes no partitions."""
TABLES: Final = ("readings", "texts")
_TABLE: Final = (
    "CREATE TABLE {{}}.{table} (series integer NOT NULL, at timestamptz NOT NULL, quality smallint NOT NULL, value {type} NOT NULL)"
    " PARTITION BY RANGE (at)",
    # Rows of a batch lie by series, so a block has few of them and one that is asked for skips the others.
    "CREATE INDEX ON {{}}.{table} USING brin (at, series) WITH (pages_per_range = 16, autosummarize = on)",
    f"CREATE TABLE {{{{}}}}.{{table}}_before PARTITION OF {{{{}}}}.{{table}} FOR VALUES FROM (MINVALUE) TO ('{FIRST_DAY} 00:00+00')",
)
_NAMES: Final = (
    "SELECT s.site, coalesce(b.name, s.node) AS box, s.device, s.metric, r.at, {value}, CASE r.quality WHEN 0 THEN 'good' WHEN 1 THEN 'uncertain' ELSE 'bad' END"
    " AS quality, CASE s.kind WHEN 0 THEN 'number' WHEN 1 THEN 'boolean' ELSE 'text' END AS kind"
    " FROM {{}}.{table} r JOIN {{}}.series s ON s.id = r.series LEFT JOIN {{}}.boxes b ON b.node = s.node"
)
STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        'CREATE TABLE {}.series (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, site text COLLATE "C" NOT NULL,'
        ' node text COLLATE "C" NOT NULL, device text COLLATE "C" NOT NULL, metric text COLLATE "C" NOT NULL,'
        " kind smallint NOT NULL, UNIQUE (node, device, metric, kind))",
        'CREATE TABLE {}.boxes (node text COLLATE "C" PRIMARY KEY, site text NOT NULL, name text NOT NULL)',
        *(part.format(table="readings", type="double precision") for part in _TABLE),
        *(part.format(table="texts", type="text") for part in _TABLE),
        'CREATE TABLE {}.positions (stream text COLLATE "C" PRIMARY KEY, epoch bigint NOT NULL, next_seq bigint NOT NULL,'
        " state bytea NOT NULL DEFAULT '')",
        'CREATE TABLE {}.erased (node text COLLATE "C", erasure text COLLATE "C", PRIMARY KEY (node, erasure))',
        "CREATE VIEW {}.v_readings AS "
        + _NAMES.format(table="readings", value="r.value, NULL::text AS text")
        + " UNION ALL "
        + _NAMES.format(table="texts", value="NULL::double precision, r.value"),
    ),
)
_DAY: Final = re.compile(r"(?:readings|texts)_([0-9]{4})([0-9]{2})([0-9]{2})\Z")


def make_readings_tables(session: Session, schema: str) -> None:
    """Make the schema and the tables of readings, or what is missing of them; as `make_tables`."""
    make_tables(
        session, schema, counter="homeport_readings", steps=STEPS, tables=("series", "positions", "erased")
    )


def make_partitions(session: Session, schema: sql.Identifier, days: Iterable[date]) -> None:
    """Make the partitions of some days where they are missing. Nobody who reads waits for that: they are attached."""
    for day in days:
        with session.transaction():
            session.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                [f"homeport days {schema.as_string()}"],
            )
            for table in TABLES:
                name = partition_of(table, day)
                if session.execute("SELECT to_regclass(%s)", [f"{schema.as_string()}.{name}"]).fetchone() != (
                    None,
                ):
                    continue
                session.execute(
                    sql.SQL("CREATE TABLE {}.{} (LIKE {}.{})").format(
                        schema, sql.Identifier(name), schema, sql.Identifier(table)
                    )
                )
                session.execute(
                    sql.SQL("ALTER TABLE {}.{} ATTACH PARTITION {}.{} FOR VALUES FROM ({}) TO ({})").format(
                        schema, sql.Identifier(table), schema, sql.Identifier(name),
                        sql.Literal(_midnight(day)), sql.Literal(_midnight(day + timedelta(days=1))),
                    )
                )  # fmt: skip


def partition_of(table: str, day: date) -> str:
    """The name of a day's partition."""
    return f"{table}_{day:%Y%m%d}"


def day_of_partition(name: str) -> date | None:
    """The day of a partition; None for the one of everything before."""
    found = _DAY.match(name)
    return datetime(int(found[1]), int(found[2]), int(found[3])).date() if found else None  # noqa: DTZ001 no time of day


def _midnight(day: date) -> str:
    return f"{day.isoformat()} 00:00+00"
