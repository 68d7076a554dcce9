"""A node that does nothing but change the catalog, to be killed: adds devices and rotates tokens for ever.

Usage: python -m tests.stand_ins.catalog_writer CATALOG
Writes one line per committed change, so that the test knows that it is at work.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from appliance.core.clock import SystemClock
from storage.catalog import Catalog


def main(path: Path) -> None:
    catalog = Catalog.open(path, clock=SystemClock(), node_id=bytes(16))
    for number in itertools.count():
        with catalog.transaction():
            catalog.set_token("moving", os.urandom(32))
            catalog.note_first_contact([f"stranger-{os.getpid()}-{number}"], at_ms=1)
        if number % 50 == 0:
            catalog.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        print(number, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
