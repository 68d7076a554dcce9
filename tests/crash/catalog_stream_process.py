"""A process that changes a catalog and writes its stream until it is killed: `python -m tests.crash.catalog_stream_process FOLDER`."""

from __future__ import annotations

import itertools
import secrets
import sys
from pathlib import Path

from appliance.core.clock import SystemClock
from storage.catalog import Catalog
from storage.log import OsDisk
from tests.catalog_stream_kit import carry_over, open_stream
from tests.storage_log_kit import NODE_ID


def main() -> None:
    folder = Path(sys.argv[1])
    catalog = Catalog.open(folder / "catalog.db", clock=SystemClock(), node_id=NODE_ID)
    stream = open_stream(folder / "log", disk=OsDisk())
    catalog.outbox_raise(stream.position)
    catalog.outbox_forget(stream.position)
    print("begun", flush=True)
    for number in itertools.count():
        with catalog.transaction():
            for _ in range(1 + number % 3):
                catalog.add_device(secrets.token_hex(8))
        if number % 4 == 0:
            carry_over(catalog, stream, limit=5, forget=number % 8 == 0)
            print(stream.position, flush=True)


if __name__ == "__main__":
    main()
