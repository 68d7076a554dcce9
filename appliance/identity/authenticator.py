"""Checks the user name and token that a device connects with, or the name in its certificate.

The work is the same for every name, known or not: one keyed hash, one look-up in memory, two comparisons that take
the same time whatever they find. Blocks for some microseconds, for the catalog's busy timeout at the worst.
"""

from __future__ import annotations

import hmac
from typing import Protocol

from appliance.core.clock import Clock
from appliance.core.errors import NotAuthorized
from appliance.core.limits import DEVICE_TOKEN_COUNT_MAX
from appliance.identity.keys import SiteKeys
from appliance.management.access import Principal
from storage.catalog.auth import DeviceCredential

_NO_HASH = bytes(32)


class CredentialReader(Protocol):
    """Where credentials come from; storage.catalog.DeviceAuthReader is the real one."""

    def lookup(self, username: str) -> DeviceCredential | None:
        """The credential of a name, None if there is none."""

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

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, address: str
    ) -> Principal:
        """Who this is.

        Args:
            username: The device id.
            password: The token, as bytes of the CONNECT packet.
            client_id: Not part of the decision.
            address: Not part of the decision.
        Raises:
            NotAuthorized: `bad_credentials`, `unknown_device`, `waiting_for_adoption`, `device_rejected`,
                `device_decommissioned`. For the log: the peer is told less.
            Unavailable: the catalog can't be read and the last known good is too old.
        """
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

    def authenticate_certificate(self, common_name: str, client_id: str, address: str) -> Principal:
        """Who the owner of a certificate is. TLS has verified it; the catalog says whether the device may come in.

        Nothing secret is compared: whoever is asked about has proved the name. The look-up is the one that tokens have,
        with the same cache, last known good and revocations.

        Args:
            common_name: Of the certificate's subject: the device id.
            client_id: Not part of the decision.
            address: Not part of the decision.
        Raises:
            NotAuthorized, Unavailable: as `authenticate`, without `bad_credentials`.
        """
        credential = self._reader.lookup(common_name)
        if credential is None:
            raise _refused("unknown_device", "No device has this certificate's common name.")
        _check_state(credential)
        return _principal(credential, b"")

    def take_changes(self) -> frozenset[str] | None:
        """Whose access may have changed since the last call; None for anybody's. Blocks as `authenticate` does."""
        return self._reader.take_changes()

    def reconsider(self, principal: Principal) -> Principal | None:
        """Who somebody is now that was let in before; None if they would not be let in any more.

        A token that has only run out since is no reason to cut its connections; one that was revoked is.

        Raises:
            Unavailable: the catalog can't be read and the last known good is too old.
        """
        credential = self._reader.lookup(principal.name)
        if credential is None or credential.state != "active":
            return None
        if principal.proof and not any(
            hmac.compare_digest(token.hash, principal.proof) for token in credential.tokens
        ):
            return None
        return _principal(credential, principal.proof)


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
}


def _refused(code: str, message: str) -> NotAuthorized:
    return NotAuthorized(message, hint=_HINTS[code], code=code)
