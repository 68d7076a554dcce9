"""One table from schemes to engines; what is wrong is said before anything is connected to."""

from __future__ import annotations

import subprocess
import sys

import pytest

from appliance.core.errors import ConfigError
from replication.tier.engines.credentials import Credentials
from replication.tier.engines.opening import MAKERS, opening

KEY = Credentials({"access_key_id": "id", "secret_access_key": "hidden"})


def test_each_scheme_has_an_engine() -> None:
    assert callable(opening("s3://copies/site-17", KEY))
    with pytest.raises(ConfigError, match="ftp://") as caught:
        opening("ftp://host/x", KEY)
    assert all(f"{scheme}://" in caught.value.hint for scheme in MAKERS)


def test_no_library_is_loaded_before_an_address_needs_it() -> None:
    program = (
        "import sys, replication.tier.engines.opening\n"
        "assert not {'obstore', 'psycopg', 'nats', 'asyncio'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("s3://B/x", "no bucket"),
        ("s3://a,b/x", "no bucket"),
        ("s3://me@copies/x", "no bucket"),
        ("s3://copies/a//b", "prefix"),
        ("s3://copies/a/../b", "prefix"),
        ("s3://copies/a%20b", "prefix"),
        ("s3://copies?endpoint=ftp://h", "endpoint"),
        ("s3://copies?endpoint=https://me:hidden@h", "endpoint"),
        ("s3://copies?region=EU", "region"),
        ("s3://copies?style=x", "style"),
        ("s3://copies?credentials=x", "credentials"),
        ("s3://copies?ca_file=/does/not/exist", "ca_file"),
        ("s3://copies?x=1", "option"),
    ],
)
def test_an_address_of_an_object_store_that_is_wrong(address: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        opening(address, KEY)


def test_credentials_are_needed_but_for_a_machine_that_has_a_role() -> None:
    with pytest.raises(ConfigError, match="access_key_id"):
        opening("s3://copies", Credentials())
    assert callable(opening("s3://copies?credentials=machine", Credentials()))
