"""The live broker of the interop tests. Each test runs against mosquitto first: what fails there is the test's own fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from device_fw_sim.load import Credential
from tests.interop import brokers
from tests.interop.brokers import LiveBroker


@pytest.fixture(scope="session", params=["mosquitto", "homeport"])
def live_broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveBroker]:
    """A real broker process with TCP and TLS listeners and one principal that may do everything."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "mosquitto":
        with brokers.mosquitto(
            folder, credentials=[Credential(username="interop", password="a-test-token")]
        ) as broker:
            yield broker
    else:
        with brokers.homeport(folder, devices=["interop"]) as broker:
            yield broker
