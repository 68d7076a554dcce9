"""The simulated device: what firmware does, above MQTT and without a socket, a clock or randomness of its own.

    events in    Connected, Refused, ConnectionLost, Acknowledged    receive(event, now) -> commands
    time in      next_deadline_ms(), on_deadline(now) -> commands
    commands out Connect, Publish, Close, FallSilent; with firmware that can be managed also Subscribe and FetchBytes

A shell carries the commands out with whatever MQTT client it has and reports what happened. The rules are those of
docs/DEVICE_CONTRACT.md. Messages are named by a `handle`, which the shell hands back when the broker acknowledged.

Invariants: a reading has one `seq` for ever; it is in the buffer, in flight, acknowledged or counted as dropped or lost in a
restart, and only one of these; nothing is published but in ONLINE.
"""

from __future__ import annotations

from typing import Final

from device_fw_sim import messages
from device_fw_sim.backoff import Backoff
from device_fw_sim.buffer import ReadingBuffer
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
    Fetched,
    Moment,
    Publish,
    Received,
    Refused,
    State,
    Subscribe,
)
from device_fw_sim.faults import NETWORK_FAULTS, FaultKind, FaultPlan
from device_fw_sim.limits import (
    ACK_TIMEOUT_MS,
    AGENT_INFLIGHT_COUNT,
    BUFFER_MS_MAX,
    CONNECT_TIMEOUT_MS,
    INFLIGHT_COUNT_MAX,
)
from device_fw_sim.managed import Boot, Managed
from device_fw_sim.managing import POWER_CUT, Managing, Wanted
from device_fw_sim.randomness import Randomness
from device_fw_sim.samplers import Sampler, SensorSampler
from device_fw_sim.sensing import Sensing
from device_fw_sim.signals import Signals

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
        managed: Its firmware, with twin and commands; None for a device that only sends readings.
    """

    def __init__(
        self,
        options: DeviceOptions,
        *,
        source: Randomness,
        now: Moment,
        faults: FaultPlan | None = None,
        sampler: Sampler | None = None,
        managed: Managed | None = None,
    ) -> None:
        self.options, self.managed = options, managed
        self.state = State.OFF if managed is None else State.REBOOTING
        self.boot_id = f"{source.getrandbits(48):012x}"
        self.session = ""
        self._source = source
        self._faults = faults or FaultPlan()
        sensors = sampler or SensorSampler(
            Signals(source), interval_ms=options.interval_ms, start_mono_ms=now.mono_ms, source=source
        )
        self._backoff = Backoff(source)
        self._buffer = ReadingBuffer(BUFFER_MS_MAX // options.interval_ms)
        self._sensing = Sensing(sensors, self._buffer, source=source, started_mono_ms=now.mono_ms)
        self._telemetry_topic = options.telemetry_topic.replace("{device}", options.device_id)
        self._status_topic = options.status_topic.replace("{device}", options.device_id)
        self._started_mono_ms = self._booted_mono_ms = now.mono_ms
        self._next_connect_mono_ms = now.mono_ms if managed is None else None
        self._connect_timeout_mono_ms: int | None = None
        self._ack_timeout_mono_ms: int | None = None
        self._loop_close_mono_ms: int | None = None
        self._status_seq = self._last_fault_check_ms = 0
        self._window = INFLIGHT_COUNT_MAX
        self._connects = self._refusals = 0
        self._boot_end_mono_ms = None if managed is None else now.mono_ms
        self._managing = None if managed is None else Managing(managed, source, started_mono_ms=now.mono_ms)

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
            self._boot_end_mono_ms,
            None if self._up is None else self._up.next_deadline_ms(),
        )
        return min((each for each in deadlines if each is not None), default=None)

    def on_deadline(self, now: Moment) -> list[Command]:
        """Do what is due; calling it early or twice changes nothing."""
        commands: list[Command] = []
        if now.is_past(self._boot_end_mono_ms):
            self._boot(now)
        self._follow_faults(now, commands)
        if self._up is not None:
            self._obey(self._up.on_deadline(now), now, commands)
        while now.is_past(self._next_sample_mono_ms):
            self._sensing.take(now, self._active(now), self.boot_id)
        if now.is_past(self._connect_timeout_mono_ms) or now.is_past(self._ack_timeout_mono_ms):
            self._lose_connection(now)
            commands.append(Close(abort=True))
        if now.is_past(self._loop_close_mono_ms):
            self._lose_connection(now)
            commands.append(Close(abort=False))
        if now.is_past(self._next_connect_mono_ms):
            commands.append(self._connect(now))
        self._fill_window(now, commands)
        return commands

    # --- Events ----------------------------------------------------------------------------------------

    def receive(self, event: Event, now: Moment) -> list[Command]:
        """What the MQTT client below reports.

        An event that makes no sense now (it is of an older connection, say) changes nothing: networks deliver late.
        """
        commands: list[Command] = []
        match event:
            case Connected() if self.state is State.CONNECTING:
                self._online(event, now, commands)
            case Acknowledged() if self.state is State.ONLINE:
                self._acknowledged(event.handle, now, commands)
            case Received() if self.state is State.ONLINE and self._up is not None:
                # An acknowledgement that is due stands behind the blocks in the same stream: the connection is busy, not dead.
                if self._ack_timeout_mono_ms is not None and "/streams/" in event.topic:
                    self._ack_timeout_mono_ms = now.mono_ms + ACK_TIMEOUT_MS
                self._obey(self._up.received(event.topic, event.payload, now), now, commands)
            case Fetched() if self._up is not None:
                self._obey(self._up.fetched(event, now), now, commands)
            case Refused() if self.state is State.CONNECTING:
                self._refusals += 1
                self._lose_connection(now)
            case ConnectionLost() if self.state in (State.CONNECTING, State.ONLINE, State.SILENT):
                self._lose_connection(now)
        self._fill_window(now, commands)
        return commands

    def stop(self, now: Moment) -> list[Command]:
        """Take no more readings and let go of every fault; what is kept is still delivered.

        A device without a connection but with readings to deliver connects at once. `close` ends it.
        """
        self._sensing.stop()
        self._faults = FaultPlan()
        self._loop_close_mono_ms = None
        if self.state is State.BACKING_OFF and len(self._buffer):
            self._next_connect_mono_ms = now.mono_ms
        return self.on_deadline(now)

    def close(self, now: Moment) -> list[Command]:
        """Say goodbye, as a device that is switched off properly: a status, then DISCONNECT."""
        commands: list[Command] = []
        if self.state is State.ONLINE:
            commands += [self._status(now, "offline"), Close(abort=False)]
        elif self.state in (State.CONNECTING, State.SILENT):
            commands.append(Close(abort=True))
        self._sensing.stop()
        self._next_connect_mono_ms = self._boot_end_mono_ms = None
        self._clear_timeouts()
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
        return self._sensing.is_exhausted

    def statistics(self) -> DeviceStatistics:
        """Counts so far."""
        return DeviceStatistics(
            taken=self._sensing.taken_count,
            sent=self._buffer.sent_count,
            resent=self._buffer.resent_count,
            acknowledged=self._buffer.acknowledged_count,
            dropped=self._buffer.dropped_count,
            waiting=len(self._buffer),
            connects=self._connects,
            reconnects=max(self._connects - 1, 0),
            refusals=self._refusals,
            garbage=self._sensing.garbage_count,
            lost=self._buffer.lost_count,
            boots=1 if self._managing is None else self._managing.boot_count,
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
        if (
            self._managing is not None
            and self._managing.follow_faults(active, now)
            and self.state is State.HUNG
        ):
            self._restart(POWER_CUT, now, commands)
        if not active.isdisjoint(NETWORK_FAULTS) and self.state is not State.STOPPED:
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
        if self._managing is not None and (self._up is None or not self._up.managed.takes_readings):
            return None
        return self._sensing.next_due_ms

    def _connect(self, now: Moment) -> Connect:
        self._enter(State.CONNECTING)
        self._next_connect_mono_ms = None
        self._connect_timeout_mono_ms = now.mono_ms + CONNECT_TIMEOUT_MS
        self.session, self._status_seq = f"{self._source.getrandbits(48):012x}", 0
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
        # One place stays free for the status, and some for requests.
        kept = 1 if self._managing is None else 1 + AGENT_INFLIGHT_COUNT
        self._window = max(1, min(INFLIGHT_COUNT_MAX, event.receive_maximum) - kept)
        commands.append(self._status(now, "online"))
        if self._managing is not None:
            commands.append(Subscribe(filters=self._managing.managed.filters))
            self._obey(self._managing.connected(event.receive_maximum, now), now, commands)
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
            firmware=self.options.firmware if self._managing is None else self._managing.managed.firmware,
            hardware=self.options.hardware,
            up_s=(now.mono_ms - self._booted_mono_ms) // 1_000,
            dropped_count=self._buffer.dropped_count,
            expect_s=self._interval_ms / 1_000,
            reset_reason="power_on" if self._managing is None else self._managing.reset_reason,
        )
        return Publish(handle=STATUS_HANDLE, topic=self._status_topic, payload=payload)

    def _acknowledged(self, handle: int, now: Moment, commands: list[Command]) -> None:
        if handle == STATUS_HANDLE or self._buffer.acknowledge(handle):
            # Not CONNACK but an acknowledgement proves that the broker gives service.
            self._backoff.reset()
            self._ack_timeout_mono_ms = now.mono_ms + ACK_TIMEOUT_MS if self._buffer.inflight_count else None
        if handle != STATUS_HANDLE and self._managing is not None:
            self._obey(self._managing.acknowledged(handle, now), now, commands)

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
        self._clear_timeouts()
        looping = FaultKind.RECONNECT_LOOP in self._active(now)
        delay_ms = _LOOP_CLOSE_AFTER_MS if looping else self._backoff.next_delay_ms()
        self._next_connect_mono_ms = now.mono_ms + delay_ms
        if self._managing is not None:
            self._managing.disconnected(now)

    def _clear_timeouts(self) -> None:
        self._connect_timeout_mono_ms = self._ack_timeout_mono_ms = self._loop_close_mono_ms = None

    # --- Firmware --------------------------------------------------------------------------------------

    @property
    def _up(self) -> Managing | None:
        """Its managed side while its firmware runs."""
        return None if self.state in (State.REBOOTING, State.HUNG, State.STOPPED) else self._managing

    @property
    def _interval_ms(self) -> int:
        return self.options.interval_ms if self._managing is None else self._managing.managed.interval_ms

    def _obey(self, wanted: Wanted, now: Moment, commands: list[Command]) -> None:
        if self.state is State.ONLINE:
            commands += wanted.publishes
            if wanted.says_status:
                commands.append(self._status(now, "online"))
        commands += wanted.fetches
        if wanted.interval_ms is not None:
            self._sensing.set_interval(wanted.interval_ms)
        if wanted.restart is not None:
            self._restart(wanted.restart, now, commands)

    def _restart(self, reason: str, now: Moment, commands: list[Command]) -> None:
        """End this boot, with a goodbye where there is time for one; what is in RAM is lost."""
        if self.state is State.ONLINE and reason != POWER_CUT:
            commands += [self._status(now, "offline"), Close(abort=False)]
        elif self.state in (State.CONNECTING, State.ONLINE, State.SILENT):
            commands.append(Close(abort=True))
        self._enter(State.REBOOTING)
        self._sensing.power_lost()
        self._next_connect_mono_ms = None
        self._clear_timeouts()
        assert self._managing is not None
        self._boot_end_mono_ms = now.mono_ms + self._managing.managed.options.agent.boot_ms

    def _boot(self, now: Moment) -> None:
        assert self._managing is not None
        self._boot_end_mono_ms = None
        self.boot_id = f"{self._source.getrandbits(48):012x}"
        self._booted_mono_ms = now.mono_ms
        match self._managing.boot(self.boot_id, now):
            case Boot.CRASHED:
                self._boot_end_mono_ms = now.mono_ms + self._managing.managed.options.agent.boot_ms
            case Boot.HUNG:
                self._enter(State.HUNG)
            case Boot.UP:
                self._enter(State.BACKING_OFF)
                self._sensing.restarted(now, interval_ms=self._interval_ms)

    def _enter(self, state: State) -> None:
        assert state is self.state or state in TRANSITIONS[self.state], (
            f"{self.state} does not lead to {state}"
        )
        self.state = state
