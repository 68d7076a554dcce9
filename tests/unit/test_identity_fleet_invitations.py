"""Invitations: one box, one day, and a secret that never travels."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.core.clock import ManualClock
from appliance.core.errors import LimitExceeded, NotAuthorized, NotFound, UsageError
from appliance.core.limits_replication import INVITATION_COUNT_MAX, INVITATION_LIFE_MS
from appliance.identity.fleet_invitations import (
    Invitation,
    Invitations,
    Token,
    check_proof,
    proof_of,
    read_token,
    seal_to,
    unseal_from,
)

CA = "ca" * 32
ADDRESSES = ("10.0.0.1:8885", "[fd00::1]:8885")
NODE = "a" * 32


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def invitations(tmp_path: Path, clock: ManualClock) -> Invitations:
    return Invitations(tmp_path, clock=clock)


def made(invitations: Invitations) -> tuple[Token, Invitation]:
    return invitations.make("site", CA, ADDRESSES, note="roof")


def test_a_token_says_where_and_whose_and_nothing_of_it_is_kept(
    invitations: Invitations, tmp_path: Path
) -> None:
    token, invitation = made(invitations)
    assert read_token(token.text()) == token
    assert (token.addresses, token.authority, token.kind) == (ADDRESSES, CA, "site")
    assert invitations.find(token.invitation_id) == invitation
    assert token.secret.hex() not in repr(token)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "invitations").iterdir())
    assert token.secret.hex().encode() not in kept
    assert all(oct(path.stat().st_mode)[-3:] == "600" for path in (tmp_path / "invitations").iterdir())


@pytest.mark.parametrize(
    "text", ["", "hpj_", "hpx_AAAA", "hpj_" + "A" * 50, "hpj_" + "A" * 5_000, "hpj_ü", "hpj_A"]
)
def test_what_is_no_token_is_said(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_token(text)
    assert caught.value.code == "invitation_invalid"


def test_a_token_with_strange_addresses_is_none(invitations: Invitations) -> None:
    for addresses in (("",), ("a\n",), ("a:1",) * 9):
        token = Token(kind="other", secret=bytes(24), authority=CA, addresses=addresses)
        with pytest.raises(UsageError):
            read_token(token.text())


def test_an_invitation_is_good_for_a_day(
    invitations: Invitations, clock: ManualClock, tmp_path: Path
) -> None:
    token, _ = made(invitations)
    clock.advance(INVITATION_LIFE_MS)
    with pytest.raises(NotAuthorized) as caught:
        invitations.find(token.invitation_id)
    assert caught.value.code == "invitation_unknown"
    assert list((tmp_path / "invitations").iterdir()) == []


def test_a_clock_put_back_makes_no_old_one_good(invitations: Invitations, clock: ManualClock) -> None:
    token, _ = made(invitations)
    clock.set_wall(0)
    with pytest.raises(NotAuthorized):
        invitations.find(token.invitation_id)


def test_one_box_comes_by_it_and_may_ask_once_more(invitations: Invitations) -> None:
    token, invitation = made(invitations)
    invitations.use(invitation, NODE, b"request")
    used = invitations.find(token.invitation_id)
    assert used.used_by == NODE
    assert invitations.waiting() == []
    invitations.use(used, NODE, b"request")
    for node_id, request in (("b" * 32, b"request"), (NODE, b"another")):
        with pytest.raises(NotAuthorized) as caught:
            invitations.use(used, node_id, request)
        assert caught.value.code == "invitation_used"


def test_it_can_be_called_off(invitations: Invitations) -> None:
    token, _ = made(invitations)
    invitations.call_off(token.invitation_id)
    with pytest.raises(NotFound):
        invitations.call_off(token.invitation_id)
    with pytest.raises(NotAuthorized):
        invitations.find("../../identity/site.key")


def test_so_many_wait(invitations: Invitations) -> None:
    for _ in range(INVITATION_COUNT_MAX):
        made(invitations)
    assert len(invitations.waiting()) == INVITATION_COUNT_MAX
    with pytest.raises(LimitExceeded):
        made(invitations)


def test_a_box_that_nobody_reaches_invites_nobody(invitations: Invitations) -> None:
    with pytest.raises(UsageError) as caught:
        invitations.make("site", CA, ())
    assert caught.value.code == "address_missing"


def test_a_file_that_is_none_is_nobody_s(invitations: Invitations, tmp_path: Path) -> None:
    token, _ = made(invitations)
    (path,) = (tmp_path / "invitations").iterdir()
    path.write_bytes(b"{")
    with pytest.raises(NotAuthorized):
        invitations.find(token.invitation_id)


def test_a_proof_is_of_this_conversation(invitations: Invitations) -> None:
    token, invitation = made(invitations)
    check_proof(invitation, b"said", proof_of(token.proof_key, b"said"))
    for said, key in ((b"other", token.proof_key), (b"said", token.seal_key), (b"said", b"")):
        with pytest.raises(NotAuthorized) as caught:
            check_proof(invitation, b"said", proof_of(key, said) if said == b"said" else proof_of(key, b"x"))
        assert caught.value.code == "invitation_unproved"


def test_what_is_sealed_is_for_one_conversation() -> None:
    ours, seal_key = X25519PrivateKey.generate(), os.urandom(32)
    theirs, sealed = seal_to(ours.public_key().public_bytes_raw(), seal_key, b"said", b"secret")
    assert unseal_from(ours, theirs, seal_key, b"said", sealed) == b"secret"
    other = X25519PrivateKey.generate()
    for key, seal, said, data in (
        (other, seal_key, b"said", sealed),
        (ours, os.urandom(32), b"said", sealed),
        (ours, seal_key, b"else", sealed),
        (ours, seal_key, b"said", sealed[:-1]),
    ):
        with pytest.raises(NotAuthorized):
            unseal_from(key, theirs, seal, said, data)
    with pytest.raises(NotAuthorized):
        seal_to(bytes(32), seal_key, b"", b"")
    with pytest.raises(NotAuthorized):
        seal_to(b"short", seal_key, b"", b"")
