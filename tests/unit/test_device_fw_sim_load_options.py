"""Options of a load run are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from device_fw_sim.errors import OptionsError
from device_fw_sim.load import Credential, LoadOptions


@pytest.mark.parametrize(
    "bad",
    [
        {"connections": 0},
        {"connections": 20_001},
        {"window": 0},
        {"window": 16_385},
        {"window": 1_001, "payload": "telemetry"},
        {"port": 0},
        {"payload_bytes": 59},
        {"burst": 101},
        {"duration_s": 0},
        {"rate": 0},
        {"connects_per_s": 0},
    ],
)
def test_out_of_bounds_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(OptionsError) as caught:
        LoadOptions(**bad)
    assert "Choose" in caught.value.hint


def test_one_credential_for_each_connection_makes_devices_of_them() -> None:
    credentials = tuple(Credential(username=f"d{index}", password="x") for index in range(3))
    options = LoadOptions(connections=3, credentials=credentials)
    assert [options.client_id(index) for index in range(3)] == ["d0", "d1", "d2"]
    assert options.topic_of(2) == "dm/d2/telemetry"


def test_a_shared_credential_gives_client_ids_of_their_own() -> None:
    options = LoadOptions(
        connections=3, credentials=(Credential(username="bench", password="x"),), topic="t/{device}/{index}"
    )
    assert [options.client_id(index) for index in range(3)] == ["load-0", "load-1", "load-2"]
    assert options.topic_of(2) == "t/bench/2"
    credential = options.credential(2)
    assert credential is not None
    assert credential.username == "bench"


def test_anonymous() -> None:
    options = LoadOptions(connections=2)
    assert options.credential(0) is None
    assert options.topic_of(1) == "dm/load-1/telemetry"
    assert options.tls_context() is None


def test_missing_issuer_file_is_refused(tmp_path: object) -> None:
    with pytest.raises(OptionsError, match="issuer"):
        LoadOptions(tls=True, ca_file=f"{tmp_path}/none.pem").tls_context()
    assert LoadOptions(tls=True, tls_verify=False).tls_context() is not None
