"""curl and paho-mqtt, unmodified, fetch an image that is rolled out; the node is killed in the middle, and they go on where they were."""

from __future__ import annotations

import random
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from appliance.management.blocks import stream_id
from appliance.management.cbor import decode_cbor
from appliance.management.cbor_writing import Writable, encode_cbor
from tests.interop.update_site import DEADLINE_S, UpdateSite

IMAGE = random.Random(3).randbytes(900_001)
SHA256 = sha256(IMAGE).hexdigest()
BLOCK = 8192
BLOCKS = -(-len(IMAGE) // BLOCK)
SLOW_BYTES_S = 300_000
LOST_S = 3.0
"""An answer that takes longer is taken for lost: it is asked for again."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[UpdateSite]:
    made = UpdateSite(tmp_path)
    made.box.wait_ready()
    made.box.homeport("artifact", "key", "policy", "allow")
    image = tmp_path / "pump.bin"
    image.write_bytes(IMAGE)
    made.roll_out(image, "--version", "2.0.0", "--format", "raw", bandwidth_bytes_s=SLOW_BYTES_S)
    yield made
    made.close()


class Pump:
    """A device with paho-mqtt, which keeps the blocks that it has."""

    def __init__(self, client: paho.Client) -> None:
        self.client = client
        self.blocks: dict[int, bytes] = {}
        self.news = threading.Event()
        self.refused: list[object] = []

    def missing(self) -> list[int]:
        return [number for number in range(BLOCKS) if number not in self.blocks]

    def take(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        if "/streams/" not in message.topic:
            return
        fields = decode_cbor(bytes(message.payload), is_senml=True)
        assert isinstance(fields, dict)
        if "/data/" in message.topic:
            self.blocks[fields["i"]] = fields["p"]
        else:
            self.refused.append(fields)
        self.news.set()

    def ask(self) -> None:
        """For the next eight of those that are missing, by their bitmap."""
        missing = self.missing()
        first = missing[0]
        bits = sum(1 << number - first for number in missing if number - first < 64)
        bitmap = bits.to_bytes(8, "little")
        asked: dict[str, Writable] = {"c": "p", "s": 1, "f": 0, "l": BLOCK, "o": first, "n": 8, "b": bitmap}
        self.news.clear()
        self.client.publish(f"dm/pump/streams/{stream_id(SHA256)}/get/cbor", encode_cbor(asked), qos=1)
        self.news.wait(LOST_S)


@contextmanager
def pump(site: UpdateSite) -> Iterator[Pump]:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="pump")
    client.username_pw_set("pump", site.token)
    context = ssl.create_default_context(cafile=str(site.box.ca_file))
    client.tls_set_context(context)
    made = Pump(client)
    client.on_message = made.take
    ready = threading.Event()
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", site.box.tls_port)
    client.loop_start()
    client.subscribe("dm/pump/#", qos=0)
    assert ready.wait(DEADLINE_S)
    try:
        yield made
    finally:
        client.disconnect()
        client.loop_stop()


def test_blocks_with_the_node_killed_in_between(site: UpdateSite) -> None:
    with pump(site) as device:
        site.wait_until(lambda: bool(site.execution().get("is_admitted")))
        while len(device.blocks) < BLOCKS // 3:
            device.ask()
        had = set(device.blocks)
        site.kill_node()

        def has_all() -> bool:
            if device.missing():
                device.ask()
            return not device.missing()

        site.wait_until(has_all)
    assert b"".join(device.blocks[number] for number in range(BLOCKS)) == IMAGE
    # What it had was not sent again: only the rest has gone out since then.
    assert site.sent_bytes("mqtt") < len(IMAGE) - (len(had) - 8) * BLOCK
    assert site.execution()["state"] == "downloading"


def test_curl_goes_on_where_the_file_ends(site: UpdateSite) -> None:
    with pump(site):
        site.wait_until(lambda: bool(site.execution().get("is_admitted")))
        file = site.folder / "fetched.bin"
        command = [
            "curl", "-sS", "--cacert", str(site.box.ca_file), "--user", f"pump:{site.token}", "-C", "-", "-o", str(file),
            f"https://127.0.0.1:{site.box.https_port}/dl/{SHA256}",
        ]  # fmt: skip
        first = subprocess.Popen(command, stderr=subprocess.PIPE)
        site.wait_until(lambda: file.exists() and file.stat().st_size > len(IMAGE) // 3)
        site.kill_node()
        first.communicate(timeout=DEADLINE_S)
        assert first.returncode != 0
        had = file.stat().st_size
        assert had < len(IMAGE)

        def goes_on() -> bool:
            return (
                subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=False).returncode == 0
            )

        site.wait_until(goes_on)
    assert file.read_bytes() == IMAGE
    assert site.sent_bytes() <= len(IMAGE) - had
    status = [
        "curl",
        "-sS",
        *command[2:6],
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        command[-1][:-64] + "0" * 64,
    ]
    assert subprocess.run(status, capture_output=True, check=True, timeout=DEADLINE_S).stdout == b"403"
