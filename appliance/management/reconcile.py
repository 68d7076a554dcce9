"""What a device runs, held against what it should: state × what is seen gives an event. Pure.

The device's word on what it runs is the only truth, and it is asked for at every connect. RECONCILE is the whole of the rule; what stands
around it keeps old news from counting as new: the old version proves a way back only after a boot since the slot was
written, and a report from before the state was entered proves nothing of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from appliance.management.execution import Execution
from appliance.management.executions import Event, State
from appliance.management.firmware_report import FirmwareReport


class Seen(StrEnum):
    """What a device runs, as an execution sees it."""

    TARGET = "target"
    """Confirmed."""
    TARGET_UNCONFIRMED = "target_unconfirmed"
    """Or it does not say."""
    OLD = "old"
    THIRD = "third"
    UNKNOWN = "unknown"
    """It named neither a version nor a digest that could be compared."""


_S, _E, _N = State, Event, Seen
_BEFORE: Final = (_S.QUEUED, _S.NOTIFIED)
_ON_THE_WAY: Final = (_S.DOWNLOADING, _S.DOWNLOADED, _S.VERIFIED, _S.WAIT_WINDOW)
_AFTER_A_BOOT: Final = (_S.REBOOTING, _S.TESTING, _S.UNCONFIRMED, _S.LOST)
_ROLLBACK: Final = (_S.ROLLBACK_PENDING, _S.ROLLING_BACK)

RECONCILE: Final[dict[tuple[State, Seen], Event]] = {
    **{(state, _N.TARGET): _E.RUNS_TARGET for state in (*_BEFORE, *_ON_THE_WAY, _S.INSTALLING, *_AFTER_A_BOOT, _S.FAILED)},
    # Before anything began: it runs it, whether or not it says that it will stay.
    **{(state, _N.TARGET_UNCONFIRMED): _E.RUNS_TARGET for state in _BEFORE},
    **{
        (state, _N.TARGET_UNCONFIRMED): _E.TRIES_TARGET
        for state in (*_ON_THE_WAY, _S.INSTALLING, _S.REBOOTING, _S.UNCONFIRMED, _S.LOST, _S.FAILED)
    },
    **{(state, _N.OLD): _E.RUNS_OLD for state in (_S.INSTALLING, *_AFTER_A_BOOT, *_ROLLBACK, _S.SUCCEEDED)},
    **{
        (state, _N.THIRD): _E.RUNS_OTHER
        for state in (*_ON_THE_WAY, _S.INSTALLING, *_AFTER_A_BOOT, *_ROLLBACK, _S.FAILED)
    },
}  # fmt: skip
"""What is not in it moves nothing: it is as it should be, or a person has it in hand."""

_WITHOUT_A_BOOT_ID: Final = frozenset({_S.UNCONFIRMED, _S.LOST, _S.TESTING, *_ROLLBACK, _S.SUCCEEDED})
"""Where the old version counts from a device that names no boots: it was given time to restart, or was seen with the target."""


def seen(execution: Execution, report: FirmwareReport) -> Seen:
    """What a report says, as the execution sees it.

    Whatever a device runs whose old version nobody knows is its old version.
    """
    if report.runs(execution.to_version, execution.to_digest):
        return Seen.TARGET if report.is_confirmed else Seen.TARGET_UNCONFIRMED
    is_comparable = (report.digest and execution.to_digest) or report.version
    if not is_comparable:
        return Seen.UNKNOWN
    if not execution.from_version and not execution.from_digest:
        return Seen.OLD
    return Seen.OLD if report.runs(execution.from_version, execution.from_digest) else Seen.THIRD


def event_of(execution: Execution, report: FirmwareReport) -> Event | None:
    """What a report moves, None for nothing."""
    what = seen(execution, report)
    event = RECONCILE.get((execution.state, what))
    if event is None or what in (Seen.TARGET, Seen.TARGET_UNCONFIRMED):
        return event
    if report.at_ms < execution.state_since_ms:
        return None
    if what is Seen.OLD and not _has_booted(execution, report):
        return None
    if execution.state is State.FAILED and execution.is_over:
        return None
    return event


def _has_booted(execution: Execution, report: FirmwareReport) -> bool:
    """Whether the device has booted since it wrote its other slot, or since it was seen with the target."""
    state = execution.state
    if state in _ROLLBACK:
        # What never left the old version is back where it was by saying so.
        return True
    if not report.boot_id:
        return state in _WITHOUT_A_BOOT_ID
    if state in (State.TESTING, State.SUCCEEDED):
        return report.boot_id not in (execution.boot_id, execution.install_boot_id)
    if not execution.install_boot_id:
        return state in _WITHOUT_A_BOOT_ID
    return report.boot_id != execution.install_boot_id
