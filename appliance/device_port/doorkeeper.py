"""Who asks on the devices' port: by a certificate, by a device id and its token, by a claim's token, or by a key that was adopted.

Wrong credentials are counted by network, before anything is looked up. The work for a token is the same for every name:
a keyed hash, a look-up, two comparisons in constant time.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from dataclasses import dataclass, field, replace
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from appliance.core.clock import Clock
from appliance.core.errors import Conflict, LimitExceeded, NotAuthorized
from appliance.core.limits import DEVICE_TOKEN_COUNT_MAX
from appliance.device_port.messages import Request
from appliance.identity.csr import common_name_of, key_fingerprint, public_key_of
from appliance.identity.guesses import ClaimGuesses
from appliance.identity.issuing import check_shown
from appliance.identity.keys import CLAIM_PREFIX, SiteKeys
from appliance.management.access import check_device_id
from appliance.management.audit import Act, Actor
from storage.catalog import AsyncCatalog, Device, DeviceToken

ENROL: Final = "device.enrol"
"""What the audit calls it when a device comes in."""
_NO_HASH: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """Who asks.

    Attributes:
        shown: The certificate that proved it; None where something else did.
        token_hash: Of the token that proved it; b"" where something else did.
    """

    device_id: str
    actor: Actor
    shown: x509.Certificate | None = None
    token_hash: bytes = field(default=b"", repr=False)


class Doorkeeper:
    """See the module's docstring.

    Args:
        waits: Whether an unknown device without anything is put on the list of those waiting for adoption.
    """

    def __init__(self, catalog: AsyncCatalog, keys: SiteKeys, *, clock: Clock, waits: bool) -> None:
        self._catalog = catalog
        self._keys = keys
        self._clock = clock
        self._waits = waits
        self._guesses = ClaimGuesses(clock)

    async def identify(self, request: Request, csr: bytes) -> Proven:
        """Who asks for a certificate.

        Raises:
            NotAuthorized: `credentials_missing`, `bad_credentials`, `claim_…`, `waiting_for_adoption`.
            LimitExceeded: `too_many_attempts`. Conflict: the device's state, or its key, forbids it.
            UsageError: the request is none. Unavailable: the catalog is away.
        """
        header = request.headers.get("authorization")
        if header is not None:
            name, secret = _basic(header)
            return await self._by_password(name, secret, csr, request.address)
        if request.certificate is not None:
            return self.by_certificate(request)
        raise NotAuthorized(
            "A device says who it is by its certificate, or by its id and token.",
            hint="Use HTTP Basic authentication: the device id and its token, or a claim's token.",
            code="credentials_missing",
        )

    def by_certificate(self, request: Request) -> Proven:
        """The owner of the certificate that TLS has verified; whether it was revoked the issuing looks up.

        Raises:
            NotAuthorized: `certificate_missing`, `certificate_unnamed`.
        """
        if request.certificate is None:
            raise NotAuthorized(
                "This needs the device's certificate, over TLS.",
                hint="Show the certificate that is still valid; without one enrol with simpleenroll.",
                code="certificate_missing",
            )
        names = request.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if len(names) != 1:
            raise NotAuthorized(
                "The certificate has not exactly one common name.",
                hint="Enrol the device again.",
                code="certificate_unnamed",
            )
        device_id = str(names[0].value)
        return Proven(
            device_id=device_id, actor=_actor(device_id, request.address), shown=request.certificate
        )

    async def device(self, request: Request, *, name: str = "") -> Proven:
        """Which device asks for something other than a certificate: by its certificate, or its token.

        Args:
            name: The device that the address names, for a token that comes without one (`Bearer`, or hawkBit's `TargetToken`).
        Raises:
            NotAuthorized: `credentials_missing`, `bad_credentials`, `certificate_…`, `waiting_for_adoption`.
            LimitExceeded: `too_many_attempts`. Conflict: the device's state forbids it. Unavailable: the catalog is away.
        """
        header = request.headers.get("authorization")
        if header is None and request.certificate is None:
            raise NotAuthorized(
                "A device says who it is by its certificate, or by its id and token.",
                hint="Use HTTP Basic authentication: the device id and its token.",
                code="credentials_missing",
            )
        if header is None:
            return await self._by_known_certificate(request)
        scheme, _, rest = header.partition(" ")
        if scheme.lower() in ("bearer", "targettoken"):
            secret = rest.strip().encode()
        else:
            name, secret = _basic(header)
        return await self._by_token(name, secret, request.address)

    async def _by_known_certificate(self, request: Request) -> Proven:
        proven = self.by_certificate(request)
        assert request.certificate is not None
        serial = f"{request.certificate.serial_number:x}"
        found, device = await self._catalog.read(
            lambda catalog: (catalog.find_certificate(serial), catalog.find_device(proven.device_id)),
            pool="auth",
        )
        check_shown(found, proven.device_id)
        if device is None or device.kind != "device":
            raise _bad_credentials()
        return replace(_let_in(device, proven.actor), shown=proven.shown)

    async def _by_token(self, device_id: str, secret: bytes, address: str) -> Proven:
        self._check_guesses(address)
        device, tokens = await self._catalog.read(
            lambda catalog: (catalog.find_device(device_id), catalog.tokens_of(device_id)), pool="auth"
        )
        if not self._is_one_of(tokens, secret) or device is None or device.kind != "device":
            self._guesses.wrong(address)
            raise _bad_credentials()
        return replace(_let_in(device, _actor(device_id, address)), token_hash=self._keys.token_hash(secret))

    def _check_guesses(self, address: str) -> None:
        try:
            self._guesses.check(address)
        except NotAuthorized:
            raise LimitExceeded(
                "Too many wrong credentials came from this network.",
                hint="Check the device's token, and wait a minute.",
                code="too_many_attempts",
            ) from None

    async def _by_password(self, name: str, secret: bytes, csr: bytes, address: str) -> Proven:
        self._check_guesses(address)
        device_id = name or common_name_of(csr)
        check_device_id(device_id)
        device, tokens = await self._catalog.read(
            lambda catalog: (catalog.find_device(device_id), catalog.tokens_of(device_id)), pool="auth"
        )
        actor = _actor(device_id, address)
        if self._is_one_of(tokens, secret) and device is not None:
            return replace(_let_in(device, actor), token_hash=self._keys.token_hash(secret))
        try:
            if secret.startswith(CLAIM_PREFIX.encode()):
                return await self._by_claim(name, device_id, secret, csr, actor)
            if self._waits:
                key_hash = self._key_hash(csr, device_id)
                met = await self._catalog.write(
                    lambda catalog: catalog.meet(device_id, key_hash), by=Act(action=ENROL, actor=actor)
                )
                return _let_in(met, actor)
        except NotAuthorized as error:
            if error.code in ("claim_unknown", "bad_credentials"):
                self._guesses.wrong(address)
            raise
        self._guesses.wrong(address)
        raise _bad_credentials()

    def _is_one_of(self, tokens: list[DeviceToken], secret: bytes) -> bool:
        offered = self._keys.token_hash(secret)
        now_ms = self._clock.now_ms()
        matched = False
        for index in range(DEVICE_TOKEN_COUNT_MAX):
            token = tokens[index] if index < len(tokens) else None
            same = hmac.compare_digest(token.token_hash if token else _NO_HASH, offered)
            if token and (token.expires_at_ms is None or token.expires_at_ms > now_ms):
                matched |= same
        return matched

    async def _by_claim(self, name: str, device_id: str, secret: bytes, csr: bytes, actor: Actor) -> Proven:
        claim_hash, key_hash = self._keys.claim_hash(secret), self._key_hash(csr, device_id)
        enrolled = await self._catalog.write(
            lambda catalog: catalog.enrol(claim_hash, key_hash, device_id=name or device_id),
            by=Act(action=ENROL, actor=actor),
        )
        return _let_in(enrolled.device, actor)

    def _key_hash(self, csr: bytes, device_id: str) -> bytes:
        return self._keys.enrolment_key_hash("public-key", key_fingerprint(public_key_of(csr, device_id)))


def _bad_credentials() -> NotAuthorized:
    return NotAuthorized(
        "No such device, or its token is wrong, expired or revoked.",
        hint="Give the device a new token on its page, or make a claim for it.",
        code="bad_credentials",
    )


def _basic(header: str) -> tuple[str, bytes]:
    """User name and password of HTTP Basic authentication (RFC 7617). Raises NotAuthorized: `credentials_missing`."""
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        name, separator, secret = b64decode(encoded.strip(), validate=True).partition(b":")
        if not separator:
            raise ValueError("no colon")
        return name.decode(), secret
    except (ValueError, binascii.Error):
        raise NotAuthorized(
            "The Authorization header can't be read.",
            hint="Use HTTP Basic authentication: the device id and its token.",
            code="credentials_missing",
        ) from None


def _let_in(device: Device, actor: Actor) -> Proven:
    """A device that has proved to be itself, if its state lets it in."""
    if device.state == "waiting":
        raise NotAuthorized(
            f"The device “{device.device_id}” waits for adoption.",
            hint="Adopt it on the Devices page; the device asks again by itself.",
            code="waiting_for_adoption",
        )
    if device.state != "active":
        raise Conflict(
            f"The device “{device.device_id}” is {device.state}.",
            hint="Adopt it on the Devices page if it should be let in after all."
            if device.state == "rejected"
            else "Register it under another id.",
            code=f"device_{device.state}",
        )
    return Proven(device_id=device.device_id, actor=actor)


def _actor(device_id: str, address: str) -> Actor:
    return Actor(name=device_id, kind="device", address=address)
