"""Random streams of everything that depends on order, and two ways to read them: in order, and with backlogs."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from appliance.core.clock import SystemClock
from appliance.core.limits import BATCH_MESSAGES_MIN, DEDUP_BOOT_COUNT_MAX
from appliance.management.presence import DevicePresence
from appliance.management.retention import Retention
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.reading import Pending, Reading
from appliance.pipeline.rules import LogRules
from storage.archive.adopting import adopt_all
from storage.archive.export import Exporter
from storage.archive.index import remove_generation
from storage.archive.taking import take
from storage.log.columns import Kind
from storage.log.reader import LogReader
from storage.log.source import LogSource
from storage.telemetry.database import archive_folder, run
from storage.telemetry.state import read_state
from storage.telemetry.store import TelemetryStore
from tests.archive_kit import DEFAULT
from tests.log_kit import Record
from tests.pipeline_kit import EveryDevice

NOW = 1_700_000_000_000
HOUR = 3_600_000


class Stream:
    """Devices that send, resend, restart, connect and disconnect; some name their boot in each message, some in a status
    only, some never, some don't number what they send. Each record has the next millisecond of arrival.
    """

    def __init__(self, seed: int, *, step_ms: int = 7_001) -> None:
        self._choices = random.Random(seed)
        self._step_ms = step_ms
        self._at_ms = NOW
        self._seq: dict[str, int] = {}
        self._boot: dict[str, int] = {}
        self._sent: dict[str, list[Record]] = {}
        self._arrivals: dict[bytes, list[int]] = {}

    def first_arrivals(self, contents: dict[str, object]) -> dict[str, object]:
        """A store's contents with each newest value that was sent again at its first arrival; at another than these it stays."""
        first = {at_ms: times[0] for times in self._arrivals.values() for at_ms in times}
        newest: Any = contents["newest"]
        return contents | {"newest": sorted((*each[:4], first.get(each[4], each[4])) for each in newest)}

    def block(self, count: int) -> list[Record]:
        """The next records."""
        return [self._record() for _ in range(count)]

    def _record(self) -> Record:
        choose = self._choices
        self._at_ms += choose.randrange(1, self._step_ms)
        device = choose.choice(("named", "named-2", "status", "unnamed", "plain"))
        what = choose.random()
        if what < 0.04 and self._boot.get(device, 0) < DEDUP_BOOT_COUNT_MAX - 1:
            self._boot[device] = self._boot.get(device, 0) + 1
            self._seq[device] = 0
            if device == "status":
                return self._status(device, {"state": "online", "boot_id": f"b{self._boot[device]}"})
            return self._status(device, {"state": "online"})
        if what < 0.10:
            kind = choose.choice((Kind.SESSION_OPENED, Kind.SESSION_CLOSED))
            fields = {"address": "10.0.0.1", "reason": "client_disconnect", "last_packet_at_ms": self._at_ms}
            return Record(msgspec.msgpack.encode(fields), b"", self._at_ms, kind, "c", device)
        if what < 0.13:
            return self._reading(device, b"{broken")
        if what < 0.15:
            return Record(b"x", b"other/topic", self._at_ms)
        if what < 0.30 and self._sent.get(device):
            again = choose.choice(self._sent[device][-60:])
            self._arrivals[again.payload].append(self._at_ms)
            return again._replace(at_ms=self._at_ms)
        self._seq[device] = self._seq.get(device, 0) + choose.choice((1, 1, 1, 1, 2))
        ts = self._at_ms - choose.choice((0, 0, 0, 5_000, 30 * HOUR))
        body: dict[str, Any] = {"ts": ts, "v": {"n": self._seq[device] + 0.5, "s": f"t{ts}"}}
        if device != "plain":
            body["seq"] = self._seq[device]
        if device.startswith("named"):
            body["boot_id"] = f"b{self._boot.get(device, 0)}"
        made = self._reading(device, msgspec.json.encode(body))
        self._sent.setdefault(device, []).append(made)
        self._arrivals[made.payload] = [self._at_ms]
        return made

    def _reading(self, device: str, payload: bytes) -> Record:
        return Record(payload, b"dm/%s/telemetry" % device.encode(), self._at_ms, principal=device)

    def _status(self, device: str, fields: dict[str, str]) -> Record:
        return Record(
            msgspec.json.encode(fields), b"dm/%s/status" % device.encode(), self._at_ms, principal=device
        )


