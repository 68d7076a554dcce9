"""EST over the routes: what RFC 7030 says of answers, without sockets."""

from __future__ import annotations

import subprocess
from base64 import b64decode, b64encode, encodebytes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from appliance.core.errors import HomeportError
from appliance.core.limits import DEVICE_PORT_REQUESTS_PER_DEVICE_MAX
from appliance.device_port.doorkeeper import Doorkeeper
from appliance.device_port.est import BASE, CSR_ATTRIBUTES, Est
from appliance.device_port.messages import Request, Response, Routes, error_response
from appliance.identity.device_rate_limit import DeviceRateLimit
from appliance.identity.keys import new_token
from tests.acts import ACT
from tests.ca_kit import DAY_MS, Site, make_csr, site


def openssl(command: str, data: bytes) -> str:
    done = subprocess.run(["openssl", command, "-inform", "DER"], input=data, capture_output=True, check=True)
    return done.stdout.decode()


class Server:
    def __init__(self, here: Site, token: str) -> None:
        self.here = here
        doorkeeper = Doorkeeper(here.catalog, here.keys, clock=here.clock, waits=False)
        self._routes = Routes(Est(here.issuing, doorkeeper, DeviceRateLimit(clock=here.clock)).routes())
        self._basic = "Basic " + b64encode(f"pump:{token}".encode()).decode()

    async def get(self, path: str) -> Response:
        route, _ = self._routes.find("GET", f"{BASE}/{path}")
        return await route.handler(Request(method="GET", path=path))

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        certificate: x509.Certificate | None = None,
        content_type: str = "application/pkcs10",
    ) -> Response:
        route, _ = self._routes.find("POST", f"{BASE}/{path}")
        headers = {"content-type": content_type}
        if certificate is None:
            headers["authorization"] = self._basic
        request = Request(
            method="POST", path=path, headers=headers, body=body, certificate=certificate, address="192.0.2.9"
        )
        try:
            return await route.handler(request)
        except HomeportError as error:
            return error_response(error)


@asynccontextmanager
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        token = new_token()
        token_hash = here.keys.token_hash(token.encode())
        await here.catalog.write(lambda catalog: catalog.set_token("pump", token_hash), by=ACT)
        yield Server(here, token)


def certificates_in(answer: Response) -> list[x509.Certificate]:
    assert answer.status == 200, answer.body
    assert answer.content_type == "application/pkcs7-mime; smime-type=certs-only"
    assert ("content-transfer-encoding", "base64") in answer.headers
    return pkcs7.load_der_pkcs7_certificates(b64decode(answer.body))


@pytest.mark.parametrize("label", ["", "any/"])
async def test_the_authoritys_certificates(tmp_path: Path, label: str) -> None:
    async with server(tmp_path) as est:
        found = certificates_in(await est.get(f"{label}cacerts"))
        assert set(found) == {est.here.authority.issuing, est.here.authority.root}


async def test_openssl_reads_what_a_request_should_be_like(tmp_path: Path) -> None:
    async with server(tmp_path) as est:
        answer = await est.get("csrattrs")
        assert answer.content_type == "application/csrattrs"
        assert b64decode(answer.body) == CSR_ATTRIBUTES
    shown = openssl("asn1parse", CSR_ATTRIBUTES)
    for word in ("ecdsa-with-SHA256", "id-ecPublicKey", "prime256v1"):
        assert word in shown


async def test_enrolling(tmp_path: Path) -> None:
    async with server(tmp_path) as est:
        key = ec.generate_private_key(ec.SECP256R1())
        body = encodebytes(make_csr("pump", key=key, encoding=Encoding.DER))
        (made,) = certificates_in(await est.post("simpleenroll", body))
        assert made.public_key() == key.public_key()
        made.verify_directly_issued_by(est.here.authority.issuing)


