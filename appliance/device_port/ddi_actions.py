"""What hawkBit's clients are asked to do, made from a device's executions, and what their feedback is to the engine.

Must not know: HTTP, who asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.management.ddi import Feedback, Offer, Outcome, action_id
from appliance.management.execution_report import ROLLING_BACK, Report, ReportStatus
from appliance.management.executions import State
from storage.catalog.deliveries import ArtifactFile, DeviceUpdate

ROLLED_BACK: Final = "rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a client is asked to do."""

    number: int
    offer: Offer
    update: DeviceUpdate
    file: ArtifactFile | None


WAITS_FOR_ITS_VERSION: Final = frozenset({State.REBOOTING, State.UNCONFIRMED, State.LOST, State.TESTING})
"""What the device runs decides what becomes of it."""
URGENCY: Final = {
    Offer.CANCEL: 0,
    Offer.ROLL_BACK: 1,
    Offer.SKIP: 2,
    Offer.INSTALL: 3,
}


def action_of(update: DeviceUpdate) -> Action:
    """An execution as the action that it is now; its `offer` says only which way it goes."""
    is_back = update.state in (State.ROLLBACK_PENDING, State.ROLLING_BACK)
    attempt = update.rollback_attempt_count + (update.state == State.ROLLBACK_PENDING) if is_back else 0
    return Action(
        number=action_id(update.execution_id, attempt),
        offer=Offer.ROLL_BACK if is_back else Offer.INSTALL,
        update=update,
        file=update.origin if is_back else update.target,
    )


def last_installed(updates: list[DeviceUpdate]) -> Action | None:
    """The newest one that succeeded."""
    found = map(action_of, updates)
    return next((each for each in found if each.update.state == State.SUCCEEDED and each.file), None)


def report_of(action: Action, feedback: Feedback) -> Report | None:
    """What feedback is to the engine; None for what says nothing new."""
    is_back = action.offer is Offer.ROLL_BACK
    has_installed = action.update.state in (State.REBOOTING, State.UNCONFIRMED, State.LOST)
    going, failed = ReportStatus.IN_PROGRESS, ReportStatus.FAILED
    match feedback.outcome:
        case Outcome.WORKING:
            return Report(status=going, phase=ROLLING_BACK if is_back else "")
        case Outcome.DOWNLOADED:
            return Report(status=going, phase=ROLLING_BACK if is_back else "downloaded")
        case Outcome.INSTALLED if is_back:
            return Report(status=ReportStatus.SUCCEEDED, phase=ROLLED_BACK)
        case Outcome.INSTALLED if feedback.is_of_skipping:
            return None
        case Outcome.INSTALLED if not action.update.bytes_done:
            # It can't have installed what it never got: it was told at its start to say that all is well (swupdate -c 2).
            return Report(status=going)
        case Outcome.INSTALLED:
            # Closed after it was installed, which a client does once it has restarted: its own word for what runs now.
            return Report(
                status=going, phase="testing" if has_installed and feedback.is_closed else "rebooting"
            )
        case Outcome.FAILED:
            return Report(
                status=failed,
                phase=ROLLING_BACK if is_back else "",
                err="install_failed",
                err_msg=feedback.text,
            )
        case Outcome.REFUSED:
            return Report(status=ReportStatus.REJECTED, err="refused", err_msg=feedback.text)
        case Outcome.CANCELED:
            return Report(
                status=failed, phase=ROLLING_BACK if is_back else "", err="canceled", err_msg=feedback.text
            )
