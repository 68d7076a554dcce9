"""A node that does nothing but fill the audit and sign it, to be killed.

Usage: python -m tests.stand_ins.audit_writer DATA_DIR
Writes SEQ:HASH of the newest entry after each commit, so that the test knows what must be there.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from appliance.core.clock import SystemClock
from appliance.identity import SiteKeys
from appliance.identity.audit_heads import sign_newest
from appliance.management.audit import Act, Actor
from storage.catalog import Catalog


def main(data_dir: Path) -> None:
    keys, clock = SiteKeys.load_or_create(data_dir), SystemClock()
    origin = keys.node_id.hex()
    catalog = Catalog.open(data_dir / "catalog.db", clock=clock, node_id=keys.node_id)
    by = Act(action="device.create", actor=Actor(name="anna", kind="user", address="192.0.2.7"))
    for number in itertools.count():
        with catalog.transaction(by):
            catalog.add_device(f"d-{os.getpid()}-{number}")
            catalog.note("client.kick", object_kind="client", object_id=f"c-{number}")
        if number % 3 == 0:
            sign_newest(catalog, keys.signer, origin=origin, data_dir=data_dir, clock=clock)
        if number % 20 == 0:
            catalog.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        newest = catalog.newest_audit_entry(origin)
        assert newest is not None
        print(f"{newest.seq}:{newest.hash}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
