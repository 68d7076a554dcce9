"""Node or broker is killed while devices come in: no claim is used up without its device, none is made twice, and each gets in.

The seed is printed; HOMEPORT_TEST_SEED runs one again.
"""

from __future__ import annotations

import os
import queue
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.ca_kit import make_csr
from tests.interop.test_enrolment import Appliance, PahoDevice, started

DEADLINE_S = 60.0
KILL_WITHIN_S = 0.06
"""What a request takes, from PUBLISH to its answer, and some more."""


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with started(tmp_path) as made:
        yield made


def ask_until_in(appliance: Appliance, token: str, serial: str, csr: str) -> dict[str, Any]:
    """As the device contract says: connect, ask, and again when the answer did not come or says later."""
    deadline = time.monotonic() + DEADLINE_S
    last: object = None
    while True:
        assert time.monotonic() < deadline, f"never got in, last {last}\n{appliance.read_log()}"
        device = PahoDevice(appliance, serial)
        try:
            device.connect(user_name="provision", password=token)
            last = device.connack
            if last != "0x0":
                continue
            device.client.publish(
                "dm/provision/default/request", f'{{"csr": {csr}, "serial": "{serial}"}}', qos=1
            )
            word, answer = device.answers.get(timeout=2)
        except (OSError, AssertionError) as error:
            last = error
            time.sleep(0.1)
            continue
        except queue.Empty:
            continue  # The answer got lost.
        finally:
            device.close()
        if word == "accepted":
            return dict(answer)
        assert answer["code"] == "unavailable", answer
        time.sleep(0.1)


@pytest.mark.parametrize("rounds", [2, pytest.param(30, marks=pytest.mark.long)], ids=["some", "many"])
def test_killed_at_any_moment(appliance: Appliance, rounds: int) -> None:
    seed = int(os.environ.get("HOMEPORT_TEST_SEED", random.randrange(1 << 32)))
    print(f"HOMEPORT_TEST_SEED={seed}")
    chance = random.Random(seed)
    claim = appliance.homeport("claim", "create", "--adopt", "--count", str(rounds + 5))
    token = claim["token"]
    for number in range(rounds):
        serial = f"SN-{number}"
        csr = make_csr(key=ec.generate_private_key(ec.SECP256R1())).decode().replace("\n", "\\n")
        device = PahoDevice(appliance, serial)
        device.connect(user_name="provision", password=token)
        assert device.connack == "0x0"
        device.client.publish(
            "dm/provision/default/request", f'{{"csr": "{csr}", "serial": "{serial}"}}', qos=1
        )
        time.sleep(chance.uniform(0, KILL_WITHIN_S))
        victim = chance.choice(("node", "broker"))
        appliance.kill(victim)
        appliance.start(victim)
        device.close()
        appliance.wait_for_broker()
        answer = ask_until_in(appliance, token, serial, f'"{csr}"')
        assert answer["device"] == serial
    appliance.wait_for_node()
    rows = appliance.api.request("GET", "/api/v1/devices?limit=1000")["devices"]
    assert sorted(row["device_id"] for row in rows) == sorted(f"SN-{number}" for number in range(rounds))
    assert {row["state"] for row in rows} == {"active"}
    found = appliance.api.request("GET", f"/api/v1/claims/{claim['claim_id']}")
    assert found["use_count"] == rounds
