"""One device on amqtt's client: a protocol stack that nobody here wrote, against whatever broker is given.

amqtt is an asyncio library and speaks MQTT 3.1.1, so this shell is asyncio's, in a process of its own. It is deliberately
as small as the client allows; what the client can't do (fall silent, lose its network without a word) fleets can.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from amqtt.client import MQTTClient
from amqtt.errors import AMQTTError

from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.device import Device
from device_fw_sim.errors import OptionsError
from device_fw_sim.events import (
    HARDWARE,
    Acknowledged,
    Close,
    Command,
    Connect,
    Connected,
    ConnectionLost,
    DeviceOptions,
    Event,
    FallSilent,
    FetchBytes,
    Fetched,
    Moment,
    Publish,
    Received,
    Refused,
    Subscribe,
)
from device_fw_sim.faults import NETWORK_FAULTS, FaultKind, FaultRequest, plan_fleet
from device_fw_sim.fitting import HTTPS_PORT, FirmwareOptions, Fitter, check_faults
from device_fw_sim.https_range import RangeGet
from device_fw_sim.limits import ACK_TIMEOUT_MS, CONNECT_TIMEOUT_MS, RECEIVE_BYTES, STREAM_TIMEOUT_MS
from device_fw_sim.load.options import Credential
from device_fw_sim.report import SimReport, summarise

IMPOSSIBLE_FAULTS = NETWORK_FAULTS | {FaultKind.SILENT}
_EVENT_COUNT_MAX = 1_024
_CLOSE_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOptions:
    """One device; the fields are those of a fleet's options."""

    broker: BrokerAddress
    credential: Credential | None
    device_id: str
    interval_ms: int = 5_000
    duration_s: float | None = None
    drain_s: float = 10.0
    keep_alive_s: int = 30
    telemetry_topic: str = "dm/{device}/telemetry"
    faults: tuple[FaultRequest, ...] = ()
    firmware: FirmwareOptions | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        check_faults(self.faults, self.firmware)
        for fault in self.faults:
            if fault.kind in IMPOSSIBLE_FAULTS:
                raise OptionsError(
                    f"amqtt's client can't play {fault.kind.value}.",
                    hint="Use a fleet of one: homeport sim fleet.",
                )


