"""The audit: who did what, the newest first, with what was there before and after; whether it is whole; files of it.

The filter is in the URL, so that "what happened to this device" is a link.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import UsageError
from appliance.core.limits import PAGE_ROW_COUNT_DEFAULT, PAGE_TEXT_LENGTH_MAX
from appliance.management.audit import HIDDEN, AuditEntry
from appliance.management.audit_chain import remembered_head
from storage.catalog.audit import AuditFilter
from ui.pages.format import visible
from ui.pages.shell import Shell, form_of

FIELD_LENGTH_MAX: Final = 200
DAY_MS: Final = 86_400_000
_NOTHING: Final = "—"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What the URL asks for, as text; days are UTC and both included."""

    actor: str = ""
    action: str = ""
    object_kind: str = ""
    object_id: str = ""
    outcome: str = ""
    trace_id: str = ""
    from_day: str = ""
    to_day: str = ""

    @classmethod
    def of(cls, request: Request) -> Filter:
        """What means nothing is left out, so that an old bookmark still shows a list."""
        given = {
            name: request.query_params.get(key, "").strip()[:FIELD_LENGTH_MAX] for name, key in _KEYS.items()
        }
        chosen = cls(**given)
        return replace(
            chosen,
            outcome=chosen.outcome if chosen.outcome in ("done", "refused") else "",
            from_day=chosen.from_day if _day_ms(chosen.from_day) is not None else "",
            to_day=chosen.to_day if _day_ms(chosen.to_day) is not None else "",
        )

    def query(self, **more: str) -> str:
        """The query of a page like this one."""
        pairs = {**{key: getattr(self, name) for name, key in _KEYS.items()}, **more}
        encoded = urlencode([(key, value) for key, value in pairs.items() if value])
        return f"?{encoded}" if encoded else ""

    def catalog(self) -> AuditFilter:
        """The same for the catalog."""
        to_ms = _day_ms(self.to_day)
        return AuditFilter(
            actor=self.actor or None,
            action=self.action or None,
            object_kind=self.object_kind or None,
            object_id=self.object_id or None,
            outcome=self.outcome or None,  # type: ignore[arg-type]
            trace_id=self.trace_id or None,
            from_ms=_day_ms(self.from_day),
            to_ms=None if to_ms is None else to_ms + DAY_MS,
        )

    def export_url(self, format_: str) -> str:
        """The API's address of a file of these entries."""
        wanted = self.catalog()
        pairs = {
            "format": format_,
            "actor": self.actor,
            "action": self.action,
            "object_kind": self.object_kind,
            "object_id": self.object_id,
            "outcome": self.outcome,
            "trace_id": self.trace_id,
            "from": wanted.from_ms,
            "to": wanted.to_ms,
        }
        given = [(key, value) for key, value in pairs.items() if value not in ("", None)]
        return f"/api/v1/audit/export?{urlencode(given)}"


_KEYS: Final = {
    "actor": "actor",
    "action": "action",
    "object_kind": "kind",
    "object_id": "object",
    "outcome": "outcome",
    "trace_id": "trace",
    "from_day": "from",
    "to_day": "to",
}
"""Attribute of a filter → key in the URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedValue:
    """One value of a row, before and after, as text."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """An entry, ready to print. Texts are of whoever acted: cut, and without what can't be seen."""

    seq: int
    at_ms: int
    who: str
    who_kind: str
    who_url: str
    address: str
    action: str
    object_kind: str
    object_id: str
    object_url: str
    refused: bool
    detail: str
    trace_id: str
    trace_url: str
    changes: tuple[ChangedValue, ...]

    @classmethod
    def of(cls, entry: AuditEntry) -> EntryView:
        return cls(
            seq=entry.seq,
            at_ms=entry.at_ms,
            who=_cut(entry.actor) or "nobody known",
            who_kind=entry.actor_kind.replace("_", " "),
            who_url="/audit" + Filter(actor=entry.actor).query() if entry.actor else "",
            address=_cut(entry.address),
            action=entry.action,
            object_kind=entry.object_kind.replace("_", " "),
            object_id=_cut(entry.object_id),
            object_url="/audit" + Filter(object_kind=entry.object_kind, object_id=entry.object_id).query(),
            refused=entry.outcome == "refused",
            detail=_cut(entry.detail),
            trace_id=entry.trace_id,
            trace_url="/audit" + Filter(trace_id=entry.trace_id).query() if entry.trace_id else "",
            changes=changes_of(entry.before, entry.after),
        )


def changes_of(before: str | None, after: str | None) -> tuple[ChangedValue, ...]:
    """The values of a row that an entry has, in the order of their names; one that was not there is a dash."""
    old, new = _values(before), _values(after)
    return tuple(
        ChangedValue(name=visible(name), before=_text(old, name), after=_text(new, name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name) or old.get(name) == HIDDEN
    )


def _values(text: str | None) -> dict[str, Any]:
    found = json.loads(text) if text is not None else {}
    return found if isinstance(found, dict) else {}


def _text(values: dict[str, Any], name: str) -> str:
    if name not in values or values[name] is None:
        return _NOTHING
    value = values[name]
    return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) or "“”"


def _cut(text: str) -> str:
    return visible(text[:PAGE_TEXT_LENGTH_MAX]) + ("…" if len(text) > PAGE_TEXT_LENGTH_MAX else "")


def _day_ms(text: str) -> int | None:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return (day - dt.date(1970, 1, 1)).days * DAY_MS


async def show(shell: Shell, request: Request) -> Response:
    """`GET /audit?actor=&action=&kind=&object=&outcome=&trace=&from=&to=&after=`.

    Raises:
        UsageError: `cursor_invalid`. Unavailable: the catalog is busy.
    """
    chosen = Filter.of(request)
    after = request.query_params.get("after", "")[:FIELD_LENGTH_MAX]
    services = shell.services
    page = await services.catalog.read(
        lambda catalog: catalog.list_audit(
            chosen.catalog(), cursor=after or None, limit=PAGE_ROW_COUNT_DEFAULT
        )
    )
    numbers = services.audit.statistics()
    verdict = services.audit.verdict
    own = verdict.chains[0] if verdict else None
    return await shell.render(
        request,
        "audit.html",
        title="Audit",
        section="audit",
        filter=chosen,
        is_filtered=chosen != Filter(),
        rows=[EntryView.of(entry) for entry in page.entries],
        first_url="/audit" + chosen.query() if after else "",
        next_url="/audit" + chosen.query(after=page.next_cursor) if page.next_cursor else "",
        csv_url=chosen.export_url("csv"),
        jsonl_url=chosen.export_url("jsonl"),
        entry_count=numbers.entry_count,
        is_broken=numbers.signing.broken,
        verdict=verdict,
        head=f"{own.newest_seq}:{own.newest_hash}" if own and own.newest_seq else "",
    )


async def check(shell: Shell, request: Request) -> Response:
    """`POST /audit/check` with head, which may be empty; what was found stands on the page then.

    Raises:
        UsageError: `audit_head_invalid`. Conflict: `audit_check_running`.
    """
    form = await form_of(request)
    head = "".join(form.get("head", "").split())
    if len(head) > FIELD_LENGTH_MAX:
        raise UsageError("That is no head.", hint="Give it as SEQ:HASH.", code="audit_head_invalid")
    if head:
        remembered_head(head, "")  # Said before a check that may take a minute.
    await shell.services.audit.check(head)
    return RedirectResponse("/audit#check", 303)
