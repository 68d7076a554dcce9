"""The revocation list: what openssl makes of it, and when a new one is made."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits import CRL_LIFE_MS
from appliance.identity.crl import PAUSE_MS, CrlKeeper, make_crl
from appliance.identity.recovery_kit import RecoveryKit
from storage.catalog import Certificate, RevokedBecause
from tests.acts import ACT
from tests.ca_kit import DAY_MS, INSTALLER, NOW_MS, Site, make_csr, site

REVOKED = Certificate(
    serial="1f",
    device_id="pump",
    fingerprint="0" * 64,
    key_hash="1" * 64,
    issuer_key_id="aa",
    issued_by="est",
    not_before_at_ms=0,
    not_after_at_ms=NOW_MS + DAY_MS,
    issued_at_ms=0,
    revoked_at_ms=NOW_MS - 5000,
    revoked_because="keyCompromise",
)


def keeper_of(here: Site) -> CrlKeeper:
    return CrlKeeper(here.issuing, here.catalog, here.data_dir / "crl.pem", clock=here.clock)


async def revoke(here: Site, device_id: str, because: RevokedBecause = "superseded") -> str:
    issued = await here.issuing.issue(make_csr(), device_id, "api", INSTALLER)
    await here.catalog.write(
        lambda catalog: catalog.revoke_certificate(issued.serial, because=because), by=ACT
    )
    return issued.serial


async def test_a_list(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        authority = here.authority
        rows = [REVOKED, replace(REVOKED, serial="20", revoked_because="unspecified")]
        made = make_crl(authority.key, authority.issuing, rows, number=7, now_ms=NOW_MS)
        found = x509.load_der_x509_crl(made.der)
        assert found == x509.load_pem_x509_crl(made.pem)
        assert found.issuer == authority.issuing.subject
        assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
        first = found.get_revoked_certificate_by_serial_number(0x1F)
        assert first is not None
        assert first.extensions.get_extension_for_class(x509.CRLReason).value.reason.value == "keyCompromise"
        second = found.get_revoked_certificate_by_serial_number(0x20)
        assert second is not None
        assert len(second.extensions) == 0
        assert made.next_update_at_ms == NOW_MS + CRL_LIFE_MS


async def test_openssl_refuses_what_the_list_names(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        await here.add_device("fan")
        good = await here.issuing.issue(make_csr(), "fan", "api", INSTALLER)
        bad = await here.issuing.issue(make_csr(), "pump", "api", INSTALLER)
        await here.catalog.write(
            lambda catalog: catalog.revoke_certificate(bad.serial, because="keyCompromise"), by=ACT
        )
        keeper = keeper_of(here)
        await keeper.refresh()
        (tmp_path / "root.pem").write_bytes(here.authority.root_pem)
        (tmp_path / "issuing.pem").write_bytes(here.authority.issuing.public_bytes(Encoding.PEM))
        (tmp_path / "good.pem").write_bytes(good.pem)
        (tmp_path / "bad.pem").write_bytes(bad.pem)

        def verify(name: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                f"openssl verify -crl_check -attime {NOW_MS // 1000 + 9} -CRLfile crl.pem -CAfile root.pem "
                f"-untrusted issuing.pem {name}",
                shell=True,
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )

        assert verify("good.pem").returncode == 0, verify("good.pem").stderr
        refused = verify("bad.pem")
        assert refused.returncode != 0
        assert "certificate revoked" in refused.stderr


async def test_a_new_list_only_when_something_is_new(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.add_device("pump")
        keeper = keeper_of(here)
        with pytest.raises(Unavailable) as none_yet:
            keeper.current.number  # noqa: B018 - asking is what fails
        assert none_yet.value.code == "crl_not_ready"
        await keeper.refresh()
        first = keeper.current
        await keeper.refresh()
        assert keeper.current is first
        serial = await revoke(here, "pump")
        await keeper.refresh()
        second = keeper.current
        assert second.serials == {serial}
        assert second.number > first.number
        assert x509.load_pem_x509_crl((tmp_path / "crl.pem").read_bytes()).extensions
        here.clock.advance(DAY_MS)
        await keeper.refresh()
        assert keeper.current.number > second.number
        here.clock.set_wall(NOW_MS - 10 * DAY_MS)  # The clock went back: the list would lie in the future.
        await keeper.refresh()
        assert keeper.current.next_update_at_ms == here.clock.now_ms() + CRL_LIFE_MS


async def test_numbers_rise_over_a_restart_and_with_a_clock_that_goes_back(tmp_path: Path) -> None:
    async with site(tmp_path) as here, trio.open_nursery() as nursery:
        keeper = keeper_of(here)
        nursery.start_soon(keeper.run)
        number = await number_above(keeper, 0)
        nursery.cancel_scope.cancel()
    async with site(tmp_path) as here, trio.open_nursery() as nursery:
        here.clock.set_wall(NOW_MS - 30 * DAY_MS)
        keeper = keeper_of(here)
        nursery.start_soon(keeper.run)
        assert await number_above(keeper, number) == number + 1
        nursery.cancel_scope.cancel()


async def test_a_damaged_file_of_before_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "crl.pem").write_text("nothing")
    async with site(tmp_path) as here, trio.open_nursery() as nursery:
        keeper = keeper_of(here)
        nursery.start_soon(keeper.run)
        assert await number_above(keeper, 0) == NOW_MS // 1000
        nursery.cancel_scope.cancel()


async def number_above(keeper: CrlKeeper, number: int) -> int:
    """Wait for a list with a larger number; ten seconds at most."""
    with trio.fail_after(60):
        while True:
            try:
                if keeper.current.number > number:
                    return keeper.current.number
            except Unavailable:
                pass  # Not made yet.
            await trio.sleep(0.01)


async def test_a_revocation_is_in_the_list_soon(tmp_path: Path) -> None:
    async with site(tmp_path) as here, trio.open_nursery() as nursery:
        await here.add_device("pump")
        keeper = keeper_of(here)
        unsubscribe = here.catalog.subscribe(keeper.note)
        nursery.start_soon(keeper.run)
        number = await number_above(keeper, 0)
        began = trio.current_time()
        serial = await revoke(here, "pump")
        await number_above(keeper, number)
        assert serial in keeper.current.serials
        assert trio.current_time() - began < 5 * PAUSE_MS / 1000
        unsubscribe()
        nursery.cancel_scope.cancel()


async def test_a_renewed_authority_signs_the_list(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        keeper = keeper_of(here)
        await keeper.refresh()
        renewed = here.authority.renewed(RecoveryKit.of(tmp_path), here.keys, clock=here.clock, new_key=True)
        here.issuing.replace_authority(renewed)
        keeper.look_again()
        await keeper.refresh()
        assert x509.load_der_x509_crl(keeper.current.der).issuer == renewed.issuing.subject


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        keeper = CrlKeeper(here.issuing, here.catalog, tmp_path / "missing" / "crl.pem", clock=here.clock)
        with pytest.raises(StorageError):
            await keeper.refresh()
        assert keeper.current.number
