"""broker/bridge/remote.py"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from appliance.core.errors import ConfigError, HomeportError, Unavailable
from appliance.core.settings import Bind
from broker.bridge.remote import TlsSettings, client_context, open_remote, read_password
from tests.interop.brokers import make_certificate
from tests.ports import free_port


async def refused_by(
    handler: Callable[[trio.SocketStream], Awaitable[None]], tls: TlsSettings | None
) -> HomeportError:
    """The error of connecting to a server on loopback."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        port = listener.socket.getsockname()[1]
        with trio.fail_after(60), pytest.raises(HomeportError) as caught:
            await open_remote(Bind(host="127.0.0.1", port=port), tls)
        nursery.cancel_scope.cancel()
    return caught.value


def tls_server(folder: Path) -> Callable[[trio.SocketStream], Awaitable[None]]:
    certificate, key = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def handler(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True)
        with trio.move_on_after(5):
            try:
                await secured.do_handshake()
            except trio.BrokenResourceError:
                return

    return handler


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    error = await refused_by(tls_server(tmp_path), TlsSettings(server_name="localhost"))
    assert (type(error), error.code) == (Unavailable, "bridge_certificate")
    assert "ca_file" in error.hint


async def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    server = tls_server(tmp_path)
    error = await refused_by(server, TlsSettings(server_name="other.test", ca_file=tmp_path / "test.crt"))
    assert error.code == "bridge_certificate"
    assert "other.test" in error.message


async def test_a_port_that_speaks_no_tls() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.send_all(b"\x20\x02\x00\x00")
        await stream.aclose()

    error = await refused_by(handler, TlsSettings(server_name="localhost"))
    assert error.code == "bridge_tls"


async def test_nobody_listens() -> None:
    with pytest.raises(Unavailable) as caught:
        await open_remote(Bind(host="127.0.0.1", port=free_port()), None)
    assert caught.value.code == "bridge_unreachable"
    assert "refused" in caught.value.message


async def test_a_name_that_is_none() -> None:
    with pytest.raises(Unavailable) as caught:
        await open_remote(Bind(host="no-such-host.invalid", port=1), None)
    assert caught.value.code == "bridge_unreachable"


async def test_silence_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.bridge.remote.BRIDGE_CONNECT_TIMEOUT_MS", 100)

    async def handler(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    error = await refused_by(handler, TlsSettings(server_name="localhost"))
    assert error.code == "bridge_no_answer"


@pytest.mark.parametrize("key", ["ca_file", "certificate_file"])
@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_files_that_cannot_be_used(tmp_path: Path, key: str, content: str | None) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=key) as caught:
        client_context(TlsSettings(server_name="x", **{key: path}))
    assert caught.value.code == "bridge_tls_files"


def test_the_name_and_the_certificate_are_checked(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    context = client_context(TlsSettings(server_name="x", ca_file=certificate, certificate_file=both))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("data", "password"),
    [(b"secret", b"secret"), (b"secret\r\nand a remark\n", b"secret"), (b" a b \n", b" a b ")],
)
def test_a_password_is_the_first_line(tmp_path: Path, data: bytes, password: bytes) -> None:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_bytes(data)
    assert read_password(path) == password


@pytest.mark.parametrize(
    ("data", "mode", "says"),
    [(b"secret", 0o640, "others"), (b"\nsecret", 0o600, "no password"), (b"x" * 5000, 0o600, "4096")],
)
def test_a_password_file_that_is_none(tmp_path: Path, data: bytes, mode: int, says: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(data)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=says) as caught:
        read_password(path)
    assert "secret" not in str(caught.value)


def test_no_password_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_password(tmp_path / "none")
    assert caught.value.code == "bridge_password_file"
