"""Secrets of programs: random, recognisable, and kept as keyed hashes that mean nothing elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.identity import SiteKeys
from appliance.identity.bearer_secrets import (
    SECRET_LENGTH,
    BearerSecrets,
    new_api_token,
    new_id,
    new_refresh_token,
)


@pytest.fixture
def secrets(tmp_path: Path) -> BearerSecrets:
    return BearerSecrets(SiteKeys.load_or_create(tmp_path))


def test_secrets_say_what_they_are_and_are_never_the_same() -> None:
    made = {make() for make in (new_api_token, new_refresh_token) for _ in range(50)}
    assert len(made) == 100
    assert {len(each) for each in made} == {SECRET_LENGTH}
    assert {each[:4] for each in made} == {"hpa_", "hpr_"}
    assert len({new_id() for _ in range(50)}) == 50


def test_one_secret_has_another_hash_for_each_purpose_and_site(
    secrets: BearerSecrets, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = BearerSecrets(SiteKeys.load_or_create(tmp_path / "other"))
    token = new_api_token()
    hashes = {secrets.api_hash(token), secrets.refresh_hash(token), other.api_hash(token)}
    assert len(hashes) == 3
    assert {len(each) for each in hashes} == {32}
    assert secrets.api_hash(token) == secrets.api_hash(token)


def test_a_sessions_id_is_not_its_hash_and_a_typed_name_is_not_kept(secrets: BearerSecrets) -> None:
    assert len(secrets.session_id(bytes(32))) == 32
    assert secrets.session_id(bytes(32)) != secrets.session_id(b"\x01" * 32)
    assert "hunter2" not in secrets.name_hash("hunter2")
    assert len(secrets.name_hash("\ud800")) == 32
