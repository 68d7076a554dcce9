"""One bridge over its whole life: connects, carries, says why it ended, waits, connects again. It never gives up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, HomeportError, StorageError, Unavailable
from broker.mqtt.constants import Version

from .backoff import Backoff
from .crossing import Counts, Crossing
from .events import SessionSettings
from .lag import LagMeter
from .local import LocalBroker
from .memory import Memory
from .refusals import TOPICS_HINT, code_of
from .remote import open_remote, read_password
from .rules import BridgeRules
from .scan import Log, OutgoingScan, packet_ids_in_log
from .session import ClientSession
from .statistics import BridgeStatistics, BridgeWord

STOPPED_RETRY_MS: Final = 60_000
"""How often it is tried again where the operator has to do something first."""

log = structlog.get_logger(__name__)


class Bridge:
    """See the module's docstring.

    Args:
        log_of: Makes a reader of the telemetry log; one for each of this bridge's threads.
        state_path: Where its cursor lies.
        random: Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        rules: BridgeRules,
        *,
        log_of: Callable[[], Log],
        state_path: Path,
        local: LocalBroker,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._reader = log_of()
        self._scan = OutgoingScan(self._reader, rules.outgoing, principal=rules.principal, node=rules.node)
        self._state_path = state_path
        self._local = local
        self._clock = clock
        self._backoff = Backoff(random)
        self._counts = Counts()
        self._lag = LagMeter(log_of())
        self._lag_now = (0, 0)
        self._memory: Memory | None = None
        self._is_private = rules.version is not Version.MQTT_5
        self._state: BridgeWord = "starting"
        self._since_ms = clock.now_ms()
        self._opened_mono_ms: int | None = None
        self._error: HomeportError | None = None
        self._error_at_ms: int | None = None
        self._retry_at_ms: int | None = None

    def statistics(self) -> BridgeStatistics:
        """How it does; the lag is that of the last `measure`."""
        error = self._error
        return BridgeStatistics(
            name=self._rules.name,
            address=str(self._rules.address),
            state=self._state,
            since_ms=self._since_ms,
            error=error.message if error else "",
            hint=error.hint if error else "",
            code=error.code if error else "",
            error_at_ms=self._error_at_ms,
            retry_at_ms=self._retry_at_ms,
            in_flight=len(self._memory.outgoing) if self._memory else 0,
            lag_records=self._lag_now[0],
            lag_ms=self._lag_now[1],
            **dataclasses.asdict(self._counts),
        )

    async def measure(self) -> None:
        """Look how far it is behind the log."""
        if self._memory is not None and self._rules.outgoing:
            seq = self._memory.outgoing.position
            self._lag_now = await trio.to_thread.run_sync(self._lag.measure, seq, self._clock.now_ms())

    async def run(self) -> None:
        """Carry messages until cancelled."""
        while True:
            pause_ms = STOPPED_RETRY_MS
            self._opened_mono_ms = None
            try:
                await self._cross()
            except* HomeportError as group:
                error = _first(group)
                word: BridgeWord = "stopped" if isinstance(error, ConfigError | StorageError) else "waiting"
                if word == "waiting":
                    pause_ms = self._backoff.after_ms(self._stood_ms())
                self._go(word, error, self._clock.now_ms() + pause_ms)
            await trio.sleep(pause_ms / 1000)

    async def _cross(self) -> None:
        """One connection, from nothing to its end, which raises."""
        await self._local.wait_connected()
        memory = await self._remember(self._reader)
        head = await trio.to_thread.run_sync(self._reader.head)
        self._go("connecting")
        settings = await self._settings(memory)
        stream = await open_remote(self._rules.address, self._rules.tls)
        crossing = Crossing(
            rules=self._rules,
            stream=stream,
            session=ClientSession(settings, memory.outgoing, memory.incoming),
            memory=memory,
            scan=self._scan,
            local=self._local,
            clock=self._clock,
            counts=self._counts,
            head_seq=head.next_seq,
            on_open=self._on_open,
        )
        try:
            await crossing.run()
        finally:
            if not crossing.was_accepted:
                # A broker that doesn't know the bridge bit refuses it, or closes without a word: then without.
                self._is_private = not self._is_private and self._rules.version is not Version.MQTT_5

    async def _remember(self, reader: Log) -> Memory:
        """What is known; of QoS 2 messages that were on their way into our log when something broke, what became of them."""
        if self._memory is None:
            self._memory = await trio.to_thread.run_sync(
                lambda: Memory.load(
                    self._state_path,
                    reader,
                    begin=self._rules.begin,
                    in_flight_max=self._rules.in_flight_max,
                )
            )
        memory = self._memory
        begun = memory.incoming.begun
        if begun:
            await self._local.settle(self._rules.principal)
            since_seq = min(begun.values())
            found = await trio.to_thread.run_sync(packet_ids_in_log, reader, since_seq, self._rules.principal)
            memory.incoming.settle(found)
            await memory.save()
        return memory

    async def _settings(self, memory: Memory) -> SessionSettings:
        rules = self._rules
        password = None
        if rules.password_file is not None:
            password = await trio.to_thread.run_sync(read_password, rules.password_file)
        return SessionSettings(
            client_id=rules.client_id,
            version=rules.version,
            username=rules.user_name,
            password=password,
            keep_alive_s=rules.keep_alive_s,
            is_private=self._is_private,
            subscriptions=rules.subscriptions,
            known=memory.subscribed,
            receive_maximum=rules.in_flight_max,
            packet_bytes_max=rules.packet_bytes_max,
        )

    def _stood_ms(self) -> int:
        """How long the last connection was open, ms."""
        opened_mono_ms = self._opened_mono_ms
        return self._clock.mono_ms() - opened_mono_ms if opened_mono_ms is not None else 0

    def _on_open(self, refused: tuple[tuple[str, int], ...]) -> None:
        self._opened_mono_ms = self._clock.mono_ms()
        error = None
        if refused:
            topic_filter, code = refused[0]
            more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
            error = Unavailable(
                f"The other broker does not let us subscribe to {topic_filter}{more}.",
                hint=TOPICS_HINT,
                code=code_of(code),
            )
        self._go("connected", error)

    def _go(
        self, state: BridgeWord, error: HomeportError | None = None, retry_at_ms: int | None = None
    ) -> None:
        if state != self._state:
            self._state, self._since_ms = state, self._clock.now_ms()
        self._retry_at_ms = retry_at_ms
        if error is not None:
            self._error, self._error_at_ms = error, self._clock.now_ms()
            log.warning(
                "a bridge has a problem",
                bridge=self._rules.name,
                state=state,
                error=error.message,
                hint=error.hint,
                code=error.code,
            )
        elif state == "connected":
            log.info("a bridge is connected", bridge=self._rules.name, address=str(self._rules.address))


def _first(group: BaseExceptionGroup[HomeportError]) -> HomeportError:
    """The error to show: what needs the operator before what will pass."""
    leaves = [_first(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    urgent = [leaf for leaf in leaves if isinstance(leaf, ConfigError | StorageError)]
    told = [leaf for leaf in leaves if leaf.hint]
    return [*urgent, *told, *leaves][0]
