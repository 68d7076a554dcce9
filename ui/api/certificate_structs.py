"""Bodies, queries and answers of the API about certificates and the site's authority. Times are UTC milliseconds in `_at_ms`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from appliance.core.limits import (
    CSR_BYTES_MAX,
    DEVICE_ID_BYTES_MAX,
    PAGE_ITEM_COUNT_DEFAULT,
    RECOVERY_KIT_BYTES_MAX,
)
from ui.api.structs import Answer, DeviceId, Limit, Query, Request

CertificateState = Literal["valid", "ended", "revoked"]
IssuedBy = Literal["est", "mqtt", "api", "cli"]
RevokedBecause = Literal[
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
]
Days = Annotated[int, Meta(ge=0, le=3_660)]


class CertificateQuery(Query, kw_only=True, frozen=True):
    """Which certificates: of a device, in a state, that end within so many days."""

    device_id: Annotated[str, Meta(min_length=1, max_length=DEVICE_ID_BYTES_MAX)] | None = None
    state: CertificateState | None = None
    ends_within_days: Days | None = None
    cursor: Annotated[str, Meta(max_length=64)] | None = None
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class Certificate(Answer, kw_only=True, frozen=True):
    """A device's certificate. `serial` is hexadecimal; `fingerprint` and `key_hash` are SHA-256 of it and of its public key."""

    serial: str
    device_id: str
    state: CertificateState
    fingerprint: str
    key_hash: str
    issuer_key_id: str
    issued_by: IssuedBy
    not_before_at_ms: int
    not_after_at_ms: int
    issued_at_ms: int
    revoked_at_ms: int | None
    revoked_because: RevokedBecause | None


class CertificatePage(Answer, kw_only=True, frozen=True):
    """Certificates in the order in which they end; `next_cursor` is where the next page begins, null at the end."""

    certificates: tuple[Certificate, ...]
    next_cursor: str | None


class NewCertificate(Request, kw_only=True, frozen=True):
    """A certificate to issue to an active device: `csr` is PKCS#10, PEM or base64."""

    device_id: DeviceId
    csr: Annotated[str, Meta(min_length=1, max_length=CSR_BYTES_MAX)]


class IssuedCertificate(Answer, kw_only=True, frozen=True):
    """A new certificate, and the authorities that verify it (the issuing one, then the root), as PEM."""

    device_id: str
    serial: str
    certificate: str
    chain: str
    not_after_at_ms: int


class Revocation(Request, kw_only=True, frozen=True):
    """Why a certificate is revoked: a reason of RFC 5280."""

    because: RevokedBecause = "unspecified"


class RevokedCertificates(Answer, kw_only=True, frozen=True):
    """How many certificates of a device were revoked. `tokens_left` are its tokens that are good as before."""

    device_id: str
    revoked: int
    tokens_left: int


class AuthorityRoot(Answer, kw_only=True, frozen=True):
    """The root; its key is in no file of the box."""

    name: str
    fingerprint: str
    not_after_at_ms: int


class AuthorityIssuing(Answer, kw_only=True, frozen=True):
    """The issuing authority; `is_due` when it should be renewed, `generation` counts its keys."""

    name: str
    fingerprint: str
    key_id: str
    generation: int
    not_after_at_ms: int
    is_due: bool


class AuthorityServers(Answer, kw_only=True, frozen=True):
    """The authority for boxes' own certificates: who trusts it knows every box of the site. `/homeport-ca.pem` is what to trust.

    `box_signer` is who signed this box's own one: `site` for the authority, `itself` for a box from before there was one, `other` for somebody
    else who put it there.
    """

    fingerprint: str
    box_signer: str
    box_fingerprint: str
    box_not_after_at_ms: int


class AuthorityCrl(Answer, kw_only=True, frozen=True):
    """The revocation list; null numbers before the first one."""

    number: int | None
    next_update_at_ms: int | None
    entries: int


class CertificateTotals(Answer, kw_only=True, frozen=True):
    """Certificates that have not ended, and active devices whose last one ends soon or ended within 30 days."""

    valid: int
    revoked: int
    first_ends_at_ms: int | None
    devices_ending: int
    devices_ended: int


class Authority(Answer, kw_only=True, frozen=True):
    """The site's certificate authority. `recovery_kit_pending` while nobody has confirmed that the kit is kept elsewhere."""

    root: AuthorityRoot
    issuing: AuthorityIssuing
    servers: AuthorityServers
    crl: AuthorityCrl
    certificates: CertificateTotals
    recovery_kit_pending: bool
    devices_https: str | None


class Renewal(Request, kw_only=True, frozen=True):
    """Renew the issuing authority with the recovery kit's text. With `new_key` every certificate of the old key is void."""

    recovery_kit: Annotated[str, Meta(min_length=1, max_length=RECOVERY_KIT_BYTES_MAX)]
    new_key: bool = False


class KitConfirmed(Answer, kw_only=True, frozen=True):
    """Whether the box had a secret to forget."""

    was_pending: bool
