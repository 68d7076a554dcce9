"""From the address of a tier in an S3-compatible object store to its engine (object_engine.py)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from obstore.exceptions import BaseError
from obstore.store import S3Store

from appliance.core.limits_replication import (
    TIER_CONNECT_S,
)
from replication.tier.engine import Engine, Opening
from replication.tier.engines.address import Address
from replication.tier.engines.asyncio_thread import asyncio_thread
from replication.tier.engines.credentials import Credentials
from replication.tier.engines.object_engine import ObjectStoreEngine
from replication.tier.engines.object_requests import ObjectRequests
from replication.tier.engines.pace import Pace
from replication.tier.engines.requests import Requests

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Credential

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_PREFIX: Final = re.compile(r"([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?\Z")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}\Z")
_ENDPOINT: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,255}/?\Z")


def object_store(address: Address, credentials: Credentials) -> Opening:
    """What opens the store at `s3://BUCKET/PREFIX?endpoint=…&region=…&ca_file=…&style=path|virtual&credentials=machine`.

    Raises:
        ConfigError: the address or the credentials are not what that needs.
    """
    endpoint, region, ca_file, style, source = address.take(
        "endpoint", "region", "ca_file", "style", "credentials"
    )
    (bucket, *more) = address.hosts
    if more or address.user or not _BUCKET.match(bucket):
        raise address.refused("it names no bucket", "Write s3://BUCKET/PREFIX.")
    if not _PREFIX.match(address.path) or {".", ".."} & set(address.path.split("/")):
        raise address.refused(
            "its prefix has other characters than A-Z a-z 0-9 . _ - /", "Choose another prefix."
        )
    if endpoint and not _ENDPOINT.match(endpoint):
        raise address.refused(
            "its endpoint is no https:// address", "Write endpoint=https://HOST or https://HOST:PORT."
        )
    if region and not _REGION.match(region):
        raise address.refused("its region is none", "Write region=eu-central-1 or what your store has.")
    if style not in ("", "path", "virtual"):
        raise address.refused("its style is none", "Write style=path or style=virtual.")
    if source not in ("", "machine"):
        raise address.refused(
            "its source of credentials is none", "Leave it out, or write credentials=machine."
        )
    # One request for each object: not every store knows the one for many, and never is more than one removed at once.
    config: S3Config = {"region": region or "us-east-1", "disable_bulk_delete": True}
    if endpoint:
        config["endpoint"] = endpoint.rstrip("/")
    # A bucket's own host name is what the largest store wants; others are asked by path.
    config["virtual_hosted_style_request"] = style == "virtual" or (not style and not endpoint)
    client: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=TIER_CONNECT_S),
        # Each call has its own time, which ends the request; this is for what nobody waits for.
        "timeout": timedelta(hours=1),
    }
    if ca_file:
        try:
            client["root_certificate"] = Path(ca_file).read_bytes()
        except OSError as error:
            raise address.refused(
                f"its ca_file can't be read ({error.strerror})", "Correct its path."
            ) from error
    secret: S3Credential | None = None
    if not source:
        secret = {
            "access_key_id": credentials.need("access_key_id"),
            "secret_access_key": credentials.need("secret_access_key"),
            "token": credentials.get("session_token"),
            "expires_at": None,
        }

    @asynccontextmanager
    async def opened() -> AsyncIterator[Engine]:
        try:
            store = S3Store(
                bucket,
                config=config,
                client_options=client,
                retry_config={"max_retries": 0, "retry_timeout": timedelta(hours=1), "backoff": {}},
                # Given by a function, so that they don't stand in the store's configuration, which can be shown.
                credential_provider=None if secret is None else lambda: secret,
            )
        except (BaseError, ValueError) as error:
            raise address.refused("its endpoint or ca_file is no good", "Correct it.") from error
        async with asyncio_thread("tier-object-store") as thread:
            pace = Pace()
            engine = ObjectStoreEngine(ObjectRequests(store, thread, pace, Requests(), address.path), pace)
            await engine.probe()
            yield engine

    return opened
