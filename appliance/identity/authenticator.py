"""Checks the user name and token that a device connects with, the name in its certificate, or a claim's token.

The work is the same for every name, known or not: one keyed hash, one look-up in memory, two comparisons that take
the same time whatever they find. Blocks for some microseconds, for the catalog's busy timeout at the worst.
"""

from __future__ import annotations

import hmac
from typing import Protocol

from appliance.core.clock import Clock
from appliance.core.errors import NotAuthorized, UsageError
from appliance.core.limits import DEVICE_TOKEN_COUNT_MAX
from appliance.identity.guesses import ClaimGuesses
from appliance.identity.keys import CLAIM_PREFIX, SiteKeys
from appliance.management.access import Principal, check_device_id, is_certificate, provisioning_name
from appliance.management.request_topics import PROVISION
from storage.catalog.auth import ClaimCredential, DeviceCredential

TOKEN_HASH_BYTES = 32
_NO_HASH = bytes(TOKEN_HASH_BYTES)


class CredentialReader(Protocol):
    """Where credentials come from; storage.catalog.DeviceAuthReader is the real one."""

    def lookup(self, username: str) -> DeviceCredential | None:
        """The credential of a name, None if there is none."""

    def find_claim(self, token_hash: bytes) -> ClaimCredential | None:
        """The claim whose token has this keyed hash, None if there is none."""

    def take_changes(self) -> frozenset[str] | None:
        """Names whose credential may have changed since the last call; None for anybody's."""


