"""The port on real sockets: TLS with and without a certificate, places, and what ends a connection."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.core.clock import SystemClock
from appliance.core.errors import ConfigError
from appliance.core.settings import Bind
from appliance.device_port.messages import Request, Response, Route, Routes
from appliance.device_port.port import DevicePort
from appliance.identity import tls
from appliance.identity.device_rate_limit import DeviceRateLimit
from tests.ca_kit import INSTALLER, Site, make_csr, site
from tests.pki_kit import Authority

DEADLINE_S = 60.0


async def who(request: Request) -> Response:
    shown = "nobody" if request.certificate is None else request.certificate.subject.rfc4514_string()
    return Response(body=shown.encode())


class Running:
    def __init__(self, here: Site, port: DevicePort, number: int, server_certificate: Path) -> None:
        self.here = here
        self.port = port
        self.number = number
        self._server_certificate = server_certificate

    async def device_certificate(self, device_id: str) -> Path:
        """Key and certificate of a device, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.here.clock.set_wall(SystemClock().now_ms())
        await self.here.add_device(device_id)
        issued = await self.here.issuing.issue(make_csr(key=key), device_id, "api", INSTALLER)
        path = self.here.data_dir / f"{device_id}.pem"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + issued.pem)
        return path

    async def connect(self, certificate: Path | None = None) -> trio.SSLStream[trio.SocketStream]:
        context = ssl.create_default_context(cafile=self._server_certificate)
        if certificate is not None:
            context.load_cert_chain(certificate)
        stream = await trio.open_tcp_stream("127.0.0.1", self.number)
        secured = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
        try:
            await secured.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secured)
            raise
        return secured

    async def ask(self, certificate: Path | None = None) -> bytes:
        """The answer's body to one request."""
        with trio.fail_after(DEADLINE_S):
            stream = await self.connect(certificate)
            async with stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                data = b""
                while part := await stream.receive_some():
                    data += part
        return data.partition(b"\r\n\r\n")[2]


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with site(tmp_path) as here, trio.open_nursery() as nursery:
        server = tls.load_or_create(
            tmp_path,
            here.keys,
            node_name="box",
            clock=SystemClock(),
            names=("localhost",),
            addresses=("127.0.0.1",),
        )
        port = DevicePort(
            Bind(host="127.0.0.1", port=0),
            [Route(name="who", method="GET", path="/", handler=who)],
            DeviceRateLimit(clock=here.clock),
            certificate=server.path,
            authorities=here.authority.devices_path,
        )
        number = await nursery.start(port.serve)
        yield Running(here, port, number, server.certificate_path)
        nursery.cancel_scope.cancel()


async def until_empty(here: Running) -> None:
    with trio.fail_after(DEADLINE_S):
        while here.port.statistics().connections:  # noqa: ASYNC110 - the port has no event for it
            await trio.sleep(0.01)


async def test_with_and_without_a_certificate(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        assert await here.ask() == b"nobody"
        assert await here.ask(await here.device_certificate("pump")) == b"CN=pump"
        await until_empty(here)
        statistics = here.port.statistics()
        assert (statistics.accepted, statistics.answers) == (2, {("who", 200): 2})


async def test_somebody_elses_certificate_ends_the_handshake(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        (tmp_path / "pki").mkdir()
        stranger = Authority(tmp_path / "pki").issue("pump")
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            # With TLS 1.3 the client learns of it at its first read.
            assert await here.ask(stranger)
        await until_empty(here)
        assert here.port.statistics().refused_by_code == {"tls": 1}


async def test_a_new_authority_counts_after_a_reload(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        pump = await here.device_certificate("pump")
        path = here.here.authority.devices_path
        before = path.read_bytes()
        (tmp_path / "pki").mkdir()
        path.write_bytes(Authority(tmp_path / "pki").path.read_bytes())
        here.port.reload()
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            assert await here.ask(pump)
        path.write_bytes(before)
        here.port.reload()
        assert await here.ask(pump) == b"CN=pump"
        path.write_bytes(b"nothing")
        with pytest.raises(ConfigError):
            here.port.reload()
        assert await here.ask(pump) == b"CN=pump"


async def test_places_by_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.device_port.port.DEVICE_PORT_CONNECTION_PER_ADDRESS_COUNT_MAX", 2)
    async with running(tmp_path) as here:
        held = [await here.connect(), await here.connect()]
        with pytest.raises((trio.BrokenResourceError, OSError)):
            await here.connect()
        assert here.port.statistics().refused_by_code["connections_per_address"] == 1
        for stream in held:
            await stream.aclose()
        await until_empty(here)
        assert await here.ask() == b"nobody"


async def test_places_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.device_port.port.DEVICE_PORT_CONNECTION_COUNT_MAX", 1)
    async with running(tmp_path) as here:
        held = await here.connect()
        with pytest.raises((trio.BrokenResourceError, OSError)):
            await here.connect()
        assert here.port.statistics().refused_by_code["connections"] == 1
        await held.aclose()


async def test_a_handshake_that_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.device_port.port.DEVICE_PORT_HANDSHAKE_TIMEOUT_MS", 100)
    async with running(tmp_path) as here:
        async with await trio.open_tcp_stream("127.0.0.1", here.number) as stream:
            with trio.fail_after(DEADLINE_S):
                assert await stream.receive_some() == b""
        await until_empty(here)
        assert here.port.statistics().refused_by_code == {"tls_slow": 1}


async def test_a_mistake_of_ours_ends_one_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def mistaken(request: Request) -> Response:
        raise RuntimeError("nobody foresaw this")

    async with running(tmp_path) as here:
        (_, route), *_ = here.port._routes._routes
        monkeypatch.setattr(here.port, "_routes", Routes([replace(route, handler=mistaken)]))
        assert await here.ask() == b""
        await until_empty(here)
        assert here.port.statistics().refused_by_code == {"unforeseen": 1}
        monkeypatch.undo()
        assert await here.ask() == b"nobody"


async def test_plain_http_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        async with await trio.open_tcp_stream("127.0.0.1", here.number) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await stream.receive_some() == b""
        await until_empty(here)
        assert here.port.statistics().refused_by_code == {"tls": 1}


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        other = DevicePort(
            Bind(host="127.0.0.1", port=here.number),
            [],
            DeviceRateLimit(clock=here.here.clock),
            certificate=tmp_path / "identity" / "tls.pem",
            authorities=here.here.authority.devices_path,
        )
        with pytest.raises(ConfigError) as refused:
            await other.serve()
        assert refused.value.code == "port_taken"
