"""The address of a tier in PostgreSQL: checked before anything is connected to; TLS unless the server is on this box."""

from __future__ import annotations

import pytest

from appliance.core.errors import ConfigError
from replication.tier.engines.address import parse_address
from replication.tier.engines.credentials import Credentials
from replication.tier.engines.opening import opening
from replication.tier.engines.postgres import connection_of

SECRET = Credentials({"password": "hidden"})


def connection(text: str) -> dict[str, str | int]:
    return connection_of(parse_address(text), SECRET)[0]


def test_what_libpq_is_told() -> None:
    conninfo, schema = connection_of(parse_address("postgresql://me@db.example/copies"), SECRET)
    assert schema == "homeport"
    assert (conninfo["host"], conninfo["port"], conninfo["user"], conninfo["dbname"]) == (
        "db.example",
        "5432",
        "me",
        "copies",
    )
    assert (conninfo["sslmode"], conninfo["sslrootcert"], conninfo["password"]) == (
        "verify-full",
        "system",
        "hidden",
    )
    assert "target_session_attrs" not in conninfo


def test_of_several_servers_the_one_that_writes() -> None:
    conninfo = connection("postgresql://me@a:5433,[::1],b.example:1/copies?schema=x&ca_file=/etc/ca.pem")
    assert (conninfo["host"], conninfo["port"]) == ("a,::1,b.example", "5433,5432,1")
    assert (conninfo["target_session_attrs"], conninfo["sslrootcert"]) == ("read-write", "/etc/ca.pem")


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("postgresql://me@127.0.0.1:5432/d", "disable"),
        ("postgresql://me@localhost,[::1]:3/d", "disable"),
        ("postgresql://me@localhost,db/d", "verify-full"),
        ("postgresql://me@localhost/d?tls=verify", "verify-full"),
        ("postgresql://me@db/d?tls=off", "disable"),
    ],
)
def test_a_server_elsewhere_shows_its_certificate_unless_people_say_otherwise(text: str, mode: str) -> None:
    assert connection(text)["sslmode"] == mode


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("postgresql://db/copies", "user"),
        ("postgresql://me@db", "database"),
        ("postgresql://me@db/a/b", "database"),
        ("postgresql://m'e@db/a", "user"),
        ("postgresql://me@db/a?schema=A", "schema"),
        ("postgresql://me@db/a?schema=pg_x", "schema"),
        ('postgresql://me@db/a?schema=a";', "schema"),
        ("postgresql://me@db/a?tls=maybe", "tls"),
        ("postgresql://me@db/a?sslmode=disable", "option"),
    ],
)
def test_an_address_that_is_wrong(text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        opening(text, SECRET)
