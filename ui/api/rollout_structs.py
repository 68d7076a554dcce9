"""Bodies, queries and answers of the API about rollouts. Times are UTC milliseconds in `_at_ms`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT
from appliance.core.limits_updates import (
    ROLLOUT_CANARY_COUNT_MAX,
    ROLLOUT_DEVICE_COUNT_MAX,
    ROLLOUT_HW_LENGTH_MAX,
    ROLLOUT_NAME_LENGTH_MAX,
    ROLLOUT_REASON_LENGTH_MAX,
    ROLLOUT_TARGET_WORD_COUNT_MAX,
    ROLLOUT_WAVE_COUNT_MAX,
)
from ui.api.structs import Answer, DeviceId, GroupId, Limit, Query, Request, Tag

RolloutStateName = Literal[
    "draft", "awaiting_approval", "ready", "running", "soaking", "paused", "stopping", "stopped", "rolling_back",
    "rolled_back", "completed",
]  # fmt: skip
RolloutAct = Literal["submit", "approve", "refuse", "start", "pause", "resume", "abort", "roll_back"]
Name = Annotated[str, Meta(min_length=1, max_length=ROLLOUT_NAME_LENGTH_MAX)]
ArtifactId = Annotated[str, Meta(min_length=1, max_length=64)]
Hardware = Annotated[str, Meta(min_length=1, max_length=ROLLOUT_HW_LENGTH_MAX)]
Reason = Annotated[str, Meta(max_length=ROLLOUT_REASON_LENGTH_MAX)]
_MANY = Meta(max_length=ROLLOUT_TARGET_WORD_COUNT_MAX)
WaveText = Annotated[str, Meta(min_length=1, max_length=8)]
DayName = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
OnStop = Literal["pause", "rollback_wave", "rollback_all"]


class TargetsWish(Request, kw_only=True, frozen=True):
    """Devices that are named, in any of the groups or with any of the tags, or all of the site; of these kinds of hardware only where any
    is named, and without those in `except`."""

    devices: Annotated[tuple[DeviceId, ...], _MANY] = ()
    groups: Annotated[tuple[GroupId, ...], _MANY] = ()
    tags: Annotated[tuple[Tag, ...], _MANY] = ()
    all: bool = False
    hw: Annotated[tuple[Hardware, ...], _MANY] = ()
    except_: Annotated[tuple[DeviceId, ...], _MANY] = msgspec.field(default=(), name="except")


class GateWish(Request, kw_only=True, frozen=True):
    """Between two waves: successes in percent of those started, the time of soaking, and whether devices have to be as well as before."""

    success_percent: int = 95
    soak_s: int = 1_800
    health: bool = True


class StopWish(Request, kw_only=True, frozen=True):
    """Stop at the larger of `count_min` failures and `percent` of those started, once `executed_min` have started."""

    percent: int = 5
    count_min: int = 2
    executed_min: int = 3


class WindowWish(Request, kw_only=True, frozen=True):
    """When devices may be started, in the site's time: from, to, on weekdays on which it begins; none for every day."""

    from_: Annotated[str, Meta(max_length=5)] = msgspec.field(name="from")
    to: Annotated[str, Meta(max_length=5)]
    days: Annotated[tuple[DayName, ...], Meta(max_length=7)] = ()


class PlanWish(Request, kw_only=True, frozen=True):
    """How to go about it. A wave says how far the rollout has gone when it is over: "3" devices, "25%" of them; the last one is "100%"."""

    waves: Annotated[tuple[WaveText, ...], Meta(max_length=ROLLOUT_WAVE_COUNT_MAX)] = (
        "1",
        "5%",
        "25%",
        "100%",
    )
    canaries: Annotated[tuple[DeviceId, ...], Meta(max_length=ROLLOUT_CANARY_COUNT_MAX)] = ()
    gate: GateWish = GateWish()
    stop: StopWish = StopWish()
    on_stop: OnStop = "pause"
    concurrency_max: int = 50
    bandwidth_bytes_s: int = 0
    start_spread_s: int = 60
    window: WindowWish | None = None
    wave_deadline_s: int = 86_400
    deadline_s: int = 14 * 86_400


class PolicyWish(Request, kw_only=True, frozen=True):
    """What each device is asked for."""

    confirm_s: int = 900
    reboot_s: int = 600
    max_attempts: int = 3
    max_rollback_attempts: int = 3


class NewRollout(Request, kw_only=True, frozen=True):
    """A rollout to make, as a draft."""

    name: Name
    artifact_id: ArtifactId
    targets: TargetsWish
    plan: PlanWish = PlanWish()
    policy: PolicyWish = PolicyWish()


