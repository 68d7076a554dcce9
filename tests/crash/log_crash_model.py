"""A model of what a disk may hold after a power cut, built from a recorded order of calls.

What is assumed of the file system, which is what POSIX leaves and journaling file systems do:
- a write that was not fsynced reaches the disk in any subset of its 4,096-byte pages, in any order;
- a page is torn at any multiple of 512 bytes;
- changes of names and sizes reach it in their order (a journal), and any number of the newest may be missing;
- what fsync, fdatasync or fsync of the directory covered when it returned is there;
- a page written through a shared map may reach it at any time.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storage.log.disk import SharedMap
from tests.storage_log_kit import QuickDisk

PAGE = 4096


@dataclass
class Inode:
    """A file: what is surely on disk, and page writes that may be, in order."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    current: bytearray = field(default_factory=bytearray)

    def write(self, offset: int, data: bytes) -> None:
        if len(self.current) < offset + len(data):
            self.current.extend(bytes(offset + len(data) - len(self.current)))
        self.current[offset : offset + len(data)] = data
        at = offset
        while at < offset + len(data):
            end = min(at - at % PAGE + PAGE, offset + len(data))
            self.pending.append((at, bytes(data[at - offset : end - offset])))
            at = end

    def sync(self) -> None:
        self.durable = bytearray(self.current)
        self.pending.clear()

    def after_crash(self, kept: Sequence[tuple[int, bytes]], size: int) -> bytes:
        content = bytearray(self.durable)
        for at, data in kept:
            if len(content) < at + len(data):
                content.extend(bytes(at + len(data) - len(content)))
            content[at : at + len(data)] = data
        if len(content) < size:
            content.extend(bytes(size - len(content)))
        return bytes(content[:size])


@dataclass(frozen=True)
class Change:
    """A change of names or of a size, in the journal's order: (name, inode) or a removal, or (inode, size)."""

    name: str = ""
    inode: int | None = None
    size: int | None = None


