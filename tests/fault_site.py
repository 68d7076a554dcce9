"""A site of simulated devices, as a node has it from its log on: log, store, watch, alarm desk. Time is turned by hand.

The broker's part is played here: what a connection says of itself in the log (storage/log/columns.py, Kind), and that it is missed
after one and a half times its keep alive.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from appliance.alarms.built_in_rules import bring_built_in
from appliance.alarms.desk import AlarmDesk
from appliance.alarms.outbox import OutboxRows
from appliance.core.clock import ManualClock
from appliance.core.config import WatchConfig
from appliance.core.config_alarms import AlarmsConfig
from appliance.management.alarm import Alarm
from appliance.management.rule import RuleDefinition
from appliance.pipeline.rule_sets import RuleSets
from appliance.run.alarms_wiring import make_book
from appliance.run.watch_wiring import make_watch
from device_fw_sim.device import Device
from device_fw_sim.events import (
    Acknowledged,
    Close,
    Command,
    Connect,
    Connected,
    DeviceOptions,
    Moment,
    Publish,
)
from device_fw_sim.faults import FaultPlan
from storage.catalog import AsyncCatalog
from storage.catalog.alarms import SELECT, alarm_of
from storage.catalog.catalog import Catalog
from storage.catalog.membership import read_membership
from storage.log.columns import Kind
from storage.log.writer import LogWriter
from storage.telemetry.alarm_outbox import AlarmOutbox
from tests.acts import ACT
from tests.log_kit import Record, append, open_log
from tests.watch_kit import WatchedByHand

START_MS = 1_785_715_200_000
"""A Monday, 00:00 UTC."""
MINUTE_MS = 60_000
KEEP_ALIVE_S = 30


class SimulatedDevice:
    """A device of the simulator, and what the broker writes into the log of it."""

    def __init__(self, device_id: str, seed: int, interval_ms: int, faults: FaultPlan) -> None:
        self.device_id = device_id
        self._now_ms = 0
        self._is_connected = False
        self._will = (b"", b"")
        options = DeviceOptions(device_id=device_id, interval_ms=interval_ms, keep_alive_s=KEEP_ALIVE_S)
        self._device = Device(options, source=random.Random(seed), now=self._moment, faults=faults)

    @property
    def _moment(self) -> Moment:
        return Moment(mono_ms=self._now_ms, wall_ms=START_MS + self._now_ms)

    def run(self, until_ms: int) -> list[Record]:
        """What comes of it until a time (ms since the start); may be a little ahead, where its connection is missed later."""
        records: list[Record] = []
        while (due_ms := self._device.next_deadline_ms()) is not None and due_ms <= until_ms:
            self._now_ms = max(self._now_ms, due_ms)
            self._obey(self._device.on_deadline(self._moment), records)
        self._now_ms = max(self._now_ms, until_ms)
        return records

    def _obey(self, commands: Sequence[Command], records: list[Record]) -> None:
        for command in commands:
            match command:
                case Connect():
                    self._is_connected = True
                    self._will = command.will_topic.encode(), command.will_payload
                    self._note(records, Kind.SESSION_OPENED, {"address": "10.0.0.9"})
                    self._obey(self._device.receive(Connected(), self._moment), records)
                case Publish():
                    self._record(records, Kind.PUBLISH, command.topic.encode(), command.payload)
                    event = Acknowledged(handle=command.handle)
                    self._obey(self._device.receive(event, self._moment), records)
                case Close() if self._is_connected:
                    self._is_connected = False
                    missed_ms = KEEP_ALIVE_S * 1_500
                    self._record(records, Kind.SERVER_PUBLISH, *self._will, after_ms=missed_ms)
                    closed = {"reason": "keep_alive", "last_packet_at_ms": START_MS + self._now_ms}
                    self._note(records, Kind.SESSION_CLOSED, closed, after_ms=missed_ms)
                case _:
                    raise AssertionError(f"not of a device without firmware: {command}")

    def _note(
        self, records: list[Record], kind: Kind, fields: Mapping[str, object], after_ms: int = 0
    ) -> None:
        self._record(records, kind, b"", msgspec.msgpack.encode(fields), after_ms)

    def _record(
        self, records: list[Record], kind: Kind, topic: bytes, payload: bytes, after_ms: int = 0
    ) -> None:
        at_ms = START_MS + self._now_ms + after_ms
        records.append(Record(payload, topic, at_ms, kind, self.device_id, self.device_id))


class StoreOutbox:
    """The outbox of the store that is at hand."""

    def __init__(self, watched: WatchedByHand) -> None:
        self._watched = watched

    async def read_after(self, store_id: str, number: int, limit: int) -> OutboxRows:
        outbox = AlarmOutbox(self._watched.store)
        found = outbox.store_id()
        return OutboxRows(found, outbox.read_after(number if found == store_id else 0, limit))

    async def forget_through(self, store_id: str, number: int) -> None:
        AlarmOutbox(self._watched.store).forget_through(number)


class FaultSite:
    """Devices, with the rules that come with Homeport and those that somebody has written. `opened` makes it.

    Attributes:
        devices: As they are switched on, all at once.
    """

    def __init__(
        self, catalog: AsyncCatalog, log: LogWriter, watched: WatchedByHand, clock: ManualClock
    ) -> None:
        self.catalog = catalog
        self.clock = clock
        self.desk = AlarmDesk(
            catalog, make_book(AlarmsConfig(), clock=clock), clock=clock, outbox=StoreOutbox(watched)
        )
        self.devices: list[SimulatedDevice] = []
        self._log = log
        self._watched = watched
        self._ahead: list[Record] = []

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        folder: Path,
        devices: Mapping[str, tuple[int, FaultPlan]],
        rules: Mapping[str, RuleDefinition],
        *,
        interval_ms: int,
    ) -> AsyncIterator[FaultSite]:
        """A site of devices, each with its seed and its faults, and with these rules by name."""
        clock = ManualClock(START_MS)
        async with AsyncCatalog.opened(folder / "catalog.db", clock=clock, node_id=b"n" * 16) as catalog:

            def prepare(writer: Catalog) -> None:
                for device_id in devices:
                    writer.add_device(device_id)
                bring_built_in(writer, (0, 1))
                for name, definition in rules.items():
                    writer.add_rule(name, definition, position=(0, 1), by="anna")

            await catalog.write(prepare, by=ACT)
            log = open_log(folder / "log", clock=clock)
            sets = RuleSets(await catalog.read(lambda reader: reader.list_rule_versions()))
            watch = make_watch(WatchConfig())
            watch.members(await catalog.read(read_membership))
            watched = WatchedByHand(folder / "store.duckdb", folder / "log", clock, sets, lambda: watch)
            try:
                site = cls(catalog, log, watched, clock)
                site.devices = [
                    SimulatedDevice(device_id, seed, interval_ms, plan)
                    for device_id, (seed, plan) in devices.items()
                ]
                await site.desk.load()
                yield site
            finally:
                watched.close()
                log.close()

    async def run(self, until_ms: int, step_ms: int) -> None:
        """Let time pass, ms since the start, in steps after each of which all that is there is worked off."""
        while (now_ms := self.clock.now_ms() - START_MS) < until_ms:
            step = min(step_ms, until_ms - now_ms)
            for device in self.devices:
                self._ahead += device.run(now_ms + step)
            self._ahead.sort(key=lambda record: record.at_ms)
            self.clock.advance(step)
            due = [each for each in self._ahead if each.at_ms <= self.clock.now_ms()]
            self._ahead = self._ahead[len(due) :]
            if due:
                append(self._log, due)
            await self._watched.to_the_end()
            self.desk.wake()
            await self.desk.settle()

    async def acknowledge_all(self) -> None:
        """Somebody has looked at all that there is."""
        ids = [each.alarm_id for each in await self.alarms()]
        await self.catalog.write(
            lambda catalog: self.desk.book.acknowledge(catalog, ids, actor="anna"), by=ACT
        )

    async def alarms(self) -> list[Alarm]:
        """All that there ever were."""
        rows = await self.catalog.read(lambda catalog: catalog.rows(f"{SELECT}", ()))
        return [alarm_of(row) for row in rows]
