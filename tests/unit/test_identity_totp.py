"""The second factor: RFC 6238's codes, a step either way, sealed for one user."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import ConfigError, UsageError
from appliance.core.limits import TOTP_ENROLMENT_MS, TOTP_STEP_MS
from appliance.identity import SiteKeys
from appliance.identity.totp import Totp, totp_uri

START_MS = 1_772_000_010_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=START_MS)


@pytest.fixture
def keys(tmp_path: Path) -> SiteKeys:
    return SiteKeys.load_or_create(tmp_path)


@pytest.fixture
def totp(keys: SiteKeys, clock: ManualClock) -> Totp:
    return Totp(keys, clock=clock)


def _enrolled(totp: Totp, user_id: str = "anna") -> tuple[str, str]:
    secret, enrolment = totp.begin(user_id)
    sealed, _ = totp.finish(user_id, enrolment, pyotp.TOTP(secret).at(START_MS // 1000))
    return secret, sealed


@pytest.mark.parametrize(("at_s", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_the_codes_are_those_of_the_standard(keys: SiteKeys, at_s: int, code: str) -> None:
    """RFC 6238, appendix B: the last six of its eight digits."""
    totp = Totp(keys, clock=ManualClock(now_ms=at_s * 1000))
    secret = base64.b32encode(b"12345678901234567890")
    sealed = keys.seal("totp/anna", secret).hex()
    assert totp.matching_step("anna", sealed, code) == at_s // 30


def test_a_code_counts_for_its_step_and_the_neighbours(totp: Totp, clock: ManualClock) -> None:
    secret, sealed = _enrolled(totp)
    now = START_MS // TOTP_STEP_MS
    for step, expected in (
        (now - 2, None),
        (now - 1, now - 1),
        (now, now),
        (now + 1, now + 1),
        (now + 2, None),
    ):
        assert totp.matching_step("anna", sealed, pyotp.HOTP(secret).at(step)) == expected
    assert totp.matching_step("anna", sealed, " 1 ") is None
    code = pyotp.HOTP(secret).at(now)
    assert totp.matching_step("anna", sealed, f"{code[:3]} {code[3:]}") == now
    clock.advance(2 * TOTP_STEP_MS)
    assert totp.matching_step("anna", sealed, code) is None


@pytest.mark.parametrize("code", ["", "abcdef", "１２３４５６", "0" * 5000])
def test_what_is_no_code_is_wrong(totp: Totp, code: str) -> None:
    _, sealed = _enrolled(totp)
    assert totp.matching_step("anna", sealed, code) is None
    assert totp.matching_step("anna", None, code) is None


def test_a_secret_is_sealed_for_its_user_alone(totp: Totp) -> None:
    secret, sealed = _enrolled(totp)
    assert secret.encode().hex() not in sealed
    with pytest.raises(ConfigError):
        totp.matching_step("bob", sealed, "000000")


def test_enrolling_needs_a_right_code_in_time_from_the_same_user(totp: Totp, clock: ManualClock) -> None:
    secret, enrolment = totp.begin("anna")
    right = pyotp.TOTP(secret).at(START_MS // 1000)
    for user, offered, code, expected in (
        ("anna", enrolment, "000000" if right != "000000" else "111111", "totp_code_wrong"),
        ("bob", enrolment, right, "totp_enrolment_invalid"),
        ("anna", enrolment[:-1] + ("0" if enrolment[-1] != "0" else "1"), right, "totp_enrolment_invalid"),
        ("anna", "nonsense", right, "totp_enrolment_invalid"),
    ):
        with pytest.raises(UsageError) as refused:
            totp.finish(user, offered, code)
        assert refused.value.code == expected
    clock.advance(TOTP_ENROLMENT_MS)
    with pytest.raises(UsageError) as refused:
        totp.finish("anna", enrolment, pyotp.TOTP(secret).at(clock.now_ms() // 1000))
    assert refused.value.code == "totp_enrolment_invalid"


def test_the_address_is_what_authenticator_apps_take() -> None:
    parts = urlsplit(totp_uri("anna müller", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", node_name="box 1"))
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert unquote(parts.path) == "/Homeport:anna müller@box 1"
    assert parse_qs(parts.query) == {"secret": ["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"], "issuer": ["Homeport"]}
