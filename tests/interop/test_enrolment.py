"""A device that nobody here wrote comes in by itself: paho with a claim and a key that it made, against both real processes."""

from __future__ import annotations

import contextlib
import json
import queue
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paho.mqtt.enums import CallbackAPIVersion

from appliance.core.clock import SystemClock
from appliance.identity.keys import SiteKeys
from appliance.run.local_api import LocalApi
from storage.catalog.catalog import Catalog
from tests.ca_kit import make_csr
from tests.crash.rig import Rig, wait_for
from tests.ports import free_port

DEADLINE_S = 60.0
CUT_OFF_S_MAX = 1.5
"""The promise is a second; half of one more is for a busy machine to notice."""
REQUEST = "dm/provision/default/request"


class Appliance(Rig):
    """Broker and node as real processes, with TLS."""

    def __init__(self, folder: Path, run_dir: Path) -> None:
        super().__init__(folder, run_dir)
        self.tls_port = free_port()
        config = run_dir / "homeport.toml"
        config.write_text(
            config.read_text().replace('tls_bind = "off"', f'tls_bind = "127.0.0.1:{self.tls_port}"')
        )
        self.api = LocalApi(run_dir / "node.sock")

    def homeport(self, *arguments: str) -> Any:
        """A verb's answer."""
        out = subprocess.run(
            [sys.executable, "-m", "appliance", *arguments, "--json"],
            env=self.environ, stdout=subprocess.PIPE, check=True, timeout=60,
        )  # fmt: skip
        return json.loads(out.stdout)

    def wait_for_node(self) -> None:
        def answers() -> bool:
            try:
                broker = self.api.request("GET", "/api/v1/status")["broker"]
                return bool(broker["connected"] and broker["statistics"]["tls"]["trusts_site"])
            except Exception:  # noqa: BLE001 - it may be starting; the deadline tells when that is wrong
                return False

        wait_for(answers, DEADLINE_S, f"the node answers\n{self.read_log()}")

    @property
    def ca_file(self) -> Path:
        return self.data_dir / "identity" / "tls.crt"


class PahoDevice:
    """paho-mqtt, unmodified, over TLS."""

    def __init__(self, appliance: Appliance, client_id: str, version: int = 5) -> None:
        self._appliance = appliance
        self._version = version
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if version == 5 else paho.MQTTv311,
            reconnect_on_failure=False,
        )
        self.answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.connected, self.gone, self.published = threading.Event(), threading.Event(), threading.Event()
        self.connack = self.goodbye = ""
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = lambda _c, _d, message: self.answers.put(
            (message.topic.rpartition("/")[2], json.loads(message.payload))
        )
        self.client.on_publish = lambda *_: self.published.set()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        said = getattr(properties, "ReasonString", "")
        self.connack = f"{reason.value:#x} {said}".strip()
        self.connected.set()

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        self.goodbye = f"{reason.value:#x} {getattr(properties, 'ReasonString', '')}".strip()
        self.gone.set()
        self.connected.set()

    def connect(
        self, *, user_name: str | None = None, password: str | None = None, certificate: Path | None = None
    ) -> None:
        """Connect, and wait for what CONNACK says."""
        if user_name is not None:
            self.client.username_pw_set(user_name, password)
        self.client.tls_set(
            ca_certs=str(self._appliance.ca_file),
            certfile=str(certificate) if certificate is not None else None,
            tls_version=ssl.PROTOCOL_TLS_CLIENT,
        )
        self.client.connect("127.0.0.1", self._appliance.tls_port)
        self.client.loop_start()
        assert self.connected.wait(DEADLINE_S)

    def ask(self, **request: Any) -> tuple[str, Any]:
        self.client.publish(REQUEST, json.dumps(request), qos=1)
        return self.answers.get(timeout=DEADLINE_S)

    def publish(self, topic: str, payload: bytes) -> None:
        self.published.clear()
        self.client.publish(topic, payload, qos=1)
        assert self.published.wait(DEADLINE_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Appliance]:
    """Both processes, until the end of the block."""
    # A Unix socket's path is at most 107 bytes, which pytest's folders may exceed.
    with tempfile.TemporaryDirectory(prefix="hp-") as short:
        made = Appliance(folder, Path(short))
        try:
            for name in ("broker", "node"):
                made.start(name)
            made.wait_for_broker()
            made.wait_for_node()
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with started(tmp_path_factory.mktemp("enrolment")) as made:
        yield made


