"""What errors of PostgreSQL are for whoever ships: away, or for people to mend. Sessions themselves: tests/integration/test_tier_postgres.py."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from replication.tier.engine import TierAway, TierUnfit
from replication.tier.engines.postgres_sessions import in_our_words


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection failed: Connection refused"),
        psycopg.OperationalError("server closed the connection unexpectedly\n\tThis probably means…"),
        errors.AdminShutdown("terminating connection"),
        errors.CannotConnectNow("the database system is starting up"),
        errors.TooManyConnections("sorry, too many clients already"),
        errors.DiskFull("could not extend file"),
        errors.QueryCanceled("canceling statement due to statement timeout"),
        errors.LockNotAvailable("canceling statement due to lock timeout"),
        errors.CheckViolation('no partition of relation "readings" found for row'),
        errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"),
        psycopg.OperationalError(""),
    ],
)
def test_what_passes_is_away(error: psycopg.Error) -> None:
    told = in_our_words(error)
    assert isinstance(told, TierAway)
    assert told.hint
    assert "\n" not in str(told)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError('FATAL:  password authentication failed for user "homeport"'),
        psycopg.OperationalError('FATAL:  database "copies" does not exist'),
        psycopg.OperationalError('FATAL:  no pg_hba.conf entry for host "192.0.2.1"'),
        psycopg.OperationalError("SSL error: certificate verify failed"),
        errors.InsufficientPrivilege("permission denied for table frames"),
        errors.UndefinedTable('relation "frames" does not exist'),
        errors.DatatypeMismatch("column is of another type"),
    ],
)
def test_what_stays_is_for_people(error: psycopg.Error) -> None:
    told = in_our_words(error)
    assert isinstance(told, TierUnfit)
    assert (told.code, bool(told.hint)) == ("tier_unfit", True)