class ByHand:
    """A store that is filled step by step, without a pipeline's clock."""

    def __init__(self, path: Path, log: Path | LogSource, rules: LogRules | None = None) -> None:
        self.path = path
        self._log: LogSource = LogReader(log) if isinstance(log, Path) else log
        self.rules = rules or LogRules(MappingSets.always([]))
        self.open()

    def open(self) -> None:
        self.store = TelemetryStore.open(self.path)
        self.reading = Reading(self._log, self.store, self.rules, EveryDevice(), _call)
        self.reading.load()

    def archive(self, day: int, retention: Retention = DEFAULT) -> bool:
        """Write the next generation of a day, and take its readings out of the store; False while that can't be."""
        root = archive_folder(self.path)
        root.mkdir(exist_ok=True)
        with self.store.reading() as connection:
            taken = take(connection, day, with_other=False)
            if taken is None or not taken.rows:
                return False
            manifest = Exporter(root, clock=SystemClock(), retention=retention).export(connection, taken)
        with self.store.transaction() as connection:
            for part in taken.hot:
                run(connection, f"DELETE FROM {part.table}")
            run(connection, "DELETE FROM days WHERE day = ?", [day])
            run(connection, "DELETE FROM archive_files WHERE day = ?", [day])
        for old in range(1, manifest.generation):
            remove_generation(root, day, old)
        adopt_all(self.store)
        return True

    def days(self) -> list[int]:
        with self.store.reading() as connection:
            return [day for (day,) in run(connection, "SELECT day FROM days ORDER BY day")]

    def restart(self) -> None:
        self.store.close()
        self.open()

    def lose(self) -> None:
        """The file is gone, and an empty one is begun."""
        self.store.close()
        for path in (self.path, self.path.with_name(f"{self.path.name}.wal")):
            path.unlink(missing_ok=True)
        self.store = TelemetryStore.open(self.path)
        self.reading = Reading(self._log, self.store, self.rules, EveryDevice(), _call)

    def close(self) -> None:
        self.store.close()
        self._log.close()

    async def step(self, messages: int = BATCH_MESSAGES_MIN, *, is_behind: bool = False) -> bool:
        """Commit one batch of a reader; False where it has nothing to read."""
        pending: Pending | None = await self.reading.prepare(messages, is_behind=is_behind)
        if pending is None:
            return False
        self.store.commit(pending.batch)
        self.reading.committed(pending)
        return True

    async def to_the_end(self) -> None:
        while await self.step():
            pass
        while self.reading.behind is not None:
            assert await self.step(is_behind=True)

    def contents(self) -> dict[str, object]:
        """All that a store holds, without what depends on when it was written."""
        with self.store.reading() as connection:
            state, _ = read_state(connection)
            assert state.behind is None
            letters = run(
                connection,
                "SELECT seq, received_at, device, topic, reason, detail, payload FROM dead_letters ORDER BY ALL",
            )
            rows = run(
                connection,
                "SELECT device, metric, observed_at, num, text, quality, kind FROM v_readings ORDER BY ALL",
            )
        return {
            "rows": rows,
            "letters": letters,
            "newest": sorted(
                (n.device, n.metric, n.value, n.observed_at_ms, n.received_at_ms) for n in state.newest
            ),
            "windows": sorted((w.device, w.boot_id, w.intervals(), w.newest_ms) for w in state.seen.all()),
            "boots": {
                device: state.seen.current_boot_id(device) for device in ("named", "status", "unnamed")
            },
            "presence": sorted(map(_presence, state.presence.all())),
            "cursor": (state.cursor.epoch, state.cursor.next_seq, state.cursor.hash),
            "totals": state.totals,
        }


def _presence(each: DevicePresence) -> tuple[object, ...]:
    return (
        each.device,
        each.presence,
        each.since_ms,
        each.reason,
        each.last_seen_at_ms,
        sorted(each.clients.items()),
    )


async def _call(call: Callable[[], Any]) -> Any:
    return call()
