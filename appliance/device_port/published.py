"""What anybody on the devices' port may have: where they are, the authority's certificates, its revocation list."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding

from appliance.device_port.est import BASE
from appliance.device_port.messages import Request, Response, Route
from appliance.identity.crl import CrlKeeper
from appliance.identity.issuing import Issuing

_WELCOME = f"""\
This is the port of the devices of this Homeport box. People use its pages, on another port.

{BASE}/cacerts         the certificates of the site's authority (EST, RFC 7030)
{BASE}/simpleenroll    a certificate for a device
{BASE}/simplereenroll  the next one
/ca.pem, /ca.der                       the authority's certificates; its root alone
/crl.pem, /crl.der                     its revocation list
"""


class Published:
    """See the module's docstring."""

    def __init__(self, issuing: Issuing, crl: CrlKeeper) -> None:
        self._issuing = issuing
        self._crl = crl

    def routes(self) -> list[Route]:
        return [
            Route(name="welcome", method="GET", path="/", handler=self._welcome),
            Route(name="ca", method="GET", path="/ca.pem", handler=self._ca_pem),
            Route(name="ca", method="GET", path="/ca.der", handler=self._ca_der),
            Route(name="crl", method="GET", path="/crl.pem", handler=self._crl_pem),
            Route(name="crl", method="GET", path="/crl.der", handler=self._crl_der),
        ]

    async def _welcome(self, request: Request) -> Response:
        return Response(body=_WELCOME.encode())

    async def _ca_pem(self, request: Request) -> Response:
        return Response(body=self._issuing.authority.chain_pem, content_type="application/x-pem-file")

    async def _ca_der(self, request: Request) -> Response:
        root = self._issuing.authority.root.public_bytes(Encoding.DER)
        return Response(body=root, content_type="application/pkix-cert")

    async def _crl_pem(self, request: Request) -> Response:
        return Response(body=self._crl.current.pem, content_type="application/x-pem-file")

    async def _crl_der(self, request: Request) -> Response:
        return Response(body=self._crl.current.der, content_type="application/pkix-crl")
