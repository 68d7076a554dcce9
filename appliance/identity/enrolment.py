"""Gives devices their identity over MQTT: what is asked at `dm/provision/{template}/request`, and what is answered.

Two kinds ask. Who has a claim's token comes in by it: the claim is used and the device made in one transaction, and when it is
active it gets a certificate for its request (CSR), a token, or both. Who is a device already gets the next one: a certificate in the
last third of the life of the one that it came with, a token at any time.

Everything can be asked again: an answer that got lost costs nothing but the next one (storage/catalog/enrolments.py). What is asked and
answered holds secrets and is never logged.

Must not know: sockets, MQTT packets, SQL.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import (
    Conflict,
    HomeportError,
    LimitExceeded,
    NotAuthorized,
    Unavailable,
    UsageError,
)
from appliance.core.limits import (
    ADOPTION_RETRY_S,
    CERTIFICATE_ROTATE_SHARE,
    DEVICE_TOKEN_INTERVAL_MS,
    DEVICE_TOKEN_OVERLAP_MS,
    ENROLMENT_RETRY_S,
    NONCE_LENGTH_MAX,
    NONCE_LENGTH_MIN,
)
from appliance.identity.ca_certificates import COMMON_NAME_LENGTH_MAX
from appliance.identity.csr import common_name_of, key_fingerprint, public_key_of
from appliance.identity.guesses import ClaimGuesses
from appliance.identity.issuing import Issuing, check_shown
from appliance.identity.keys import SiteKeys, new_token
from appliance.management.access import certificate_serial, wanted_device_id
from appliance.management.audit import Act, Actor
from appliance.management.request_topics import ACCEPTED, REJECTED, REQUEST, template_of
from broker.control_messages import DeviceReply, DeviceRequest
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.enrolments import Enrolled

TEMPLATE: Final = "default"
"""The one there is: a later release may have others, which say what a device of that kind gets."""
WAITING: Final = "waiting_for_adoption"
ENROL: Final = "device.enrol"
ROTATE: Final = "device_token.rotate"
"""What the audit calls it."""

_log = logs.get(__name__)


class Asked(msgspec.Struct, frozen=True):
    """A request's payload; whatever else stands in it is ignored.

    Attributes:
        csr: PKCS#10, PEM or base64.
        serial: The number printed on the device.
        claim: A claim's token, in place of the one that the connection was made with.
        token: A token is wanted.
        nonce: What a device without a key made up once, to be known by when it asks again.
    """

    csr: str = ""
    serial: str = ""
    claim: str = ""
    token: bool = False
    nonce: str = ""


class Enrolment:
    """See the module's docstring. Used from one event loop."""

    def __init__(self, catalog: AsyncCatalog, keys: SiteKeys, issuing: Issuing, *, clock: Clock) -> None:
        self._catalog = catalog
        self._keys = keys
        self._issuing = issuing
        self._clock = clock
        self._guesses = ClaimGuesses(clock)
        self._answers: dict[str, int] = {}

    def statistics(self) -> dict[str, int]:
        """Answers since the start, by `accepted` or the code of the refusal."""
        return dict(self._answers)

    async def answer(self, request: DeviceRequest) -> DeviceReply:
        """What a device is answered; refusals are answers, too."""
        try:
            answer = await self._answer(request)
        except HomeportError as error:
            self._count(error.code)
            _log.info(
                "a device was not given an identity",
                device=request.name,
                client_id=request.client_id,
                address=request.address,
                code=error.code,
                reason=error.message,
            )
            return _reply(request, _refusal(error), is_accepted=False)
        self._count("accepted")
        return _reply(request, answer, is_accepted=True)

    def _count(self, word: str) -> None:
        self._answers[word] = self._answers.get(word, 0) + 1

    async def _answer(self, request: DeviceRequest) -> dict[str, Any]:
        if template_of(request.topic) != TEMPLATE:
            raise UsageError(
                f"There is no template “{template_of(request.topic)}”.",
                hint=f"Ask at dm/provision/{TEMPLATE}/request.",
                code="template_unknown",
            )
        asked = _decoded(request.payload)
        if not asked.csr and not asked.token:
            raise UsageError(
                "The request asks for nothing.",
                hint='Send a certificate signing request as "csr", or "token": true.',
                code="request_empty",
            )
        if request.kind == "provisioning":
            return await self._come_in(request, asked)
        return await self._renew(request, asked)

    # --- by a claim -------------------------------------------------------------------------------------------

    async def _come_in(self, request: DeviceRequest, asked: Asked) -> dict[str, Any]:
        claim_hash = request.proof
        if asked.claim:
            self._guesses.check(request.address)
            claim_hash = self._keys.claim_hash(asked.claim.encode())
        csr, wanted = asked.csr.encode(), wanted_device_id(request.name)
        if asked.csr:
            wanted = wanted or common_name_of(csr)
            key_hash = self._keys.enrolment_key_hash(
                "public-key", key_fingerprint(public_key_of(csr, wanted))
            )
        else:
            key_hash = self._keys.enrolment_key_hash("nonce", _checked_nonce(asked.nonce).encode())
        token = new_token() if asked.token else ""
        token_hash = self._keys.token_hash(token.encode())

        def write(catalog: Catalog) -> Enrolled:
            enrolled = catalog.enrol(claim_hash, key_hash, device_id=wanted, serial=asked.serial)
            if asked.csr:
                _check_certificate_name(enrolled.device.device_id)
            if token and enrolled.device.state == "active":
                self._check_pace(catalog, enrolled.device.device_id, b"")
                catalog.set_token(enrolled.device.device_id, token_hash)
            return enrolled

        by = Actor(name=wanted or asked.serial, kind="device", address=request.address)
        try:
            enrolled = await self._catalog.write(write, by=Act(action=ENROL, actor=by))
        except NotAuthorized as error:
            if error.code == "claim_unknown":
                self._guesses.wrong(request.address)
            raise
        device = enrolled.device
        if enrolled.is_new:
            _log.info(
                "a device has come in by a claim",
                device=device.device_id,
                claim=enrolled.claim.claim_id,
                state=device.state,
                address=request.address,
            )
        if device.state != "active":
            raise Conflict(
                f"The device “{device.device_id}” waits for adoption.",
                hint="Ask again with the same key; it gets its identity once an operator has adopted it.",
                code=WAITING,
            )
        return await self._given(device.device_id, csr, token, request)

    # --- as a device ------------------------------------------------------------------------------------------

    async def _renew(self, request: DeviceRequest, asked: Asked) -> dict[str, Any]:
        device_id, csr, serial = request.name, asked.csr.encode(), certificate_serial(request.proof)
        if csr:
            public_key_of(csr, device_id)
            await self._check_due(serial)
        token = new_token() if asked.token else ""
        if token:
            token_hash = self._keys.token_hash(token.encode())
            ends_ms = self._clock.now_ms() + DEVICE_TOKEN_OVERLAP_MS

            def write(catalog: Catalog) -> None:
                self._check_pace(catalog, device_id, request.proof)
                if not serial:
                    # The one that it came with stays, and gives way to no newer one whose answer got lost.
                    catalog.revoke_tokens(device_id, keep=[request.proof])
                catalog.set_token(device_id, token_hash, old_valid_until_ms=ends_ms)
                # What it came with may have been revoked since, and its connection not be gone yet.
                if serial:
                    check_shown(catalog.find_certificate(serial), device_id)
                else:
                    catalog.check_token_counts(device_id, request.proof)

            by = Actor(name=device_id, kind="device", address=request.address)
            await self._catalog.write(write, by=Act(action=ROTATE, actor=by))
        return await self._given(
            device_id, csr, token, request, keep=serial, token_hash=b"" if serial else request.proof
        )

    async def _check_due(self, serial: str) -> None:
        """Refuse a device whose certificate is good for long yet. Raises Conflict: `certificate_not_due`."""
        if not serial:
            return  # It came with a token, and may have a certificate, too.
        found = await self._catalog.read(lambda catalog: catalog.find_certificate(serial))
        if found is None:
            return  # Another node issued it, or an older backup was restored.
        due_ms = (
            found.not_after_at_ms
            - (found.not_after_at_ms - found.not_before_at_ms) // CERTIFICATE_ROTATE_SHARE
        )
        left_ms = due_ms - self._clock.now_ms()
        if left_ms > 0:
            raise NotDueError(left_ms)

    # --- both -------------------------------------------------------------------------------------------------

    def _check_pace(self, catalog: Catalog, device_id: str, proof: bytes) -> None:
        newest = catalog.tokens_of(device_id)[:1]
        if newest and newest[0].token_hash != proof:
            age_ms = self._clock.now_ms() - newest[0].created_at_ms
            if 0 <= age_ms < DEVICE_TOKEN_INTERVAL_MS:
                raise LimitExceeded(
                    "The device has just got a token.",
                    hint="Use it, or ask again in a moment if it got lost.",
                    code="token_too_soon",
                )

    async def _given(
        self,
        device_id: str,
        csr: bytes,
        token: str,
        request: DeviceRequest,
        *,
        keep: str = "",
        token_hash: bytes = b"",
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {"device": device_id}
        if token:
            answer["token"] = token
        if csr:
            by = Actor(name=device_id, kind="device", address=request.address)
            issued = await self._issuing.issue(csr, device_id, "mqtt", by, keep=keep, token_hash=token_hash)
            answer |= {
                "cert": issued.pem.decode("ascii"),
                "ca": issued.chain_pem.decode("ascii"),
                "serial": issued.serial,
                "expires": issued.not_after_at_ms,
            }
        return answer


class NotDueError(Conflict):
    """A device asks for its next certificate too early; `retry_s` says when it is not."""

    def __init__(self, left_ms: int) -> None:
        super().__init__(
            f"The certificate is good for long yet; the next one can be had in {-(-left_ms // 86_400_000)} days.",
            hint="Ask again then; a device that has lost its key enrols with its token or a claim instead.",
            code="certificate_not_due",
        )
        self.retry_s = -(-left_ms // 1000)


def _decoded(payload: bytes) -> Asked:
    try:
        return msgspec.json.decode(payload, type=Asked)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Of what is wrong with it, as much as does not repeat it: it may hold secrets.
        raise UsageError(
            "The request is not a JSON object with texts csr, serial, claim, nonce and a truth value token.",
            hint='Send {"csr": "-----BEGIN CERTIFICATE REQUEST-----…", "serial": "…"}.',
            code="request_invalid",
        ) from error


def _checked_nonce(nonce: str) -> str:
    if NONCE_LENGTH_MIN <= len(nonce) <= NONCE_LENGTH_MAX:
        return nonce
    raise UsageError(
        f"A device that asks for a token alone sends a nonce of {NONCE_LENGTH_MIN} to {NONCE_LENGTH_MAX} characters.",
        hint="Make it of random characters at the first start, and keep it: it is what the device is known by when it asks again.",
        code="nonce_missing",
    )


def _check_certificate_name(device_id: str) -> None:
    if len(device_id) > COMMON_NAME_LENGTH_MAX:
        raise UsageError(
            f"A certificate's name has at most {COMMON_NAME_LENGTH_MAX} characters, fewer than this device id.",
            hint="Use a shorter id or serial number, or ask for a token.",
            code="device_id_too_long",
        )


def _refusal(error: HomeportError) -> dict[str, Any]:
    answer: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    if error.code == WAITING:
        answer["retry_s"] = ADOPTION_RETRY_S
    elif isinstance(error, NotDueError):
        answer["retry_s"] = error.retry_s
    elif isinstance(error, Unavailable | LimitExceeded):
        answer["retry_s"] = ENROLMENT_RETRY_S if isinstance(error, Unavailable) else ADOPTION_RETRY_S
    return answer


def _reply(request: DeviceRequest, answer: dict[str, Any], *, is_accepted: bool) -> DeviceReply:
    topic = request.topic.removesuffix(REQUEST) + (ACCEPTED if is_accepted else REJECTED)
    return DeviceReply(
        is_accepted=is_accepted, messages=((topic, json.dumps(answer, ensure_ascii=False).encode()),)
    )
