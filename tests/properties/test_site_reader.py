"""However streams are cut and copied, and whenever the process dies: one order, every record once, the same for every reader."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from storage.log import Block
from tests.site_kit import NODES, Box, check_chain, read_on, record, texts
from tests.storage_log_kit import HookedDisk


class KilledError(Exception):
    """The process is gone."""


class _KillingDisk(HookedDisk):
    """Dies before an operation of the order's file, and keeps a part of what was written and not synced."""

    def __init__(self, choose: random.Random, path: Path) -> None:
        super().__init__()
        self._choose = choose
        self._path = path
        self._synced = 0
        self.kills_after: int | None = None

    def _call(self, operation: str, name: str) -> None:
        super()._call(operation, name)
        if name not in ("order", "order.new"):
            return
        if self.kills_after is not None:
            self.kills_after -= 1
            if self.kills_after < 0:
                self.kills_after = None
                self._cut_power()
                raise KilledError
        if operation == "rename":
            self._synced = self._path.with_name("order.new").stat().st_size
        elif operation in ("fdatasync", "fsync") and name == "order":
            self._synced = self._path.stat().st_size

    def _cut_power(self) -> None:
        if not self._path.exists():
            return
        size = self._path.stat().st_size
        if size > self._synced and self._choose.random() < 0.8:
            kept = self._choose.randrange(self._synced, size + 1)
            with self._path.open("r+b") as file:
                file.truncate(kept)
                if self._choose.random() < 0.3 and kept > self._synced:
                    file.seek(self._choose.randrange(self._synced, kept))
                    file.write(b"\xa5")


def _same(seed: int, folder: Path) -> int:
    """Returns: how often it was killed."""
    choose = random.Random(seed)
    disk = _KillingDisk(choose, folder / "site" / "order")
    box = Box(folder, disk=disk)
    sent: dict[str, int] = dict.fromkeys(("", *NODES[1:]), 0)
    given: list[Block] = []
    reader = box.reader()
    kills = 0

    def append(node: str) -> None:
        log = box.copy(node) if node else box.own
        count = choose.randrange(1, 4)
        log.append([record(f"{sent[node] + at}") for at in range(count)])
        sent[node] += count

    for _ in range(choose.randrange(20, 60)):
        what = choose.random()
        if what < 0.55:
            append(choose.choice(["", *NODES[1:]]))
        elif what < 0.65:
            log = choose.choice([box.own, *box.copies.values()])
            log.reopen(new_epoch=choose.random() < 0.5)
        else:
            box.clock.advance(choose.choice((0, 500, 3_000)))
            if choose.random() < 0.3:
                disk.kills_after = choose.randrange(8)
            try:
                at = given[-1].next_seq if given else 1
                head = reader.head()
                while at < head.next_seq:
                    blocks = reader.read(at, bytes_max=choose.choice((1, 1 << 20)))
                    given += blocks
                    at = blocks[-1].next_seq
            except KilledError:
                kills += 1
                reader.close()
                box.restart()
                reader = box.reader()
                # The cursor is where its last commit was: anywhere before.
                del given[choose.randrange(len(given) + 1) :]
            disk.kills_after = None
    reader.close()
    box.restart()
    box.clock.advance(3_000)
    reader = box.reader()
    rest, refused = read_on(reader, given[-1].next_seq if given else 1)
    again, _ = read_on(reader)
    assert not refused
    assert as_of_site(given + rest) == as_of_site(again)
    check_chain(again)
    by_node: dict[str, list[int]] = {node: [] for node in sent}
    for node, text in texts(again):
        by_node[node].append(int(text))
    assert by_node == {node: list(range(count)) for node, count in sent.items()}
    for node in sent:
        positions = box.order.positions(reader.head().next_seq)
        folder_of = box.copy(node).directory if node else box.own.directory
        assert positions.get(folder_of, 1) == sent[node] + 1
    reader.close()
    box.close()
    return kills


def as_of_site(blocks: Iterable[Block]) -> list[Block]:
    """Whether the site was one already when a block was read says nothing of the block."""
    return [replace(block, is_of_site=True) for block in blocks]


def _many(seeds: Iterable[int]) -> None:
    kills = 0
    for seed in seeds:
        with TemporaryDirectory() as folder:
            kills += _same(seed, Path(folder))
    assert kills


def test_every_record_is_read_once_in_one_order() -> None:
    _many([*range(24), 779])


@pytest.mark.long
def test_every_record_is_read_once_in_one_order_of_many_more() -> None:
    _many(range(60, 1_500))
