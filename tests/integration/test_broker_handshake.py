"""From an accepted socket to CONNACK: who is refused and with which words, and what accepting survives."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import trio

import broker.control
import broker.listener
from appliance.core.errors import HomeportError, NotAuthorized, Unavailable
from broker.arrival import Door
from broker.link import BrokerLink
from tests.broker_kit import KitAuthenticator, Running, running_broker
from tests.protocol import builder

BOTH = pytest.mark.parametrize("version", [4, 5])


class TestConnect:
    @pytest.mark.parametrize(
        ("error", "codes"),
        [
            (NotAuthorized("wrong", code="bad_credentials"), (4, 0x86)),
            (NotAuthorized("who?", code="unknown_device"), (4, 0x86)),
            (NotAuthorized("wait", code="waiting_for_adoption"), (5, 0x87)),
            (NotAuthorized("gone", code="device_decommissioned"), (5, 0x87)),
            (Unavailable("the catalog is locked", code="catalog_away"), (3, 0x88)),
        ],
        ids=lambda value: value.code if isinstance(value, HomeportError) else "",
    )
    @BOTH
    async def test_who_is_not_let_in(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        version: int,
        error: HomeportError,
        codes: tuple[int, int],
    ) -> None:
        """Wrong credentials, no right, and a catalog that can't be asked at the moment. [MQTT5-3.1.4-2] [MQTT3-4.8.0-2]"""

        def refuse(*_: object) -> None:
            raise error

        async with running_broker(tmp_path) as running:
            monkeypatch.setattr(KitAuthenticator, "authenticate", refuse)
            peer = await running.open(version=version)
            assert await peer.refused("c") == codes[version - 4]
            assert running.statistics()["listeners"]["refused_by_code"] == {error.code: 1}
        assert running.statistics()["listeners"]["accepted"] == 0

    @pytest.mark.parametrize(
        ("options", "codes"),
        [
            pytest.param({"will": ("$SYS/x", b"x"), "will_flags": 0x04}, (5, 0x87), id="will not permitted"),
            pytest.param({"properties": builder.ptext(0x15, "SCRAM")}, (None, 0x8C), id="enhanced auth"),
        ],
    )
    @BOTH
    async def test_what_this_release_does_not_do(
        self, tmp_path: Path, version: int, options: dict[str, Any], codes: tuple[int | None, int | None]
    ) -> None:
        code = codes[version - 4]
        if code is None:
            return  # not a thing of this version, or allowed in it
        if "will" in options:
            topic, payload = options["will"]
            properties = b"" if version == 5 else None
            options = {**options, "will": builder.will_fields(topic, payload, properties=properties)}
        async with running_broker(tmp_path) as running:
            peer = await running.open(version=version)
            assert await peer.refused("c", **options) == code

    async def test_what_connack_says(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as running:
            peer = await running.open(version=5)
            connack = await peer.connect("", keep_alive=0, properties=builder.p32(0x11, 0xFFFF_FFFF))
            said = connack.body
            for expected in (
                builder.p16(0x21, 1024),  # receive maximum
                builder.p32(0x11, 604_800),  # session expiry
                builder.p16(0x13, 3600),  # keep alive
            ):
                assert expected in said
            assert b"\x12\0\x13hp-" in said, "an assigned client id"

    async def test_gone_before_the_answer(self, tmp_path: Path) -> None:
        """Reset in the middle of CONNECT, and between CONNECT and CONNACK."""
        async with running_broker(tmp_path, with_tls=True) as running:
            assert running.tls_port is not None
            connect = builder.connect("c", username="site", password=b"t")
            for port, data in (
                (running.port, connect[:9]),
                (running.port, connect),
                (running.tls_port, b"\x16\x03"),
            ):
                sock = trio.socket.socket()
                await sock.connect(("127.0.0.1", port))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                await sock.send(data)
                await trio.sleep(0.02)
                sock.close()
            await running.wait_until(lambda: running.statistics()["plane"]["connections"] == 0)
            await running.connect("c")

    async def test_a_length_in_more_bytes_than_needed(self, tmp_path: Path) -> None:
        """MQTT 3.1.1 does not forbid it, MQTT 5 does."""
        async with running_broker(tmp_path) as running:
            for version in (4, 5):
                connect = builder.connect("c", version=version, username="site", password=b"t")
                padded = connect[:1] + builder.varint(len(connect) - 2, byte_count=4) + connect[2:]
                peer = await running.open(version=version)
                await peer.send(padded)
                connack = await peer.expect(builder.CONNACK)
                assert connack.body[:2] == (b"\0\0" if version == 4 else b"\0\x81")


class Unlucky:
    """A listening socket whose first accepts fail."""

    def __init__(self, sock: socket.socket, *errors: int) -> None:
        self._sock = sock
        self._errors = list(errors)

    def accept(self) -> tuple[socket.socket, object]:
        if self._errors:
            raise OSError(self._errors.pop(0), "as told")
        return self._sock.accept()

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


class TestAccept:
    async def serve(self, running: Running, sock: socket.socket, *errors: int) -> Callable[[], None]:
        """Have the broker listen on one more socket; returns what ends that."""
        scope = trio.CancelScope()

        async def serve() -> None:
            with scope:
                await running.server._listeners.serve(
                    cast(socket.socket, Unlucky(sock, *errors)), Door(name="tcp")
                )

        trio.lowlevel.spawn_system_task(serve)
        return scope.cancel

    async def test_a_connection_that_failed_before_it_was_accepted(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path) as running:
            sock = broker.listener.open_listener("127.0.0.1", 0)
            stop = await self.serve(
                running, sock, errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EAGAIN
            )
            running.port = sock.getsockname()[1]
            await running.connect("c")
            stop()

    async def test_without_descriptors_it_waits(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(broker.listener, "ACCEPT_PAUSE_S", 0.01)
        async with running_broker(tmp_path) as running:
            sock = broker.listener.open_listener("127.0.0.1", 0)
            stop = await self.serve(running, sock, errno.EMFILE, errno.ENFILE, errno.ENOBUFS)
            running.port = sock.getsockname()[1]
            await running.connect("c")
            assert running.statistics()["listeners"]["handshakes"] <= 2
            stop()

    async def test_the_control_socket_waits_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(broker.control, "ACCEPT_PAUSE_S", 0.01)
        with trio.socket.socket() as any_socket:
            kind = type(any_socket)
        accept, errors = kind.accept, [errno.EMFILE] * 3

        async def unlucky(self: trio.socket.SocketType) -> object:
            if errors:
                raise OSError(errors.pop(), "as told")
            return await accept(self)

        monkeypatch.setattr(kind, "accept", unlucky)
        path = tmp_path / "broker.sock"
        async with running_broker(tmp_path, control_path=path) as running, trio.open_nursery() as nursery:
            link = BrokerLink(path, lambda: None, lambda names: None)
            nursery.start_soon(link.run)
            await running.wait_until(lambda: bool(link.statistics))
            nursery.cancel_scope.cancel()
        assert errors == []