class RolloutEdit(Request, kw_only=True, frozen=True):
    """What to change in a draft; what is left out stays, and what is there replaces its whole member."""

    name: Name | UnsetType = UNSET
    artifact_id: ArtifactId | UnsetType = UNSET
    targets: TargetsWish | UnsetType = UNSET
    plan: PlanWish | UnsetType = UNSET
    policy: PolicyWish | UnsetType = UNSET


class RolloutReason(Request, kw_only=True, frozen=True):
    """Why, in a sentence for whoever reads it later."""

    reason: Reason = ""


class RolloutAbort(Request, kw_only=True, frozen=True):
    """Stop for good. `confirm_count` is `abort_count` of the rollout, as whoever asks has read it."""

    confirm_count: Annotated[int, Meta(ge=0, le=ROLLOUT_DEVICE_COUNT_MAX)]
    reason: Reason = ""


class RolloutRollback(Request, kw_only=True, frozen=True):
    """Go back: the devices of the wave `from_wave` and later ones (0 for all; left out: the current one). `confirm_count` is that wave's
    `rollback_count` of the rollout."""

    confirm_count: Annotated[int, Meta(ge=0, le=ROLLOUT_DEVICE_COUNT_MAX)]
    from_wave: Annotated[int, Meta(ge=0, lt=ROLLOUT_WAVE_COUNT_MAX)] | None = None
    reason: Reason = ""


class PreviewQuery(Query, kw_only=True, frozen=True):
    """What a rollout would be for: as its `targets` and `waves`, each word as a parameter of its own."""

    artifact_id: ArtifactId
    device: Annotated[tuple[DeviceId, ...], _MANY] = ()
    group: Annotated[tuple[GroupId, ...], _MANY] = ()
    tag: Annotated[tuple[Tag, ...], _MANY] = ()
    all: bool = False
    hw: Annotated[tuple[Hardware, ...], _MANY] = ()
    except_: Annotated[tuple[DeviceId, ...], _MANY] = msgspec.field(default=(), name="except")
    wave: Annotated[tuple[WaveText, ...], Meta(max_length=ROLLOUT_WAVE_COUNT_MAX)] = ()


class RolloutQuery(Query, kw_only=True, frozen=True):
    """Which rollouts: in any of these states, of this artifact."""

    state: tuple[RolloutStateName, ...] = ()
    artifact_id: Annotated[str, Meta(max_length=64)] = ""
    cursor: Annotated[str, Meta(max_length=64)] | None = None
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class RolloutArtifact(Answer, kw_only=True, frozen=True):
    """What is rolled out; "" and 0 for one that is gone."""

    artifact_id: str
    name: str
    version: str
    sha256: str
    size_bytes: int


class RolloutWave(Answer, kw_only=True, frozen=True):
    """How a wave stands. `open` are devices that nobody is done with; `rollback_count` is how many would go back from this wave on."""

    wave: int
    device_count: int
    started: int
    succeeded: int
    failed: int
    open: int
    by_state: dict[str, int]
    rollback_count: int


class Rollout(Answer, kw_only=True, frozen=True):
    """A rollout and how it stands.

    `wave` is the current one, from 0. `reason` says why it is paused, stopped, going back, or complete with a blemish. `may` is what can be
    done with it where it is. `abort_count` is how many devices an abort lets off. `targets` and `canaries` are empty for accounts
    that are limited to some groups, whose counts are of their own devices.
    """

    rollout_id: str
    name: str
    state: RolloutStateName
    artifact: RolloutArtifact
    targets: TargetsWish
    plan: PlanWish
    policy: PolicyWish
    wave: int
    waves: tuple[RolloutWave, ...]
    device_count: int
    abort_count: int
    reason: str
    rollback_from_wave: int | None
    accepted_failures: int
    wave_started_at_ms: int | None
    soak_until_at_ms: int | None
    deadline_at_ms: int | None
    window_closes_at_ms: int | None
    window_opens_at_ms: int | None
    fence: int
    created_by: str
    created_by_name: str
    approved_by: str
    approved_at_ms: int | None
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    updated_at_ms: int
    version: str
    may: tuple[RolloutAct, ...]


class RolloutPage(Answer, kw_only=True, frozen=True):
    """Rollouts, the newest first. Give `next_cursor` as `cursor` for the next page; null at the end."""

    rollouts: tuple[Rollout, ...]
    next_cursor: str | None


class LeftOutDevices(Answer, kw_only=True, frozen=True):
    """Devices that are left out for one reason: how many, the first of them, and what the reason means."""

    reason: str
    text: str
    device_count: int
    devices: tuple[str, ...]


class RolloutPreview(Answer, kw_only=True, frozen=True):
    """What would happen if it started now: devices to update, by wave; those that run it already; those left out."""

    device_count: int
    already_count: int
    wave_sizes: tuple[int, ...]
    devices: tuple[str, ...]
    left_out: tuple[LeftOutDevices, ...]
    needs_approval: bool
