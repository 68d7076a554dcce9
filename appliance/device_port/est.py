"""Enrolment over Secure Transport (RFC 7030, with RFC 8951): what a device asks for, and the answers.

    GET   /.well-known/est/[label/]cacerts          the authority's certificates
    GET   /.well-known/est/[label/]csrattrs         what a request should be like
    POST  /.well-known/est/[label/]simpleenroll     a certificate, by token, claim, adopted key or certificate
    POST  /.well-known/est/[label/]simplereenroll   the next one, by the certificate still valid

The label, which other servers use to tell authorities apart, is taken and ignored: there is one authority.
"""

from __future__ import annotations

from base64 import encodebytes
from http import HTTPStatus
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

from appliance.core.errors import UsageError
from appliance.core.limits import DEVICE_PORT_BODY_BYTES_MAX
from appliance.device_port.doorkeeper import Doorkeeper, Proven
from appliance.device_port.messages import Request, Response, Route, TooOften
from appliance.identity.csr import common_name_of
from appliance.identity.device_rate_limit import DeviceRateLimit
from appliance.identity.issuing import Issuing

BASE: Final = "/.well-known/est"
PKCS10: Final = "application/pkcs10"
PKCS7: Final = "application/pkcs7-mime; smime-type=certs-only"
CSR_ATTRIBUTES: Final = bytes.fromhex(
    "3021" "06082a8648ce3d040302" "301506072a8648ce3d0201310a06082a8648ce3d030107"
)  # fmt: skip
"""SEQUENCE { ecdsa-with-SHA256, id-ecPublicKey with P-256 }: what is best, not all that is taken (RFC 7030 §4.5.2)."""


class Est:
    """See the module's docstring."""

    def __init__(self, issuing: Issuing, doorkeeper: Doorkeeper, rate: DeviceRateLimit) -> None:
        self._issuing = issuing
        self._rate = rate
        self._doorkeeper = doorkeeper

    def routes(self) -> list[Route]:
        """All addresses, each with and without a label."""
        made = []
        for name, method, handler, body_bytes_max in (
            ("cacerts", "GET", self._cacerts, 0),
            ("csrattrs", "GET", self._csrattrs, 0),
            ("simpleenroll", "POST", self._simpleenroll, DEVICE_PORT_BODY_BYTES_MAX),
            ("simplereenroll", "POST", self._simplereenroll, DEVICE_PORT_BODY_BYTES_MAX),
        ):
            for path in (f"{BASE}/{name}", f"{BASE}/{{label}}/{name}"):
                route = Route(
                    name=f"est_{name}",
                    method=method,
                    path=path,
                    handler=handler,
                    body_bytes_max=body_bytes_max,
                )
                made.append(route)
        return made

    async def _cacerts(self, request: Request) -> Response:
        authority = self._issuing.authority
        return _certificates([authority.issuing, authority.root])

    async def _csrattrs(self, request: Request) -> Response:
        return _base64(CSR_ATTRIBUTES, "application/csrattrs")

    async def _simpleenroll(self, request: Request) -> Response:
        csr = _csr_of(request)
        return await self._issue(csr, await self._doorkeeper.identify(request, csr))

    async def _simplereenroll(self, request: Request) -> Response:
        csr = _csr_of(request)
        proven = self._doorkeeper.by_certificate(request)
        if common_name_of(csr) not in ("", proven.device_id):
            raise UsageError(
                f"The request is for “{common_name_of(csr)[:40]}”, and the certificate is for “{proven.device_id}”.",
                hint="Keep the subject: a device renews its own certificate.",
                code="csr_name_wrong",
            )
        return await self._issue(csr, proven)

    async def _issue(self, csr: bytes, proven: Proven) -> Response:
        if wait_s := self._rate.take_device(proven.device_id):
            raise TooOften(wait_s)
        issued = await self._issuing.issue(
            csr, proven.device_id, "est", proven.actor, shown=proven.shown, token_hash=proven.token_hash
        )
        return _certificates([issued.certificate])


def _csr_of(request: Request) -> bytes:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != PKCS10:
        raise UsageError(
            f"The body must be {PKCS10}.",
            hint=f"Send the header Content-Type: {PKCS10}.",
            code="content_type",
        )
    return request.body


def _certificates(certificates: list[x509.Certificate]) -> Response:
    return _base64(serialize_certificates(certificates, Encoding.DER), PKCS7)


def _base64(data: bytes, content_type: str) -> Response:
    return Response(
        status=HTTPStatus.OK,
        body=encodebytes(data),
        content_type=content_type,
        # RFC 8951 has it ignored; clients of before want it.
        headers=(("content-transfer-encoding", "base64"), ("cache-control", "no-store")),
    )
