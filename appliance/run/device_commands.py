"""What `homeport device` does: through the node while it runs, on the catalog itself while it is stopped.

Both ways answer with the same plain mappings, so that a verb prints the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast
from urllib.parse import quote, urlencode

from appliance.core.clock import SystemClock
from appliance.core.config import Config
from appliance.core.errors import Unavailable
from appliance.identity.keys import SiteKeys, new_token
from appliance.management.access import Access, Kind, role_unknown
from appliance.run import layout
from appliance.run.first_run import lock, prepare_folders
from appliance.run.local_api import NODE_STOPPED, LocalApi
from appliance.run.roles import roles_of
from storage.catalog.catalog import Catalog

Row = dict[str, Any]
PAGE_SIZE = 1000


class DeviceCommands(Protocol):
    """What can be done with devices from the command line."""

    def add(
        self, device_id: str, *, kind: str, access: str, role: str = "", name: str, tags: Sequence[str]
    ) -> Row:
        """Register a device and make its token, which the answer holds as `token` and nobody can read again.

        Raises:
            Conflict: there is one of that id. UsageError: the id, name, role or a tag can't be used.
        """

    def set_access(self, device_id: str, *, access: str, role: str) -> Row:
        """Change what a device may publish and subscribe; connections of it are held to it at once.

        Raises:
            NotFound: there is none of that id. UsageError: there is no such role, or it stands beside access "site".
        """

    def list(self, *, state: str | None) -> Iterator[Row]:
        """All devices in the order of their ids, or those in one state."""

    def adopt(self, device_id: str) -> Row:
        """Let a waiting device in. One without a token gets one, as `token`; otherwise that is None.

        Raises:
            NotFound: there is none of that id. Conflict: it can't be adopted any more.
        """


class ThroughNode:
    """Asks the running node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def add(
        self, device_id: str, *, kind: str, access: str, role: str = "", name: str, tags: Sequence[str]
    ) -> Row:
        body = {
            "device_id": device_id,
            "kind": kind,
            "access": access,
            "role": role,
            "name": name,
            "tags": list(tags),
        }
        answer: Row = self._api.post("/api/v1/devices", body)
        return answer

    def set_access(self, device_id: str, *, access: str, role: str) -> Row:
        answer: Row = self._api.post(
            f"/api/v1/devices/{quote(device_id, safe='')}/access", {"access": access, "role": role}
        )
        return answer

    def list(self, *, state: str | None) -> Iterator[Row]:
        query: dict[str, Any] = {"limit": PAGE_SIZE}
        if state:
            query["state"] = state
        while True:
            page = self._api.get(f"/api/v1/devices?{urlencode(query)}")
            yield from page["devices"]
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def adopt(self, device_id: str) -> Row:
        answer: Row = self._api.post(f"/api/v1/devices/{quote(device_id, safe='')}/adopt", {})
        return answer


class OnCatalog:
    """Works on the catalog itself; the caller holds the node's lock.

    Args:
        roles: Names of the configuration's roles.
    """

    def __init__(self, catalog: Catalog, keys: SiteKeys, roles: Sequence[str] = ()) -> None:
        self._catalog = catalog
        self._keys = keys
        self._roles = roles

    def _check_role(self, role: str) -> None:
        if role and role not in self._roles:
            raise role_unknown(role, self._roles)

    def add(
        self, device_id: str, *, kind: str, access: str, role: str = "", name: str, tags: Sequence[str]
    ) -> Row:
        self._check_role(role)
        token = new_token()
        with self._catalog.transaction():
            device = self._catalog.add_device(
                device_id,
                kind=cast(Kind, kind),
                access=cast(Access, access),
                role=role,
                name=name,
                tags=tags,
            )
            self._catalog.set_token(device_id, self._keys.token_hash(token.encode()))
        return {**dataclasses.asdict(device), "token": token}

    def set_access(self, device_id: str, *, access: str, role: str) -> Row:
        self._check_role(role)
        device = self._catalog.set_access(device_id, access=cast(Access, access), role=role)
        return dataclasses.asdict(device)

    def list(self, *, state: str | None) -> Iterator[Row]:
        cursor: str | None = None
        states = (state,) if state else ()
        while True:
            page = self._catalog.list_devices(states=states, cursor=cursor, limit=PAGE_SIZE)  # type: ignore[arg-type]
            for device in page.devices:
                yield dataclasses.asdict(device)
            cursor = page.next_cursor
            if cursor is None:
                return

    def adopt(self, device_id: str) -> Row:
        token = new_token()
        with self._catalog.transaction():
            device = self._catalog.adopt_device(device_id)
            given = not self._catalog.tokens_of(device_id)
            if given:
                self._catalog.set_token(device_id, self._keys.token_hash(token.encode()))
        return {**dataclasses.asdict(device), "token": token if given else None}


@contextmanager
def device_commands(config: Config) -> Iterator[DeviceCommands]:
    """The running node, or the catalog under the node's lock if none runs.

    Raises:
        Conflict: code "locked": the node is just starting or stopping.
        StorageError: the catalog or its folder can't be used.
    """
    api = LocalApi(layout.node_socket(config))
    try:
        api.get("/health/live")
    except Unavailable as error:
        if error.code != NODE_STOPPED:
            raise
    else:
        yield ThroughNode(api)
        return
    prepare_folders(config)
    with lock(layout.node_lock(config), holder="homeport device"):
        keys = SiteKeys.load_or_create(config.node.data_dir)
        catalog = Catalog.open(layout.catalog(config), clock=SystemClock(), node_id=keys.node_id)
        try:
            yield OnCatalog(catalog, keys, list(roles_of(config)))
        finally:
            catalog.close()
