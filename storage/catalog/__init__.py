"""The catalog: everything about devices and people, in SQLite; see DESIGN.md in this folder."""

from storage.catalog.asynchronous import AsyncCatalog, CatalogStatistics
from storage.catalog.auth import DeviceAuthReader, DeviceCredential, TokenHash
from storage.catalog.cache import CacheStatistics, LookupCache
from storage.catalog.catalog import Catalog
from storage.catalog.database import Change
from storage.catalog.rows import (
    DEVICE_STATES,
    REVOKED_BECAUSE,
    BrowserSession,
    Certificate,
    CertificateCounts,
    CertificatePage,
    CertificateState,
    Device,
    DevicePage,
    DeviceState,
    DeviceToken,
    Group,
    IssuedBy,
    OutboxRow,
    RevokedBecause,
    TagCount,
    User,
)

__all__ = [
    "DEVICE_STATES",
    "REVOKED_BECAUSE",
    "AsyncCatalog",
    "BrowserSession",
    "CacheStatistics",
    "Catalog",
    "CatalogStatistics",
    "Certificate",
    "CertificateCounts",
    "CertificatePage",
    "CertificateState",
    "Change",
    "Device",
    "DeviceAuthReader",
    "DeviceCredential",
    "DevicePage",
    "DeviceState",
    "DeviceToken",
    "Group",
    "IssuedBy",
    "LookupCache",
    "OutboxRow",
    "RevokedBecause",
    "TagCount",
    "TokenHash",
    "User",
]
