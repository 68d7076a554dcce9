"""What pages and API do with the audit beyond reading it: noting an act before it runs, refusals, the check, the signing.

An act that changes no row of the catalog (a client kicked, an export) is noted before it runs: an act without its entry can't
be, at worst there is an entry of something that failed, and then a second one says so.

A refused permission is noted once, and then counted for ten minutes before it is noted again: a page that asks
every second, or somebody who tries all doors, must not fill the audit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio
from starlette.requests import Request

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, Conflict, HomeportError, LimitExceeded, Unavailable
from appliance.core.limits import (
    AUDIT_ENTRY_COUNT_ALARM,
    AUDIT_EXPORT_COUNT_MAX,
    AUDIT_LAST_SIGN_TIMEOUT_MS,
    AUDIT_SIGN_INTERVAL_MS,
)
from appliance.identity.audit_check import AuditCheck, AuditVerdict
from appliance.identity.audit_heads import AuditSigning, AuditSigningStatistics, read_head_file
from appliance.identity.keys import SiteKeys
from appliance.management.audit import Act, Actor, Outcome
from appliance.management.audit_chain import SignedHead, remembered_head
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.audit import AuditSize
from storage.catalog.idempotent_answers import IdempotentNumbers
from ui.refusals import Folded, Refusal, RefusalFold

PERMISSION_CODES: Final = frozenset({"role_too_low", "scope_too_narrow"})
REFUSED: Final = "permission.refuse"
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditDeskStatistics:
    """Numbers of the desk and of the signing behind it.

    Attributes:
        entry_count: In the catalog, as of the last minute.
        idempotent_count, idempotent_bytes: Answers kept for requests that may be sent again, as of the last minute.
        refusals_total: Permissions refused to people who were signed in, folded or not.
    """

    entry_count: int
    entry_count_alarm: int
    refusals_total: int
    refusals_noted_total: int
    signing: AuditSigningStatistics
    idempotent_count: int
    idempotent_bytes: int
    last_check_ok: bool | None
    last_check_at_ms: int | None


@dataclass(slots=True)
class AuditDesk:
    """See the module's docstring. `run` it beside the node.

    Args:
        data_dir: Its `identity` holds the newest signed head.
        interval_ms: Between two signatures.
    """

    catalog: AsyncCatalog
    keys: SiteKeys
    clock: Clock
    data_dir: Path
    interval_ms: int = AUDIT_SIGN_INTERVAL_MS
    verdict: AuditVerdict | None = field(default=None, init=False)
    _is_sound: bool | None = field(default=None, init=False)
    _signing: AuditSigning = field(init=False)
    _size: AuditSize | None = field(default=None, init=False)
    _idempotent: IdempotentNumbers = field(default=IdempotentNumbers(count=0, size_bytes=0), init=False)
    _is_told: bool = field(default=False, init=False)
    _checking: trio.Lock = field(default_factory=trio.Lock, init=False)
    _export_count: int = field(default=0, init=False)
    _refusals: RefusalFold = field(init=False)
    _refusals_total: int = field(default=0, init=False)
    _refusals_noted_total: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._refusals = RefusalFold(clock=self.clock)
        self._signing = AuditSigning(
            self.catalog,
            self.keys.signer,
            origin=self.keys.node_id.hex(),
            data_dir=self.data_dir,
            clock=self.clock,
        )

    @asynccontextmanager
    async def noted(
        self, act: Act, *, object_kind: str, object_id: str, detail: str = ""
    ) -> AsyncIterator[None]:
        """Note an act before it runs (in the body); when it fails, that is noted too.

        Raises:
            Unavailable: it can't be noted, and is not done.
        """

        async def note(outcome: Outcome, detail: str) -> None:
            def write(catalog: Catalog) -> None:
                catalog.note(
                    act.action,
                    object_kind=object_kind,
                    object_id=object_id,
                    outcome=outcome,
                    detail=detail,
                )

            await self.catalog.write(write, by=act)

        await note("done", detail)
        try:
            yield
        except HomeportError as error:
            await note("refused", f"It failed: {error.message} ({error.code})")
            raise

    async def refused(self, request: Request, actor: Actor, error: HomeportError) -> None:
        """Note that a permission was refused to somebody who is signed in; others are none of the audit's business."""
        if error.code not in PERMISSION_CODES or actor.kind == "nobody":
            return
        self._refusals_total += 1
        refusal = Refusal(
            action=REFUSED,
            actor=actor.name,
            actor_kind=actor.kind,
            address=actor.address,
            object_kind="request",
            object_id=_what(request),
            reason=f"{error.message} ({error.code})",
        )
        await self._note_refusals(self._refusals.take(refusal))

    async def _note_refusals(self, folded: Sequence[Folded]) -> None:
        if not folded:
            return

        def write(catalog: Catalog) -> None:
            for each in folded:
                refusal = each.refusal
                catalog.note(
                    refusal.action,
                    object_kind=refusal.object_kind,
                    object_id=refusal.object_id,
                    outcome="refused",
                    detail=each.detail,
                    actor=Actor(name=refusal.actor, kind=refusal.actor_kind, address=refusal.address),
                )

        try:
            await self.catalog.write(write, by=Act(action=REFUSED))
        except HomeportError as failure:
            # The refusal itself stands; an answer of 503 instead would say nothing more.
            _log.error("refusals are not in the audit", count=len(folded), error=failure.message)
        else:
            self._refusals_noted_total += len(folded)

    async def check(self, remembered: str = "") -> AuditVerdict:
        """Check the whole audit, a batch at a time between other reads.

        Args:
            remembered: `SEQ:HASH` of an entry that must be there, "" for none.
        Raises:
            UsageError: `audit_head_invalid`. Conflict: `audit_check_running`, or the head's file can't be used.
        """
        known: list[SignedHead] = []
        if remembered:
            known.append(remembered_head(remembered, self.keys.node_id.hex()))
        if self._checking.locked():
            raise Conflict(
                "The audit is being checked.", hint="Wait for that to end.", code="audit_check_running"
            )
        async with self._checking:
            try:
                in_file = await trio.to_thread.run_sync(read_head_file, self.data_dir)
            except ConfigError as error:
                raise Conflict(error.message, hint=error.hint, code=error.code) from error
            check = AuditCheck(
                origin=self.keys.node_id.hex(),
                key_id=self.keys.signer.key_id,
                known=[*known, *([in_file] if in_file else [])],
            )
            while await self.catalog.read(check.step):
                pass
            self.verdict = check.verdict(self.clock.now_ms())
            if self.verdict.fault is None or not remembered:
                # Whoever mistypes what they noted must not raise an alarm for everybody.
                self._is_sound = self.verdict.fault is None
            return self.verdict

    async def head(self) -> SignedHead | None:
        """The newest entry, signed now. Raises StorageError: `audit_broken`; Unavailable."""
        return await self._signing.sign()

    def take_export_place(self) -> None:
        """Before an export is sent; `give_export_place` when it ended.

        Raises:
            LimitExceeded: `audit_export_count`.
        """
        if self._export_count >= AUDIT_EXPORT_COUNT_MAX:
            raise LimitExceeded(
                f"{AUDIT_EXPORT_COUNT_MAX} exports of the audit are being sent already.",
                hint="Wait for one to end.",
                code="audit_export_count",
            )
        self._export_count += 1

    def give_export_place(self) -> None:
        """Whichever way an export ended."""
        self._export_count -= 1

    async def run(self) -> None:
        """Sign, note what was folded and look at the size, again and again; at the end once more, within two seconds."""
        try:
            while True:
                await self._signing.try_to_sign()
                await self._look()
                await trio.sleep(self.interval_ms / 1000)
        finally:
            # A box that is switched off for a week must not come back with an hour that nobody signed.
            with trio.move_on_after(AUDIT_LAST_SIGN_TIMEOUT_MS / 1000, shield=True):
                await self._signing.try_to_sign()

    async def _look(self) -> None:
        try:
            await self._note_refusals(self._refusals.due())
            size, self._idempotent = await self.catalog.read(
                lambda catalog: (catalog.audit_size(), catalog.idempotent_numbers())
            )
        except Unavailable as error:
            _log.warning("the audit's size is not known now", error=error.message)
            return
        self._size = size
        if not self._is_told and size.entry_count >= AUDIT_ENTRY_COUNT_ALARM:
            self._is_told = True
            _log.error(
                "the audit has grown large",
                entries=size.entry_count,
                hint="Nothing of it is deleted. Look at what writes so much: homeport audit list.",
            )

    def statistics(self) -> AuditDeskStatistics:
        return AuditDeskStatistics(
            entry_count=self._size.entry_count if self._size else 0,
            entry_count_alarm=AUDIT_ENTRY_COUNT_ALARM,
            refusals_total=self._refusals_total,
            refusals_noted_total=self._refusals_noted_total,
            signing=self._signing.statistics(),
            idempotent_count=self._idempotent.count,
            idempotent_bytes=self._idempotent.size_bytes,
            last_check_ok=self._is_sound,
            last_check_at_ms=self.verdict.checked_at_ms if self.verdict else None,
        )


def _what(request: Request) -> str:
    """The request as folding sees it: with the names of what is in the path, not the values."""
    route = request.scope.get("route")
    path = getattr(route, "path", None)
    prefix = request.scope.get("root_path", "")
    return f"{request.method} {prefix}{path}" if path else f"{request.method} {request.url.path[:200]}"
