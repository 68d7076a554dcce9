"""Three nodes of a site, copied to one another anyhow and killed at any point: every reading once in each store, and the same again
in a store that is lost and built anew.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
import trio

from storage.log import LogReader
from storage.log.columns import Kind
from tests.backlog_kit import NOW, ByHand
from tests.log_kit import Record
from tests.site_kit import NODES, Box, all_blocks

DEVICES = ("d0", "d1", "d2")


class _Devices:
    """Devices that go from node to node, number what they send, name their boot and send again what they aren't sure of."""

    def __init__(self, choose: random.Random) -> None:
        self._choose = choose
        self._at_ms = NOW
        self._seq = dict.fromkeys(DEVICES, 0)
        self._at = dict.fromkeys(DEVICES, 0)
        self._sent: dict[str, list[Record]] = {device: [] for device in DEVICES}
        self.values: set[tuple[str, float]] = set()

    def records(self, boxes: list[Box]) -> None:
        """Something happens at one device."""
        choose = self._choose
        device = choose.choice(DEVICES)
        self._at_ms += choose.randrange(1, 5_000)
        found = []
        if choose.random() < 0.2:
            self._at[device] = choose.randrange(len(boxes))
            found.append(self._session(device, Kind.SESSION_OPENED))
            again = self._sent[device][-choose.randrange(1, 6) :]
            found += [each._replace(at_ms=self._at_ms) for each in again]
        elif choose.random() < 0.1:
            found.append(self._session(device, Kind.SESSION_CLOSED))
        else:
            for _ in range(choose.randrange(1, 4)):
                self._seq[device] += 1
                value = self._seq[device] + 0.5
                body = {"seq": self._seq[device], "boot_id": "b", "ts": self._at_ms + self._seq[device]}
                made = Record(
                    msgspec.json.encode(body | {"v": {"n": value}}),
                    b"dm/%s/telemetry" % device.encode(),
                    self._at_ms,
                    client_id=device,
                    principal=device,
                )
                self._sent[device].append(made)
                self.values.add((device, value))
                found.append(made)
        boxes[self._at[device]].own.append(found)

    def _session(self, device: str, kind: int) -> Record:
        fields = {"address": "10.0.0.1", "reason": "keep_alive"}
        return Record(msgspec.msgpack.encode(fields), b"", self._at_ms, kind, device, device)


class _Node:
    """A box and its store."""

    def __init__(self, folder: Path, number: int) -> None:
        self.box = Box(folder, number)
        self.store = ByHand(folder / "t.duckdb", self.box.reader())

    def kill(self) -> None:
        self.store.close()
        self.box.restart()
        self.store = ByHand(self.store.path, self.box.reader())

    def lose(self) -> None:
        """The store is gone."""
        self.store.lose()
        self.store.reading.load()

    def close(self) -> None:
        self.store.close()
        self.box.close()


async def _same(seed: int, folder: Path) -> None:
    choose = random.Random(seed)
    nodes = [_Node(folder / str(number), number) for number in range(3)]
    boxes = [node.box for node in nodes]
    devices = _Devices(choose)
    for _ in range(choose.randrange(30, 70)):
        what = choose.random()
        node = choose.choice(nodes)
        if what < 0.5:
            devices.records(boxes)
        elif what < 0.7:
            other = choose.choice(boxes)
            if other is not node.box:
                end = LogReader(other.own.directory).head().next_seq
                node.box.take_over(other, choose.randrange(1, end + 1))
        elif what < 0.9:
            node.box.clock.advance(choose.choice((0, 1_000, 5_000)))
            for _ in range(choose.randrange(1, 4)):
                await node.store.step()
        elif what < 0.96:
            node.kill()
        else:
            node.lose()
    for node in nodes:
        for other in boxes:
            if other is not node.box:
                node.box.take_over(other)
        for _ in range(4):
            node.box.turn()
            node.store.reading.look()
            await node.store.to_the_end()
    kept = [node.store.contents() for node in nodes]
    for node, contents in zip(nodes, kept, strict=True):
        rows = contents["rows"]
        assert isinstance(rows, list)
        found = [(row[0], row[3]) for row in rows]
        assert len(found) == len(set(found)), "a reading was counted twice"
        assert set(found) == devices.values
        assert not contents["letters"]
        node.lose()
        await node.store.to_the_end()
        assert node.store.contents() == contents, "a store that was built anew is another one"
    assert kept[0]["rows"] == kept[1]["rows"] == kept[2]["rows"]
    assert kept[0]["windows"] == kept[1]["windows"] == kept[2]["windows"]
    for node in nodes:
        node.close()


def _many(seeds: Iterable[int]) -> None:
    for seed in seeds:
        with TemporaryDirectory() as folder:
            trio.run(_same, seed, Path(folder))


def test_every_reading_is_in_each_store_once() -> None:
    _many(range(4))


@pytest.mark.long
def test_every_reading_is_in_each_store_once_many_more_times() -> None:
    _many(range(4, 150))


def test_a_reading_that_is_sent_again_elsewhere_counts_once_on_both(tmp_path: Path) -> None:
    async def run() -> None:
        nodes = [_Node(tmp_path / str(number), number) for number in range(2)]
        body = msgspec.json.encode({"seq": 7, "boot_id": "b", "ts": NOW, "v": {"n": 1.5}})
        reading = Record(body, b"dm/d0/telemetry", NOW, client_id="d0", principal="d0")
        nodes[0].box.own.append([reading])
        nodes[1].box.own.append([reading._replace(at_ms=NOW + 900)])
        for node, other in zip(nodes, reversed(nodes), strict=True):
            await node.store.to_the_end()
            node.box.take_over(other.box)
            node.box.turn()
            node.store.reading.look()
            await node.store.to_the_end()
            contents = node.store.contents()
            rows, totals = contents["rows"], node.store.reading.totals
            assert isinstance(rows, list)
            assert (len(rows), totals.readings, totals.duplicates) == (1, 1, 1)
            assert all_blocks(node.box.reader())[-1].origin == NODES[1 - NODES.index(node.box.own_id)]
            node.close()

    trio.run(run)
