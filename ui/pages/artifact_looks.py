"""How artifacts and their signatures appear: a state's word, icon and tone, and the sentence that goes with it."""

from __future__ import annotations

from typing import Final

from ui.artifact_views import ArtifactView
from ui.pages.looks import Look

SIGNATURE: Final[dict[str, Look]] = {
    "good": Look("good", "ok", "good"),
    "bad": Look("bad", "bad", "bad"),
    "unknown": Look("unknown key", "warn", "warn"),
}
ARTIFACT: Final[dict[str, Look]] = {
    "signed": Look("signed", "ok", "good"),
    "allowed": Look("not signed, allowed", "info", "idle"),
    "artifact_unsigned": Look("not signed", "warn", "warn"),
    "artifact_signatures": Look("needs signatures", "warn", "warn"),
    "signature_bad": Look("bad signature", "bad", "bad"),
    "manifest_expired": Look("expired", "bad", "bad"),
    "manifest_not_yet": Look("not valid yet", "waiting", "idle"),
    "damaged": Look("damaged", "bad", "bad"),
}
"""What an artifact is worth; the keys are the refusals' codes where it may not be rolled out."""
KEY: Final[dict[str, Look]] = {
    "trusted": Look("counts", "ok", "good"),
    "retired": Look("retired", "decommissioned", "idle"),
}
UNSIGNED_WORDS: Final[dict[str, str]] = {
    "refuse": "nothing",
    "vendor_signed": "what its maker signed itself (the device checks that signature)",
    "allow": "everything",
}


def state_of(view: ArtifactView) -> str:
    """The key of ARTIFACT for an artifact."""
    if view.is_damaged:
        return "damaged"
    if view.trust.refusal is not None:
        return view.trust.refusal.code
    return "signed" if view.trust.good_count >= view.trust.needed_count else "allowed"


def used_text(view: ArtifactView) -> str:
    """What uses it, in words; "" for nothing."""
    parts = [f"rollout {name}" for name in view.use.rollouts]
    if count := view.use.device_count:
        parts.append(f"{count} {'device' if count == 1 else 'devices'} in an update")
    return ", ".join(parts)
