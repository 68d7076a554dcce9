"""The simulated device: what firmware does, above MQTT and without a socket, a clock or randomness of its own.

    events in    Connected, Refused, ConnectionLost, Acknowledged    receive(event, now) -> commands
    time in      next_deadline_ms(), on_deadline(now) -> commands
    commands out Connect, Publish, Close, FallSilent

A shell carries the commands out with whatever MQTT client it has and reports what happened. The rules are those of
docs/DEVICE_CONTRACT.md. Messages are named by a `handle`, which the shell hands back when the broker acknowledged.

Invariants: a reading has one `seq` for ever; it is in the buffer, in flight, acknowledged or counted as dropped, and only
one of these; nothing is published but in ONLINE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from device_fw_sim import messages
from device_fw_sim.backoff import Backoff
from device_fw_sim.buffer import Reading, ReadingBuffer
from device_fw_sim.events import (
    TRANSITIONS,
    Acknowledged,
    Close,
    Command,
    Connect,
    Connected,
    ConnectionLost,
    DeviceOptions,
    DeviceStatistics,
    Event,
    FallSilent,
    Moment,
    Publish,
    Refused,
    State,
)
from device_fw_sim.faults import FaultKind, FaultPlan
from device_fw_sim.limits import (
    ACK_TIMEOUT_MS,
    BUFFER_MS_MAX,
    CONNECT_TIMEOUT_MS,
    INFLIGHT_COUNT_MAX,
    PATIENT_COUNT_MAX,
)
from device_fw_sim.randomness import Randomness
from device_fw_sim.samplers import Sampler, SensorSampler
from device_fw_sim.signals import Signals, Value

STATUS_HANDLE: Final = 0
"""Handle of the status message; readings have their `seq`, from 1."""
_LOOP_CLOSE_AFTER_MS: Final = 200


class Device:
    """One device.

    Args:
        options: What it is.
        source: Randomness, owned by the device from now on.
        now: Its switch-on.
        faults: Planted ones.
        sampler: Where its readings come from; sensors made from `source` when None.
    """

    def __init__(
        self,
        options: DeviceOptions,
        *,
        source: Randomness,
        now: Moment,
        faults: FaultPlan | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self.options = options
        self.state = State.OFF
        self.boot_id = f"{source.getrandbits(48):012x}"
        self.session = ""
        self._source = source
        self._faults = faults or FaultPlan()
        self._sampler: Sampler | None = sampler or SensorSampler(
            Signals(source), interval_ms=options.interval_ms, start_mono_ms=now.mono_ms, source=source
        )
        self._backoff = Backoff(source)
        self._buffer = ReadingBuffer(BUFFER_MS_MAX // options.interval_ms)
        self._telemetry_topic = options.telemetry_topic.replace("{device}", options.device_id)
        self._status_topic = options.status_topic.replace("{device}", options.device_id)
        self._started_mono_ms = now.mono_ms
        self._next_connect_mono_ms: int | None = now.mono_ms
        self._connect_timeout_mono_ms: int | None = None
        self._ack_timeout_mono_ms: int | None = None
        self._loop_close_mono_ms: int | None = None
        self._seq = 0
        self._status_seq = 0
        self._window = INFLIGHT_COUNT_MAX
        self._last_values: Mapping[str, Value] = {}
        self._connects = 0
        self._refusals = 0
        self._garbage = 0
        self._last_fault_check_ms = 0

    # --- Time ------------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        """Monotonic ms when `on_deadline` wants to be called, None when only events matter."""
        deadlines = (
            self._next_sample_mono_ms,
            self._next_connect_mono_ms,
            self._connect_timeout_mono_ms,
            self._ack_timeout_mono_ms,
            self._loop_close_mono_ms,
            self._next_fault_mono_ms,
        )
        return min((each for each in deadlines if each is not None), default=None)

    def on_deadline(self, now: Moment) -> list[Command]:
        """Do what is due; calling it early or twice changes nothing."""
        commands: list[Command] = []
        self._follow_faults(now, commands)
        while _due(self._next_sample_mono_ms, now):
            self._take_reading(now)
        if _due(self._connect_timeout_mono_ms, now) or _due(self._ack_timeout_mono_ms, now):
            self._lose_connection(now)
            commands.append(Close(abort=True))
        if _due(self._loop_close_mono_ms, now):
            self._lose_connection(now)
            self._next_connect_mono_ms = now.mono_ms + _LOOP_CLOSE_AFTER_MS
            commands.append(Close(abort=False))
        if _due(self._next_connect_mono_ms, now):
            commands.append(self._connect(now))
        self._fill_window(now, commands)
        return commands

    # --- Events ----------------------------------------------------------------------------------------

    def receive(self, event: Event, now: Moment) -> list[Command]:
        """What the MQTT client below reports.

        An event that makes no sense in the present state (an acknowledgement of an older connection, a loss that was
        ordered) changes nothing: networks deliver such things late.
        """
        commands: list[Command] = []
        match event:
            case Connected() if self.state is State.CONNECTING:
                self._online(event, now, commands)
            case Acknowledged() if self.state is State.ONLINE:
                self._acknowledged(event.handle, now)
            case Refused() if self.state is State.CONNECTING:
                self._refusals += 1
                self._lose_connection(now)
            case ConnectionLost() if self.state in (State.CONNECTING, State.ONLINE, State.SILENT):
                self._lose_connection(now)
            case _:
                pass
        self._fill_window(now, commands)
        return commands

    def stop(self, now: Moment) -> list[Command]:
        """Take no more readings and let go of every fault; what is kept is still delivered.

        A device without a connection but with readings to deliver connects at once. `close` ends it.
        """
        self._sampler = None
        self._faults = FaultPlan()
        self._loop_close_mono_ms = None
        if self.state is State.BACKING_OFF and len(self._buffer):
            self._next_connect_mono_ms = now.mono_ms
        return self.on_deadline(now)

    def close(self, now: Moment) -> list[Command]:
        """Say goodbye, as a device that is switched off properly: a status, then DISCONNECT."""
        commands: list[Command] = []
        if self.state is State.ONLINE:
            commands.append(self._status(now, "offline"))
            commands.append(Close(abort=False))
        elif self.state in (State.CONNECTING, State.SILENT):
            commands.append(Close(abort=True))
        self._sampler = self._next_connect_mono_ms = None
        self._connect_timeout_mono_ms = self._ack_timeout_mono_ms = self._loop_close_mono_ms = None
        self._faults = FaultPlan()
        self._enter(State.STOPPED)
        return commands

    # --- Queries ---------------------------------------------------------------------------------------

    @property
    def delivered(self) -> bool:
        """Nothing waits and nothing is in flight."""
        return len(self._buffer) == 0

    @property
    def exhausted(self) -> bool:
        """There will be no more readings."""
        return self._sampler is None or self._sampler.next_due_ms() is None

    def statistics(self) -> DeviceStatistics:
        """Counts so far."""
        return DeviceStatistics(
            taken=self._seq,
            sent=self._buffer.sent_count,
            resent=self._buffer.resent_count,
            acknowledged=self._buffer.acknowledged_count,
            dropped=self._buffer.dropped_count,
            waiting=len(self._buffer),
            connects=self._connects,
            reconnects=max(self._connects - 1, 0),
            refusals=self._refusals,
            garbage=self._garbage,
            state=self.state,
        )

    # --- Inside ----------------------------------------------------------------------------------------

    @property
    def _next_fault_mono_ms(self) -> int | None:
        change = self._faults.next_change_ms(self._last_fault_check_ms)
        return None if change is None else self._started_mono_ms + change

    def _follow_faults(self, now: Moment, commands: list[Command]) -> None:
        self._last_fault_check_ms = now.mono_ms - self._started_mono_ms
        active = self._active(now)
        if FaultKind.DROP_OUT in active and self.state is not State.STOPPED:
            if self.state in (State.CONNECTING, State.ONLINE, State.SILENT):
                self._lose_connection(now)
                commands.append(Close(abort=True))
            # No attempt while the network is gone: the change of the fault is the next deadline.
            self._next_connect_mono_ms = None
        elif self.state in (State.OFF, State.BACKING_OFF) and self._next_connect_mono_ms is None:
            self._next_connect_mono_ms = now.mono_ms + self._backoff.next_delay_ms()
        if FaultKind.RECONNECT_LOOP not in active:
            self._loop_close_mono_ms = None
        elif self.state is State.ONLINE and self._loop_close_mono_ms is None:
            self._loop_close_mono_ms = now.mono_ms + _LOOP_CLOSE_AFTER_MS
        if FaultKind.SILENT in active and self.state is State.ONLINE:
            self._enter(State.SILENT)
            self._ack_timeout_mono_ms = None
            commands.append(FallSilent(silent=True))
        elif FaultKind.SILENT not in active and self.state is State.SILENT:
            # Whatever was in flight was not read: the connection is given up and made anew.
            self._lose_connection(now)
            commands.append(Close(abort=True))

    def _active(self, now: Moment) -> frozenset[FaultKind]:
        return self._faults.active(now.mono_ms - self._started_mono_ms)

    @property
    def _next_sample_mono_ms(self) -> int | None:
        if self._sampler is None or (self._sampler.is_patient and len(self._buffer) >= PATIENT_COUNT_MAX):
            return None
        return self._sampler.next_due_ms()

    def _take_reading(self, now: Moment) -> None:
        assert self._sampler is not None
        active = self._active(now)
        self._seq += 1
        sample = self._sampler.take(now.mono_ms, now.wall_ms)
        ts_ms, values = sample.ts_ms, sample.values
        if FaultKind.STUCK in active and self._last_values:
            values = self._last_values
        self._last_values = values
        if FaultKind.SPIKE in active and self._source.random() < 0.1:
            values = {**values, "temperature_celsius": self._source.choice((-127.0, 85.0, 850.0))}
        if FaultKind.CLOCK_WRONG in active:
            ts_ms = sample.due_mono_ms - self._started_mono_ms
        payload = messages.telemetry(ts_ms=ts_ms, seq=self._seq, boot_id=self.boot_id, values=values)
        if FaultKind.GARBAGE in active and self._source.random() < 1 / 3:
            payload = messages.garbage(payload, self._source)
            self._garbage += 1
        self._buffer.put(Reading(self._seq, sample.due_mono_ms, payload))

    def _connect(self, now: Moment) -> Connect:
        self._enter(State.CONNECTING)
        self._next_connect_mono_ms = None
        self._connect_timeout_mono_ms = now.mono_ms + CONNECT_TIMEOUT_MS
        self.session = f"{self._source.getrandbits(48):012x}"
        self._status_seq = 0
        return Connect(
            client_id=self.options.device_id,
            keep_alive_s=self.options.keep_alive_s,
            will_topic=self._status_topic,
            will_payload=messages.will(ts_ms=now.wall_ms, boot_id=self.boot_id, session=self.session),
        )

    def _online(self, event: Connected, now: Moment, commands: list[Command]) -> None:
        self._enter(State.ONLINE)
        self._connects += 1
        self._connect_timeout_mono_ms = None
        # One place stays free for the status.
        self._window = max(1, min(INFLIGHT_COUNT_MAX, event.receive_maximum) - 1)
        commands.append(self._status(now, "online"))
        self._ack_timeout_mono_ms = now.mono_ms + ACK_TIMEOUT_MS
        self._follow_faults(now, commands)

    def _status(self, now: Moment, state: str) -> Publish:
        self._status_seq += 1
        payload = messages.status(
            state=state,
            ts_ms=now.wall_ms,
            boot_id=self.boot_id,
            session=self.session,
            seq=self._status_seq,
            firmware=self.options.firmware,
            hardware=self.options.hardware,
            up_s=(now.mono_ms - self._started_mono_ms) // 1_000,
            dropped_count=self._buffer.dropped_count,
            expect_s=self.options.interval_ms / 1_000,
        )
        return Publish(handle=STATUS_HANDLE, topic=self._status_topic, payload=payload)

    def _acknowledged(self, handle: int, now: Moment) -> None:
        if handle == STATUS_HANDLE or self._buffer.acknowledge(handle):
            # Not CONNACK but an acknowledgement proves that the broker gives service.
            self._backoff.reset()
            self._ack_timeout_mono_ms = now.mono_ms + ACK_TIMEOUT_MS if self._buffer.inflight_count else None

    def _fill_window(self, now: Moment, commands: list[Command]) -> None:
        if self.state is not State.ONLINE:
            return
        while self._buffer.inflight_count < self._window and (reading := self._buffer.take()) is not None:
            commands.append(Publish(handle=reading.seq, topic=self._telemetry_topic, payload=reading.payload))
            if self._ack_timeout_mono_ms is None:
                self._ack_timeout_mono_ms = now.mono_ms + ACK_TIMEOUT_MS

    def _lose_connection(self, now: Moment) -> None:
        self._enter(State.BACKING_OFF)
        self._buffer.connection_lost()
        self._connect_timeout_mono_ms = self._ack_timeout_mono_ms = self._loop_close_mono_ms = None
        looping = FaultKind.RECONNECT_LOOP in self._active(now)
        delay_ms = _LOOP_CLOSE_AFTER_MS if looping else self._backoff.next_delay_ms()
        self._next_connect_mono_ms = now.mono_ms + delay_ms

    def _enter(self, state: State) -> None:
        assert state is self.state or state in TRANSITIONS[self.state], (
            f"{self.state} does not lead to {state}"
        )
        self.state = state


def _due(deadline_mono_ms: int | None, now: Moment) -> bool:
    return deadline_mono_ms is not None and deadline_mono_ms <= now.mono_ms