class DeviceAuthenticator:
    """See the module's docstring.

    Args:
        clock: For tokens that expire (wall time).
    """

    def __init__(self, reader: CredentialReader, keys: SiteKeys, *, clock: Clock) -> None:
        self._reader = reader
        self._keys = keys
        self._clock = clock
        self._guesses = ClaimGuesses(clock)

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, address: str
    ) -> Principal:
        """Who this is.

        Args:
            username: The device id; beside a claim's token `provision` or the id that the device wants.
            password: The token, or a claim's, as bytes of the CONNECT packet.
            client_id: Not part of the decision.
            address: For wrong claim tokens, which are counted; not part of the decision on a device.
        Raises:
            NotAuthorized: `bad_credentials`, `unknown_device`, `waiting_for_adoption`, `device_rejected`,
                `device_decommissioned`; `claim_unknown`, `claim_expired`, `claim_revoked`, `claim_guesses`. For the log: the
                peer is told less.
            Unavailable: the catalog can't be read and the last known good is too old.
        """
        if password is not None and password.startswith(CLAIM_PREFIX.encode()):
            return self._authenticate_claim(username or "", password, address)
        offered = self._keys.token_hash(password or b"")
        credential = self._reader.lookup(username or "")
        matched = False
        usable = 0
        tokens = credential.tokens if credential else ()
        for index in range(DEVICE_TOKEN_COUNT_MAX):
            token = tokens[index] if index < len(tokens) else None
            same = hmac.compare_digest(token.hash if token else _NO_HASH, offered)
            if token and (token.expires_at_ms is None or token.expires_at_ms > self._clock.now_ms()):
                usable += 1
                matched |= same
        if credential is None:
            raise _refused("unknown_device", "No device has this user name.")
        # Without a valid token nobody can prove to be the device; the state is then all there is to say.
        if matched or not usable:
            _check_state(credential)
        if not matched:
            raise _refused("bad_credentials", "The token is wrong, expired or revoked.")
        return _principal(credential, offered)

    def _authenticate_claim(self, username: str, token: bytes, address: str) -> Principal:
        """Who has a claim's token may ask to enrol; whether and as what the node decides for each request."""
        self._guesses.check(address)
        if username != PROVISION:
            try:
                check_device_id(username)
            except UsageError as error:
                raise _refused("bad_credentials", error.message) from error
        token_hash = self._keys.claim_hash(token)
        claim = self._reader.find_claim(token_hash)
        if claim is None:
            self._guesses.wrong(address)
            raise _refused("claim_unknown", "No claim has this token.")
        if claim.is_revoked:
            raise _refused("claim_revoked", "The claim was revoked.")
        if claim.expires_at_ms <= self._clock.now_ms() and not claim.is_used:
            raise _refused("claim_expired", "The claim has ended.")
        return Principal(name=provisioning_name(username), kind="provisioning", proof=token_hash)

    def authenticate_certificate(
        self, common_name: str, proof: bytes, client_id: str, address: str
    ) -> Principal:
        """Who the owner of a certificate is. TLS has verified it; the catalog says whether the device may come in with it.

        Nothing secret is compared: whoever is asked about has proved the name. The look-up is the one that tokens have,
        with the same cache, last known good and revocations.

        Args:
            common_name: Of the certificate's subject: the device id.
            proof: Which certificate (`certificate_proof`).
            client_id: Not part of the decision.
            address: Not part of the decision.
        Raises:
            NotAuthorized, Unavailable: as `authenticate`, with `certificate_revoked` in place of `bad_credentials`.
        """
        credential = self._reader.lookup(common_name)
        if credential is None:
            raise _refused("unknown_device", "No device has this certificate's common name.")
        _check_state(credential)
        if proof in credential.revoked:
            raise _refused("certificate_revoked", "The certificate was revoked.")
        return _principal(credential, proof)

    def take_changes(self) -> frozenset[str] | None:
        """Whose access may have changed since the last call; None for anybody's. Blocks as `authenticate` does."""
        return self._reader.take_changes()

    def reconsider(self, principal: Principal) -> Principal | NotAuthorized:
        """Who somebody is now that was let in before; why not, if they would not be let in any more.

        A token or certificate that has only run out since is no reason to cut its connections; one that was revoked is.

        Raises:
            Unavailable: the catalog can't be read and the last known good is too old.
        """
        if principal.kind == "provisioning":
            return (
                principal  # Its connection lasts minutes, and the node looks at its claim each time it asks.
            )
        credential, proof = self._reader.lookup(principal.name), principal.proof
        if credential is None:
            return _refused("unknown_device", "Its access has ended.")
        try:
            _check_state(credential)
        except NotAuthorized as error:
            return error
        if proof in credential.revoked:
            return _refused("certificate_revoked", "The certificate was revoked.")
        # A certificate's is text as long as its serial number, and so may be as long as a hash.
        if (
            len(proof) == TOKEN_HASH_BYTES
            and not is_certificate(proof)
            and not any(hmac.compare_digest(token.hash, proof) for token in credential.tokens)
        ):
            return _refused("bad_credentials", "The token was revoked.")
        return _principal(credential, proof)


def _principal(credential: DeviceCredential, proof: bytes) -> Principal:
    return Principal(
        name=credential.device_id,
        kind=credential.kind,
        access=credential.access,
        role=credential.role,
        proof=proof,
    )


def _check_state(credential: DeviceCredential) -> None:
    if credential.state == "waiting":
        raise _refused("waiting_for_adoption", "The device waits for adoption.")
    if credential.state == "rejected":
        raise _refused("device_rejected", "An operator rejected the device.")
    if credential.state == "decommissioned":
        raise _refused("device_decommissioned", "The device was decommissioned.")


_HINTS = {
    "unknown_device": "Register it with 'homeport device add' and give it the token that is shown.",
    "waiting_for_adoption": "Adopt it on the Devices page, then give it the token that is shown.",
    "device_rejected": "Adopt it on the Devices page if it should be let in after all.",
    "device_decommissioned": "Register it under another id.",
    "bad_credentials": "Give the device a new token on its page.",
    "claim_unknown": "Give the device the token that 'homeport claim create' printed.",
    "claim_expired": "Make another claim, and give the device its token.",
    "claim_revoked": "Make another claim, and give the device its token.",
    "certificate_revoked": "Have the device enrol again with a claim token; see docs/ENROLMENT.md.",
}


def _refused(code: str, message: str) -> NotAuthorized:
    return NotAuthorized(message, hint=_HINTS[code], code=code)