class RecordingDisk(QuickDisk):
    """The real disk, and the model beside it. `snapshots` grows by one state after each call that changes something."""

    def __init__(self, root: Path, start: dict[str, bytes] | None = None) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._inodes: list[Inode] = []
        self._names: dict[str, int] = {}
        self._durable_names: dict[str, int] = {}
        self._durable_sizes: dict[int, int] = {}
        self._journal: list[Change] = []
        self._descriptors: dict[int, int] = {}
        self._rng = random.Random(7)
        self.acknowledged: list[object] = []
        self.states: list[State] = []
        for name, content in (start or {}).items():
            self._names[name] = self._durable_names[name] = len(self._inodes)
            self._durable_sizes[len(self._inodes)] = len(content)
            self._inodes.append(Inode(bytearray(content), [], bytearray(content)))

    def _key(self, path: Path) -> str:
        return str(path.relative_to(self._root))

    def _changed(self, what: str) -> None:
        self.states.append(
            State(
                what,
                tuple(self.acknowledged),
                dict(self._durable_names),
                dict(self._durable_sizes),
                tuple(self._journal),
                tuple(Inode(bytearray(i.durable), list(i.pending)) for i in self._inodes),
            )
        )

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        with self._lock:
            descriptor = super().open(path, write=write, create=create)
            key = self._key(path)
            if key not in self._names:
                self._names[key] = len(self._inodes)
                self._inodes.append(Inode())
                self._journal.append(Change(key, self._names[key]))
                self._changed(f"create {key}")
            self._descriptors[descriptor] = self._names[key]
            return descriptor

    def pwritev(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        with self._lock:
            inode = self._inodes[self._descriptors[descriptor]]
            data = b"".join(buffers)
            before = len(inode.current)
            inode.write(offset, data)
            if len(inode.current) > before:
                self._journal.append(Change(inode=self._descriptors[descriptor], size=len(inode.current)))
            self._changed(f"write {len(data)} at {offset}")
            return super().pwritev(descriptor, buffers, offset)

    def _resize(self, descriptor: int, size: int) -> None:
        inode = self._inodes[self._descriptors[descriptor]]
        if size < len(inode.current):
            del inode.current[size:]
            inode.pending = [(at, data[: max(0, size - at)]) for at, data in inode.pending if at < size]
        else:
            inode.current.extend(bytes(size - len(inode.current)))
        self._journal.append(Change(inode=self._descriptors[descriptor], size=size))
        self._changed(f"size {size}")

    def allocate(self, descriptor: int, size: int) -> None:
        with self._lock:
            super().allocate(descriptor, size)
            if size > len(self._inodes[self._descriptors[descriptor]].current):
                self._resize(descriptor, size)

    def truncate(self, descriptor: int, size: int) -> None:
        with self._lock:
            super().truncate(descriptor, size)
            self._resize(descriptor, size)

    def fdatasync(self, descriptor: int) -> None:
        with self._lock:
            number = self._descriptors[descriptor]
            self._inodes[number].sync()
            self._durable_sizes[number] = len(self._inodes[number].current)
            self._journal = [
                change for change in self._journal if change.size is None or change.inode != number
            ]
            self._changed("sync")

    fsync = fdatasync

    def fsync_directory(self, path: Path) -> None:
        with self._lock:
            self._durable_names = dict(self._names)
            self._journal = [change for change in self._journal if change.size is not None]
            self._changed("sync directory")

    def rename(self, source: Path, target: Path) -> None:
        with self._lock:
            super().rename(source, target)
            number = self._names.pop(self._key(source))
            self._names[self._key(target)] = number
            self._journal += [Change(self._key(target), number), Change(self._key(source), None)]
            self._changed(f"rename to {target.name}")

    def unlink(self, path: Path) -> None:
        with self._lock:
            super().unlink(path)
            del self._names[self._key(path)]
            self._journal.append(Change(self._key(path), None))
            self._changed(f"unlink {path.name}")

    def map_shared(self, descriptor: int, size: int, *, write: bool) -> SharedMap:
        return RecordedMap(
            self, self._descriptors[descriptor], super().map_shared(descriptor, size, write=write)
        )

    def acknowledge(self, what: object) -> None:
        """Notes what someone was promised; every state from now on must keep it."""
        with self._lock:
            self.acknowledged.append(what)
            self._changed("acknowledge")

    def mapped_write(self, number: int, offset: int, data: bytes) -> None:
        with self._lock:
            self._inodes[number].write(offset, data)
            self._changed("publish")


class RecordedMap:
    """A shared map whose writes the model knows of."""

    def __init__(self, disk: RecordingDisk, number: int, mapped: SharedMap) -> None:
        self._disk = disk
        self._number = number
        self._mapped = mapped

    def __getitem__(self, index: slice) -> bytes:
        return self._mapped[index]

    def __setitem__(self, index: slice, data: bytes) -> None:
        self._mapped[index] = data
        self._disk.mapped_write(self._number, index.start, data)

    def close(self) -> None:
        self._mapped.close()


@dataclass
class State:
    """The power may go here: what was promised, what is on disk, what may be."""

    after: str
    acknowledged: tuple[object, ...]
    names: dict[str, int]
    sizes: dict[int, int]
    journal: tuple[Change, ...]
    inodes: tuple[Inode, ...]

    def disks(self, rng: random.Random, at_most: int) -> Iterator[dict[str, bytes]]:
        """Contents of the disk that are possible: all of them while they are few, else a sample with both ends."""
        pending = [(number, write) for number, inode in enumerate(self.inodes) for write in inode.pending]
        count = 2 ** len(pending) * (len(self.journal) + 1)
        if count <= at_most:
            for journal in range(len(self.journal) + 1):
                for mask in range(2 ** len(pending)):
                    yield self._disk([w for i, w in enumerate(pending) if mask >> i & 1], journal)
            return
        yield self._disk([], 0)
        yield self._disk(pending, len(self.journal))
        for _ in range(at_most - 2):
            kept = [write for write in pending if rng.random() < 0.5]
            torn = [
                (number, (at, data[: rng.randrange(0, len(data) + 1, 512)]))
                if rng.random() < 0.2
                else (number, (at, data))
                for number, (at, data) in kept
            ]
            yield self._disk(torn, rng.randint(0, len(self.journal)))

    def _disk(self, kept: list[tuple[int, tuple[int, bytes]]], journal: int) -> dict[str, bytes]:
        names, sizes = dict(self.names), dict(self.sizes)
        for change in self.journal[:journal]:
            if change.size is not None and change.inode is not None:
                sizes[change.inode] = change.size
            elif change.inode is not None:
                names[change.name] = change.inode
            else:
                names.pop(change.name, None)
        return {
            name: self.inodes[number].after_crash([w for n, w in kept if n == number], sizes.get(number, 0))
            for name, number in names.items()
        }
