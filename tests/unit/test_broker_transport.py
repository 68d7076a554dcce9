"""Bytes of a client, plain and through TLS, from a socket pair."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import SystemClock
from appliance.identity import SiteKeys, tls
from broker.tls import TlsFiles, server_context
from broker.transport import Closed, PlainTransport, TlsTransport


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificate")
    return tls.load_or_create(
        directory,
        SiteKeys.load_or_create(directory),
        node_name="kit",
        clock=SystemClock(),
        names=["localhost"],
        addresses=["127.0.0.1"],
    ).path


class Secured:
    """Both ends after a handshake; the client's ciphertext goes wherever a test sends it."""

    def __init__(self, ours: socket.socket, certificate: Path, version: ssl.TLSVersion) -> None:
        server_in, server_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client_in, self.client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(certificate.with_name("tls.crt")))
        context.maximum_version = version
        self.client = context.wrap_bio(self.client_in, self.client_out, server_hostname="localhost")
        server = server_context(TlsFiles(certificate=certificate)).wrap_bio(
            server_in, server_out, server_side=True
        )
        for _ in range(6):
            for end, outgoing, incoming in (
                (self.client, self.client_out, server_in),
                (server, server_out, self.client_in),
            ):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    pass
                incoming.write(outgoing.read())
        assert self.client.version() == server.version()
        self.transport = TlsTransport(ours, server, server_in, server_out)

    def encrypted(self, *messages: bytes) -> bytes:
        for message in messages:
            self.client.write(message)
        return self.client_out.read()

    def decrypted(self, ciphertext: bytes) -> bytes:
        self.client_in.write(ciphertext)
        got = bytearray()
        try:
            while data := self.client.read(65_536):
                got += data
        except ssl.SSLWantReadError:
            pass
        return bytes(got)


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def secured(
    request: pytest.FixtureRequest, sockets: tuple[socket.socket, socket.socket], certificate: Path
) -> Secured:
    return Secured(sockets[0], certificate, request.param)


Sockets = tuple[socket.socket, socket.socket]


class TestPlain:
    def test_bytes(self, sockets: Sockets) -> None:
        ours, theirs = sockets
        transport = PlainTransport(ours)
        with pytest.raises(BlockingIOError):
            transport.receive(65_536)
        theirs.send(b"hello")
        assert transport.receive(65_536) == b"hello"
        assert transport.seal(b"x") == b"x"
        assert transport.farewell() == b""
        theirs.close()
        assert transport.receive(65_536) == b"", "the end of the stream"

    def test_a_reset(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
            with ours:
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                theirs.close()
                with pytest.raises(ConnectionResetError):
                    PlainTransport(ours).receive(65_536)


class TestTls:
    def test_bytes_both_ways(self, secured: Secured, sockets: Sockets) -> None:
        with pytest.raises(BlockingIOError):
            secured.transport.receive(65_536)
        sockets[1].send(secured.encrypted(b"one", b"two"))
        assert secured.transport.receive(65_536) == b"onetwo", "of all records that have come"
        assert secured.decrypted(secured.transport.seal(b"answer")) == b"answer"
        large = bytes(1_000_000)
        assert secured.decrypted(secured.transport.seal(large)) == large
        assert secured.transport.seal(b"") == b""

    def test_a_record_in_two_pieces(self, secured: Secured, sockets: Sockets) -> None:
        ciphertext = secured.encrypted(b"message")
        sockets[1].send(ciphertext[:7])
        with pytest.raises(BlockingIOError):
            secured.transport.receive(65_536)
        sockets[1].send(ciphertext[7:])
        assert secured.transport.receive(65_536) == b"message"

    def test_nothing_waits_inside(self, secured: Secured, sockets: Sockets) -> None:
        """More plaintext than one read takes: all of it comes at once, or the descriptor is readable still."""
        ciphertext = secured.encrypted(*[b"x" * 16_000] * 3)
        sockets[1].setblocking(True)
        sockets[1].sendall(ciphertext)
        assert len(secured.transport.receive(65_536)) == 48_000

    def test_goodbye(self, secured: Secured, sockets: Sockets) -> None:
        farewell = secured.transport.farewell()
        assert farewell
        secured.client_in.write(farewell)
        assert secured.client.read(10) == b""

    def test_the_end_of_the_stream(self, secured: Secured, sockets: Sockets) -> None:
        sockets[1].send(secured.encrypted(b"last"))
        sockets[1].close()
        assert secured.transport.receive(65_536) == b"last"
        with pytest.raises(Closed):
            secured.transport.receive(65_536)

    def test_a_polite_end(self, secured: Secured, sockets: Sockets) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            secured.client.unwrap()
        sockets[1].send(secured.client_out.read())
        assert secured.transport.receive(65_536) == b""

    def test_garbage(self, secured: Secured, sockets: Sockets) -> None:
        sockets[1].send(b"\x17\x03\x03\0\x20" + b"?" * 32)
        with pytest.raises(Closed):
            secured.transport.receive(65_536)

    def test_garbage_behind_a_good_record(self, secured: Secured, sockets: Sockets) -> None:
        """What was good is given out; after that the connection is closed, whoever notices first."""
        sockets[1].send(secured.encrypted(b"good") + b"\x17\x03\x03\0\x20" + b"?" * 32)
        assert secured.transport.receive(65_536) == b"good"
        with pytest.raises(Closed):
            secured.transport.seal(b"an answer that can't be sent any more")
        with pytest.raises(Closed):
            secured.transport.receive(65_536)
        secured.transport.farewell()

    def test_a_socket_that_fails(self, secured: Secured, sockets: Sockets) -> None:
        sockets[0].close()
        with pytest.raises(OSError, match="descriptor"):
            secured.transport.receive(65_536)
