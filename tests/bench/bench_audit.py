"""What the audit costs: bytes and time of an entry, checking and exporting a large one, a page of it.

Run by hand: python -m tests.bench.bench_audit DIRECTORY [ENTRIES]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from appliance.core.clock import SystemClock
from appliance.core.limits import AUDIT_BATCH_COUNT
from appliance.identity import SiteKeys
from appliance.identity.audit_check import AuditCheck
from appliance.identity.audit_heads import sign_newest
from appliance.management.audit import Act, Actor
from storage.catalog import Catalog
from storage.catalog.audit import AuditFilter
from storage.catalog.auditing import Auditing
from ui import audit_export

ENTRY_COUNT = 200_000
BATCH = 1_000
ANNA = Actor(name="anna", kind="user", address="192.0.2.7")
FILTERS = {
    "everything": AuditFilter(),
    "one device": AuditFilter(object_kind="device", object_id="device-500"),
    "one actor": AuditFilter(actor="anna"),
    "nobody": AuditFilter(actor="nobody"),
    "one action": AuditFilter(action="device.set_access"),
    "an action that never was": AuditFilter(action="device.replace"),
    "all of a noun": AuditFilter(action="device"),
    "refused only": AuditFilter(outcome="refused"),
}


def seconds(fn: Callable[[], object]) -> float:
    started = time.perf_counter()
    fn()
    return time.perf_counter() - started


def change_all(catalog: Catalog, round_numbers: range) -> float:
    """Seconds a round."""
    started = time.perf_counter()
    for number in round_numbers:
        change_round(catalog, number)
    return (time.perf_counter() - started) / len(round_numbers)


def change_round(catalog: Catalog, round_number: int) -> None:
    with catalog.transaction(Act(action="device.set_access", actor=ANNA)):
        for index in range(BATCH):
            catalog.set_access(f"device-{index}", access="site" if round_number % 2 else "own", role="")


def main(folder: Path, entry_count: int) -> dict[str, object]:
    keys = SiteKeys.load_or_create(folder)
    clock, origin = SystemClock(), keys.node_id.hex()
    catalog = Catalog.open(folder / "catalog.db", clock=clock, node_id=keys.node_id)
    with catalog.transaction(Act(action="device.create", actor=ANNA)):
        for index in range(BATCH):
            catalog.add_device(f"device-{index}")
    rounds = max(2, entry_count // BATCH)
    with_audit_s = change_all(catalog, range(1, rounds))
    write, Auditing.write = Auditing.write, lambda *_, **__: None  # type: ignore[method-assign]
    without_s = change_all(catalog, range(1, 6))
    Auditing.write = write  # type: ignore[method-assign]
    found: dict[str, object] = {
        "entries": catalog.audit_size().entry_count,
        "change_with_audit_us": with_audit_s / BATCH * 1e6,
        "change_without_us": without_s / BATCH * 1e6,
        "sign_ms": 1000
        * seconds(lambda: sign_newest(catalog, keys.signer, origin=origin, data_dir=folder, clock=clock)),
    }
    sizes = dict(catalog.rows("SELECT name, sum(pgsize) FROM dbstat WHERE name GLOB '*audit*' GROUP BY name"))
    count = catalog.audit_size().entry_count
    found["bytes_per_entry"] = {name: round(size / count) for name, size in sizes.items()}
    found["bytes_per_entry_total"] = round(sum(sizes.values()) / count)
    found["outbox_bytes_per_change"] = round(
        catalog.rows("SELECT sum(pgsize) FROM dbstat WHERE name = 'outbox'")[0][0] / catalog.outbox_count()
    )
    check = AuditCheck(origin=origin, key_id=keys.signer.key_id)

    def verify() -> None:
        while check.step(catalog):
            pass
        assert check.verdict(clock.now_ms()).fault is None

    found["verify_entries_per_s"] = round(count / seconds(verify))

    def export(format_: audit_export.Format) -> None:
        after = 0
        while batch := catalog.audit_chain(origin, after_seq=after, limit=AUDIT_BATCH_COUNT):
            after = batch[-1].seq
            audit_export.lines(format_, batch)

    found["export_jsonl_entries_per_s"] = round(count / seconds(lambda: export("jsonl")))
    found["export_csv_entries_per_s"] = round(count / seconds(lambda: export("csv")))
    found["page_of_100_ms"] = {
        name: round(1000 * seconds(lambda wanted=wanted: catalog.list_audit(wanted, limit=100)), 1)  # type: ignore[misc]
        for name, wanted in FILTERS.items()
    }
    catalog.close()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("entries", type=int, nargs="?", default=ENTRY_COUNT)
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    result = main(given.directory, given.entries)
    print(json.dumps(result, indent=2))
