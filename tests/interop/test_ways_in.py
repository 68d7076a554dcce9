"""Clients that nobody here wrote, over WebSocket, with certificates, through a Unix socket."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from device_fw_sim.load import Credential
from tests.interop import brokers
from tests.interop.brokers import LiveBroker
from tests.interop.clients import DrivenClient, Message, MosquittoTools, Target, every_client
from tests.pki_kit import Authority
from tests.ports import free_port

WEB_CLIENTS = [client for client in every_client() if client.name in ("paho", "mqttjs")]
CERTIFICATE_CLIENTS = [
    client for client in every_client() if client.name in ("mosquitto-tools", "paho", "mqttjs")
]
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Ways:
    """A broker, and where else it listens."""

    broker: LiveBroker
    ws_port: int
    wss_port: int

    def target(self, *, version: int, tls: bool) -> Target:
        credential = self.broker.credentials[0]
        return Target(
            host=self.broker.host,
            port=self.wss_port if tls else self.ws_port,
            tls=tls,
            ca_file=str(self.broker.ca_file),
            version=version,
            username=credential.username,
            password=credential.password,
            client_id=f"way-{next(_numbers)}",
            web=True,
        )


@pytest.fixture(scope="module", params=["mosquitto", "homeport"])
def ways(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """A broker with web doors; mosquitto first: what fails there is the test's own fault."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    ws_port, wss_port = free_port(), free_port()
    if request.param == "mosquitto":
        credentials: Sequence[Credential] = [Credential(username="interop", password="a-test-token")]
        settings = f"""listener {ws_port} 127.0.0.1
protocol websockets
listener {wss_port} 127.0.0.1
protocol websockets
certfile {folder}/test.crt
keyfile {folder}/test.key
"""
        with brokers.mosquitto(folder, credentials=credentials, settings=settings) as broker:
            yield Ways(broker, ws_port, wss_port)
    else:
        settings = f'ws_bind = "127.0.0.1:{ws_port}"\nwss_bind = "127.0.0.1:{wss_port}"\n'
        with brokers.homeport(folder, devices=["interop"], settings=settings) as broker:
            yield Ways(broker, ws_port, wss_port)


@pytest.mark.parametrize("client", WEB_CLIENTS, ids=lambda client: client.name)
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_over_websocket(ways: Ways, tmp_path: Path, client: DrivenClient, version: int, tls: bool) -> None:
    topic = f"ways/{next(_numbers)}"
    sent = [
        Message(f"{topic}/text", b'{"v":{"temperature":21.5}}', 1),
        Message(f"{topic}/binary", bytes(range(256)), 1),
        Message(f"{topic}/large", b"x" * 70_000, 1),
    ]
    receiving = ways.target(version=version, tls=tls)
    with client.subscriber(receiving, f"{topic}/#", 1, len(sent), tmp_path) as subscriber:
        client.publish(ways.target(version=version, tls=tls), sent, 1, tmp_path)
        assert subscriber.messages() == sent


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def broker(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveBroker]:
    """A broker that takes nobody without a certificate, and knows one device."""
    settings = f'tls_client_auth = "required"\ntls_client_ca = "{authority.path}"\n'
    folder = tmp_path_factory.mktemp("homeport")
    with brokers.homeport(folder, devices=["pump"], settings=settings) as broker:
        yield broker


class TestCertificates:
    def target(self, broker: LiveBroker, certificate: Path | None, version: int) -> Target:
        return Target(
            host=broker.host,
            port=broker.tls_port,
            tls=True,
            ca_file=str(broker.ca_file),
            version=version,
            username=None,
            password=None,
            client_id=f"certificate-{next(_numbers)}",
            certificate=str(certificate) if certificate is not None else None,
        )

    @pytest.mark.parametrize("client", CERTIFICATE_CLIENTS, ids=lambda client: client.name)
    @pytest.mark.parametrize("version", [4, 5])
    def test_publishes_and_receives(
        self,
        broker: LiveBroker,
        authority: Authority,
        tmp_path: Path,
        client: DrivenClient | MosquittoTools,
        version: int,
    ) -> None:
        certificate = authority.issue("pump")
        topic = f"certificates/{next(_numbers)}"
        sent = [Message(topic, b"hello", 1)]
        with client.subscriber(
            self.target(broker, certificate, version), topic, 1, 1, tmp_path
        ) as subscriber:
            client.publish(self.target(broker, certificate, version), sent, 1, tmp_path)
            assert subscriber.messages() == sent

    @pytest.mark.parametrize("client", CERTIFICATE_CLIENTS, ids=lambda client: client.name)
    def test_without_one_or_with_another_ones(
        self, broker: LiveBroker, authority: Authority, tmp_path: Path, client: DrivenClient | MosquittoTools
    ) -> None:
        certificate = authority.issue("pump")
        wrong = self.target(broker, certificate, 5)
        for target in (
            self.target(broker, None, 5),
            self.target(broker, authority.issue("nobody"), 5),
            replace(wrong, username="valve", password="x"),
        ):
            with pytest.raises(AssertionError):
                client.publish(target, [Message("t", b"x", 1)], 1, tmp_path)


def test_mosquittos_tools_through_a_unix_socket(tmp_path: Path) -> None:
    """Without a token: they run as the broker's own user."""
    path = tmp_path / "mqtt.sock"
    with brokers.homeport(tmp_path / "homeport", settings=f'unix_path = "{path}"\n'):
        command = ["stdbuf", "-oL", "mosquitto_sub", "--unix", str(path)]
        subscriber = subprocess.Popen(
            [*command, "-t", "local", "-C", "1", "-W", "30", "-d"], stdout=subprocess.PIPE, text=True,
            env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path)},
        )  # fmt: skip
        assert subscriber.stdout is not None
        with subscriber:
            deadline = time.monotonic() + 30
            while "Subscribed" not in subscriber.stdout.readline():
                assert time.monotonic() < deadline
                assert subscriber.poll() is None
            subprocess.run(
                ["mosquitto_pub", "--unix", str(path), "-t", "local", "-m", "hello", "-q", "1"],
                check=True,
                timeout=30,
                env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path)},
            )
            assert "hello\n" in subscriber.stdout.read().splitlines(keepends=True)
        assert subscriber.returncode == 0
