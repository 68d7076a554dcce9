"""Why an update failed or went back, for people: each code of a device or of the box → a sentence and what to do about it.

The codes are those of the device contract and of management/execution_states.py. A device may send others: they are shown as they are,
with its own words beside them.

Must not know: catalog, requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ui.pages.format import visible


@dataclass(frozen=True, slots=True)
class Reason:
    """A code in words. `next` is what somebody can do about it."""

    says: str
    next: str


REASONS: Final[dict[str, Reason]] = {
    # --- what the box itself found
    "stalled": Reason(
        "The download stood still for ten minutes while the device was connected.",
        "Look at its network; the next attempt goes on where this one was.",
    ),
    "step_overdue": Reason(
        "A step took longer than it may.", "Look whether the device hangs; power it off and on."
    ),
    "silent_after_reboot": Reason(
        "It did not come back from the reboot in time.", "See whether it has power and network."
    ),
    "health": Reason(
        "It was not well with the new version: too few fresh readings, or an unsteady connection.",
        "Look at its readings before and after; the artifact may be at fault.",
    ),
    "third_version": Reason(
        "It runs a version that is neither the old one nor the new one.",
        "Find out who flashed it, and with what.",
    ),
    "circles": Reason(
        "It came past the same steps again and again.", "Look at its log; something starts it anew."
    ),
    "deadline": Reason("The time for it was over.", "Retry when it can be reached."),
    "boot_fallback": Reason(
        "Its bootloader went back to the old version: the new one did not start.",
        "Try the artifact on a device beside you before it goes on.",
    ),
    "rollout": Reason("Its rollout sends it back.", "Read on the rollout's page why."),
    "ordered": Reason("It was sent back by hand or by its rollout.", "Nothing has to be done."),
    # --- what a device says and would say again
    "bad_signature": Reason(
        "No signature that it trusts is on the artifact.",
        "Sign the artifact with a key that the devices have.",
    ),
    "wrong_manifest": Reason(
        "The manifest is for another file than the one that came.", "Upload and sign the artifact anew."
    ),
    "incompatible": Reason(
        "The artifact is not for its hardware, or not for its version.",
        "Choose devices that it fits, or correct what the artifact says that it fits.",
    ),
    "epoch": Reason(
        "The artifact's security epoch is lower than what the device demands.",
        "Build the artifact with a newer epoch; older ones are kept out for good.",
    ),
    "not_yet_valid": Reason(
        "The artifact is not valid yet, by the device's clock.", "Set its clock, or wait."
    ),
    "expired": Reason(
        "The artifact's manifest has ended, by the device's clock.",
        "Sign it anew, or set the device's clock.",
    ),
    "counter_reused": Reason(
        "The device has had a newer release of this artifact.", "Give the release a higher counter."
    ),
    "fence": Reason(
        "The order came from a node that is not in charge any more.", "Look which node is in charge."
    ),
    "bad_document": Reason(
        "The device could not read its job.", "Look whether its firmware is too old for this release."
    ),
    "known_bad": Reason("The device went back from this artifact before.", "Build a better one."),
    "no_such_image": Reason(
        "The image that it was to go back to is not there any more.",
        "Roll out the version that it should run.",
    ),
    "self_test": Reason("Its own self-test failed with the new version.", "Read what it says in its log."),
    "refused": Reason("It refuses.", "Read what it says in its log."),
    "too_large": Reason("The artifact is larger than its slot.", "Build a smaller one."),
    # --- what may go better the next time
    "wrong_digest": Reason("What it downloaded has another digest.", "It fetches it anew."),
    "flash_write_failed": Reason(
        "It could not write its flash.", "When this comes again, the flash is worn out: replace the device."
    ),
    "no_image": Reason("The image that it had fetched is gone.", "It fetches it anew."),
    "unconfirmed": Reason(
        "What it runs is on trial itself and can't be replaced yet.", "It tries again when that is confirmed."
    ),
    "boot_failed": Reason(
        "Its bootloader went back to the old version: the new one did not start.",
        "Try the artifact on a device beside you before it goes on.",
    ),
    "confirm_timeout": Reason(
        "The new version was not confirmed in time, so the bootloader went back.",
        "Look at its network and its readings; the artifact may be at fault.",
    ),
}


_WHO_SAYS: Final = {"rollout": "Why", "ordered": "Why", "known_bad": "Why"}
"""What a person or the rollout says of it is not the device's word."""


def error_text(code: str, text: str = "") -> str:
    """A failure as a sentence, with the device's own words behind it; "" for no code.

    Args:
        code: As the execution has it. text: What the device said beside it, as foreign text.
    """
    if not code:
        return ""
    reason = REASONS.get(code)
    says = reason.says if reason is not None else f"It says “{visible(code)}”."
    if not text:
        return says
    said = visible(text).rstrip()
    stop = "" if said.endswith((".", "!", "?")) else "."
    return f"{says} {_WHO_SAYS.get(code, 'It says')}: {said}{stop}"


def error_next(code: str) -> str:
    """What can be done about it; "" for a code that is not known."""
    reason = REASONS.get(code)
    return reason.next if reason is not None else ""
