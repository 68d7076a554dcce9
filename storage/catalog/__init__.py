"""The catalog: everything about devices and people, in SQLite; see DESIGN.md in this folder."""

from storage.catalog.asynchronous import AsyncCatalog, CatalogStatistics
from storage.catalog.auth import DeviceAuthReader, DeviceCredential, TokenHash
from storage.catalog.catalog import Catalog
from storage.catalog.database import Change
from storage.catalog.rows import (
    DEVICE_STATES,
    BrowserSession,
    Device,
    DevicePage,
    DeviceState,
    DeviceToken,
    OutboxRow,
    Role,
    User,
)

__all__ = [
    "DEVICE_STATES",
    "AsyncCatalog",
    "BrowserSession",
    "Catalog",
    "CatalogStatistics",
    "Change",
    "Device",
    "DeviceAuthReader",
    "DeviceCredential",
    "DevicePage",
    "DeviceState",
    "DeviceToken",
    "OutboxRow",
    "Role",
    "TokenHash",
    "User",
]
