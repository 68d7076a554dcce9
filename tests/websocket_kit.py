"""A WebSocket client for tests, on wsproto alone, as a stream of bytes."""

from __future__ import annotations

import ssl
from typing import Final

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request

DEADLINE_S: Final = 60.0


class WebSocketStream(trio.abc.Stream):
    """A WebSocket client as a stream, on wsproto alone: what is sent at once is one binary message."""

    def __init__(self, below: trio.abc.Stream) -> None:
        self.below = below
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self.close_code: int | None = None

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext | None) -> WebSocketStream:
        with trio.fail_after(DEADLINE_S):
            return await cls.over(await trio.open_tcp_stream("127.0.0.1", port), context, port)

    @classmethod
    async def over(cls, tcp: trio.SocketStream, context: ssl.SSLContext | None, port: int) -> WebSocketStream:
        """Ask for the upgrade on a connection that stands; it is closed if that fails."""
        below: trio.abc.Stream = tcp
        if context is not None:
            below = trio.SSLStream(tcp, context, server_hostname="127.0.0.1", https_compatible=True)
        made = cls(below)
        try:
            request = Request(host=f"127.0.0.1:{port}", target="/mqtt", subprotocols=["mqtt"])
            with trio.fail_after(DEADLINE_S):
                await below.send_all(made._protocol.send(request))
                made._protocol.receive_data(bytes(await below.receive_some(65_536)))
            (answer,) = made._protocol.events()
            assert isinstance(answer, AcceptConnection), answer
            assert answer.subprotocol == "mqtt"
        except BaseException:
            tcp.socket.close()
            raise
        return made

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.below.send_all(self._protocol.send(BytesMessage(data=bytes(data))))

    async def wait_send_all_might_not_block(self) -> None:
        await self.below.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while self.close_code is None:
            data = await self.below.receive_some(max_bytes)
            if not data:
                return b""
            self._protocol.receive_data(bytes(data))
            got = b""
            for event in self._protocol.events():
                if isinstance(event, BytesMessage):
                    got += event.data
                elif isinstance(event, CloseConnection):
                    self.close_code = event.code
                    await self.below.send_all(self._protocol.send(event.response()))
            if got:
                return got
        return b""

    async def aclose(self) -> None:
        await self.below.aclose()
