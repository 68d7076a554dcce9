"""A device's certificate is revoked in the catalog: its connection ends, it does not come back, and it is told why."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from appliance.core.clock import SystemClock
from appliance.identity import DeviceAuthenticator, SiteKeys
from storage.catalog import Catalog, DeviceAuthReader
from tests.broker_kit import CONFIG, Peer, Running, running_broker
from tests.pki_kit import Authority
from tests.protocol import builder

WORDS = b"The certificate was revoked."
CUT_OFF_S_MAX = 1.5
"""The promise is one second; the catalog is looked at every second even where nobody says that it has changed."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "pki").mkdir()
    return Authority(tmp_path / "pki")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=SystemClock(), node_id=bytes(16))
    opened.add_device("pump")
    yield opened
    opened.close()


def record(catalog: Catalog, certificate: Path) -> None:
    """Have the catalog know a certificate, as its issuing does."""
    serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
    with catalog.transaction():
        catalog.execute(
            "INSERT INTO certificates (serial, device_id, fingerprint, issuer_key_id, issued_by, not_before_at_ms, "
            "not_after_at_ms, issued_at_ms, origin, hlc) VALUES (?, 'pump', ?, '', 'mqtt', 0, 1, 0, ?, ?)",
            (f"{serial:x}", "0" * 64, catalog.origin, catalog.hlc),
        )


def revoke_all(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.execute(
            "UPDATE certificates SET revoked_at_ms = 1, origin = ?, hlc = ?", (catalog.origin, catalog.hlc)
        )


async def come_in(running: Running, certificate: Path, version: int, client_id: str) -> Peer:
    peer = await running.open_tls(version=version, client=certificate)
    await peer.connect(client_id, username=None)
    return peer


@pytest.mark.parametrize("is_told", [True, False], ids=["the node says so", "the catalog is noticed"])
async def test_revoked(tmp_path: Path, authority: Authority, catalog: Catalog, is_told: bool) -> None:
    reader = DeviceAuthReader(tmp_path / "catalog.db", clock=SystemClock())
    keys = SiteKeys.load_or_create(tmp_path)
    authenticator = DeviceAuthenticator(reader, keys, clock=SystemClock())
    config = replace(CONFIG, tls_client_ca=authority.path)
    old, new = authority.issue("pump", file="old"), authority.issue("pump", file="new")
    record(catalog, old)
    async with running_broker(
        tmp_path, config=config, with_tls=True, authenticator=authenticator, access=authenticator
    ) as running:
        first = await come_in(running, old, 5, "first")
        second = await come_in(running, old, 4, "second")
        other = await come_in(running, new, 5, "other")
        began = time.monotonic()
        revoke_all(catalog)
        if is_told:
            running.server.access_changed("pump")
        goodbye = await first.expect(builder.DISCONNECT)
        assert time.monotonic() - began < CUT_OFF_S_MAX
        assert goodbye.body[0] == 0x87
        assert WORDS in goodbye.body
        assert await second.packet() is None, "3.1.1 has no words for it"
        await other.publish("dm/pump/telemetry", b"{}")

        again = await running.open_tls(version=5, client=old)
        await again.send(builder.connect("first", version=5))
        connack = await again.expect(builder.CONNACK)
        assert connack.body[1] == 0x87
        assert WORDS in connack.body
        older = await running.open_tls(version=4, client=old)
        assert await older.refused("second", username=None) == 5
        assert running.statistics()["listeners"]["refused_by_code"] == {"certificate_revoked": 2}
        assert running.statistics()["access"]["cut_off"] == 2
    reader.close()
