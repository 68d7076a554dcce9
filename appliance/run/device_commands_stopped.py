"""What `homeport device` does on the catalog itself, while the node is stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final, TypeVar, cast

from appliance.core.clock import Clock
from appliance.identity.keys import SiteKeys, new_token
from appliance.management.access import Access, Kind, role_unknown
from appliance.management.audit import LOCAL, Act
from appliance.management.device_csv import DeviceCsvReader
from appliance.management.import_report import ImportReport
from storage.catalog.catalog import Catalog
from storage.catalog.device_import import ImportRules
from storage.catalog.rows import Device, DeviceState, Group
from ui.device_export import HEADER_LINE, device_line
from ui.device_import import ACTION, RowSieve, report_fields

Row = dict[str, Any]
R = TypeVar("R")
PAGE_SIZE: Final = 1000
_READ_BYTES: Final = 1 << 20


def as_answer(what: Device | Group) -> Row:
    """As the API gives it: a version is text, since it is more than a JSON number holds everywhere."""
    return {**dataclasses.asdict(what), "version": str(what.version)}


class OnCatalog:
    """Works on the catalog itself; the caller holds the node's lock. Methods as in DeviceCommands.

    Args:
        roles: Names of the configuration's roles.
    """

    def __init__(self, catalog: Catalog, keys: SiteKeys, roles: Sequence[str] = (), *, clock: Clock) -> None:
        self._catalog = catalog
        self._keys = keys
        self._roles = roles
        self._clock = clock

    def _write(self, action: str, fn: Callable[[], R]) -> R:
        with self._catalog.transaction(Act(action=action, actor=LOCAL)):
            return fn()

    def _check_role(self, role: str) -> None:
        if role and role not in self._roles:
            raise role_unknown(role, self._roles)

    def _with_new_token(self, action: str, change: Callable[[], Device], *, always: bool = True) -> Row:
        token = new_token()

        def write() -> Row:
            device = change()
            given = always or not self._catalog.tokens_of(device.device_id)
            if given:
                self._catalog.set_token(device.device_id, self._keys.token_hash(token.encode()))
            return {**as_answer(device), "token": token if given else None}

        return self._write(action, write)

    def add(
        self, device_id: str, *, kind: str, access: str, role: str = "", name: str, tags: Sequence[str],
        groups: Sequence[str] = (), serial: str = "",
    ) -> Row:  # fmt: skip
        self._check_role(role)
        return self._with_new_token(
            "device.create",
            lambda: self._catalog.add_device(
                device_id,
                kind=cast(Kind, kind),
                access=cast(Access, access),
                role=role,
                name=name,
                tags=tags,
                groups=groups,
                serial=serial,
            ),
        )

    def show(self, device_id: str) -> Row:
        device = self._catalog.get_device(device_id)
        tokens = [
            {
                "token_id": token.token_id,
                "created_at_ms": token.created_at_ms,
                "expires_at_ms": token.expires_at_ms,
            }
            for token in self._catalog.tokens_of(device_id)
        ]
        return {**as_answer(device), "tokens": tokens}

    def edit(self, device_id: str, **changes: Any) -> Row:
        return as_answer(self._write("device.edit", lambda: self._catalog.edit_device(device_id, **changes)))

    def set_access(self, device_id: str, *, access: str, role: str) -> Row:
        self._check_role(role)
        return as_answer(
            self._write(
                "device.set_access",
                lambda: self._catalog.set_access(device_id, access=cast(Access, access), role=role),
            )
        )

    def list(
        self, *, state: str | None = None, groups: Sequence[str] = (), tags: Sequence[str] = (), serial: str = "",
        q: str = "",
    ) -> Iterator[Row]:  # fmt: skip
        states = (cast(DeviceState, state),) if state else ()
        cursor: str | None = None
        while True:
            page = self._catalog.list_devices(
                states=states, groups=groups, tags=tags, serial=serial, q=q, cursor=cursor, limit=PAGE_SIZE
            )
            for device in page.devices:
                yield as_answer(device)
            cursor = page.next_cursor
            if cursor is None:
                return

    def adopt(self, device_id: str) -> Row:
        return self._with_new_token(
            "device.adopt", lambda: self._catalog.adopt_device(device_id), always=False
        )

    def reject(self, device_id: str) -> Row:
        return as_answer(self._write("device.reject", lambda: self._catalog.reject_device(device_id)))

    def decommission(self, device_id: str) -> Row:
        return as_answer(
            self._write("device.decommission", lambda: self._catalog.decommission_device(device_id))
        )

    def replace(self, device_id: str, *, serial: str) -> Row:
        return self._with_new_token(
            "device.replace", lambda: self._catalog.replace_device(device_id, serial=serial)
        )

    def new_token(self, device_id: str, *, overlap_s: int) -> Row:
        token = new_token()
        old_valid_until_ms = self._clock.now_ms() + overlap_s * 1000

        def write() -> Row:
            if overlap_s == 0:
                self._catalog.revoke_tokens(device_id)
            self._catalog.set_token(
                device_id,
                self._keys.token_hash(token.encode()),
                old_valid_until_ms=old_valid_until_ms,
            )
            return {**as_answer(self._catalog.get_device(device_id)), "token": token}

        return self._write("device_token.create", write)

    def revoke_token(self, device_id: str, token_id: str) -> None:
        def write() -> None:
            self._catalog.get_device(device_id)
            self._catalog.revoke_token(device_id, token_id)

        self._write("device_token.revoke", write)

    def import_list(self, file: BinaryIO, *, update: bool, tokens: bool, dry_run: bool) -> Row:
        rules = ImportRules(
            scope=None,
            roles=frozenset(self._roles),
            update=update,
            hash_token=self._keys.token_hash,
            new_token=new_token if tokens else None,
            dry_run=dry_run,
        )
        reader, sieve, report = DeviceCsvReader(), RowSieve(), ImportReport(dry_run=dry_run)
        ends = False
        while not ends:
            piece = file.read(_READ_BYTES)
            ends = not piece
            rows, refused = sieve.sift(reader.receive_eof() if ends else reader.receive_bytes(piece))
            report.take(refused)
            while rows:
                with self._catalog.transaction(Act(action=ACTION, actor=LOCAL)):
                    results = self._catalog.import_rows(rows, rules)
                report.take(results)
                rows = rows[len(results) :]
        report.problems.sort(key=lambda result: result.line)  # as the node does
        return report_fields(report)

    def export_list(self) -> Iterable[bytes]:
        self._write(
            "device.export",
            lambda: self._catalog.note("device.export", object_kind="device", object_id="*"),
        )
        yield HEADER_LINE.encode()
        cursor: str | None = None
        while True:
            page = self._catalog.list_devices(cursor=cursor, limit=PAGE_SIZE)
            yield "".join(device_line(device) for device in page.devices).encode()
            cursor = page.next_cursor
            if cursor is None:
                return
