"""openssl and curl, unmodified, enrol a device over EST at the running appliance; paho-mqtt connects with the certificate."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.interop.box import DEADLINE_S, Box

CUT_OFF_S = 3.0
"""The promise is a second after the commit; the command and a busy machine take their time, too."""


KEY_AND_REQUEST = (
    "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out device.key\n"
    "openssl req -new -key device.key -subj /CN={device} -outform DER | openssl base64 -out request.b64"
)
UNPACK = "openssl base64 -d -in answer | openssl pkcs7 -inform DER -print_certs -out device.crt"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    started = Box(tmp_path_factory.mktemp("est"))
    try:
        started.wait_ready()
        yield started
    finally:
        started.close()


def connect(box: Box, device: str) -> tuple[paho.Client, int]:
    """Connect over TLS with the device's certificate; the reason code of CONNACK."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=device, protocol=paho.MQTTv5)
    client.tls_set(
        ca_certs=str(box.ca_file),
        certfile=str(box.device / "device.crt"),
        keyfile=str(box.device / "device.key"),
        tls_version=ssl.PROTOCOL_TLS_CLIENT,
    )
    told = threading.Event()
    reasons: list[int] = []

    def on_connect(_client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        reasons.append(reason.value)
        told.set()

    client.on_connect = on_connect
    client.connect("127.0.0.1", box.tls_port)
    client.loop_start()
    assert told.wait(DEADLINE_S)
    return client, reasons[0]


def test_curl_and_openssl_enrol_a_device_with_its_token(box: Box) -> None:
    token = box.homeport("device", "add", "pump-1")["token"]
    box.shell(KEY_AND_REQUEST.format(device="pump-1"))
    status, headers, _ = box.post("simpleenroll", "-u", f"pump-1:{token}")
    assert status == 200
    assert headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    box.shell(UNPACK)
    box.shell(
        "curl -sS --cacert $CA $EST/cacerts | openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out chain.crt\n"
        "openssl verify -x509_strict -purpose sslclient -CAfile chain.crt device.crt"
    )
    subject = box.shell("openssl x509 -in device.crt -noout -subject -nameopt multiline")
    assert "commonName                = pump-1" in subject

    client, reason = connect(box, "pump-1")
    try:
        assert reason == 0
        sent = client.publish("dm/pump-1/telemetry", b'{"celsius": 21.5}', qos=1)
        sent.wait_for_publish(DEADLINE_S)
        assert sent.is_published()
    finally:
        client.disconnect()
        client.loop_stop()


def test_the_next_certificate_is_not_had_before_its_time(box: Box) -> None:
    token = box.homeport("device", "add", "pump-2")["token"]
    box.shell(KEY_AND_REQUEST.format(device="pump-2"))
    assert box.post("simpleenroll", "-u", f"pump-2:{token}")[0] == 200
    box.shell(UNPACK)
    status, headers, body = box.post("simplereenroll", "--cert", "device.crt", "--key", "device.key")
    assert (status, headers["homeport-code"]) == (409, "certificate_not_due")
    assert b"can be had from" in body
    status, headers, _ = box.post("simplereenroll", "-u", f"pump-2:{token}")
    assert (status, headers["homeport-code"]) == (403, "certificate_missing")


def test_a_device_waits_for_its_adoption(box: Box) -> None:
    box.shell(KEY_AND_REQUEST.format(device="newcomer"))
    status, headers, body = box.post("simpleenroll", "-u", "newcomer:")
    assert status == 202
    assert int(headers["retry-after"]) == 60
    assert b"waits for adoption" in body
    box.homeport("device", "adopt", "newcomer")
    assert box.post("simpleenroll", "-u", "newcomer:")[0] == 200
    box.shell(UNPACK)
    client, reason = connect(box, "newcomer")
    client.disconnect()
    client.loop_stop()
    assert reason == 0


def test_who_has_nothing_is_told_what_to_bring(box: Box) -> None:
    box.homeport("device", "add", "pump-3")
    box.shell(KEY_AND_REQUEST.format(device="pump-3"))
    status, headers, _ = box.post("simpleenroll")
    assert status == 401
    assert headers["www-authenticate"].startswith("Basic realm=")
    status, headers, _ = box.post("simpleenroll", "-u", "pump-3:hpd_wrong")
    assert (status, headers["homeport-code"]) == (401, "bad_credentials")
    box.shell("head -c 70000 /dev/zero | tr '\\0' A > request.b64")
    status, headers, _ = box.post("simpleenroll", "-u", "pump-3:hpd_wrong")
    assert (status, headers["homeport-code"]) == (413, "body_too_large")


def test_a_certificate_of_somebody_else_is_refused_by_tls(box: Box) -> None:
    box.shell(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=pump-1 -days 2 "
        "-keyout other.key -out other.crt"
    )
    shown = box.shell(
        f"(echo -e 'GET / HTTP/1.1\\r\\nHost: box\\r\\n\\r\\n'; sleep 1) | openssl s_client -connect 127.0.0.1:{box.https_port} "
        "-CAfile $CA -cert other.crt -key other.key 2>&1 || true"
    )
    assert "alert" in shown
    assert "port of the devices" not in shown
    welcome = box.shell("curl -sS --cacert $CA ${EST%/.well-known/est}/")
    assert "port of the devices" in welcome


def test_the_revocation_list_is_there_for_others(box: Box) -> None:
    box.shell("curl -sS --cacert $CA ${EST%/.well-known/est}/crl.der -o site.crl")
    box.shell("curl -sS --cacert $CA ${EST%/.well-known/est}/ca.pem -o ca.pem")
    shown = box.shell("openssl crl -inform DER -in site.crl -CAfile ca.pem -noout -text 2>&1")
    assert "verify OK" in shown
    assert "CRL Number" in shown.replace("X509v3 ", "")


def test_a_claim_lets_a_device_in_and_revoking_throws_it_out(box: Box) -> None:
    claim = box.homeport("claim", "create", "--adopt", "--life", "1h")
    box.shell(KEY_AND_REQUEST.format(device="fan-1"))
    for _ in range(2):  # The answer got lost: the same key gets the same device, and the claim is used once.
        assert box.post("simpleenroll", "-u", f"fan-1:{claim['token']}")[0] == 200
    box.shell(UNPACK)
    (used,) = [
        each for each in box.homeport("claim", "list")["claims"] if each["claim_id"] == claim["claim_id"]
    ]
    assert used["use_count"] == 1

    serial = box.shell("openssl x509 -in device.crt -noout -serial").strip().removeprefix("serial=")
    client, reason = connect(box, "fan-1")
    assert reason == 0
    gone = threading.Event()
    reasons: list[str] = []

    def on_disconnect(_client: object, _data: object, _flags: object, why: Any, properties: Any) -> None:
        reasons.append(getattr(properties, "ReasonString", str(why)))
        gone.set()

    client.on_disconnect = on_disconnect
    revoked = box.homeport("certificate", "revoke", serial, "--because", "keyCompromise")
    told_at_s = time.monotonic()
    assert revoked["state"] == "revoked"
    assert gone.wait(DEADLINE_S)
    assert time.monotonic() - told_at_s < CUT_OFF_S
    client.disconnect()
    client.loop_stop()
    assert "revoked" in reasons[0]

    status, headers, _ = box.post("simplereenroll", "--cert", "device.crt", "--key", "device.key")
    assert (status, headers["homeport-code"]) == (403, "certificate_revoked")
    status, headers, _ = box.post("simpleenroll", "-u", f"fan-1:{claim['token']}")
    assert (status, headers["homeport-code"]) == (409, "enrolment_over"), (
        "the claim and the stolen key are worth nothing"
    )
    end = time.monotonic() + DEADLINE_S
    while serial.lower() not in box.shell(
        "curl -sS --cacert $CA ${EST%/.well-known/est}/crl.pem | openssl crl -noout -text"
    ).lower().replace(":", ""):
        assert time.monotonic() < end, "it is not on the revocation list"
        time.sleep(0.2)


def test_the_verbs_on_the_running_box(box: Box) -> None:
    box.homeport("device", "add", "valve-1")
    box.shell(KEY_AND_REQUEST.format(device="valve-1"))
    box.shell("openssl req -new -key device.key -subj /CN=valve-1 -out request.pem")
    issued = box.homeport("certificate", "issue", "valve-1", str(box.device / "request.pem"))
    (box.device / "device.crt").write_text(issued["certificate"])
    (box.device / "chain.crt").write_text(issued["chain"])
    box.shell("openssl verify -x509_strict -purpose sslclient -CAfile chain.crt device.crt")
    client, reason = connect(box, "valve-1")
    client.disconnect()
    client.loop_stop()
    assert reason == 0
    (listed,) = box.homeport("certificate", "list", "--device", "valve-1")["certificates"]
    assert (listed["serial"], listed["issued_by"]) == (issued["serial"], "cli")
    shown = box.homeport("ca", "show")
    assert shown["certificates"]["valid"] >= 1
    kit = box.device.parent / "kit.txt"
    kit.write_text(box.homeport("recovery-kit", "show")["text"])
    renewed = box.homeport("ca", "renew", str(kit))
    assert renewed["issuing"]["key_id"] == shown["issuing"]["key_id"]
    assert renewed["issuing"]["not_after_at_ms"] >= shown["issuing"]["not_after_at_ms"]
    again = box.homeport("certificate", "issue", "valve-1", str(box.device / "request.pem"))
    assert again["chain"] != issued["chain"]
    client, reason = connect(box, "valve-1")
    client.disconnect()
    client.loop_stop()
    assert reason == 0, "certificates of before the renewal are as good as those after it"
    assert box.homeport("recovery-kit", "confirm", str(kit))["was_pending"] is True
