"""Updates under way, as rows of a real catalog, and images that lie in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from typing import Any

from appliance.core.clock import Clock
from appliance.core.errors import NotFound
from appliance.updates.budget import Budgets, BudgetStatistics
from appliance.updates.delivery import Blob, Delivery, DeliveryStatistics, FirmwareStatistics
from storage.catalog import AsyncCatalog, Catalog
from tests.acts import ACT

IMAGE = bytes(range(256)) * 400 + b"the end"
SHA256 = sha256(IMAGE).hexdigest()
OLD_IMAGE = b"old" * 1000
OLD_SHA256 = sha256(OLD_IMAGE).hexdigest()


FIRMWARE = FirmwareStatistics(
    delivery=DeliveryStatistics(
        sent_bytes={"mqtt": 5000, "https": 700},
        refused={"delivery_paused": 3},
        rights=1,
        budget=BudgetStatistics(
            waiting=2, served=8, in_line=9, granted_bytes=6000, uplink_bytes=1000, waited_ms=1500, given_up=1
        ),
    ),
    downloads=4,
    feedbacks={"installed": 6},
)
"""Numbers of deliveries that have seen something."""


@dataclass
class MemoryBlob:
    data: bytes
    fails: Exception | None = None
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        if self.fails is not None:
            raise self.fails
        return self.data[offset : offset + length]


class MemoryBlobs:
    """As storage.artifacts.store.ArtifactStore gives bytes."""

    def __init__(self, *images: bytes) -> None:
        self.by_name = {sha256(image).hexdigest(): MemoryBlob(image) for image in images}

    def open_blob(self, name: str) -> Blob:
        if name not in self.by_name:
            raise NotFound("There are no such bytes.", hint="Upload them.", code="artifact_bytes_missing")
        return self.by_name[name]


@dataclass
class NotedProgress:
    noted: list[tuple[str, str, int, int]] = field(default_factory=list)

    async def note_blocks(self, device_id: str, execution_id: str, bytes_done: int, bytes_total: int) -> None:
        self.noted.append((device_id, execution_id, bytes_done, bytes_total))


def insert(catalog: Catalog, table: str, **fields: Any) -> None:
    """A row as it stands, with who wrote it."""
    row = {**fields, "origin": catalog.origin, "hlc": catalog.hlc}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    catalog.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))


async def add_artifact(catalog: AsyncCatalog, image: bytes, version: str, filename: str = "pump.bin") -> None:
    def write(writer: Catalog) -> None:
        insert(
            writer, "artifacts", artifact_id=f"a-{version}", name="pump", version=version, sha256=sha256(image).hexdigest(),
            sha1=sha1(image).hexdigest(), size_bytes=len(image), filename=filename, format="raw", created_by="ines",
            created_at_ms=1, updated_at_ms=1,
        )  # fmt: skip

    await catalog.write(write, by=ACT)


async def add_rollout(catalog: AsyncCatalog, *, bandwidth_bytes_s: int = 0) -> None:
    plan = json.dumps({"bandwidth_bytes_s": bandwidth_bytes_s} if bandwidth_bytes_s else {})

    def write(writer: Catalog) -> None:
        insert(
            writer, "rollouts", rollout_id="r1", name="Pumps", artifact_id="a-2.0.0", state="running", targets="{}", plan=plan, policy="{}",
            created_by="ines", created_at_ms=1, updated_at_ms=1,
        )  # fmt: skip

    await catalog.write(write, by=ACT)


async def add_execution(
    catalog: AsyncCatalog,
    device_id: str,
    *,
    state: str = "downloading",
    execution_id: str = "",
    is_admitted: int = 1,
    ended_at_ms: int | None = None,
    number: int = 1,
) -> str:
    execution_id = execution_id or f"e-{device_id}"

    def write(writer: Catalog) -> None:
        insert(
            writer, "executions", execution_id=execution_id, rollout_id="r1", device_id=device_id, wave=0, number=number, state=state,
            is_admitted=is_admitted, max_attempts=3, max_rollback_attempts=3, from_version="1.0.0", from_digest=f"sha256:{OLD_SHA256}",
            to_version="2.0.0", to_digest=f"sha256:{SHA256}", state_since_ms=1, created_at_ms=1, updated_at_ms=1, ended_at_ms=ended_at_ms,
        )  # fmt: skip

    await catalog.write(write, by=ACT)
    return execution_id


async def set_execution(catalog: AsyncCatalog, execution_id: str, **fields: Any) -> None:
    def write(writer: Catalog) -> None:
        row = {**fields, "origin": writer.origin, "hlc": writer.hlc}
        columns = ", ".join(f"{name} = ?" for name in row)
        writer.execute(
            f"UPDATE executions SET {columns} WHERE execution_id = ?", [*row.values(), execution_id]
        )

    await catalog.write(write, by=ACT)


@dataclass
class Scene:
    """A pump that is being updated from 1.0.0 to 2.0.0, and what delivers it."""

    catalog: AsyncCatalog
    blobs: MemoryBlobs
    progress: NotedProgress
    budgets: Budgets
    delivery: Delivery


async def scene(
    catalog: AsyncCatalog,
    clock: Clock,
    *,
    bandwidth_bytes_s: int = 0,
) -> Scene:
    await add_artifact(catalog, OLD_IMAGE, "1.0.0")
    await add_artifact(catalog, IMAGE, "2.0.0", "pump 2.0.0.bin")
    await add_rollout(catalog, bandwidth_bytes_s=bandwidth_bytes_s)
    blobs, progress, made = MemoryBlobs(IMAGE, OLD_IMAGE), NotedProgress(), Budgets(clock=clock)
    return Scene(catalog, blobs, progress, made, Delivery(catalog, blobs, made, progress, clock=clock))
