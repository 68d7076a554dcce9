"""A device comes in by itself: it makes a key, asks with a claim's token until it is answered, and keeps its certificate.

As docs/ENROLMENT.md asks of firmware: the key is made once and stays; what was asked is asked again, over a new connection, after the
time that the answer says; a refusal that no waiting mends ends it. Key and certificate lie in one file of mode 0600 for each device, so
that a second run comes back with them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from broker.mqtt.codec import PacketReader, RemoteProtocolError, encode
from broker.mqtt.packets import Connack, Connect, Packet, Publish, Version
from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.errors import OptionsError, SimError
from device_fw_sim.limits import (
    CONNECT_TIMEOUT_MS,
    ENROL_ANSWER_TIMEOUT_MS,
    ENROL_RETRY_S,
    ENROLLING_COUNT_MAX,
    PACKET_BYTES_MAX,
    RECEIVE_BYTES,
)

REQUEST: Final = "dm/provision/default/request"
ANSWERS: Final = "dm/provision/default/"
USER_NAME: Final = "provision"


class EnrolmentRefused(SimError):  # noqa: N818 - what it is
    """The site does not let the device in, and waiting won't help."""

    code = "enrolment_refused"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is: its id, and the file with its key and certificate."""

    device_id: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Enroller:
    """Brings devices in.

    Args:
        broker: Where to ask; over TLS.
        claim: The claim's token.
        folder: Where the identities are kept.
        say: Told what happens, for people.
    """

    broker: BrokerAddress
    claim: str
    folder: Path
    say: Callable[[str], None] = lambda _text: None

    async def all(self, serials: Sequence[str]) -> list[Identity]:
        """The identities of these devices, in their order; those that have one already are not asked about.

        Raises:
            EnrolmentRefused: one is not let in. OptionsError: the folder can't be used.
        """
        found: dict[str, Identity] = {}
        limiter = trio.CapacityLimiter(ENROLLING_COUNT_MAX)

        async def one(serial: str) -> None:
            async with limiter:
                found[serial] = await self.one(serial)

        try:
            async with trio.open_nursery() as nursery:
                for serial in serials:
                    nursery.start_soon(one, serial)
        except* SimError as errors:
            raise errors.exceptions[0] from None
        return [found[serial] for serial in serials]

    async def one(self, serial: str) -> Identity:
        """The identity of one device. Raises as `all`."""
        path = self.folder / f"{serial}.pem"
        key_pem, known = _kept(path)
        if known is not None:
            return Identity(known, path)
        csr = _request(key_pem)
        while True:
            try:
                word, answer = await self._ask({"csr": csr, "serial": serial})
            except (OSError, trio.BrokenResourceError, trio.TooSlowError, RemoteProtocolError) as error:
                self.say(f"{serial}: no answer ({_why(error)}), asking again")
                await trio.sleep(ENROL_RETRY_S)
                continue
            if word == "accepted":
                _keep(path, key_pem + answer["cert"].encode() + answer["ca"].encode())
                self.say(f"{serial}: is {answer['device']} now")
                return Identity(answer["device"], path)
            if "retry_s" not in answer:
                raise EnrolmentRefused(
                    f"{serial} is not let in: {answer.get('message', answer)}", hint=answer.get("hint", "")
                )
            self.say(f"{serial}: {answer['message']}")
            await trio.sleep(float(answer["retry_s"]))

    async def _ask(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """One connection, one request; the answer's last level and its content."""
        broker, version = self.broker, Version.MQTT_3_1_1
        context = broker.tls_context()
        assert context is not None
        connect = Connect(
            client_id="",  # The device's own is that of its session, which may still be there from an earlier life.
            clean_start=True,
            keep_alive_s=60,
            username=USER_NAME,
            password=self.claim.encode(),
            will=None,
            version=version,
        )
        publish = Publish(topic=REQUEST, payload=json.dumps(request).encode(), qos=1, packet_id=1)
        with trio.fail_after(CONNECT_TIMEOUT_MS / 1000):
            plain = await trio.open_tcp_stream(broker.host, broker.port)
        stream = trio.SSLStream(plain, context, server_hostname=broker.host, https_compatible=True)
        try:
            with trio.fail_after(ENROL_ANSWER_TIMEOUT_MS / 1000):
                await stream.send_all(encode(connect, version))
                reader = PacketReader(version, packet_bytes_max=PACKET_BYTES_MAX)
                while data := await stream.receive_some(RECEIVE_BYTES):
                    for packet in reader.receive_bytes(data):
                        found = _answer(packet)
                        if found is not None:
                            return found
                        if isinstance(packet, Connack):
                            await stream.send_all(encode(publish, version))
            raise trio.BrokenResourceError("the broker closed the connection")
        finally:
            await trio.aclose_forcefully(stream)


def _answer(packet: Packet) -> tuple[str, dict[str, Any]] | None:
    match packet:
        case Connack(reason_code=code) if code:
            raise EnrolmentRefused(
                f"The broker does not take the claim (CONNACK {code}).",
                hint="Look whether the claim has ended or was revoked: homeport claim list.",
            )
        case Publish(topic=topic, payload=payload) if topic.startswith(ANSWERS):
            return topic.removeprefix(ANSWERS), dict(json.loads(payload))
        case _:
            return None


def _why(error: BaseException) -> str:
    """A broken stream says nothing itself; what broke it, such as a certificate that isn't trusted, does."""
    return str(error) or str(error.__cause__ or "") or type(error).__name__


def _kept(path: Path) -> tuple[bytes, str | None]:
    """A device's key, made and kept if there is none, and the id in its certificate, None if it has none yet."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        pem = path.read_bytes() if path.exists() else b""
        if not pem:
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            _keep(path, pem)
    except OSError as error:
        raise OptionsError(
            f"{path} can't be kept: {error.strerror}.", hint="Give a folder that you may write."
        ) from error
    key_pem, mark, rest = pem.partition(b"-----BEGIN CERTIFICATE-----")
    if not mark:
        return key_pem, None
    try:
        subject = x509.load_pem_x509_certificate(mark + rest).subject
        (name,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError as error:
        raise OptionsError(
            f"{path} does not hold a device's key and certificate.",
            hint="Remove the file, and have the device enrol again.",
        ) from error
    return key_pem, str(name.value)


def _request(key_pem: bytes) -> str:
    key = load_pem_private_key(key_pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    return csr.public_bytes(Encoding.PEM).decode("ascii")


def _keep(path: Path, data: bytes) -> None:
    """Whole or not there, and for nobody else to read."""
    aside = path.with_suffix(".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
