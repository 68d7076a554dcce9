"""`homeport ca` and `homeport certificate`, while the node is stopped; while it runs tests/interop/test_est.py has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from appliance.cli import main
from appliance.core.clock import SystemClock
from appliance.core.config import load
from appliance.identity.ca import SiteCa
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from appliance.run import layout
from appliance.run.first_run import prepare_folders
from storage.catalog import Catalog
from tests.ca_kit import make_csr, sign_by_itself


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """A stopped box with two certificates in its catalog."""
    path = tmp_path / "homeport.toml"
    path.write_text('[node]\ndata_dir = "data"\nrun_dir = "run"\n')
    config, clock = load(path, {}), SystemClock()
    prepare_folders(config)
    keys = SiteKeys.load_or_create(config.node.data_dir)
    SiteCa.load_or_create(config.node.data_dir, keys, clock=clock)
    catalog = Catalog.open(layout.catalog(config), clock=clock, node_id=keys.node_id)
    now_ms = clock.now_ms()
    for device_id, serial, days in (("pump", "1f", 10), ("fan", "2e", 90)):
        catalog.add_device(device_id)
        catalog.add_certificate(
            serial,
            device_id=device_id,
            fingerprint="0" * 64,
            key_hash=f"{serial:0>64}",
            issuer_key_id="aa",
            issued_by="est",
            not_before_at_ms=now_ms,
            not_after_at_ms=now_ms + days * 86_400_000,
        )
    catalog.close()
    return path


def homeport(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def answer(*arguments: str | Path) -> Any:
    result = homeport(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_listing_and_revoking(config_path: Path) -> None:
    listed = answer("certificate", "list", "--config", config_path)["certificates"]
    assert [(each["device_id"], each["state"]) for each in listed] == [("pump", "valid"), ("fan", "valid")]
    soon = answer("certificate", "list", "--ends-within", "15", "--config", config_path)["certificates"]
    assert [each["serial"] for each in soon] == ["1f"]
    text = homeport("certificate", "list", "--device", "fan", "--config", config_path).output
    assert text.split()[:6] == ["DEVICE", "SERIAL", "STATE", "UNTIL", "BY", "REVOKED"]
    assert "fan" in text
    assert "pump" not in text
    done = homeport("certificate", "revoke", "00:1F", "--because", "keyCompromise", "--config", config_path)
    assert "1f of pump is revoked (keyCompromise)" in done.output
    revoked = answer("certificate", "list", "--state", "revoked", "--config", config_path)["certificates"]
    assert [each["serial"] for each in revoked] == ["1f"]
    assert homeport("certificate", "revoke", "77", "--config", config_path).exit_code == 3


def test_issuing_takes_the_running_node(config_path: Path, tmp_path: Path) -> None:
    (tmp_path / "request.pem").write_bytes(make_csr("pump"))
    refused = homeport("certificate", "issue", "pump", tmp_path / "request.pem", "--config", config_path)
    assert refused.exit_code == 7
    assert "homeport run" in refused.output
    missing = homeport("certificate", "issue", "pump", tmp_path / "nothing", "--config", config_path)
    assert missing.exit_code == 3


def test_the_authority_is_shown_and_renewed(config_path: Path, tmp_path: Path) -> None:
    data_dir = load(config_path, {}).node.data_dir
    kit = RecoveryKit.of(data_dir)
    shown = answer("ca", "show", "--config", config_path)
    assert shown["root"]["fingerprint"] == kit.ca_fingerprint
    assert shown["recovery_kit_pending"] is True
    text = homeport("ca", "show", "--config", config_path).output
    assert kit.ca_fingerprint in text
    assert "not kept anywhere yet" in text
    chain = homeport("ca", "chain", "--config", config_path).output
    assert len(x509.load_pem_x509_certificates(chain.encode())) == 2
    (tmp_path / "kit.txt").write_text(kit.text())
    renewed = answer("ca", "renew", tmp_path / "kit.txt", "--config", config_path)
    assert renewed["issuing"]["key_id"] == shown["issuing"]["key_id"]
    other = homeport("ca", "renew", tmp_path / "kit.txt", "--new-key", "--config", config_path)
    assert "number 2" in other.output
    assert answer("ca", "show", "--config", config_path)["issuing"]["generation"] == 2


def test_a_box_that_signed_its_certificate_itself_gets_one_of_the_authority(config_path: Path) -> None:
    data_dir = load(config_path, {}).node.data_dir
    sign_by_itself(data_dir)
    before = answer("ca", "show", "--config", config_path)["servers"]
    assert before["box_signer"] == "itself"
    assert "not confirmed" in homeport("ca", "sign-box", "--config", config_path).output
    done = homeport("ca", "sign-box", "--yes", "--config", config_path)
    assert "restart Homeport for the pages" in done.output
    text = homeport("ca", "show", "--config", config_path).output
    assert f"authority for boxes: SHA-256 {before['fingerprint']}" in text
    assert "signed by that authority" in text
    again = homeport("ca", "sign-box", "--yes", "--config", config_path)
    assert (
        "certificate_of_site" in homeport("ca", "sign-box", "--yes", "--json", "--config", config_path).output
    )
    assert again.exit_code == 4
    acts = answer("audit", "list", "--action", "authority", "--config", config_path)["entries"]
    assert [each["action"] for each in acts] == ["authority.sign_box"]


def test_there_is_no_list_before_the_first_start(config_path: Path) -> None:
    missing = homeport("ca", "crl", "--config", config_path)
    assert missing.exit_code == 3
    assert "Start Homeport once" in missing.output
