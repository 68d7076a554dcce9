"""Access tokens: ours alone, for an hour, with one algorithm whatever they say of themselves."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import jwt
import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import ConfigError, NotAuthorized
from appliance.core.limits import ACCESS_TOKEN_BYTES_MAX, ACCESS_TOKEN_LIFETIME_MS
from appliance.identity.access_tokens import AccessTokens, key_path

NODE_ID = bytes(range(16))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=1_772_000_000_123)


@pytest.fixture
def tokens(tmp_path: Path, clock: ManualClock) -> AccessTokens:
    return AccessTokens.load_or_create(tmp_path, node_id=NODE_ID, clock=clock)


def _issue(tokens: AccessTokens) -> str:
    token, _ = tokens.issue(user_id="anna", family_id="f1", credentials_changed_at_ms=7)
    return token


def _code(tokens: AccessTokens, token: str) -> str:
    with pytest.raises(NotAuthorized) as refused:
        tokens.verify(token)
    return refused.value.code


def test_what_was_issued_is_read_back(tokens: AccessTokens, clock: ManualClock) -> None:
    token, claims = tokens.issue(user_id="anna ☕", family_id="f1", credentials_changed_at_ms=7)
    assert tokens.verify(token) == claims
    assert (claims.user_id, claims.family_id, claims.credentials_changed_at_ms) == ("anna ☕", "f1", 7)
    assert 0 <= clock.now_ms() + ACCESS_TOKEN_LIFETIME_MS - claims.expires_at_ms < 1000
    assert len(token) < ACCESS_TOKEN_BYTES_MAX / 4
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": tokens.key_id}


def test_two_tokens_are_never_the_same(tokens: AccessTokens) -> None:
    assert len({_issue(tokens) for _ in range(20)}) == 20


def test_a_token_ends_after_its_hour_and_can_still_be_revoked(
    tokens: AccessTokens, clock: ManualClock
) -> None:
    token = _issue(tokens)
    clock.advance(ACCESS_TOKEN_LIFETIME_MS - 1000)
    tokens.verify(token)
    clock.advance(1000)
    assert _code(tokens, token) == "access_token_expired"
    assert tokens.verify(token, also_expired=True).user_id == "anna"


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_no_other_algorithm_counts_whatever_the_header_says(tokens: AccessTokens, tmp_path: Path) -> None:
    token = _issue(tokens)
    payload = jwt.decode(token, options={"verify_signature": False})
    _, body, signature = token.split(".")
    forged = [
        f"{_part({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        f"{_part({'alg': 'none', 'typ': 'JWT'})}.{body}.{signature}",
        f"{_part({'alg': 'RS256', 'typ': 'JWT'})}.{body}.{signature}",
        jwt.encode(payload, b"x" * 32, algorithm="HS256"),
    ]
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        forged.append(jwt.encode(payload, bytes.fromhex(key_path(tmp_path).read_text()), algorithm="HS512"))
    assert {_code(tokens, each) for each in forged} == {"access_token_invalid"}


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another"},
        {"iss": "homeport:" + bytes(16).hex()},
        {"sub": ""},
        {"sub": 5},
        {"sid": None},
        {"jti": ["a"]},
        {"cca": "now"},
        {"cca": True},
        {"exp": "soon"},
        {"exp": None},
        {"aud": None},
    ],
)
def test_a_token_that_lacks_something_is_refused_though_its_signature_is_right(
    tokens: AccessTokens, tmp_path: Path, change: dict[str, object]
) -> None:
    payload = jwt.decode(_issue(tokens), options={"verify_signature": False}) | change
    payload = {name: value for name, value in payload.items() if value is not None}
    key = bytes.fromhex(key_path(tmp_path).read_text())
    headers = {"kid": tokens.key_id}
    try:
        token = jwt.encode(payload, key, algorithm="HS256", headers=headers)
    except TypeError:
        token = jwt.api_jws.encode(json.dumps(payload).encode(), key, algorithm="HS256", headers=headers)
    assert _code(tokens, token) == "access_token_invalid"


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "ä.ö.ü", "\ud800", "A" * (ACCESS_TOKEN_BYTES_MAX + 1)]
)
def test_what_is_no_token_is_refused(tokens: AccessTokens, token: str) -> None:
    assert _code(tokens, token) == "access_token_invalid"


def test_the_key_stays_over_a_restart_and_is_nobody_elses(
    tokens: AccessTokens, tmp_path: Path, clock: ManualClock
) -> None:
    again = AccessTokens.load_or_create(tmp_path, node_id=NODE_ID, clock=clock)
    assert again.key_id == tokens.key_id
    assert again.verify(_issue(tokens)).user_id == "anna"
    other = AccessTokens.load_or_create(tmp_path, node_id=bytes(16), clock=clock)
    assert _code(other, _issue(tokens)) == "access_token_invalid"
    assert stat.S_IMODE(key_path(tmp_path).stat().st_mode) == 0o600
    assert tokens.key_id not in key_path(tmp_path).read_text()


def test_rotating_voids_what_was_signed_before_here_and_after_a_restart(
    tokens: AccessTokens, tmp_path: Path, clock: ManualClock
) -> None:
    before, key_id = _issue(tokens), tokens.key_id
    assert tokens.rotate() == tokens.key_id != key_id
    assert _code(tokens, before) == "access_token_invalid"
    again = AccessTokens.load_or_create(tmp_path, node_id=NODE_ID, clock=clock)
    assert again.verify(_issue(tokens)).user_id == "anna"
    assert _code(again, before) == "access_token_invalid"


@pytest.mark.parametrize("content", ["", "00" * 31, "zz" * 32])
def test_a_key_file_that_holds_none_says_what_to_do(tmp_path: Path, clock: ManualClock, content: str) -> None:
    key_path(tmp_path).parent.mkdir(mode=0o700)
    key_path(tmp_path).touch(mode=0o600)
    key_path(tmp_path).write_text(content)
    with pytest.raises(ConfigError) as failed:
        AccessTokens.load_or_create(tmp_path, node_id=NODE_ID, clock=clock)
    assert failed.value.code == "key_file_invalid"
