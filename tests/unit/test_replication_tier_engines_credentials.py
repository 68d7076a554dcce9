"""Secrets of a tier: only from a file that nobody else reads, and never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from replication.tier.engines.credentials import Credentials, read_credentials, read_secret_file


def written(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "tier.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def test_what_is_in_the_file_is_had_and_not_shown(tmp_path: Path) -> None:
    found = read_credentials(written(tmp_path, 'access_key_id = "id"\nsecret_access_key = "hidden"\n'))
    assert found.need("secret_access_key") == "hidden"
    assert found.get("password") is None
    assert (repr(found), str(found)) == ("Credentials(access_key_id, secret_access_key)",) * 2
    with pytest.raises(ConfigError, match="no password"):
        found.need("password")


def test_without_a_file_there_are_none() -> None:
    assert repr(read_credentials(None)) == repr(Credentials()) == "Credentials()"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602, 0o666, 0o601])
def test_a_file_that_others_can_open_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, 'password = "hidden"', mode)
    with pytest.raises(ConfigError, match=f"mode {mode:o}") as caught:
        read_credentials(path)
    assert caught.value.hint.startswith(f"chmod 600 {path}")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("password = hidden", "no TOML"),
        (b"password = '\xff'", "no text"),
        ("pasword = 'hidden'", "'pasword', which nothing reads"),
        ("password = 7", "no text"),
        ("password = ''", "no text"),
        ("#" * 20_000, "larger"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_without_repeating_it(
    tmp_path: Path, text: str | bytes, word: str
) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        read_credentials(written(tmp_path, text))
    assert "hidden" not in str(caught.value)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_credentials(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="is no file"):
        read_credentials(tmp_path / "pipe")


def test_a_file_of_another_kind_is_read_under_the_same_rules(tmp_path: Path) -> None:
    path = written(tmp_path, "-----BEGIN", 0o600)
    assert read_secret_file(path) == "-----BEGIN"
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 640"):
        read_secret_file(path)
