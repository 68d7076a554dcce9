"""What a load run should do: one frozen, checked value."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Literal

from device_fw_sim import limits
from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.errors import OptionsError
from device_fw_sim.load.payloads import TELEMETRY_RING_COUNT_MAX
from device_fw_sim.load.ring import MARK


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """User name and token of one device. Its repr shows no secret."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """One run of the generator.

    Args:
        host: Where the broker listens.
        port: TCP port of it.
        tls: Speak TLS; `ca_file` is then what its certificate is checked against.
        ca_file: PEM file with the issuer of the broker's certificate (or the self-signed certificate itself).
        tls_verify: False checks nothing; only for a loopback broker with a certificate nobody signed.
        mqtt_version: 4 (MQTT 3.1.1) or 5.
        connections: Publishers, 1..20,000 with the subscribers.
        window: Messages in flight for each publisher, 1..16,384; lowered to the broker's Receive Maximum. With subscribers
            a message is in flight until it is acknowledged and, on average over them, delivered.
        qos: 0, 1 or 2.
        payload: "json" (of exactly `payload_bytes`), "telemetry" (five values, time and number of its own in each) or
            "marked" (16 bytes that say whose, which and how old, then padding).
        payload_bytes: Size of a "json" or "marked" payload.
        subscribers: Connections that subscribe and check every delivery; only with payload "marked".
        subscribe_to: What each of them gets: "own" one publisher (the subscriber's number modulo the publishers), "all"
            every publisher, "shared" its part of every publisher, in one shared subscription.
        subscribe_qos: None for that of the publishers.
        topic: Template with {device} (user name, or the client id when there is none) and {index}.
        credentials: Used in turn; empty for a broker that lets anybody in.
        client_id_prefix: Client ids are the user name when there is one for every connection, else prefix-index.
        duration_s: Measured time.
        warm_up_s: Time under load before it.
        drain_s: How long to wait for the last acknowledgements.
        rate: Messages per second over all connections, None for as many as come back (closed loop).
        burst: Messages a connection sends at a time when `rate` is given.
        messages_max: Stop after as many messages sent, None for no bound.
        connects_per_s: Pace of the ramp, None for as fast as the broker accepts.
        keep_alive_s: Of CONNECT; with more than 0, quiet connections send PINGREQ.
        watched_pid: Process of this machine (the broker) whose CPU time in the measured time is reported; None for nobody's.
        tolerate_loss: Report missing acknowledgements without raising (for runs in which the broker is killed).
        seed: Of the payloads.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    tls: bool = False
    ca_file: str | None = None
    tls_verify: bool = True
    mqtt_version: Literal[4, 5] = 4
    connections: int = 1
    window: int = 100
    qos: Literal[0, 1, 2] = 1
    payload: Literal["json", "telemetry", "marked"] = "json"
    payload_bytes: int = 100
    subscribers: int = 0
    subscribe_to: Literal["own", "all", "shared"] = "own"
    subscribe_qos: Literal[0, 1, 2] | None = None
    topic: str = "dm/{device}/telemetry"
    credentials: tuple[Credential, ...] = ()
    client_id_prefix: str = "load"
    duration_s: float = 5.0
    warm_up_s: float = 1.0
    drain_s: float = 15.0
    rate: float | None = None
    burst: int = 1
    messages_max: int | None = None
    connects_per_s: float | None = None
    keep_alive_s: int = 0
    watched_pid: int | None = None
    tolerate_loss: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        _bounds("connections", self.connections, 1, limits.CONNECTION_COUNT_MAX)
        _bounds("subscribers", self.subscribers, 0, limits.CONNECTION_COUNT_MAX - self.connections)
        _bounds("window", self.window, 1, limits.WINDOW_COUNT_MAX)
        _bounds("port", self.port, 1, 65_535)
        smallest = MARK.size if self.payload == "marked" else 60
        _bounds("payload_bytes", self.payload_bytes, smallest, limits.PAYLOAD_BYTES_MAX)
        _bounds("keep_alive_s", self.keep_alive_s, 0, 65_535)
        _bounds("burst", self.burst, 1, self.window)
        _bounds("duration_s", self.duration_s, 0.1, 86_400)
        _bounds("warm_up_s", self.warm_up_s, 0, 3_600)
        _bounds("drain_s", self.drain_s, 0, 3_600)
        if self.payload == "telemetry":
            _bounds("window (with telemetry)", self.window, 1, TELEMETRY_RING_COUNT_MAX)
        if self.rate is not None:
            _bounds("rate", self.rate, 0.001, 10_000_000)
        if self.connects_per_s is not None:
            _bounds("connects_per_s", self.connects_per_s, 0.1, 1_000_000)
        if self.subscribers:
            self._check_subscribers()

    def _check_subscribers(self) -> None:
        if self.payload != "marked":
            raise OptionsError(
                f"Subscribers can't account for the payload {self.payload!r}.",
                hint='Choose the payload "marked".',
            )
        if self.subscribe_to == "own" and self.subscribers % self.connections:
            raise OptionsError(
                f"{self.subscribers} subscribers can't be shared out evenly to {self.connections} publishers.",
                hint="Choose a multiple of the publishers.",
            )
        if self.connections > 1 and "{" not in self.topic:
            raise OptionsError(
                f"All publishers would use the topic {self.topic!r}.", hint="Put {index} into the topic."
            )
        if self.subscribe_to == "all":
            _bounds(
                "subscribers × connections", self.subscribers * self.connections, 1, limits.FLOW_COUNT_MAX
            )
        if len({len(self.topic_of(index)) for index in range(self.connections)}) > 1:
            raise OptionsError(
                "The publishers' topics differ in length.", hint="Use {index}, or user names of one length."
            )

    @property
    def ring_count(self) -> int:
        """Different messages a connection cycles through; packet ids are 1..this."""
        return max(self.window, limits.RING_COUNT_MIN)

    def client_id(self, index: int) -> str:
        """Client id of connection `index`."""
        if len(self.credentials) >= self.connections:
            return self.credentials[index].username
        return f"{self.client_id_prefix}-{index}"

    def credential(self, index: int) -> Credential | None:
        """Credentials of connection `index`."""
        return self.credentials[index % len(self.credentials)] if self.credentials else None

    def topic_of(self, index: int) -> str:
        """Topic that connection `index` publishes to; with subscribers, {index} has as many digits in all of them."""
        credential = self.credential(index)
        device = credential.username if credential else self.client_id(index)
        digits = len(str(self.connections - 1)) if self.subscribers else 1
        return self.topic.replace("{device}", device).replace("{index}", f"{index:0{digits}}")

    def filter_of(self, index: int) -> str:
        """Topic filter of subscriber `index`."""
        if self.subscribe_to == "own":
            return self.topic_of(index % self.connections)
        levels = "/".join("+" if "{" in level else level for level in self.topic.split("/"))
        return f"$share/{self.client_id_prefix}/{levels}" if self.subscribe_to == "shared" else levels

    @property
    def granted_qos(self) -> int:
        """QoS that subscribers ask for."""
        return self.qos if self.subscribe_qos is None else self.subscribe_qos

    @property
    def receivers_of_each(self) -> int:
        """Subscribers that get each message, 0 without any."""
        if not self.subscribers or self.subscribe_to == "shared":
            return min(self.subscribers, 1)
        return self.subscribers if self.subscribe_to == "all" else self.subscribers // self.connections

    def tls_context(self) -> ssl.SSLContext | None:
        """Context for the connections, None without TLS.

        Raises:
            OptionsError: The file of the issuer can't be used.
        """
        return BrokerAddress(
            host=self.host, port=self.port, tls=self.tls, ca_file=self.ca_file, tls_verify=self.tls_verify
        ).tls_context()


def _bounds(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise OptionsError(f"{name} is {value}.", hint=f"Choose a value from {lowest} to {highest}.")