async def test_a_label_is_taken_and_means_nothing(tmp_path: Path) -> None:
    async with server(tmp_path) as est:
        assert (await est.post("site-a/simpleenroll", make_csr("pump"))).status == 200


async def test_enrolling_again_over_the_certificate(tmp_path: Path) -> None:
    async with server(tmp_path) as est:
        (first,) = certificates_in(await est.post("simpleenroll", make_csr("pump")))
        early = await est.post("simplereenroll", make_csr("pump"), certificate=first)
        assert (early.status, dict(early.headers)["homeport-code"]) == (409, "certificate_not_due")
        est.here.clock.advance(65 * DAY_MS)
        (second,) = certificates_in(await est.post("simplereenroll", make_csr("pump"), certificate=first))
        assert second.serial_number != first.serial_number
        (third,) = certificates_in(await est.post("simplereenroll", make_csr(), certificate=first))
        assert third.subject == first.subject


async def test_it_takes_a_certificate_to_enrol_again(tmp_path: Path) -> None:
    async with server(tmp_path) as est:
        refused = await est.post("simplereenroll", make_csr("pump"))
        assert (refused.status, dict(refused.headers)["homeport-code"]) == (403, "certificate_missing")


async def test_a_certificate_renews_itself_and_nobody_else(tmp_path: Path) -> None:
    async with server(tmp_path) as est:
        await est.here.add_device("fan")
        (mine,) = certificates_in(await est.post("simpleenroll", make_csr("pump")))
        est.here.clock.advance(65 * DAY_MS)
        refused = await est.post("simplereenroll", make_csr("fan"), certificate=mine)
        assert (refused.status, dict(refused.headers)["homeport-code"]) == (400, "csr_name_wrong")


async def test_a_revoked_certificate_renews_nothing(tmp_path: Path) -> None:
    async with server(tmp_path) as est:
        (mine,) = certificates_in(await est.post("simpleenroll", make_csr("pump")))
        await est.here.catalog.write(
            lambda catalog: catalog.revoke_certificates_of("pump", because="keyCompromise"), by=ACT
        )
        est.here.clock.advance(65 * DAY_MS)
        refused = await est.post("simplereenroll", make_csr("pump"), certificate=mine)
        assert (refused.status, dict(refused.headers)["homeport-code"]) == (403, "certificate_revoked")
        assert b"was revoked (keyCompromise)" in refused.body


async def test_an_ended_certificate_renews_nothing(tmp_path: Path) -> None:
    async with server(tmp_path) as est:
        (mine,) = certificates_in(await est.post("simpleenroll", make_csr("pump")))
        est.here.clock.advance(91 * DAY_MS)
        refused = await est.post("simplereenroll", make_csr("pump"), certificate=mine)
        assert dict(refused.headers)["homeport-code"] == "certificate_ended"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"nothing", "application/pkcs10", 400),
        (b"", "application/pkcs10", 400),
        (make_csr("fan"), "application/pkcs10", 400),
        (make_csr("pump"), "application/json", 415),
        (make_csr("pump"), "", 415),
        (b"A" * 20_000, "application/pkcs10", 413),
    ],
)
async def test_requests_that_are_none(tmp_path: Path, body: bytes, content_type: str, status: int) -> None:
    async with server(tmp_path) as est:
        answer = await est.post("simpleenroll", body, content_type=content_type)
        assert answer.status == status
        assert answer.content_type.startswith("text/plain")
        assert b". " in answer.body, "a sentence and a next step"


async def test_a_device_has_so_many_in_a_minute(tmp_path: Path) -> None:
    async with server(tmp_path) as est:
        statuses = [
            (await est.post("simpleenroll", make_csr("pump"))).status
            for _ in range(DEVICE_PORT_REQUESTS_PER_DEVICE_MAX + 1)
        ]
        assert statuses[0] == 200
        last = await est.post("simpleenroll", make_csr("pump"))
        assert (last.status, dict(last.headers)["homeport-code"]) == (429, "rate_limited")
