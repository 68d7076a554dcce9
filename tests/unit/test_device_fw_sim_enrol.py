"""A simulated device comes in by itself: it asks until it is answered, keeps what it got, and stops where waiting won't help."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.enrol import Enroller, EnrolmentRefused
from device_fw_sim.errors import OptionsError
from tests.broker_kit import Running, running_broker
from tests.pki_kit import Authority


class Site:
    """What the node would answer, one after the other; the last again and again."""

    def __init__(self, running: Running, answers: Sequence[tuple[bool, dict[str, Any]]]) -> None:
        self._running = running
        self._answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def request(self, fields: dict[str, Any]) -> bool:
        self.asked.append(json.loads(fields["payload"]))
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        is_accepted, answer = found
        topic = fields["topic"].removesuffix("request") + ("accepted" if is_accepted else "rejected")
        trio.lowlevel.current_trio_token().run_sync_soon(
            lambda: self._running.server._talk.requests.reply(
                fields["id"], [(topic, json.dumps(answer).encode())], is_accepted=is_accepted
            )
        )
        return True

    def call_off(self, numbers: Sequence[int]) -> None:
        raise AssertionError("who enrols may come again and find it done")


def enroller(running: Running, folder: Path) -> Enroller:
    assert running.tls_port is not None
    broker = BrokerAddress(
        host="localhost", port=running.tls_port, tls=True, ca_file=str(running.certificate), mqtt_version=4
    )
    return Enroller(broker=broker, claim="hpc_x", folder=folder)


async def test_it_asks_until_it_is_answered_and_keeps_its_key(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    certificate = Authority(tmp_path / "pki").issue("pump").read_text().partition("-----BEGIN CERT")
    given = {"device": "pump", "cert": certificate[1] + certificate[2], "ca": ""}
    later = {"code": "waiting_for_adoption", "message": "Wait.", "retry_s": 0}
    async with running_broker(tmp_path, with_tls=True) as running:
        site = running.server._talk.requests.node = Site(
            running, [(False, later), (False, later), (True, given)]
        )
        folder = tmp_path / "identities"
        (identity,) = await enroller(running, folder).all(["SN-1"])
        assert identity.device_id == "pump"
        assert [each["serial"] for each in site.asked] == ["SN-1"] * 3
        assert len({each["csr"] for each in site.asked}) == 1, "the same request each time"
        assert identity.path.stat().st_mode & 0o777 == 0o600
        assert identity.path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
        (again,) = await enroller(running, folder).all(["SN-1"])
        assert again == identity
        assert len(site.asked) == 3, "it has one already"


async def test_it_stops_where_waiting_does_not_help(tmp_path: Path) -> None:
    refused = {"code": "claim_expired", "message": "The claim has ended.", "hint": "Make another."}
    async with running_broker(tmp_path, with_tls=True) as running:
        running.server._talk.requests.node = Site(running, [(False, refused)])
        with pytest.raises(EnrolmentRefused, match="has ended"):
            await enroller(running, tmp_path / "identities").all(["SN-1", "SN-2"])


async def test_a_folder_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with running_broker(tmp_path, with_tls=True) as running:
        with pytest.raises(OptionsError):
            await enroller(running, tmp_path / "file").one("SN-1")
        folder = tmp_path / "identities"
        folder.mkdir()
        (folder / "SN-1.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense")
        with pytest.raises(OptionsError, match="does not hold"):
            await enroller(running, folder).one("SN-1")


async def test_it_says_why_there_is_no_answer(tmp_path: Path) -> None:
    said: list[str] = []
    async with running_broker(tmp_path, with_tls=True) as running:
        assert running.tls_port is not None
        broker = BrokerAddress(host="localhost", port=running.tls_port, tls=True, mqtt_version=4)
        with trio.move_on_after(30) as waiting:

            def say(line: str) -> None:
                said.append(line)
                waiting.cancel()

            await Enroller(broker=broker, claim="hpc_x", folder=tmp_path, say=say).one("SN-1")
    assert "certificate verify failed" in said[0]
