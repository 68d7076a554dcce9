"""What the catalog costs: a device's sign-in, a read and a write from the event loop, registering 10,000 devices, and taking them over on another node.

Run by hand: python -m tests.bench.bench_catalog DIRECTORY
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from appliance.core.clock import SystemClock
from appliance.core.errors import NotAuthorized
from appliance.identity import DeviceAuthenticator, SiteKeys, new_token
from storage.catalog import AsyncCatalog, Catalog, DeviceAuthReader
from storage.catalog.merging import Followed
from storage.catalog_stream.following import read_record
from storage.catalog_stream.record import encode_change
from tests.acts import ACT

DEVICE_COUNT = 10_000
SIGN_IN_COUNT = 20_000
READ_COUNT = 2_000
WRITE_COUNT = 200
CATCH_UP_BATCH_COUNT = 250
"""As many as the node takes over in 50 ms or so on such a machine."""


def percentiles_us(durations_ns: list[int]) -> dict[str, float]:
    """p50, p99 and the longest, in µs."""
    ordered = sorted(durations_ns)
    p99 = ordered[len(ordered) * 99 // 100]
    return {"p50_us": statistics.median(ordered) / 1000, "p99_us": p99 / 1000, "max_us": ordered[-1] / 1000}


def timed(count: int, fn: Callable[[int], object]) -> dict[str, float]:
    durations_ns = []
    for index in range(count):
        started = time.perf_counter_ns()
        fn(index)
        durations_ns.append(time.perf_counter_ns() - started)
    return percentiles_us(durations_ns)


async def main(folder: Path) -> dict[str, object]:
    clock, keys = SystemClock(), SiteKeys.load_or_create(folder)
    path, token = folder / "catalog.db", new_token().encode()
    found: dict[str, object] = {}

    def register(catalog: Catalog) -> None:
        for index in range(DEVICE_COUNT):
            catalog.add_device(f"device-{index}")
            catalog.set_token(f"device-{index}", keys.token_hash(token + b"%d" % index))

    async with AsyncCatalog.opened(path, clock=clock, node_id=keys.node_id) as catalog:
        started = time.perf_counter()
        await catalog.write(register, timeout_ms=120_000, by=ACT)
        found["register_10000_s"] = time.perf_counter() - started
        reader = DeviceAuthReader(path, clock=clock)
        authenticator = DeviceAuthenticator(reader, keys, clock=clock)
        started = time.perf_counter()
        reader.lookup("device-0")
        found["load_10000_ms"] = (time.perf_counter() - started) * 1000

        def sign_in(index: int) -> None:
            index %= DEVICE_COUNT
            authenticator.authenticate(f"device-{index}", token + b"%d" % index, "c", "a")

        def refused(username: str, _index: int) -> None:
            try:
                authenticator.authenticate(username, token, "c", "a")
            except NotAuthorized:
                pass

        found["sign_in"] = timed(SIGN_IN_COUNT, sign_in)
        found["sign_in_wrong_token"] = timed(SIGN_IN_COUNT, partial(refused, "device-7"))
        found["sign_in_unknown"] = timed(SIGN_IN_COUNT, partial(refused, "nobody"))
        durations_ns = []
        for _ in range(READ_COUNT):
            begun = time.perf_counter_ns()
            await catalog.read(lambda reading: reading.get_device("device-77"))
            durations_ns.append(time.perf_counter_ns() - begun)
        found["read"] = percentiles_us(durations_ns)
        durations_ns = []
        for index in range(WRITE_COUNT):
            begun = time.perf_counter_ns()
            await catalog.write(partial(_touch, index), by=ACT)
            durations_ns.append(time.perf_counter_ns() - begun)
        found["write"] = percentiles_us(durations_ns)
        reader.close()
        found["catch_up"] = await catalog.read(partial(_catch_up, folder / "other.db"), timeout_ms=600_000)
    return found


def _catch_up(path: Path, catalog: Catalog) -> dict[str, float]:
    """Another node of the site takes over all of it."""
    origin = catalog.row("SELECT node_id FROM change_clock")
    assert origin is not None
    payloads: list[bytes] = []
    position = 0
    while rows := catalog.outbox_after(position):
        payloads += [encode_change(row, ends_transaction=True) for row in rows]
        position = rows[-1].position
    other = Catalog.open(path, clock=SystemClock(), node_id=bytes(16))
    wall, cpu = time.perf_counter(), time.thread_time()
    for at in range(0, len(payloads), CATCH_UP_BATCH_COUNT):
        part = payloads[at : at + CATCH_UP_BATCH_COUNT]
        records = [read_record(at + n, payload, origin[0]) for n, payload in enumerate(part, 1)]
        stream = Followed(node_id=origin[0], epoch=1, next_seq=at + len(part) + 1, hash=b"")
        other.apply_records(stream, records)
    taken = {"wall_s": time.perf_counter() - wall, "cpu_s": time.thread_time() - cpu}
    other.close()
    return {
        "records": len(payloads),
        "bytes_per_record": sum(map(len, payloads)) / len(payloads),
        **taken,
    }


def _touch(index: int, catalog: Catalog) -> None:
    catalog.set_setting("bench", index)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("directory", type=Path)
    print(json.dumps(trio.run(main, arguments.parse_args().directory), indent=2))
