"""Which devices a rollout gets, and why others don't: each that is left out has a reason that a person can act on. Pure.

Must not know: tables, time, whether a device is connected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from appliance.management.rollout_plan import Targets


class LeftOut(StrEnum):
    """Why a device that was meant gets no execution."""

    EXCLUDED = "excluded"
    """Named by “except”."""
    NOT_ACTIVE = "not_active"
    """Waiting, rejected or decommissioned."""
    OTHER_HARDWARE = "other_hardware"
    """The artifact, or the rollout, is for other hardware."""
    HARDWARE_UNKNOWN = "hardware_unknown"
    """It never said what it is, the artifact is not for all, and it is not named itself."""
    KNOWN_BAD = "known_bad"
    """It, or its kind of hardware, went back from this very artifact before."""
    NEEDS_A_HAND = "needs_a_hand"
    """It is in the work queue since an earlier rollout."""


LEFT_OUT_WORDS = {
    LeftOut.EXCLUDED: "Left out by you.",
    LeftOut.NOT_ACTIVE: "Not adopted, rejected or decommissioned.",
    LeftOut.OTHER_HARDWARE: "Other hardware than the artifact or the rollout is for.",
    LeftOut.HARDWARE_UNKNOWN: "It has never said which hardware it is; name the device itself to try all the same.",
    LeftOut.KNOWN_BAD: "It went back from this artifact before.",
    LeftOut.NEEDS_A_HAND: "It waits in the work queue; see to it there first.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A device, as far as it matters here.

    Attributes:
        hw, digest: As it reported them last; "" for never.
        is_confirmed: Whether it says that what it runs is confirmed; None where it doesn't say.
        needs_hand: It is in the work queue.
    """

    device_id: str
    state: str
    groups: Collection[str]
    tags: Collection[str]
    hw: str = ""
    version: str = ""
    digest: str = ""
    is_confirmed: bool | None = None
    needs_hand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who gets an execution; of them, who runs the artifact already; and who is left out, with the reason."""

    chosen: tuple[Candidate, ...]
    already: frozenset[str]
    left_out: dict[str, LeftOut]

    @property
    def to_update_count(self) -> int:
        """Devices that will have to do something."""
        return len(self.chosen) - len(self.already)


def is_meant(targets: Targets, device: Candidate) -> bool:
    """Whether a rollout's words mean this device, whatever speaks against it then."""
    return (
        targets.all
        or device.device_id in targets.devices
        or not set(targets.groups).isdisjoint(device.groups)
        or not set(targets.tags).isdisjoint(device.tags)
    )


def choose(
    targets: Targets,
    devices: Iterable[Candidate],
    *,
    digest: str,
    artifact_hw: Collection[str],
    bad_devices: Collection[str],
    bad_hw: Collection[str],
) -> Choice:
    """Sort devices into those that get an execution and those left out.

    Args:
        digest: Of the artifact, as devices report it ("sha256:…").
        artifact_hw: What the artifact fits; empty for any.
        bad_devices, bad_hw: For whom this digest is known to be bad.
    """
    chosen: list[Candidate] = []
    left_out: dict[str, LeftOut] = {}
    for device in devices:
        if not is_meant(targets, device):
            continue
        reason = _reason(targets, device, artifact_hw, bad_devices, bad_hw)
        if reason is None:
            chosen.append(device)
        else:
            left_out[device.device_id] = reason
    already = frozenset(
        each.device_id for each in chosen if each.digest == digest and each.is_confirmed is not False
    )
    return Choice(chosen=tuple(chosen), already=already, left_out=left_out)


def _reason(
    targets: Targets,
    device: Candidate,
    artifact_hw: Collection[str],
    bad_devices: Collection[str],
    bad_hw: Collection[str],
) -> LeftOut | None:
    if device.device_id in targets.except_:
        return LeftOut.EXCLUDED
    if device.state != "active":
        return LeftOut.NOT_ACTIVE
    if device.needs_hand:
        return LeftOut.NEEDS_A_HAND
    if device.hw:
        if (artifact_hw and device.hw not in artifact_hw) or (targets.hw and device.hw not in targets.hw):
            return LeftOut.OTHER_HARDWARE
    elif (artifact_hw or targets.hw) and device.device_id not in targets.devices:
        return LeftOut.HARDWARE_UNKNOWN
    if device.device_id in bad_devices or (device.hw and device.hw in bad_hw):
        return LeftOut.KNOWN_BAD
    return None