def make_key(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A key as the device keeps it, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def enrol(appliance: Appliance, folder: Path, token: str, serial: str, version: int) -> Path:
    """Come in, and keep key and certificate in one file."""
    key, pem = make_key(folder)
    device = PahoDevice(appliance, f"new-{serial}", version)
    device.connect(user_name="provision", password=token)
    word, answer = device.ask(csr=make_csr(key=key).decode(), serial=serial)
    device.close()
    assert word == "accepted", answer
    assert answer["device"] == serial
    path = folder / f"{serial}.pem"
    path.touch(mode=0o600)
    path.write_bytes(pem + answer["cert"].encode() + answer["ca"].encode())
    return path


@pytest.mark.parametrize("version", [4, 5])
def test_a_claim_a_key_and_back_with_the_certificate(
    appliance: Appliance, tmp_path: Path, version: int
) -> None:
    claim = appliance.homeport("claim", "create", "--count", "2", "--adopt", "--tag", "batch")
    serial = f"SN-{version}"
    path = enrol(appliance, tmp_path, claim["token"], serial, version)
    device = PahoDevice(appliance, serial, version)
    device.connect(certificate=path)
    assert device.connack == "0x0"
    device.publish(f"dm/{serial}/telemetry", b'{"v": {"celsius": 21.5}}')
    word, answer = device.ask(csr="x" * 10)
    assert (word, answer["code"]) == ("rejected", "csr_invalid")
    device.close()
    found = appliance.api.request("GET", f"/api/v1/devices/{serial}")
    assert (found["state"], found["serial"], found["tags"]) == ("active", serial, ["batch"])
    (row,) = [
        each
        for each in appliance.homeport("claim", "list")["claims"]
        if each["claim_id"] == claim["claim_id"]
    ]
    assert row["use_count"] == 1
    appliance.wait_until_stored(DEADLINE_S)
    newest = appliance.api.request("GET", f"/api/v1/devices/{serial}/newest")["values"]
    assert [(each["metric"], each["value"]) for each in newest] == [("celsius", 21.5)]


def test_it_waits_for_adoption_and_is_given_a_token_then(appliance: Appliance, tmp_path: Path) -> None:
    claim = appliance.homeport("claim", "create", "--device", "small-1")
    device = PahoDevice(appliance, "small-1")
    device.connect(user_name="small-1", password=claim["token"])
    nonce = "0123456789abcdef"
    word, answer = device.ask(token=True, nonce=nonce)
    assert (word, answer["code"], answer["retry_s"]) == ("rejected", "waiting_for_adoption", 60)
    adopted = appliance.homeport("device", "adopt", "small-1")
    assert adopted["state"] == "active"

    def is_given() -> bool:
        nonlocal word, answer
        time.sleep(1)  # A connection asks once a second in the long run.
        word, answer = device.ask(token=True, nonce=nonce)
        assert word == "accepted" or answer["code"] == "token_too_soon", answer
        return word == "accepted"

    wait_for(is_given, 2 * DEADLINE_S, "adoption itself has just made a token")
    device.close()
    again = PahoDevice(appliance, "small-1")
    again.connect(user_name="small-1", password=answer["token"])
    assert again.connack == "0x0"
    again.publish("dm/small-1/telemetry", b'{"v": {"on": true}}')
    again.close()


def test_wrong_and_revoked_claims_are_refused_at_the_door(appliance: Appliance) -> None:
    claim = appliance.homeport("claim", "create")
    appliance.homeport("claim", "revoke", claim["claim_id"])
    for token, connack in (
        (claim["token"], "0x87 The claim was revoked."),
        ("hpc_wrong", "0x86"),
    ):
        device = PahoDevice(appliance, "x")
        device.connect(user_name="provision", password=token)
        assert device.connack == connack
        device.close()


@pytest.mark.parametrize("version", [4, 5])
def test_a_revoked_certificate_is_cut_off_within_a_second_and_refused_with_the_reason(
    tmp_path: Path, version: int
) -> None:
    """By the catalog alone: the node is stopped, and nobody tells the broker."""
    with started(tmp_path) as appliance:
        token = appliance.homeport("claim", "create", "--adopt", "--count", "2")["token"]
        gone, kept = (enrol(appliance, tmp_path, token, serial, version) for serial in ("gone", "kept"))
        devices = {}
        for path in (gone, kept):
            devices[path] = PahoDevice(appliance, path.stem, version)
            devices[path].connect(certificate=path)
            devices[path].publish(f"dm/{path.stem}/telemetry", b'{"v": {"on": true}}')
        appliance.stop("node")
        serial = x509.load_pem_x509_certificate(gone.read_bytes()).serial_number
        keys = SiteKeys.load_or_create(appliance.data_dir)
        catalog = Catalog.open(appliance.data_dir / "catalog.db", clock=SystemClock(), node_id=keys.node_id)
        catalog.revoke_certificate(f"{serial:x}", because="keyCompromise")
        catalog.close()
        began = time.monotonic()
        assert devices[gone].gone.wait(DEADLINE_S)
        assert time.monotonic() - began < CUT_OFF_S_MAX
        if version == 5:
            assert devices[gone].goodbye == "0x87 The certificate was revoked."
        again = PahoDevice(appliance, "gone", version)
        again.connect(certificate=gone)
        assert again.connack == ("0x87 The certificate was revoked." if version == 5 else "0x87")
        again.close()
        devices[kept].publish("dm/kept/telemetry", b'{"v": {"on": false}}')
        devices[kept].close()
        log = appliance.log_path.read_text()
        assert '"code":"certificate_revoked"' in log.replace(": ", ":").replace(", ", ",")
        assert token not in log


def test_simulated_devices_come_in_and_back_with_what_they_kept(appliance: Appliance, tmp_path: Path) -> None:
    claim = appliance.homeport("claim", "create", "--adopt", "--count", "3")
    secret, folder = tmp_path / "claim", tmp_path / "identities"
    secret.touch(mode=0o600)

    def fleet(token: str) -> subprocess.CompletedProcess[str]:
        secret.write_text(token + "\n")
        command = ["sim", "fleet", "--devices", "3", "--rate", "5", "--duration", "1", "--json"]
        broker = [
            "--tls",
            "--ca",
            str(appliance.ca_file),
            "--port",
            str(appliance.tls_port),
            "--host",
            "localhost",
        ]
        identity = ["--claim", str(secret), "--identity", str(folder)]
        return subprocess.run(
            [sys.executable, "-m", "appliance", *command, *broker, *identity],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    for _ in range(2):
        done = fleet(claim["token"])
        assert done.returncode == 0, done.stderr + done.stdout
        report = json.loads(done.stdout)
        assert report["devices"] == 3
        assert report["acknowledged"] > 0
    found = appliance.api.request("GET", f"/api/v1/claims/{claim['claim_id']}")
    assert found["use_count"] == 3, "the second run came back with what the first one got"
    assert [oct(path.stat().st_mode & 0o777) for path in folder.iterdir()] == ["0o600"] * 3
    (folder / "sim-1.pem").unlink()
    refused = fleet("hpc_wrong")
    assert refused.returncode != 0
    assert "does not take the claim" in refused.stdout + refused.stderr
