"""hawkBit's protocol with devices (Direct Device Integration, v1): what a state of an execution offers, and what feedback says. Pure.

An action is an execution on its way there, or one attempt of its way back; its number is made from both names, since clients take nothing but whole
numbers. What a client calls success is an installation: whether it runs is said by the next report of a version (`configData`), as
everywhere here. Once it has installed it is told to skip what it is offered, or a client without a marker of its own would install again on
every poll.

Source: hawkBit, Direct Device Integration API v1; SWUpdate 2022.12, suricatta/server_hawkbit.c.

Must not know: HTTP, tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from appliance.core.errors import UsageError
from appliance.core.limits_delivery import DDI_ATTRIBUTE_COUNT_MAX, DDI_DETAIL_LENGTH_MAX
from appliance.management.executions import State

_S: Final = State


class Offer(StrEnum):
    """What a device is offered."""

    NOTHING = "nothing"
    INSTALL = "install"
    SKIP = "skip"
    """It has installed, and may say how that went."""
    ROLL_BACK = "roll_back"
    CANCEL = "cancel"


class Outcome(StrEnum):
    """What feedback says of an action."""

    WORKING = "working"
    DOWNLOADED = "downloaded"
    INSTALLED = "installed"
    """All of it was written; which version runs is not said."""
    FAILED = "failed"
    REFUSED = "refused"
    CANCELED = "canceled"


_INSTALL: Final = frozenset({_S.NOTIFIED, _S.DOWNLOADING, _S.DOWNLOADED, _S.VERIFIED, _S.WAIT_WINDOW})
_INSTALLED: Final = frozenset({_S.REBOOTING, _S.UNCONFIRMED})
_ROLL_BACK: Final = frozenset({_S.ROLLBACK_PENDING, _S.ROLLING_BACK})
_CALLED_OFF: Final = frozenset({_S.CANCELED, _S.SUPERSEDED, _S.REMOVED, _S.TIMED_OUT})
_CLOSED: Final = "closed"
_OUTCOMES: Final = {
    "downloaded": Outcome.DOWNLOADED,
    "rejected": Outcome.REFUSED,
    "canceled": Outcome.CANCELED,
}
_WORKING: Final = frozenset({"proceeding", "scheduled", "resumed", "download"})
SKIPPED: Final = "Skipped Update."
"""What SWUpdate says of what it was told to skip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a client says of an action.

    Attributes:
        text: Its details, bounded; "" for none.
        is_closed: The client is done with the action.
        is_of_skipping: It only says that it skipped what it was told to.
    """

    outcome: Outcome
    text: str
    is_closed: bool = False
    is_of_skipping: bool = False


def offer(state: State, *, is_admitted: bool, began: bool, is_open: bool, may_install: bool) -> Offer:
    """What an execution in this state offers to its device.

    These clients install what they have downloaded at once, so outside of its maintenance window a device is offered nothing.

    Args:
        is_admitted: Its wave is open.
        began: Its device has begun with it.
        is_open: It has not ended.
        may_install: Its maintenance window is open, or there is none.
    """
    if not is_open:
        return Offer.CANCEL if began and state in _CALLED_OFF else Offer.NOTHING
    if state in _INSTALL or (state is _S.QUEUED and is_admitted):
        return Offer.INSTALL if may_install else Offer.NOTHING
    if state is _S.INSTALLING:
        # What has begun is brought to its end: these clients give up what they are offered no more.
        return Offer.INSTALL
    if state in _INSTALLED:
        return Offer.SKIP
    return Offer.ROLL_BACK if state in _ROLL_BACK else Offer.NOTHING


def action_id(execution_id: str, rollback_attempt: int = 0) -> int:
    """The number of an action: 1 to 2³¹ − 1, the same whenever it is asked for.

    Args:
        rollback_attempt: From 1 on the way back; 0 on the way there.
    """
    digest = sha256(f"{execution_id}/{rollback_attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1


def feedback_of(fields: Mapping[str, Any]) -> Feedback:
    """What a feedback's body says.

    Raises:
        UsageError: `feedback_invalid`.
    """
    status = fields.get("status")
    if not isinstance(status, Mapping) or not isinstance(status.get("execution"), str):
        raise UsageError(
            "Feedback needs status.execution.",
            hint="Send it as hawkBit's DDI v1 says (docs/HAWKBIT.md).",
            code="feedback_invalid",
        )
    details = status.get("details")
    lines = [each for each in details if isinstance(each, str)] if isinstance(details, list) else []
    result = status.get("result")
    execution = status["execution"].lower()
    outcome = _outcome(execution, result if isinstance(result, Mapping) else {})
    text = _printable(" ".join(lines)[-4 * DDI_DETAIL_LENGTH_MAX :])[-DDI_DETAIL_LENGTH_MAX:]
    return Feedback(
        outcome=outcome, text=text, is_closed=execution == _CLOSED, is_of_skipping=SKIPPED in lines
    )


def _outcome(execution: str, result: Mapping[str, Any]) -> Outcome:
    if execution == _CLOSED:
        return Outcome.FAILED if result.get("finished") == "failure" else Outcome.INSTALLED
    if execution in _OUTCOMES:
        return _OUTCOMES[execution]
    if execution not in _WORKING:
        raise UsageError(
            f"“{_printable(execution[:40])}” is no execution's status.",
            hint="It is closed, proceeding, canceled, scheduled, rejected, resumed, download or downloaded.",
            code="feedback_invalid",
        )
    progress = result.get("progress")
    if isinstance(progress, Mapping):
        done, of = progress.get("cnt"), progress.get("of")
        if isinstance(done, int) and isinstance(of, int) and 0 < of <= done:
            return Outcome.INSTALLED
    return Outcome.WORKING


VERSION_NAMES: Final = ("fw_version", "sw_version", "firmware_version", "version")
DIGEST_NAMES: Final = ("fw_digest", "digest", "sha256")
HARDWARE_NAMES: Final = ("hw", "hw_revision", "hwrevision", "hardware")
"""Attributes that mean the same, the first one that is there counts."""


def firmware_of(attributes: Mapping[str, Any]) -> dict[str, object]:
    """What configData's attributes say that runs, as the member `fw` of a twin has it; {} where they don't say it.

    A device that says no more than its version means that it stays: its agent was started by it.
    """
    known = dict(list(attributes.items())[:DDI_ATTRIBUTE_COUNT_MAX])
    found: dict[str, object] = {
        name: known[first]
        for name, names in (("version", VERSION_NAMES), ("digest", DIGEST_NAMES), ("hw", HARDWARE_NAMES))
        if (first := next((each for each in names if each in known), None)) is not None
    }
    if "version" not in found and "digest" not in found:
        return {}
    for name in ("boot_id", "slot", "epoch", "self_test"):
        if name in known:
            found[name] = known[name]
    return {**found, "confirmed": known.get("confirmed", True)}


def sleep_text(seconds: int) -> str:
    """A polling interval as HH:MM:SS.

    Args:
        seconds: Below a day.
    """
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
