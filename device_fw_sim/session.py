"""A device's commands as MQTT bytes and the broker's bytes as events, for one connection, on our own codec. Sans-IO.

The four verbs: `send`, `receive_bytes`, `next_deadline_ms`, `on_deadline`. Any bytes give events: what breaks the protocol
gives ConnectionLost with the reason in `problem`, as a device would treat it.
"""

from __future__ import annotations

from broker.mqtt.codec import PacketReader, RemoteProtocolError, encode
from broker.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Version,
    Will,
)
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from device_fw_sim import events, limits

_PACKET_ID_MAX = 65_535


class MqttSession:
    """One connection, from CONNECT to its end.

    Args:
        version: MQTT 3.1.1 or 5.
        username: User name, None for none.
        password: Token, None for none.
    """

    def __init__(self, *, version: Version, username: str | None, password: str | None) -> None:
        self.problem: str | None = None
        self.server_reference = ""
        """Where the broker that ended the connection sent its clients (MQTT 5.0 §4.11)."""
        self._version = version
        self._username = username
        self._password = password
        self._reader = PacketReader(version, packet_bytes_max=limits.PACKET_BYTES_MAX)
        self._handles: dict[int, int] = {}
        self._next_packet_id = 1
        self._keep_alive_ms = 0
        self._last_sent_mono_ms = self._last_heard_mono_ms = 0
        self._ping_sent_mono_ms: int | None = None
        self._silent = False
        self._subscribed = False
        self._accepted = False

    def send(self, command: events.Command, now_ms: int) -> bytes:
        """Bytes to write for a command.

        Args:
            command: Connect first, Close last.
            now_ms: Monotonic.
        Returns:
            b"" when nothing is to be written (an abort, silence).
        """
        match command:
            case events.Connect():
                self._keep_alive_ms = command.keep_alive_s * 1_000
                packet: Packet = self._connect(command)
            case events.Publish(qos=0):
                packet = Publish(topic=command.topic, payload=command.payload, qos=0)
            case events.Subscribe():
                self._subscribed = True
                subscriptions = tuple(Subscription(topic_filter=each, qos=0) for each in command.filters)
                packet = Subscribe(packet_id=self._free_packet_id(), subscriptions=subscriptions)
            case events.Publish():
                packet_id = self._free_packet_id()
                self._handles[packet_id] = command.handle
                packet = Publish(topic=command.topic, payload=command.payload, qos=1, packet_id=packet_id)
            case events.Close(abort=False):
                packet = Disconnect()
            case events.FallSilent():
                self._silent = command.silent
                return b""
            case _:
                return b""
        self._last_sent_mono_ms = now_ms
        return encode(packet, self._version)

    def receive_bytes(self, data: bytes, now_ms: int) -> list[events.Event]:
        """Events from what the broker sent, however it was cut; b"" means that it closed the connection."""
        if not data:
            return self._lost("the broker closed the connection")
        try:
            packets = self._reader.receive_bytes(data)
        except RemoteProtocolError as error:
            return self._lost(error.message)
        self._last_heard_mono_ms = now_ms
        found: list[events.Event] = []
        for packet in packets:
            found += self._packet(packet)
        if self._reader.error is not None:
            found += self._lost(self._reader.error.message)
        return found

    def next_deadline_ms(self) -> int | None:
        """When a PINGREQ is due or its answer is overdue, monotonic."""
        if self._silent or not self._accepted or not self._keep_alive_ms:
            return None
        if self._ping_sent_mono_ms is not None:
            return max(self._ping_sent_mono_ms, self._last_heard_mono_ms) + self._keep_alive_ms
        return self._last_sent_mono_ms + self._keep_alive_ms * 3 // 4

    def on_deadline(self, now_ms: int) -> tuple[bytes, list[events.Event]]:
        """PINGREQ after three quarters of the keep alive without a packet; nothing at all for a whole one is a dead broker.

        Returns:
            Bytes to write, and events.
        """
        deadline = self.next_deadline_ms()
        if deadline is None or deadline > now_ms:
            return b"", []
        if self._ping_sent_mono_ms is not None:
            return b"", self._lost("nothing after PINGREQ within the keep alive")
        self._ping_sent_mono_ms = self._last_sent_mono_ms = now_ms
        return encode(Pingreq(), self._version), []

    def _connect(self, command: events.Connect) -> Connect:
        properties = Properties.EMPTY
        if self._version is Version.MQTT_5:
            properties = Properties({PropertyId.MAXIMUM_PACKET_SIZE: limits.PACKET_BYTES_MAX})
        return Connect(
            client_id=command.client_id,
            clean_start=True,
            keep_alive_s=command.keep_alive_s,
            username=self._username,
            password=None if self._password is None else self._password.encode(),
            will=Will(topic=command.will_topic, payload=command.will_payload, qos=1),
            version=self._version,
            properties=properties,
        )

    def _packet(self, packet: Packet) -> list[events.Event]:
        match packet:
            case Connack(reason_code=0) if not self._accepted:
                self._accepted = True
                if self._version is Version.MQTT_5:
                    keep_alive_s = packet.properties.integer(
                        PropertyId.SERVER_KEEP_ALIVE, self._keep_alive_ms // 1_000
                    )
                    self._keep_alive_ms = keep_alive_s * 1_000
                    maximum = packet.properties.integer(PropertyId.RECEIVE_MAXIMUM, _PACKET_ID_MAX)
                    return [events.Connected(receive_maximum=maximum)]
                return [events.Connected()]
            case Connack() if not self._accepted:
                self.problem = f"CONNACK refused with code 0x{packet.reason_code:02x}"
                return [events.Refused(reason_code=packet.reason_code)]
            case Puback():
                handle = self._handles.pop(packet.packet_id, None)
                if handle is None:
                    return self._lost(f"PUBACK for packet id {packet.packet_id}, which is not in flight")
                # A request that isn't permitted is one that gets no answer; a reading that isn't taken ends it all.
                if packet.reason_code >= 0x80 and handle >= 0:
                    return self._lost(f"PUBACK with reason code 0x{packet.reason_code:02x}")
                return [events.Acknowledged(handle=handle)]
            case Publish(qos=0) if self._subscribed:
                return [events.Received(topic=packet.topic, payload=packet.payload)]
            case Suback() if self._subscribed:
                # A filter that was refused costs nothing: answers come unasked, and the rest is asked for.
                return []
            case Pingresp():
                self._ping_sent_mono_ms = None
                return []
            case Disconnect():
                self.server_reference = str(packet.properties.get(PropertyId.SERVER_REFERENCE) or "")
                return self._lost(f"DISCONNECT with reason code 0x{packet.reason_code:02x}")
            case _:
                return self._lost(f"{type(packet).__name__} is nothing a broker sends to this device")

    def _lost(self, why: str) -> list[events.Event]:
        self.problem = self.problem or why
        return [events.ConnectionLost()]

    def _free_packet_id(self) -> int:
        while self._next_packet_id in self._handles:
            self._next_packet_id = self._next_packet_id % _PACKET_ID_MAX + 1
        packet_id = self._next_packet_id
        self._next_packet_id = packet_id % _PACKET_ID_MAX + 1
        return packet_id
