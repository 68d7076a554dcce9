"""What `homeport device` does: through the node while it runs, on the catalog itself while it is stopped.

Both ways answer with the same plain mappings, so that a verb prints the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote, urlencode

from appliance.core.config import Config
from appliance.core.limits import DEVICE_IMPORT_TIMEOUT_MS
from appliance.management.device_csv import MEDIA_TYPE
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import StoppedNode, node_or_catalog
from appliance.run.roles import roles_of

PAGE_SIZE = 1000
Row = dict[str, Any]


class DeviceCommands(Protocol):
    """What can be done with devices from the command line.

    Where a device is named: NotFound `device_unknown`. Where words are given: UsageError says what is wrong with them.
    """

    def add(
        self,
        device_id: str,
        *,
        kind: str,
        access: str,
        role: str = "",
        name: str,
        tags: Sequence[str],
        groups: Sequence[str] = (),
        serial: str = "",
    ) -> Row:
        """Register a device and make its token, which the answer holds as `token` and nobody can read again.

        Raises:
            Conflict: there is one of that id. NotFound: there is no such group.
        """

    def show(self, device_id: str) -> Row:
        """One device, with its tokens' ids and times as `tokens`."""

    def edit(self, device_id: str, **changes: Any) -> Row:
        """Change name, tags, groups or serial, those that are given. Raises NotFound: no such group."""

    def set_access(self, device_id: str, *, access: str, role: str) -> Row:
        """Change what a device may publish and subscribe; connections of it are held to it at once.

        Raises:
            UsageError: there is no such role, or it stands beside access "site".
        """

    def list(
        self,
        *,
        state: str | None = None,
        groups: Sequence[str] = (),
        tags: Sequence[str] = (),
        serial: str = "",
        q: str = "",
    ) -> Iterator[Row]:
        """All devices in the order of their ids, or those that all of this fits."""

    def adopt(self, device_id: str) -> Row:
        """Let a waiting device in. One without a token gets one, as `token`; otherwise that is None.

        Raises:
            Conflict: it can't be adopted any more.
        """

    def reject(self, device_id: str) -> Row:
        """Keep a waiting device out. Raises Conflict: it is active."""

    def decommission(self, device_id: str) -> Row:
        """End a device for good."""

    def replace(self, device_id: str, *, serial: str) -> Row:
        """Let other hardware take over; the answer holds its `token`. Raises Conflict: it isn't active."""

    def new_token(self, device_id: str, *, overlap_s: int) -> Row:
        """A new `token`; the one before stays valid that long. Raises Conflict: rejected or decommissioned."""

    def revoke_token(self, device_id: str, token_id: str) -> None:
        """End one token. Raises NotFound: it has none of that id."""

    def import_list(self, file: BinaryIO, *, update: bool, tokens: bool, dry_run: bool) -> Row:
        """Import a CSV list; the answer is that of the API. Raises UsageError: its header can't be used."""

    def export_list(self) -> Iterable[bytes]:
        """All devices as CSV, piece by piece."""


class ThroughNode:
    """Asks the running node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def _post(self, device_id: str, verb: str, body: dict[str, Any]) -> Row:
        answer: Row = self._api.post(f"{_one(device_id)}/{verb}", body)
        return answer

    def add(self, device_id: str, **said: Any) -> Row:
        answer: Row = self._api.post("/api/v1/devices", {"device_id": device_id, **said})
        return answer

    def show(self, device_id: str) -> Row:
        device: Row = self._api.get(_one(device_id))
        return {**device, "tokens": self._api.get(f"{_one(device_id)}/tokens")["tokens"]}

    def edit(self, device_id: str, **changes: Any) -> Row:
        answer: Row = self._api.request("PATCH", _one(device_id), changes)
        return answer

    def set_access(self, device_id: str, *, access: str, role: str) -> Row:
        return self._post(device_id, "access", {"access": access, "role": role})

    def list(
        self,
        *,
        state: str | None = None,
        groups: Sequence[str] = (),
        tags: Sequence[str] = (),
        serial: str = "",
        q: str = "",
    ) -> Iterator[Row]:
        query = [("limit", str(PAGE_SIZE)), *(("group", each) for each in groups)]
        query += [*(("tag", each) for each in tags)]
        query += [(key, value) for key, value in (("state", state), ("serial", serial), ("q", q)) if value]
        cursor = ""
        while True:
            page = self._api.get(f"/api/v1/devices?{urlencode([*query, ('cursor', cursor)])}")
            yield from page["devices"]
            if not page.get("next_cursor"):
                return
            cursor = page["next_cursor"]

    def adopt(self, device_id: str) -> Row:
        return self._post(device_id, "adopt", {})

    def reject(self, device_id: str) -> Row:
        return self._post(device_id, "reject", {})

    def decommission(self, device_id: str) -> Row:
        return self._post(device_id, "decommission", {})

    def replace(self, device_id: str, *, serial: str) -> Row:
        return self._post(device_id, "replace", {"serial": serial})

    def new_token(self, device_id: str, *, overlap_s: int) -> Row:
        return self._post(device_id, "token", {"overlap_s": overlap_s})

    def revoke_token(self, device_id: str, token_id: str) -> None:
        self._api.request("DELETE", f"{_one(device_id)}/tokens/{quote(token_id, safe='')}")

    def import_list(self, file: BinaryIO, *, update: bool, tokens: bool, dry_run: bool) -> Row:
        said = {"update": update, "tokens": tokens, "dry_run": dry_run}
        query = urlencode({key: "true" for key, value in said.items() if value})
        answer: Row = self._api.upload(
            f"/api/v1/devices/import?{query}",
            file,
            media_type=MEDIA_TYPE,
            timeout_s=DEVICE_IMPORT_TIMEOUT_MS / 1000,
        )
        return answer

    def export_list(self) -> Iterable[bytes]:
        return self._api.download("/api/v1/devices.csv")


def _one(device_id: str) -> str:
    return f"/api/v1/devices/{quote(device_id, safe='')}"


def device_commands(config: Config) -> AbstractContextManager[DeviceCommands]:
    """The running node, or the catalog under the node's lock if none runs. Raises as `node_or_catalog`."""
    return node_or_catalog(
        config,
        holder="homeport device",
        through_node=ThroughNode,
        on_catalog=lambda stopped: _on_catalog(stopped, config),
    )


def _on_catalog(stopped: StoppedNode, config: Config) -> DeviceCommands:
    # It brings half of the node with it, which a command that asks the node has no use for.
    from appliance.run.device_commands_stopped import OnCatalog

    return OnCatalog(stopped.catalog, stopped.keys, list(roles_of(config)), clock=stopped.clock)
