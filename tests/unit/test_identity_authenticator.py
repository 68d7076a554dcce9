"""Who a connecting device is, by its token; and what the log is told when it is nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotAuthorized, Unavailable
from appliance.core.limits import CLAIM_GUESS_COUNT_MAX
from appliance.identity import DeviceAuthenticator, SiteKeys
from appliance.identity.authenticator import TOKEN_HASH_BYTES
from appliance.management.access import Principal, certificate_proof, wanted_device_id
from storage.catalog import DeviceCredential, DeviceState, TokenHash
from storage.catalog.auth import ClaimCredential

TOKEN = b"hpd_right"


class Credentials:
    """A reader that holds one credential."""

    def __init__(self, credential: DeviceCredential | None) -> None:
        self.credential = credential
        self.claims: dict[bytes, ClaimCredential] = {}

    def lookup(self, username: str) -> DeviceCredential | None:
        if username == "outage":
            raise Unavailable("The catalog can't be read.", code="catalog_unreadable")
        return self.credential if self.credential and username == self.credential.device_id else None

    def find_claim(self, token_hash: bytes) -> ClaimCredential | None:
        return self.claims.get(token_hash)

    def take_changes(self) -> frozenset[str] | None:
        return frozenset({"d"})


@pytest.fixture
def keys(tmp_path: Path) -> SiteKeys:
    return SiteKeys.load_or_create(tmp_path)


def _authenticator(
    keys: SiteKeys,
    *tokens: TokenHash,
    state: DeviceState = "active",
    clock: ManualClock | None = None,
) -> DeviceAuthenticator:
    credential = DeviceCredential("d", "application", "site", state, tokens)
    return DeviceAuthenticator(Credentials(credential), keys, clock=clock or ManualClock())


def _code(authenticator: DeviceAuthenticator, username: str | None, password: bytes | None) -> str:
    with pytest.raises(NotAuthorized) as refused:
        authenticator.authenticate(username, password, "client", "address")
    assert refused.value.hint
    assert "hpd_right" not in str(refused.value)
    return refused.value.code


def test_the_right_token_gives_the_principal(keys: SiteKeys) -> None:
    other = TokenHash(keys.token_hash(b"other"), None)
    right = TokenHash(keys.token_hash(TOKEN), None)
    expected = Principal(name="d", kind="application", access="site")
    for tokens in ((right,), (other, right), (right, other)):
        assert _authenticator(keys, *tokens).authenticate("d", TOKEN, "", "") == expected


@pytest.mark.parametrize(
    ("username", "password", "code"),
    [
        ("d", b"hpd_wrong", "bad_credentials"),
        ("d", b"", "bad_credentials"),
        ("d", None, "bad_credentials"),
        ("d", bytes(32), "bad_credentials"),
        ("x", TOKEN, "unknown_device"),
        ("", TOKEN, "unknown_device"),
        (None, None, "unknown_device"),
    ],
)
def test_refusals(keys: SiteKeys, username: str | None, password: bytes | None, code: str) -> None:
    assert _code(_authenticator(keys, TokenHash(keys.token_hash(TOKEN), None)), username, password) == code


def test_a_token_ends_at_its_time(keys: SiteKeys) -> None:
    clock = ManualClock()
    authenticator = _authenticator(keys, TokenHash(keys.token_hash(TOKEN), clock.now_ms() + 10), clock=clock)
    assert authenticator.authenticate("d", TOKEN, "", "").name == "d"
    clock.advance(10)
    assert _code(authenticator, "d", TOKEN) == "bad_credentials"


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("waiting", "waiting_for_adoption"),
        ("rejected", "device_rejected"),
        ("decommissioned", "device_decommissioned"),
    ],
)
def test_the_state_is_told_to_who_has_the_token_or_when_there_is_none(
    keys: SiteKeys, state: DeviceState, code: str
) -> None:
    with_token = _authenticator(keys, TokenHash(keys.token_hash(TOKEN), None), state=state)
    assert _code(with_token, "d", TOKEN) == code
    assert _code(with_token, "d", b"wrong") == "bad_credentials"
    assert _code(_authenticator(keys, state=state), "d", b"anything") == code


class TestCertificates:
    def test_the_catalog_knows_the_name(self, keys: SiteKeys) -> None:
        expected = Principal(name="d", kind="application", access="site")
        assert _authenticator(keys).authenticate_certificate("d", b"", "", "") == expected, (
            "a token isn't needed"
        )

    @pytest.mark.parametrize(
        ("name", "state", "code"),
        [
            ("x", "active", "unknown_device"),
            ("", "active", "unknown_device"),
            ("D", "active", "unknown_device"),
            ("d", "waiting", "waiting_for_adoption"),
            ("d", "rejected", "device_rejected"),
            ("d", "decommissioned", "device_decommissioned"),
        ],
    )
    def test_refusals(self, keys: SiteKeys, name: str, state: DeviceState, code: str) -> None:
        with pytest.raises(NotAuthorized) as refused:
            _authenticator(keys, state=state).authenticate_certificate(name, b"", "", "")
        assert refused.value.code == code
        assert refused.value.hint

    def test_an_outage(self, keys: SiteKeys) -> None:
        with pytest.raises(Unavailable):
            _authenticator(keys).authenticate_certificate("outage", b"", "", "")


def test_an_outage_is_no_refusal(keys: SiteKeys) -> None:
    with pytest.raises(Unavailable):
        _authenticator(keys).authenticate("outage", TOKEN, "", "")


def test_the_same_comparisons_are_made_for_every_name(
    keys: SiteKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hmac

    compared: list[int] = []
    real = hmac.compare_digest

    def counting(a: bytes, b: bytes) -> bool:
        compared.append(len(a) + len(b))
        return real(a, b)

    monkeypatch.setattr("appliance.identity.authenticator.hmac.compare_digest", counting)
    one = TokenHash(keys.token_hash(TOKEN), None)
    for tokens, username in (((), "d"), ((one,), "d"), ((one, one), "d"), ((one,), "nobody")):
        compared.clear()
        try:
            _authenticator(keys, *tokens).authenticate(username, TOKEN, "", "")
        except NotAuthorized:
            pass
        assert compared == [64, 64]


def _ended(answer: Principal | NotAuthorized) -> str:
    assert isinstance(answer, NotAuthorized)
    assert answer.message
    return answer.code


def test_a_revoked_certificate_lets_nobody_in_and_another_of_the_device_does(keys: SiteKeys) -> None:
    gone, good = certificate_proof("aa", "1f"), certificate_proof("aa", "2f")
    credential = DeviceCredential("d", "device", "own", "active", (), "", frozenset({gone}))
    authenticator = DeviceAuthenticator(Credentials(credential), keys, clock=ManualClock())
    principal = authenticator.authenticate_certificate("d", good, "", "")
    assert principal.proof == good
    assert authenticator.reconsider(principal) == principal
    with pytest.raises(NotAuthorized) as refused:
        authenticator.authenticate_certificate("d", gone, "", "")
    assert refused.value.code == "certificate_revoked"
    assert _ended(authenticator.reconsider(Principal(name="d", proof=gone))) == "certificate_revoked"
    other_authority = certificate_proof("bb", "1f")
    assert authenticator.authenticate_certificate("d", other_authority, "", "").name == "d"
    as_long_as_a_hash = certificate_proof("", "1" * 19)
    assert len(as_long_as_a_hash) == TOKEN_HASH_BYTES
    principal = authenticator.authenticate_certificate("d", as_long_as_a_hash, "", "")
    assert authenticator.reconsider(principal) == principal


def test_somebody_who_was_let_in_is_reconsidered(keys: SiteKeys) -> None:
    clock = ManualClock()
    right = TokenHash(keys.token_hash(TOKEN), clock.now_ms() + 1000)
    authenticator = _authenticator(keys, right, clock=clock)
    assert authenticator.take_changes() == frozenset({"d"})
    principal = authenticator.authenticate("d", TOKEN, "", "")
    assert authenticator.reconsider(principal) == principal
    clock.advance(2000)
    assert authenticator.reconsider(principal) == principal, "a token that ran out cuts nobody off"
    revoked = _authenticator(keys, TokenHash(keys.token_hash(b"other"), None))
    assert _ended(revoked.reconsider(principal)) == "bad_credentials"
    assert revoked.reconsider(Principal(name="d")) == Principal(name="d", kind="application", access="site")
    assert _ended(revoked.reconsider(Principal(name="nobody"))) == "unknown_device"
    for state in ("waiting", "rejected", "decommissioned"):
        assert _ended(_authenticator(keys, right, state=state).reconsider(principal)) in (
            "waiting_for_adoption", "device_rejected", "device_decommissioned"
        )  # fmt: skip
    with pytest.raises(Unavailable):
        revoked.reconsider(Principal(name="outage"))


class TestClaims:
    def _authenticator(
        self, keys: SiteKeys, clock: ManualClock, **claims: ClaimCredential
    ) -> DeviceAuthenticator:
        reader = Credentials(None)
        reader.claims = {keys.claim_hash(f"hpc_{name}".encode()): claim for name, claim in claims.items()}
        return DeviceAuthenticator(reader, keys, clock=clock)

    @pytest.mark.parametrize(("username", "wanted"), [("provision", ""), ("pump-17", "pump-17")])
    def test_its_token_lets_ask_and_nothing_else(self, keys: SiteKeys, username: str, wanted: str) -> None:
        clock = ManualClock()
        good = ClaimCredential(clock.now_ms() + 1, is_revoked=False, is_used=False)
        authenticator = self._authenticator(keys, clock, good=good)
        principal = authenticator.authenticate(username, b"hpc_good", "", "")
        assert principal.kind == "provisioning"
        assert principal.proof == keys.claim_hash(b"hpc_good")
        assert wanted_device_id(principal.name) == wanted
        assert authenticator.reconsider(principal) == principal

    @pytest.mark.parametrize("username", ["", None, "a/b", "$SYS"])
    def test_a_name_that_no_device_can_have(self, keys: SiteKeys, username: str | None) -> None:
        assert _code(self._authenticator(keys, ManualClock()), username, b"hpc_good") == "bad_credentials"

    def test_those_that_have_ended(self, keys: SiteKeys) -> None:
        clock = ManualClock()
        authenticator = self._authenticator(
            keys,
            clock,
            late=ClaimCredential(clock.now_ms(), is_revoked=False, is_used=False),
            gone=ClaimCredential(clock.now_ms() + 1, is_revoked=True, is_used=True),
            used=ClaimCredential(clock.now_ms(), is_revoked=False, is_used=True),
        )
        assert _code(authenticator, "provision", b"hpc_late") == "claim_expired"
        assert _code(authenticator, "provision", b"hpc_gone") == "claim_revoked"
        assert authenticator.authenticate("provision", b"hpc_used", "", "").kind == "provisioning"

    def test_guesses_are_counted(self, keys: SiteKeys) -> None:
        authenticator = self._authenticator(keys, ManualClock())
        for _ in range(CLAIM_GUESS_COUNT_MAX):
            assert _code(authenticator, "provision", b"hpc_guess") == "claim_unknown"
        assert _code(authenticator, "provision", b"hpc_guess") == "claim_guesses"
