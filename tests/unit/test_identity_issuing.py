"""Issuing: who gets a certificate, for how long, and that the catalog knows each one."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from appliance.core.errors import Conflict, NotAuthorized, NotFound, Unavailable, UsageError
from appliance.identity.issuing import IssuedCertificate
from appliance.identity.recovery_kit import RecoveryKit
from appliance.management.audit import Actor
from tests.acts import ACT
from tests.ca_kit import DAY_MS, INSTALLER, NOW_MS, Site, make_csr, site


async def issue(
    here: Site, device_id: str = "pump", shown: x509.Certificate | None = None
) -> IssuedCertificate:
    device = Actor(name=device_id, kind="device", address="192.0.2.9")
    return await here.issuing.issue(make_csr(device_id), device_id, "est", device, shown=shown)


async def test_a_certificate(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        issued = await issue(here)
        leaf = issued.certificate
        leaf.verify_directly_issued_by(here.authority.issuing)
        assert [name.value for name in leaf.subject] == ["pump"]
        assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert issued.not_after_at_ms == NOW_MS + 90 * DAY_MS
        assert int(leaf.not_valid_before_utc.timestamp() * 1000) == NOW_MS - 300_000
        assert x509.load_pem_x509_certificates(issued.pem + issued.chain_pem) == [
            leaf,
            here.authority.issuing,
            here.authority.root,
        ]
        row = await here.catalog.read(lambda catalog: catalog.get_certificate(issued.serial))
        assert (row.device_id, row.issued_by, row.not_after_at_ms) == ("pump", "est", issued.not_after_at_ms)
        assert row.issuer_key_id == here.authority.key_id
        named = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert named is not None
        assert named.hex() == row.issuer_key_id
        assert int(row.serial, 16) == leaf.serial_number
        assert here.issuing.statistics().issued == {"est": 1}


async def test_it_is_in_the_audit_as_the_devices_act(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        issued = await issue(here)
        rows = await here.catalog.read(
            lambda catalog: catalog.rows(
                "SELECT actor, actor_kind, address, object_kind, object_id FROM audit WHERE action = 'certificate.issue'"
            )
        )
        assert [tuple(row) for row in rows] == [("pump", "device", "192.0.2.9", "certificate", issued.serial)]


async def test_who_gets_none(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        with pytest.raises(NotFound):
            await issue(here)
        await here.add_device("pump")
        with pytest.raises(UsageError):
            await here.issuing.issue(b"nothing", "pump", "api", INSTALLER)
        with pytest.raises(UsageError):
            await here.issuing.issue(make_csr("fan"), "pump", "api", INSTALLER)
        assert here.issuing.statistics().refused == {
            "device_unknown": 1,
            "csr_invalid": 1,
            "csr_name_wrong": 1,
        }
        assert (await here.issuing.counts()).valid == 0


async def test_rotation_from_a_third_of_the_life_before_the_end(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        first = await issue(here)
        here.clock.advance(59 * DAY_MS)
        with pytest.raises(Conflict) as early:
            await issue(here, shown=first.certificate)
        assert early.value.code == "certificate_not_due"
        here.clock.advance(1 * DAY_MS)
        second = await issue(here, shown=first.certificate)
        assert second.not_after_at_ms == here.clock.now_ms() + 90 * DAY_MS
        assert (await here.issuing.counts()).valid == 2


async def test_a_revoked_certificate_proves_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        first = await issue(here)
        await here.catalog.write(
            lambda catalog: catalog.revoke_certificate(first.serial, because="keyCompromise"), by=ACT
        )
        for days in (0, 70):  # Too early as well: that it was revoked is what matters.
            here.clock.advance(days * DAY_MS)
            with pytest.raises(NotAuthorized) as refused:
                await issue(here, shown=first.certificate)
            assert refused.value.code == "certificate_revoked"


async def test_a_certificate_of_another_device_proves_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        await here.add_device("fan")
        first = await issue(here)
        here.clock.advance(70 * DAY_MS)
        with pytest.raises(NotAuthorized) as refused:
            await issue(here, "fan", shown=first.certificate)
        assert refused.value.code == "certificate_of_another"


async def test_a_certificate_that_an_older_catalog_does_not_know_counts(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        first = await issue(here)

        def forget(catalog: object) -> None:
            catalog.execute("DELETE FROM certificates")  # type: ignore[attr-defined]

        await here.catalog.write(forget, by=ACT)
        here.clock.advance(70 * DAY_MS)
        assert (await issue(here, shown=first.certificate)).serial


async def test_a_clock_that_is_not_set(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        here.clock.set_wall(1000)
        with pytest.raises(Unavailable) as refused:
            await issue(here)
        assert refused.value.code == "clock_wrong"
        assert "1970" in refused.value.message


async def test_a_clock_that_leapt_ahead(tmp_path: Path) -> None:
    """What it issued would not be valid once it is right, and the device's earlier ones would be forgotten for having ended."""
    async with site(tmp_path) as here:
        await here.add_device("pump")
        here.issuing.is_clock_ahead = lambda: True
        with pytest.raises(Unavailable) as refused:
            await issue(here)
        assert (refused.value.code, "begin long after" in refused.value.message) == ("clock_wrong", True)
        here.issuing.is_clock_ahead = lambda: False
        assert (await issue(here)).serial


async def test_no_certificate_outlives_the_authority(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        here.clock.set_wall(here.authority.ends_at_ms - 5 * DAY_MS)
        assert (await issue(here)).not_after_at_ms == here.authority.ends_at_ms
        here.clock.advance(5 * DAY_MS)
        with pytest.raises(Unavailable) as ended:
            await issue(here)
        assert ended.value.code == "authority_ended"
        kit = RecoveryKit.of(tmp_path)
        here.issuing.replace_authority(here.authority.renewed(kit, here.keys, clock=here.clock))
        assert (await issue(here)).not_after_at_ms == here.clock.now_ms() + 90 * DAY_MS


async def test_what_was_revoked_while_the_request_waited_gets_no_certificate(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        token_hash = b"t" * 32
        await here.catalog.write(lambda catalog: catalog.set_token("pump", token_hash), by=ACT)
        first = await here.issuing.issue(make_csr(), "pump", "mqtt", INSTALLER, token_hash=token_hash)
        await here.catalog.write(lambda catalog: catalog.revoke_tokens("pump"), by=ACT)
        with pytest.raises(NotAuthorized) as refused:
            await here.issuing.issue(make_csr(), "pump", "mqtt", INSTALLER, token_hash=token_hash)
        assert refused.value.code == "bad_credentials"
        await here.catalog.write(
            lambda catalog: catalog.revoke_certificate(first.serial, because="keyCompromise"), by=ACT
        )
        with pytest.raises(NotAuthorized) as refused:
            await here.issuing.issue(make_csr(), "pump", "mqtt", INSTALLER, keep=first.serial)
        assert refused.value.code == "certificate_revoked"
        assert (await here.issuing.counts()).valid == 0
