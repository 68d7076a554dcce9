"""What anybody on the devices' port may have."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from appliance.device_port.messages import Request, Response, Routes
from appliance.device_port.published import Published
from appliance.identity.crl import CrlKeeper
from tests.ca_kit import site


async def test_it_is_all_there(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        crl = CrlKeeper(here.issuing, here.catalog, tmp_path / "crl.pem", clock=here.clock)
        await crl.refresh()
        routes = Routes(Published(here.issuing, crl).routes())

        async def get(path: str) -> Response:
            return await routes.find("GET", path)[0].handler(Request(method="GET", path=path))

        assert b"simpleenroll" in (await get("/")).body
        chain = x509.load_pem_x509_certificates((await get("/ca.pem")).body)
        assert chain == [here.authority.issuing, here.authority.root]
        assert x509.load_der_x509_certificate((await get("/ca.der")).body) == here.authority.root
        signed = x509.load_der_x509_crl((await get("/crl.der")).body)
        assert signed.is_signature_valid(here.authority.key.public_key())
        assert x509.load_pem_x509_crl((await get("/crl.pem")).body) == signed
