"""Endpoints about devices' certificates: list, issue, revoke."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Final

from appliance.core.errors import Unavailable
from appliance.identity.issuing import ISSUE
from storage import catalog
from storage.catalog import Catalog
from ui.api import certificate_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of, is_local
from ui.services import Services

_DAY_MS: Final = 86_400_000


def certificate_answer(certificate: catalog.Certificate, now_ms: int) -> structs.Certificate:
    """A certificate of the catalog with its state now."""
    return structs.Certificate(**dataclasses.asdict(certificate), state=certificate.state(now_ms))


async def list_certificates(call: Call) -> Reply:
    query: structs.CertificateQuery = call.query
    now_ms = call.services.clock.now_ms()
    days = query.ends_within_days
    page = await call.services.catalog.read(
        lambda reader: reader.list_certificates(
            device_id=query.device_id,
            state=query.state,
            ends_before_ms=None if days is None else now_ms + days * _DAY_MS,
            groups=call.scope,
            cursor=query.cursor,
            limit=query.limit,
        )
    )
    return Reply(
        content=structs.CertificatePage(
            certificates=tuple(certificate_answer(each, now_ms) for each in page.certificates),
            next_cursor=page.next_cursor,
        )
    )


async def get_certificate(call: Call) -> Reply:
    serial = call.path["serial"]
    found = await call.services.catalog.read(lambda reader: reader.get_certificate(serial, groups=call.scope))
    return Reply(content=certificate_answer(found, call.services.clock.now_ms()))


async def issue_certificate(call: Call) -> Reply:
    new: structs.NewCertificate = call.body
    await call.services.catalog.read(lambda reader: reader.get_device(new.device_id, scope=call.scope))
    how: catalog.IssuedBy = "cli" if is_local(call.request) else "api"
    issued = await call.services.issuing.issue(
        new.csr.encode(), new.device_id, how, await actor_of(call.request)
    )
    return Reply(
        content=structs.IssuedCertificate(
            device_id=issued.device_id,
            serial=issued.serial,
            certificate=issued.pem.decode(),
            chain=issued.chain_pem.decode(),
            not_after_at_ms=issued.not_after_at_ms,
        )
    )


async def revoke_certificate(call: Call) -> Reply:
    wish: structs.Revocation = call.body
    serial = call.path["serial"]

    def write(writer: Catalog) -> catalog.Certificate:
        writer.get_certificate(serial, groups=call.scope)
        return writer.revoke_certificate(serial, because=wish.because)

    revoked = await call.write(write)
    await hurry_broker(call.services, revoked.device_id)
    return Reply(content=certificate_answer(revoked, call.services.clock.now_ms()))


async def revoke_certificates(call: Call) -> Reply:
    wish: structs.Revocation = call.body
    device_id = call.path["device_id"]

    def write(writer: Catalog) -> tuple[int, int]:
        writer.get_device(device_id, scope=call.scope)
        count = writer.revoke_certificates_of(device_id, because=wish.because)
        return count, len(writer.tokens_of(device_id))

    count, tokens_left = await call.write(write)
    await hurry_broker(call.services, device_id)
    return Reply(
        content=structs.RevokedCertificates(device_id=device_id, revoked=count, tokens_left=tokens_left)
    )


async def hurry_broker(services: Services, device_id: str) -> None:
    """Have the broker look at a device's access now; by itself it does so within a second, or when it is back."""
    with contextlib.suppress(Unavailable):
        await services.broker.access_changed(device_id)


_CERTIFICATE: Final = "/certificates/{serial}"
_TAGS: Final = ("certificates",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/certificates",
        handler=list_certificates,
        needs="certificates.read",
        summary="List devices' certificates, those that end first before the others",
        query=structs.CertificateQuery,
        answer=structs.CertificatePage,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/certificates",
        handler=issue_certificate,
        needs="certificates.manage",
        action=ISSUE,
        summary="Issue a certificate to a device, for its certificate signing request",
        body=structs.NewCertificate,
        answer=structs.IssuedCertificate,
        status=201,
        errors=(404, 409, 413),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_CERTIFICATE,
        handler=get_certificate,
        needs="certificates.read",
        summary="Get a certificate by its serial number",
        answer=structs.Certificate,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_CERTIFICATE + "/revoke",
        handler=revoke_certificate,
        needs="certificates.manage",
        action="certificate.revoke",
        summary="Revoke a certificate for good; connections made with it end within a second",
        body=structs.Revocation,
        answer=structs.Certificate,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/devices/{device_id}/certificates/revoke",
        handler=revoke_certificates,
        needs="certificates.manage",
        action="certificate.revoke",
        summary="Revoke all certificates of a device",
        body=structs.Revocation,
        answer=structs.RevokedCertificates,
        errors=(404,),
        tags=_TAGS,
    ),
)
