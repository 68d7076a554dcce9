"""Devices with certificates, over real sockets: who comes in, who does not and is told why, and renewal while they are there."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.core.errors import NotAuthorized
from appliance.management.access import Principal
from storage.log.columns import Kind
from tests.broker_kit import CONFIG, KitAuthenticator, Peer, Running, running_broker
from tests.pki_kit import Authority
from tests.protocol import builder


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "pki"
    folder.mkdir()
    return Authority(folder)


def asking(authority: Authority, auth: str, crl: Path | None = None, **more: Any) -> dict[str, Any]:
    """Arguments of a broker that asks for certificates."""
    config = replace(CONFIG, tls_client_auth=auth, tls_client_ca=authority.path, tls_client_crl=crl, **more)
    return {"config": config, "with_tls": True}


async def alert(running: Running, client: Path | None) -> str:
    """What TLS says to a client that does not get in; with TLS 1.3 it comes when the client reads."""
    try:
        peer = await running.open_tls(client=client)
        await peer.send(builder.connect("c"))
        assert isinstance(peer.stream, trio.SSLStream)
        with trio.fail_after(60):
            await peer.stream.receive_some(1)
    except trio.BrokenResourceError as error:
        assert isinstance(error.__cause__, ssl.SSLError)
        return str(error.__cause__.reason)
    raise AssertionError("it got in")


class TestRequired:
    @pytest.mark.parametrize("version", [4, 5])
    async def test_the_certificate_is_the_device(
        self, tmp_path: Path, authority: Authority, version: int
    ) -> None:
        async with running_broker(tmp_path, **asking(authority, "required")) as running:
            peer = await running.open_tls(version=version, client=authority.issue("pump"))
            await peer.connect("any-id", username=None)
            await peer.publish("dm/pump/telemetry", b"{}")
            assert running.server.plane.owner_of("any-id") == "pump"
            assert running.statistics()["plane"]["connections_by_transport"] == {"tls": 1}
        assert [topic for _, _, topic, _ in running.records(Kind.PUBLISH)] == [b"dm/pump/telemetry"]

    async def test_without_one_tls_says_so(self, tmp_path: Path, authority: Authority) -> None:
        async with running_broker(tmp_path, **asking(authority, "required")) as running:
            assert await alert(running, None) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
            await running.wait_until(lambda: running.statistics()["listeners"]["refused_by_code"])
            assert running.statistics()["listeners"]["refused_by_code"] == {"closed": 1}

    async def test_certificates_that_do_not_count(self, tmp_path: Path, authority: Authority) -> None:
        (tmp_path / "other").mkdir()
        stranger = Authority(tmp_path / "other", "site")
        revoked = authority.issue("revoked")
        crl = authority.revoke([revoked])
        async with running_broker(tmp_path, **asking(authority, "required", crl)) as running:
            for client, reason in (
                (stranger.issue("pump"), "ALERT_UNKNOWN_CA"),
                (authority.issue("late", days=(-3, -1)), "ALERT_CERTIFICATE_EXPIRED"),
                (authority.issue("early", days=(1, 3)), "ALERT_BAD_CERTIFICATE"),
                (authority.issue("box", server=True), "ALERT_UNSUPPORTED_CERTIFICATE"),
                (revoked, "ALERT_CERTIFICATE_REVOKED"),
            ):
                said = await alert(running, client)
                assert said.endswith((reason, "ALERT_DECRYPT_ERROR")), client.name
            peer = await running.open_tls(client=authority.issue("pump"))
            await peer.connect("pump", username=None)

    @pytest.mark.parametrize(("version", "code"), [(4, 4), (5, 0x86)])
    async def test_a_user_name_of_somebody_else(
        self, tmp_path: Path, authority: Authority, version: int, code: int
    ) -> None:
        async with running_broker(tmp_path, **asking(authority, "required")) as running:
            peer = await running.open_tls(version=version, client=authority.issue("pump"))
            assert await peer.refused("c", username="valve") == code
            assert running.statistics()["listeners"]["refused_by_code"] == {"certificate_mismatch": 1}

    @pytest.mark.parametrize(("version", "code"), [(4, 5), (5, 0x87)])
    async def test_a_certificate_without_a_name(
        self, tmp_path: Path, authority: Authority, version: int, code: int
    ) -> None:
        async with running_broker(tmp_path, **asking(authority, "required")) as running:
            peer = await running.open_tls(version=version, client=authority.issue())
            assert await peer.refused("c", username=None) == code

    async def test_the_catalog_is_asked_each_time_and_a_revocation_cuts_at_once(
        self, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        states = {"pump": "active"}

        def look_up(_self: object, common_name: str, *_: object) -> Principal:
            if states[common_name] != "active":
                raise NotAuthorized("gone", code="device_decommissioned")
            return Principal(name=common_name)

        monkeypatch.setattr(KitAuthenticator, "authenticate_certificate", look_up)
        client = authority.issue("pump")
        async with running_broker(tmp_path, **asking(authority, "required")) as running:
            peer = await running.open_tls(version=5, client=client)
            await peer.connect("c", username=None)
            states["pump"] = "decommissioned"
            assert running.server.revoke("pump") == 1
            assert await peer.disconnected() == 0x87
            again = await running.open_tls(version=5, client=client)
            assert await again.refused("c", username=None) == 0x87

    async def test_a_revocation_during_the_look_up(
        self, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Looked up as active, revoked before it was admitted: it is looked up once more."""
        answers = [True, False]

        async with running_broker(tmp_path, **asking(authority, "required")) as running:

            def look_up(_self: object, common_name: str, *_: object) -> Principal:
                if not answers.pop(0):
                    raise NotAuthorized("gone", code="device_decommissioned")
                trio.from_thread.run_sync(running.server.revoke, common_name)
                return Principal(name=common_name)

            monkeypatch.setattr(KitAuthenticator, "authenticate_certificate", look_up)
            peer = await running.open_tls(version=5, client=authority.issue("pump"))
            assert await peer.refused("c", username=None) == 0x87
            assert answers == []

    async def test_an_unknown_one_is_told_to_the_node_by_its_common_name(
        self, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[str] = []
        async with running_broker(tmp_path, **asking(authority, "required")) as running:
            monkeypatch.setattr(running.server._handshake, "_on_unknown", told.append)
            peer = await running.open_tls(version=5, client=authority.issue("stranger"))
            assert await peer.refused("c", username=None) == 0x86
        assert told == ["stranger"]


class TestOptional:
    async def test_with_and_without(self, tmp_path: Path, authority: Authority) -> None:
        async with running_broker(tmp_path, **asking(authority, "optional")) as running:
            with_one = await running.open_tls(client=authority.issue("pump"))
            await with_one.connect("pump", username=None)
            without = await running.open_tls()
            await without.connect("valve", username="valve")
            nobody = await running.open_tls(version=5)
            assert await nobody.refused("c", username=None) == 0x86
            assert running.server.plane.owner_of("valve") == "valve"


class TestHandshake:
    @pytest.mark.parametrize("names", [["mqtt"], ["http/1.1"], []])
    async def test_alpn(self, tmp_path: Path, names: Sequence[str]) -> None:
        async with running_broker(tmp_path, with_tls=True) as running:
            assert running.certificate is not None
            plain = await Peer.open(running.tls_port or 0)
            running.peers.append(plain)
            context = ssl.create_default_context(cafile=str(running.certificate))
            if names:
                context.set_alpn_protocols(list(names))
            stream = trio.SSLStream(plain.stream, context, server_hostname="127.0.0.1")
            await stream.do_handshake()
            assert stream.selected_alpn_protocol() == ("mqtt" if names == ["mqtt"] else None)
            peer = Peer(stream, 4)
            await peer.connect("c")

    async def test_too_old_a_version(self, tmp_path: Path) -> None:
        async with running_broker(tmp_path, with_tls=True) as running:
            plain = await Peer.open(running.tls_port or 0)
            running.peers.append(plain)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                context.minimum_version = ssl.TLSVersion.TLSv1
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                context.maximum_version = ssl.TLSVersion.TLSv1_1
            stream = trio.SSLStream(plain.stream, context, server_hostname="127.0.0.1")
            with pytest.raises(trio.BrokenResourceError) as refused:
                await stream.do_handshake()
            assert "VERSION" in str(refused.value.__cause__)

    async def test_one_byte_at_a_time(self, tmp_path: Path) -> None:
        """A slow handshake holds its place for the connect timeout, and nobody else up."""
        config = replace(CONFIG, connect_timeout_ms=400)
        async with running_broker(tmp_path, with_tls=True, config=config) as running:
            context = ssl.create_default_context(cafile=str(running.certificate))
            outgoing = ssl.MemoryBIO()
            hello = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                hello.do_handshake()
            slow = [await Peer.open(running.tls_port or 0) for _ in range(20)]
            running.peers += slow
            data = outgoing.read()

            async def drip(peer: Peer) -> None:
                try:
                    for at in range(len(data)):
                        await peer.send(data[at : at + 1])
                        await trio.sleep(0.01)
                except trio.BrokenResourceError:
                    return

            async with trio.open_nursery() as nursery:
                for peer in slow:
                    nursery.start_soon(drip, peer)
                quick = await running.open_tls()
                await quick.connect("quick")
                await running.wait_until(
                    lambda: running.statistics()["listeners"]["refused_by_code"].get("timeout") == 20
                )
                nursery.cancel_scope.cancel()
            await quick.ping()


async def test_a_new_certificate_counts_for_new_connections_and_closes_no_old_one(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.tls.RELOAD_INTERVAL_MS", 5)
    async with running_broker(tmp_path, with_tls=True) as running:
        assert running.certificate is not None
        path = running.certificate.with_name("tls.pem")
        old = await running.open_tls()
        await old.connect("old")

        path.write_text("broken")
        await running.wait_until(lambda: running.statistics()["tls"]["failing"])
        still = await running.open_tls()
        await still.connect("still")

        fresh = authority.issue("127.0.0.1", file="fresh", server=True)
        os.replace(fresh, path)
        await running.wait_until(lambda: running.statistics()["tls"]["loads"] == 2)
        assert not running.statistics()["tls"]["failing"]
        context = ssl.create_default_context(cafile=str(authority.path))
        plain = await Peer.open(running.tls_port or 0)
        running.peers.append(plain)
        stream = trio.SSLStream(plain.stream, context, server_hostname="localhost")
        new = Peer(stream, 4)
        await new.connect("new")
        for peer in (old, still, new):
            await peer.ping()
