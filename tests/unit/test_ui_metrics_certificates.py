"""Certificates, the authority and the devices' port as metrics."""

from __future__ import annotations

import re
from pathlib import Path

from storage.catalog import Catalog
from tests.acts import ACT
from tests.ca_kit import INSTALLER, PORT, make_csr
from tests.node_kit import running_node

DAY_S = 86_400


async def test_they_are_there(tmp_path: Path) -> None:
    async with running_node(tmp_path, device_port=lambda: PORT) as node:

        def write(catalog: Catalog) -> None:
            for device_id in ("pump", "fan"):
                catalog.add_device(device_id)

        await node.catalog.write(write, by=ACT)
        for device_id in ("pump", "fan"):
            issued = await node.services.issuing.issue(make_csr(), device_id, "est", INSTALLER)
        await node.catalog.write(
            lambda catalog: catalog.revoke_certificate(issued.serial, because="unspecified"), by=ACT
        )
        node.clock.advance(80 * DAY_S * 1000)
        async with node.client(local=True) as client:
            text = (await client.get("/health/metrics")).text
    found = dict(re.findall(r"(?m)^(homeport_\S+) (\S+)$", text))
    for name, value in {
        'homeport_device_certificates{state="valid"}': 1.0,
        'homeport_device_certificates{state="revoked"}': 1.0,
        'homeport_devices_by_certificate{state="ending"}': 1.0,
        'homeport_devices_by_certificate{state="ended"}': 0.0,
        "homeport_device_certificate_expires_seconds": 10.0 * DAY_S,
        "homeport_issuing_authority_expires_seconds": 1746.0 * DAY_S,
        "homeport_crl_next_update_seconds": -73.0 * DAY_S,
        'homeport_certificates_issued_total{how="est"}': 2.0,
        "homeport_device_port_connections": 2.0,
        "homeport_device_port_accepted_total": 7.0,
        'homeport_device_port_refused_total{code="tls"}': 4.0,
        'homeport_device_port_answers_total{route="est_simpleenroll",status="200"}': 5.0,
        'homeport_device_port_rate_refused_total{by="device"}': 2.0,
    }.items():
        assert float(found[name]) == value, name


async def test_a_catalog_that_is_away_takes_only_its_own_numbers_with_it(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.catalog.aclose()
        async with node.client(local=True) as client:
            text = (await client.get("/health/metrics")).text
    assert "homeport_issuing_authority_expires_seconds" in text
    assert "homeport_device_certificates{" not in text
