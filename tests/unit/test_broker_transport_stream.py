"""A transport as trio's stream, plain and through TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from broker.tls import TlsFiles, server_context
from broker.transport import Closed, PlainTransport
from broker.transport_stream import TransportStream, secure
from tests.pki_kit import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def box(authority: Authority) -> Path:
    return authority.issue("box", server=True)


def sockets() -> tuple[socket.socket, trio.SocketStream]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, trio.SocketStream(trio.socket.from_stdlib_socket(theirs))


@asynccontextmanager
async def ends(
    authority: Authority, box: Path, *, is_tls: bool
) -> AsyncIterator[tuple[TransportStream, trio.abc.Stream]]:
    ours, theirs = sockets()
    async with theirs:
        if not is_tls:
            async with TransportStream(ours, PlainTransport(ours)) as stream:
                yield stream, theirs
            return
        context = ssl.create_default_context(cafile=str(authority.path))
        client = trio.SSLStream(theirs, context, server_hostname="localhost", https_compatible=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            transport = await secure(ours, server_context(TlsFiles(certificate=box)))
        async with TransportStream(ours, transport) as stream:
            yield stream, client


KINDS = pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])


@KINDS
async def test_bytes_both_ways(authority: Authority, box: Path, is_tls: bool) -> None:
    data = bytes(range(256)) * 4000
    async with ends(authority, box, is_tls=is_tls) as (stream, client):

        async def echo() -> None:
            while got := await stream.receive_some(10_000):
                await stream.send_all(got)

        received = b""
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(echo)
                nursery.start_soon(client.send_all, data)
                while len(received) < len(data):
                    received += await client.receive_some(65_536)
                nursery.cancel_scope.cancel()
        assert received == data


async def test_what_came_with_the_end_of_the_handshake(authority: Authority, box: Path) -> None:
    """The client's first words stand behind its last message of the handshake, in one segment."""
    ours, theirs = sockets()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(authority.path))
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")

    async def talk() -> None:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                await theirs.send_all(outgoing.read())
                incoming.write(await theirs.receive_some(65_536))
        client.write(b"first words")
        await theirs.send_all(outgoing.read())

    with trio.fail_after(60):
        async with theirs, trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            transport = await secure(ours, server_context(TlsFiles(certificate=box)))
            async with TransportStream(ours, transport) as stream:
                assert await stream.receive_some(100) == b"first words"


@KINDS
async def test_the_end_of_the_stream(authority: Authority, box: Path, is_tls: bool) -> None:
    async with ends(authority, box, is_tls=is_tls) as (stream, client):
        await stream.send_all(b"hello")
        assert await client.receive_some() == b"hello"
        await client.send_all(b"last")
        assert await stream.receive_some() == b"last"
        await client.aclose()
        with trio.fail_after(60):
            if is_tls:  # The client goes without TLS's goodbye: cut off, for all that one can tell.
                with pytest.raises(trio.BrokenResourceError):
                    await stream.receive_some()
            else:
                assert await stream.receive_some() == b""


@KINDS
async def test_closed_here(authority: Authority, box: Path, is_tls: bool) -> None:
    async with ends(authority, box, is_tls=is_tls) as (stream, client):
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await stream.receive_some()

                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                await stream.aclose()
            await stream.aclose()
            for wrong in (stream.receive_some, stream.wait_send_all_might_not_block):
                with pytest.raises(trio.ClosedResourceError):
                    await wrong()
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x")
            assert await client.receive_some() == b"", "TLS said goodbye"


async def test_a_peer_that_is_gone() -> None:
    ours, theirs = sockets()
    async with TransportStream(ours, PlainTransport(ours)) as stream:
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"unread")
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_a_handshake_that_fails_sends_an_alert(box: Path) -> None:
    ours, theirs = sockets()
    with ours:
        async with theirs:
            await theirs.send_all(b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00")
            with pytest.raises(Closed, match="TLS handshake failed"):
                await secure(ours, server_context(TlsFiles(certificate=box)))
            assert (await theirs.receive_some())[0] == 0x15, "RFC 8446 §5.1: alert"
