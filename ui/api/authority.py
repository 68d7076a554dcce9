"""Endpoints about the site's certificate authority: what it is, its certificates and its list, and its renewal with the kit."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Final

import trio
from cryptography import x509
from starlette.responses import Response

from appliance.core.errors import Unavailable
from appliance.identity import TlsIdentity, recovery_kit, tls
from appliance.identity.ca_certificates import fingerprint, generation_of, ms
from appliance.identity.recovery_kit import RecoveryKit
from ui.api import certificate_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.services import Services

PEM: Final = "application/x-pem-file"
CRL: Final = "application/pkix-crl"


async def authority_answer(services: Services) -> structs.Authority:
    """All that there is to say of the authority. Raises Unavailable: the catalog does not answer."""
    authority, now_ms = services.issuing.authority, services.clock.now_ms()
    try:
        current = services.crl.current
        crl = structs.AuthorityCrl(
            number=current.number,
            next_update_at_ms=current.next_update_at_ms,
            entries=len(current.serials),
        )
    except Unavailable:
        crl = structs.AuthorityCrl(number=None, next_update_at_ms=None, entries=0)
    counts = await services.issuing.counts()
    pending = services.config.node.data_dir / recovery_kit.PENDING
    bind = services.config.devices.https_bind
    return structs.Authority(
        root=structs.AuthorityRoot(
            name=_name(authority.root),
            fingerprint=fingerprint(authority.root),
            not_after_at_ms=ms(authority.root.not_valid_after_utc),
        ),
        issuing=structs.AuthorityIssuing(
            name=_name(authority.issuing),
            fingerprint=fingerprint(authority.issuing),
            key_id=authority.key_id,
            generation=generation_of(authority.issuing),
            not_after_at_ms=authority.ends_at_ms,
            is_due=authority.is_due(now_ms),
        ),
        servers=_servers(services.tls),
        crl=crl,
        certificates=structs.CertificateTotals(**dataclasses.asdict(counts)),
        recovery_kit_pending=await trio.to_thread.run_sync(pending.exists),
        devices_https=None if bind is None else str(bind),
    )


def _servers(box: TlsIdentity) -> structs.AuthorityServers:
    return structs.AuthorityServers(
        fingerprint=box.authority_fingerprint,
        box_signer=box.signer,
        box_fingerprint=box.fingerprint,
        box_not_after_at_ms=box.not_after_ms,
    )


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string().removeprefix("CN=")


async def get_authority(call: Call) -> Reply:
    return Reply(content=await authority_answer(call.services))


async def get_authority_chain(call: Call) -> Reply:
    pem = call.services.issuing.authority.chain_pem
    return Reply(content=None, response=Response(pem, media_type=PEM))


async def get_crl(call: Call) -> Reply:
    return Reply(content=None, response=Response(call.services.crl.current.der, media_type=CRL))


async def renew_authority(call: Call) -> Reply:
    wish: structs.Renewal = call.body
    services = call.services
    kit = RecoveryKit.parse(wish.recovery_kit)
    services.issuing.authority.check_kit(kit)
    action = call.action
    await call.write(
        lambda writer: writer.note(
            action,
            object_kind="authority",
            object_id=services.issuing.authority.key_id,
            detail="with a new key: certificates of the old one are void" if wish.new_key else "",
        )
    )
    renewed = await trio.to_thread.run_sync(
        lambda: services.issuing.authority.renewed(
            kit, services.keys, clock=services.clock, new_key=wish.new_key
        )
    )
    services.issuing.replace_authority(renewed)
    return Reply(content=await authority_answer(services))


async def sign_box(call: Call) -> Reply:
    services = call.services
    also = tuple(address.host for address in services.config.replication.addresses)
    async with call.noted(object_kind="authority", object_id=services.tls.authority_fingerprint):
        made = await trio.to_thread.run_sync(
            partial(
                tls.replace,
                services.config.node.data_dir,
                services.keys,
                node_name=services.node_name,
                clock=services.clock,
                also=also,
            )
        )
    return Reply(content=_servers(made))


async def confirm_recovery_kit(call: Call) -> Reply:
    services, action = call.services, call.action
    await call.write(
        lambda writer: writer.note(action, object_kind="recovery_kit", object_id=services.node_name)
    )
    was_pending = await trio.to_thread.run_sync(recovery_kit.confirm, services.config.node.data_dir)
    return Reply(content=structs.KitConfirmed(was_pending=was_pending))


_TAGS: Final = ("certificates",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/ca",
        handler=get_authority,
        needs="certificates.read",
        summary="The site's certificate authority: its certificates, its list, how many it issued",
        answer=structs.Authority,
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/ca/chain.pem",
        handler=get_authority_chain,
        access="open",
        summary="The certificates that verify devices': the issuing authority's, then the root's",
        media=(PEM,),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/ca/crl.der",
        handler=get_crl,
        access="open",
        summary="The revocation list of devices' certificates",
        media=(CRL,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/ca/box-certificate",
        handler=sign_box,
        needs="keys.manage",
        action="authority.sign_box",
        summary="Have this box's own certificate, which it signed itself, be replaced by one of the site's authority",
        answer=structs.AuthorityServers,
        errors=(409,),
        codes={409: ("certificate_of_site", "certificate_foreign")},
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/ca/renew",
        handler=renew_authority,
        access="local",
        action="authority.renew",
        summary="Renew the issuing authority with the recovery kit",
        body=structs.Renewal,
        answer=structs.Authority,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/recovery-kit/confirm",
        handler=confirm_recovery_kit,
        access="local",
        action="recovery_kit.confirm",
        summary="Forget the root's secret: whoever asks has seen that the recovery kit is kept",
        answer=structs.KitConfirmed,
        tags=_TAGS,
    ),
)
