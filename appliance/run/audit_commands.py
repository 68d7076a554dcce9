"""What `homeport audit` does: through the node while it runs, on the catalog's file while it is stopped.

Checking always reads the file itself: whether history was rewritten is not asked of a program that may be part of it. Only an
export and `accept` write, under the node's lock.
"""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from appliance.core.clock import SystemClock
from appliance.core.config import Config
from appliance.core.errors import ConfigError, Conflict, StorageError, UsageError
from appliance.core.limits import AUDIT_BATCH_COUNT
from appliance.identity.audit_check import AuditCheck, AuditVerdict
from appliance.identity.audit_heads import HEAD_FILE, read_head_file, sign_newest
from appliance.identity.keys import SiteKeys
from appliance.management.audit import LOCAL, Act, AuditEntry
from appliance.management.audit_chain import SignedHead, remembered_head
from appliance.run import layout
from appliance.run.node_or_catalog import StoppedNode, running_node, with_catalog
from storage.catalog import Catalog
from storage.catalog.audit import AuditFilter
from ui import audit_export
from ui.api.audit import entry_answer, filter_of
from ui.api.audit_structs import AuditQuery

Row = dict[str, Any]
HOLDER = "homeport audit"


def query_of(wanted: Row) -> AuditQuery:
    """The options of a verb as the API's query. Raises UsageError: `query_invalid`."""
    given = {key: value for key, value in wanted.items() if value is not None}
    try:
        return msgspec.convert(given, AuditQuery, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"That can't be looked for: {error}.",
            hint="See homeport audit list --help.",
            code="query_invalid",
        ) from error


def list_entries(config: Config, wanted: Row, *, limit: int) -> list[Row]:
    """The newest entries that pass a filter, as the API shows them.

    Args:
        wanted: Keys of the API's query.
        limit: 1 to 1,000.
    """
    query = query_of(wanted)
    api = running_node(config)
    if api is not None:
        given = {key: value for key, value in wanted.items() if value is not None}
        answer: Row = api.get(f"/api/v1/audit?{urlencode({**given, 'limit': limit})}")
        entries: list[Row] = answer["entries"]
        return entries
    with _reading(config) as catalog:
        page = catalog.list_audit(filter_of(query), limit=limit)
    return [msgspec.to_builtins(entry_answer(entry)) for entry in page.entries]


def export(config: Config, format_: audit_export.Format, wanted: Row) -> Iterator[bytes]:
    """The audit as a file, in pieces; it is noted in the audit first.

    Raises:
        Unavailable, StorageError: it broke off.
    """
    query = query_of(wanted)
    given = {key: value for key, value in wanted.items() if value is not None}
    api = running_node(config)
    if api is not None:
        yield from api.download(f"/api/v1/audit/export?{urlencode({**given, 'format': format_})}")
        return
    with with_catalog(config, holder=HOLDER) as stopped:
        yield from _export_stopped(stopped, format_, filter_of(query), given)


def _export_stopped(
    stopped: StoppedNode, format_: audit_export.Format, wanted: AuditFilter, said: Row
) -> Iterator[bytes]:
    catalog, origin = stopped.catalog, stopped.keys.node_id.hex()
    with catalog.transaction(Act(action="audit.export", actor=LOCAL)):
        catalog.note(
            "audit.export", object_kind="audit", object_id=format_, detail=f"filter {json.dumps(said)}"
        )
    head, problem = None, ""
    try:
        head = sign_newest(
            catalog,
            stopped.keys.signer,
            origin=origin,
            data_dir=stopped.config.node.data_dir,
            clock=stopped.clock,
        )
    except StorageError as error:
        problem = error.message
    yield audit_export.first_line(format_)
    count = 0
    for each in catalog.audit_origins():
        after = 0
        while batch := catalog.audit_chain(each, after_seq=after, limit=AUDIT_BATCH_COUNT, filter_=wanted):
            after, count = batch[-1].seq, count + len(batch)
            yield audit_export.lines(format_, batch)
    yield audit_export.last_line(format_, head, problem=problem, count=count, filtered=said)


def verify(config: Config, remembered: str) -> AuditVerdict:
    """Check the catalog's file, whether the node runs or not.

    Args:
        remembered: `SEQ:HASH` of an entry that must be there, "" for none.
    Raises:
        ConfigError: this box has no identity. UsageError: `audit_head_invalid`. StorageError: there is no catalog.
    """
    keys = _keys(config)
    origin = keys.node_id.hex()
    known = [remembered_head(remembered, origin)] if remembered else []
    in_file = read_head_file(config.node.data_dir)
    check = AuditCheck(
        origin=origin, key_id=keys.signer.key_id, known=[*known, *([in_file] if in_file else [])]
    )
    with _reading(config) as catalog:
        while check.step(catalog):
            pass
    return check.verdict(SystemClock().now_ms())


