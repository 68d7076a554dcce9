"""Executions to try the machine with: one in any state, a context, reports, and firmware as devices say it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from appliance.management.execution import (
    Context,
    Execution,
    FirmwareSeen,
    Happening,
    HealthSeen,
    Moved,
    Reported,
    Terms,
)
from appliance.management.execution_machine import step
from appliance.management.execution_report import Report, ReportStatus
from appliance.management.executions import State
from appliance.management.firmware_report import FirmwareReport

NOW_MS: Final = 1_700_000_000_000
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
OLD_DIGEST, NEW_DIGEST, THIRD_DIGEST = "0" * 64, "1" * 64, "3" * 64
DEVICE: Final = "pump-1"


def an_execution(state: State = State.QUEUED, **changes: Any) -> Execution:
    """One that is admitted and a minute old; in a later state it has begun, in boot A."""
    made = Execution(
        execution_id="e1",
        rollout_id="r1",
        device_id=DEVICE,
        wave=0,
        number=1,
        to_version="2.0",
        to_digest=NEW_DIGEST,
        from_version="1.0",
        from_digest=OLD_DIGEST,
        state=state,
        is_admitted=True,
        state_since_ms=NOW_MS - MINUTE_MS,
        created_at_ms=NOW_MS - MINUTE_MS,
        updated_at_ms=NOW_MS - MINUTE_MS,
    )
    if state is not State.QUEUED:
        made = replace(made, started_at_ms=NOW_MS - MINUTE_MS, boot_id="A")
    if state in (State.INSTALLING, State.REBOOTING, State.TESTING, State.UNCONFIRMED, State.LOST):
        made = replace(made, slot_touched=True, install_boot_id="A")
    if state is State.PAUSED:
        made = replace(made, before_pause=State.DOWNLOADING.value)
    return replace(made, **changes)


def a_context(
    *,
    firmware: FirmwareReport | None = None,
    is_reachable: bool = True,
    health: HealthSeen | None = None,
    **terms: Any,
) -> Context:
    """A device that is there, in a rollout without windows."""
    return Context(
        terms=Terms(**terms),
        is_reachable=is_reachable,
        firmware=firmware,
        health=health or HealthSeen(),
        random=0.5,
    )


def firmware(
    digest: str = OLD_DIGEST, *, boot: str = "B", is_confirmed: bool | None = True, **changes: Any
) -> FirmwareReport:
    """What a device says that it runs."""
    versions = {OLD_DIGEST: "1.0", NEW_DIGEST: "2.0", THIRD_DIGEST: "9.9"}
    made = FirmwareReport(
        device_id=DEVICE,
        version=versions.get(digest, ""),
        digest=digest,
        is_confirmed=is_confirmed,
        boot_id=boot,
        session=boot,
        seq=1,
        at_ms=NOW_MS,
    )
    return replace(made, **changes)


def a_report(phase: str = "", status: ReportStatus = ReportStatus.IN_PROGRESS, **changes: Any) -> Report:
    """A report in boot A."""
    return replace(Report(status=status, phase=phase, boot_id="A"), **changes)


def after(
    execution: Execution, happening: Happening, *, now_ms: int = NOW_MS, context: Context | None = None
) -> Moved:
    """One step."""
    return step(execution, happening, now_ms, context or a_context())


def reported(execution: Execution, report: Report, *, context: Context | None = None) -> Moved:
    """One report."""
    return after(execution, Reported(report), context=context)


def runs(execution: Execution, report: FirmwareReport, *, now_ms: int = NOW_MS) -> Moved:
    """The device says what it runs."""
    return after(execution, FirmwareSeen(report), now_ms=now_ms)


def way(moved: Moved) -> list[str]:
    """The events of a step."""
    return [str(move.event) for move in moved.moves]
