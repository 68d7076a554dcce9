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


@pytest.mark.parametrize(
    "bad",
    [
        {"payload": "json"},
        {"subscribers": 20_000},
        {"connections": 2, "subscribers": 3},
        {"connections": 2, "subscribers": 2, "topic": "t"},
        {"connections": 10_000, "subscribers": 200, "subscribe_to": "all"},
        {
            "connections": 2,
            "subscribers": 2,
            "topic": "{device}",
            "client_id_prefix": "x",
            "credentials": True,
        },
        {"payload_bytes": 15},
    ],
)
def test_subscribers_that_could_not_account_are_refused(bad: dict[str, Any]) -> None:
    if bad.pop("credentials", False):
        bad["credentials"] = tuple(Credential(username=name, password="x") for name in ("a", "bb"))
    with pytest.raises(OptionsError):
        LoadOptions(**{"subscribers": 1, "payload": "marked", **bad})


@pytest.mark.parametrize(
    ("subscribe_to", "filters", "receivers"),
    [
        ("own", ["t/00/x", "t/01/x"], 2),
        ("all", ["t/+/x", "t/+/x"], 22),
        ("shared", ["$share/load/t/+/x", "$share/load/t/+/x"], 1),
    ],
)
def test_who_gets_what(subscribe_to: Any, filters: list[str], receivers: int) -> None:
    options = LoadOptions(
        connections=11, subscribers=22, subscribe_to=subscribe_to, payload="marked", topic="t/{index}/x"
    )
    assert [options.filter_of(index) for index in (0, 12)] == filters
    assert options.receivers_of_each == receivers
    assert options.granted_qos == 1


def test_without_subscribers_nobody_receives() -> None:
    assert LoadOptions().receivers_of_each == 0
    assert LoadOptions(subscribe_to="shared").receivers_of_each == 0
