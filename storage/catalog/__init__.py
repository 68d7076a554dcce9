"""The catalog: everything about devices and people, in SQLite; see DESIGN.md in this folder.

Its names are loaded when they are asked for: the broker's process needs the credentials' reader alone, and half a second less of imports is half a
second earlier that devices are served.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_NAMES = {
    "asynchronous": (
        "AsyncCatalog",
        "CatalogStatistics",
    ),
    "auth": (
        "DeviceAuthReader",
        "DeviceCredential",
        "TokenHash",
    ),
    "cache": (
        "CacheStatistics",
        "LookupCache",
    ),
    "catalog": ("Catalog",),
    "database": ("Change",),
    "rows": (
        "DEVICE_STATES",
        "REVOKED_BECAUSE",
        "BrowserSession",
        "Certificate",
        "CertificateCounts",
        "CertificatePage",
        "CertificateState",
        "Device",
        "DevicePage",
        "DeviceState",
        "DeviceToken",
        "Group",
        "IssuedBy",
        "OutboxRow",
        "RevokedBecause",
        "TagCount",
        "User",
    ),
}
"""By module of this folder."""
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

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


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
