"""From the address of a tier in PostgreSQL to its engine (postgres_engine.py)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from appliance.core.limits_replication import TIER_CONNECT_S
from replication.tier.engine import Engine, Opening
from replication.tier.engines.address import Address
from replication.tier.engines.credentials import Credentials
from replication.tier.engines.postgres_engine import PostgresEngine
from replication.tier.engines.postgres_schema import make_tables, prepare
from replication.tier.engines.postgres_sessions import sessions

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9_.@-]{1,63}\Z")
_HERE: Final = re.compile(r"(127\.[0-9.]+|localhost|\[::1\])(:[0-9]+)?\Z")


def postgres(address: Address, credentials: Credentials) -> Opening:
    """What opens the database at `postgresql://USER@HOST:PORT,…/DATABASE?schema=homeport&ca_file=…&tls=verify|off`.

    Raises:
        ConfigError: the address or the credentials are not what that needs.
    """
    conninfo, schema = connection_of(address, credentials)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Engine]:
        async with sessions(conninfo, prepare) as connected:
            await connected.run("put", partial(make_tables, schema=schema))
            yield PostgresEngine(connected, schema)

    return opened


def connection_of(address: Address, credentials: Credentials) -> tuple[dict[str, str | int], str]:
    """What libpq is told, and the schema.

    Raises:
        ConfigError: as above.
    """
    schema, ca_file, tls = address.take("schema", "ca_file", "tls")
    schema = schema or "homeport"
    if not _SCHEMA.match(schema) or schema.startswith("pg_"):
        raise address.refused(
            "its schema is no plain name", "Write schema=homeport: small letters, digits and _."
        )
    if not _NAME.match(address.user) or not _NAME.match(address.path):
        raise address.refused("it lacks the user or the database", "Write postgresql://USER@HOST/DATABASE.")
    if tls not in ("", "verify", "off"):
        raise address.refused("its tls is none", "Write tls=verify or tls=off.")
    hosts, ports = zip(*(_host_and_port(host) for host in address.hosts), strict=True)
    is_checked = tls == "verify" or (not tls and not all(map(_HERE.match, address.hosts)))
    conninfo: dict[str, str | int] = {
        "host": ",".join(hosts),
        "port": ",".join(ports),
        "user": address.user,
        "dbname": address.path,
        "passfile": "/dev/null",
        "application_name": "homeport",
        "connect_timeout": TIER_CONNECT_S,
        "sslmode": "verify-full" if is_checked else "disable",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
        "gssencmode": "disable",
    }
    if len(hosts) > 1:
        # Of several servers the one that writes.
        conninfo["target_session_attrs"] = "read-write"
    if is_checked:
        conninfo["sslrootcert"] = ca_file or "system"
    if (password := credentials.get("password")) is not None:
        conninfo["password"] = password
    return conninfo, schema


def _host_and_port(host: str) -> tuple[str, str]:
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    return (name or port).strip("[]"), port if name and port else "5432"
