"""The catalog: devices, tokens, users, settings and the outbox over one SQLite connection.

Synchronous. In an event loop use AsyncCatalog, which lends one of these to a function in a thread.
"""

from __future__ import annotations

from storage.catalog.devices import DeviceTable
from storage.catalog.outbox import OutboxTable
from storage.catalog.people import PeopleTable


class Catalog(DeviceTable, PeopleTable, OutboxTable):
    """All tables' methods; `Catalog.open` or `Catalog.open_read_only` make one."""