def moment() -> Moment:
    """Both of the machine's clocks now."""
    return Moment(mono_ms=time.monotonic_ns() // 1_000_000, wall_ms=time.time_ns() // 1_000_000)


class OneDevice:
    """The asyncio shell of one device. `stop` is an event that ends the run early."""

    def __init__(self, options: OneOptions) -> None:
        # The client reports what it does as warnings; the events here say the same.
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        self._options = options
        source = random.Random(options.seed)
        firmware = options.firmware
        (plan,) = plan_fleet(1, options.faults, source)
        self.device = Device(
            DeviceOptions(
                device_id=options.device_id,
                interval_ms=options.interval_ms,
                keep_alive_s=options.keep_alive_s,
                telemetry_topic=options.telemetry_topic,
                hardware=HARDWARE if firmware is None else firmware.hardware,
            ),
            source=source,
            now=moment(),
            faults=plan,
            managed=None
            if firmware is None
            else Fitter(firmware).managed(options.device_id, interval_ms=options.interval_ms),
        )
        self.stop = asyncio.Event()
        self.problem: str | None = None
        self._events: asyncio.Queue[tuple[MQTTClient | None, Event]] = asyncio.Queue(_EVENT_COUNT_MAX)
        self._client: MQTTClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> SimReport:
        """Run for the duration, deliver what is left, and report."""
        started = time.monotonic()
        options = self._options
        end = float("inf") if options.duration_s is None else started + options.duration_s
        while time.monotonic() < end and not self.stop.is_set():
            await self._carry_out(self.device.on_deadline(moment()))
            await self._wait(end)
        ended = time.monotonic()
        await self._carry_out(self.device.stop(moment()))
        while not self.device.delivered and time.monotonic() < ended + options.drain_s:
            await self._wait(ended + options.drain_s)
            await self._carry_out(self.device.on_deadline(moment()))
        statistics = self.device.statistics()
        await self._carry_out(self.device.close(moment()))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        problems = [] if statistics.connects else [f"never connected: {self.problem or 'no answer'}"]
        return summarise([statistics], ended - started, problems)

    async def _wait(self, end: float) -> None:
        due_ms = self.device.next_deadline_ms()
        timeout_s = end - time.monotonic()
        if due_ms is not None:
            timeout_s = min(timeout_s, (due_ms - moment().mono_ms) / 1_000)
        getter = asyncio.ensure_future(self._events.get())
        stopper = asyncio.ensure_future(self.stop.wait())
        done, _ = await asyncio.wait(
            {getter, stopper},
            timeout=None if timeout_s == float("inf") else max(timeout_s, 0.001),
            return_when=asyncio.FIRST_COMPLETED,
        )
        stopper.cancel()
        if getter not in done:
            getter.cancel()
            return
        client, event = getter.result()
        if client is not self._client and not isinstance(event, Fetched):
            return  # Of a connection that is gone.
        if isinstance(event, ConnectionLost | Refused):
            self._client = None
        await self._carry_out(self.device.receive(event, moment()))

    async def _carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Connect():
                    self._client = self._new_client(command)
                    self._spawn(self._connect(self._client))
                case Publish() if self._client is not None:
                    task = self._spawn(self._publish(self._client, command))
                    if command.handle == 0 and self.device.state.value == "stopped":
                        await asyncio.wait({task}, timeout=_CLOSE_DEADLINE_S)
                case Close() if self._client is not None:
                    client, self._client = self._client, None
                    await self._disconnect(client)
                case Publish() | Close():
                    pass  # There is no connection any more; the device hears of that in its turn.
                case Subscribe() if self._client is not None:
                    self._spawn(self._subscribe(self._client, command))
                case FetchBytes():
                    self._spawn(self._fetch(command))
                case Subscribe():
                    pass
                case FallSilent():
                    raise AssertionError("refused by OneOptions")

    def _spawn(self, work: object) -> asyncio.Task[None]:
        assert asyncio.iscoroutine(work)
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _new_client(self, command: Connect) -> MQTTClient:
        will = {
            "topic": command.will_topic,
            "message": command.will_payload.decode(),
            "qos": 1,
            "retain": False,
        }
        config = {
            "auto_reconnect": False,
            "keep_alive": command.keep_alive_s,
            "ping_delay": min(command.keep_alive_s // 4, 5),
            "connection_timeout": CONNECT_TIMEOUT_MS // 1_000,
            "check_hostname": self._options.broker.tls_verify,
            "verify_cert": self._options.broker.tls_verify,
            "will": will,
        }
        return MQTTClient(client_id=command.client_id, config=config)

    async def _connect(self, client: MQTTClient) -> None:
        broker = self._options.broker
        scheme = "mqtts" if broker.tls else "mqtt"
        credential = self._options.credential
        try:
            client.session = None
            uri = f"{scheme}://{_login(credential)}{broker.host}:{broker.port}/"
            await client.connect(uri, cleansession=True, cafile=broker.ca_file)
        except (TimeoutError, AMQTTError, OSError) as error:
            self.problem = str(error) or type(error).__name__
            code = getattr(error, "return_code", None)
            event: Event = ConnectionLost() if code is None else Refused(reason_code=code)
            await self._events.put((client, event))
            return
        await self._events.put((client, Connected()))
        try:
            # It ends with the connection: then there is no message, or an error.
            while (message := await client.deliver_message()) is not None:
                received = Received(topic=message.topic, payload=bytes(message.data or b""))
                await self._events.put((client, received))
        except (TimeoutError, AMQTTError, OSError) as error:
            self.problem = str(error) or type(error).__name__
        await self._events.put((client, ConnectionLost()))

    async def _subscribe(self, client: MQTTClient, command: Subscribe) -> None:
        try:
            await client.subscribe([(each, 0) for each in command.filters])
        except (TimeoutError, AMQTTError, OSError) as error:
            self.problem = str(error) or type(error).__name__

    async def _fetch(self, command: FetchBytes) -> None:
        """Get bytes over HTTPS; an empty piece at the end says that it is over, whatever ended it."""
        options = self._options
        known, firmware = options.credential, options.firmware
        exchange = RangeGet(
            command.url,
            command.offset,
            host=options.broker.host,
            port=(firmware.https_port if firmware is not None else None) or HTTPS_PORT,
            login=None if known is None else (known.username, known.password),
        )
        try:
            context = options.broker.https_context()
            async with asyncio.timeout(CONNECT_TIMEOUT_MS / 1_000):
                reader, writer = await asyncio.open_connection(exchange.host, exchange.port, ssl=context)
            try:
                writer.write(exchange.request())
                while not exchange.is_over:
                    async with asyncio.timeout(STREAM_TIMEOUT_MS / 1_000):
                        data = await reader.read(RECEIVE_BYTES)
                    for piece in exchange.receive_bytes(data):
                        await self._events.put((None, Fetched(data=piece, number=command.number)))
            finally:
                writer.close()
        except (TimeoutError, OSError) as error:
            exchange.problem = str(error) or type(error).__name__
        self.problem = exchange.problem or self.problem
        await self._events.put((None, Fetched(data=b"", number=command.number)))

    async def _publish(self, client: MQTTClient, command: Publish) -> None:
        try:
            message = await client.publish(
                command.topic,
                command.payload,
                qos=command.qos,
                retain=False,
                ack_timeout=ACK_TIMEOUT_MS // 1_000,
            )
        except (TimeoutError, AMQTTError, OSError) as error:
            self.problem = str(error) or type(error).__name__
            return  # The device's own timeout, or the end of the connection, follows.
        if command.qos and message.puback_packet is not None:
            await self._events.put((client, Acknowledged(handle=command.handle)))

    async def _disconnect(self, client: MQTTClient) -> None:
        try:
            await asyncio.wait_for(client.disconnect(), _CLOSE_DEADLINE_S)
        except (TimeoutError, AMQTTError, OSError) as error:
            self.problem = str(error) or type(error).__name__


def _login(credential: Credential | None) -> str:
    """User name and token for the address, which is where amqtt's client takes them from; it never leaves the process."""
    if credential is None:
        return ""
    return f"{quote(credential.username, safe='')}:{quote(credential.password, safe='')}@"
