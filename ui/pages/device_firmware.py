"""The part of a device's page about firmware: what it says that it runs, the update under way, those before with each of their moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import Unavailable, UsageError
from appliance.core.limits_updates import ROLLOUT_REASON_LENGTH_MAX
from appliance.management.execution import Execution
from appliance.management.firmware_report import Source
from storage.catalog import Catalog
from storage.catalog.device_firmware import DeviceFirmware, KnownBad
from ui import auth
from ui.api.known_bad import check_may_forgive
from ui.pages.addresses import device_url
from ui.pages.error_words import REASONS
from ui.pages.execution_facts import execution_view, move_view
from ui.pages.rollout_views import ExecutionView, MoveView
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of

HISTORY_COUNT: Final = 20
MOVE_COUNT: Final = 200
DIGEST_LENGTH: Final = 12
"""Of a digest's 64 hexadecimal digits: enough to tell two images apart by eye; the whole one is in the title."""
_SOURCES: Final[dict[Source, str]] = {
    "status": "its status",
    "twin": "its twin",
    "job": "a report about its update",
    "hawkbit": "the update protocol of hawkBit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsView:
    """What a device said last. `confirmed` is in words, "" where it does not say."""

    version: str
    digest: str
    slot: str
    confirmed: str
    epoch: int | None
    hw: str
    boot_id: str
    source: str
    at_ms: int

    @property
    def digest_short(self) -> str:
        return self.digest[:DIGEST_LENGTH]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateView:
    """An update with its moves, the first one first."""

    e: ExecutionView
    moves: tuple[MoveView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadView:
    """An image that is not offered to it again; `of_hardware` where its kind of hardware is the reason."""

    known_bad_id: str
    digest: str
    reason: str
    of_hardware: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareView:
    """All of it. `now`: updates that may move still, `before`: those that ended; the newest first."""

    runs: RunsView | None
    now: tuple[UpdateView, ...]
    before: tuple[UpdateView, ...]
    bad: tuple[BadView, ...]


def read_firmware(catalog: Catalog, device_id: str) -> FirmwareView:
    """What the catalog has of a device, which is within whoever asks' scope."""
    names: dict[str, str] = {}

    def view(execution: Execution) -> UpdateView:
        if execution.rollout_id not in names:
            rollout = catalog.find_rollout(execution.rollout_id)
            names[execution.rollout_id] = rollout.name if rollout else execution.rollout_id
        events = catalog.execution_events(execution.execution_id, limit=MOVE_COUNT)
        return UpdateView(
            e=execution_view(execution, rollout_name=names[execution.rollout_id]),
            moves=tuple(move_view(each) for each in events),
        )

    found = catalog.executions_of_device(device_id, limit=HISTORY_COUNT)
    said = catalog.device_firmware(device_id)
    return FirmwareView(
        runs=runs_view(said) if said is not None else None,
        now=tuple(view(each) for each in found if not each.is_over),
        before=tuple(view(each) for each in found if each.is_over),
        bad=tuple(bad_view(each) for each in catalog.known_bad_of(device_id)),
    )


async def forgive(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/forgive` with known_bad_id and reason. Raises NotFound: `device_unknown`, `known_bad_unknown`."""
    form = await form_of(request)
    scope, reason = await scope_of(request), form.get("reason", "").strip()
    known_bad_id = form.get("known_bad_id", "")
    if not 0 < len(reason) <= ROLLOUT_REASON_LENGTH_MAX:
        raise UsageError(
            f"The reason has {len(reason)} characters.",
            hint=f"Say in 1 to {ROLLOUT_REASON_LENGTH_MAX} why it may be tried again: it stands in the audit.",
            code="body_invalid",
        )
    if shell.services.updates is None:
        raise Unavailable("Updates are starting.", hint="Try again in a moment.", code="updates_away")
    await shell.services.catalog.read(lambda catalog: check_may_forgive(catalog, known_bad_id, scope))
    await shell.services.updates.forgive(known_bad_id, await auth.actor_of(request), reason=reason)
    return RedirectResponse(f"{device_url(request.path_params['device_id'])}?done=forgiven#firmware", 303)


def runs_view(said: DeviceFirmware) -> RunsView:
    """A report as the page shows it."""
    report = said.report
    words = {True: "confirmed", False: "on trial, not confirmed yet", None: ""}
    return RunsView(
        version=report.version,
        digest=report.digest,
        slot=report.slot,
        confirmed=words[report.is_confirmed],
        epoch=report.epoch,
        hw=report.hw,
        boot_id=report.boot_id,
        source=_SOURCES[report.source],
        at_ms=report.at_ms,
    )


def bad_view(bad: KnownBad) -> BadView:
    """A mark as the page shows it."""
    return BadView(
        known_bad_id=bad.known_bad_id,
        digest=bad.digest,
        reason=known.says if (known := REASONS.get(bad.reason)) is not None else bad.reason,
        of_hardware=bad.hw,
        at_ms=bad.created_at_ms,
    )