def verify_file(config: Config, path: Path) -> AuditVerdict:
    """Check an export in JSON lines, made with no filter, against its own head.

    Raises:
        UsageError: `audit_file_invalid`: it is none, or only a part of the audit. ConfigError: this box has no identity.
    """
    keys = _keys(config)
    last = _last_line(path)
    if last.get("filter") or not last.get("head"):
        raise _no_export(path, "only an export of everything, with a head, can be checked")
    try:
        head = SignedHead(**last["head"])
    except TypeError as error:
        raise _no_export(path, str(error)) from error
    check = AuditCheck(origin=keys.node_id.hex(), key_id=keys.signer.key_id, known=[head])
    return check.of_entries(_entries(path), SystemClock().now_ms())


def _entries(path: Path) -> Iterator[AuditEntry]:
    for fields in _lines(path):
        if "entry_count" in fields:
            return
        try:
            yield AuditEntry(**fields)
        except TypeError as error:
            raise _no_export(path, str(error)) from error


def _last_line(path: Path) -> Row:
    last: Row = next(iter(deque(_lines(path), maxlen=1)), {})
    if "entry_count" not in last:
        raise _no_export(path, "it has no head at its end, so it was cut off")
    return last


def _lines(path: Path) -> Iterator[Row]:
    try:
        with path.open("r", encoding="utf-8") as file:
            for line in file:
                fields = json.loads(line)
                if not isinstance(fields, dict):
                    raise _no_export(path, "a line of it is no JSON object")
                yield fields
    except (OSError, ValueError) as error:
        raise _no_export(path, str(error)) from error


def _no_export(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} can't be checked: {why}.",
        hint="Give a file that `homeport audit export` wrote as JSON lines, without a filter.",
        code="audit_file_invalid",
    )


def accept(config: Config) -> SignedHead:
    """Go on from the audit as it is, after a catalog was put back or the box has another key; itself in the audit.

    Raises:
        Conflict: the node runs; or `audit_damaged`: its hashes don't fit, which no acceptance can mend.
    """
    with with_catalog(config, holder=HOLDER) as stopped:
        catalog, origin = stopped.catalog, stopped.keys.node_id.hex()
        check = AuditCheck(origin=origin, key_id=stopped.keys.signer.key_id, by_hashes_alone=True)
        while check.step(catalog):
            pass
        fault = check.verdict(stopped.clock.now_ms()).fault
        if fault is not None and fault.code != "not_signed":
            raise Conflict(
                f"The audit is damaged: {fault.message}",
                hint="Put back a catalog from a backup whose audit is whole.",
                code="audit_damaged",
            )
        heads = catalog.audit_heads(origin)
        dropped = [f"{head.seq}:{head.hash}" for head in heads[-1:]]
        in_file = read_head_file(stopped.config.node.data_dir)
        if in_file is not None:
            dropped.append(f"{in_file.seq}:{in_file.hash}")
        with catalog.transaction(Act(action="audit.accept", actor=LOCAL)):
            catalog.note(
                "audit.accept",
                object_kind="audit",
                object_id=origin,
                detail=f"Signed heads that no longer count: {', '.join(dropped) or 'none'}.",
            )
            catalog.forget_audit_heads(origin)
        (stopped.config.node.data_dir / "identity" / HEAD_FILE).unlink(missing_ok=True)
        head = sign_newest(
            catalog,
            stopped.keys.signer,
            origin=origin,
            data_dir=stopped.config.node.data_dir,
            clock=stopped.clock,
        )
        assert head is not None
        return head


def _keys(config: Config) -> SiteKeys:
    folder = config.node.data_dir / "identity"
    if not (folder / "node.key").exists():
        raise ConfigError(
            f"This box has no identity: {folder} has no node.key.",
            hint="Name the right --config; an audit is checked with the key of the node that wrote it.",
            code="identity_missing",
        )
    return SiteKeys.load_or_create(config.node.data_dir)


class _reading:  # noqa: N801 - reads as a verb
    """The catalog's file, only for reading, as a context."""

    def __init__(self, config: Config) -> None:
        self._catalog = Catalog.open_read_only(layout.catalog(config), clock=SystemClock())

    def __enter__(self) -> Catalog:
        return self._catalog

    def __exit__(self, *_: object) -> None:
        self._catalog.close()


def report(verdict: AuditVerdict) -> Row:
    """A verdict as one JSON document."""
    return {
        "ok": verdict.fault is None,
        "checked_at_ms": verdict.checked_at_ms,
        "entry_count": verdict.entry_count,
        "chains": [dataclasses.asdict(chain) for chain in verdict.chains],
    }
