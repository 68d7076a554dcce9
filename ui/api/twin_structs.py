"""Bodies and answers of the endpoints about twins and commands."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from appliance.core.limits import (
    DEVICE_BULK_COUNT_MAX,
    DEVICE_COUNT_MAX,
    DEVICE_TAG_COUNT_MAX,
    PAGE_ITEM_COUNT_DEFAULT,
)
from appliance.core.limits_twins import (
    COMMAND_EXPIRY_MS_DEFAULT,
    COMMAND_EXPIRY_MS_MAX,
    COMMAND_EXPIRY_MS_MIN,
    COMMAND_METHOD_LENGTH_MAX,
    COMMAND_WAIT_S_MAX,
)
from ui.api.structs import Answer, DeviceId, GroupIds, Limit, Query, Request, Tag

CommandState = Literal[
    "queued", "sent", "succeeded", "failed", "expired", "unanswered", "canceled", "refused"
]
WhenAway = Literal["queue", "refuse"]
Method = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9][A-Za-z0-9_.:/-]{{0,{COMMAND_METHOD_LENGTH_MAX - 1}}}$")]
ExpiresIn = Annotated[int, Meta(ge=COMMAND_EXPIRY_MS_MIN // 1000, le=COMMAND_EXPIRY_MS_MAX // 1000)]
WaitFor = Annotated[int, Meta(ge=0, le=COMMAND_WAIT_S_MAX)]
TwinName = Annotated[str, Meta(pattern="^[A-Za-z0-9:_-]{0,64}$")]
Desired = Annotated[
    msgspec.Raw,
    Meta(
        description="Put on top of what is desired: null deletes a member, arrays are replaced as a whole. null instead of the object deletes all.",
        extra_json_schema={"type": ["object", "null"]},
    ),
]


class Twin(Answer, kw_only=True, frozen=True):
    """A twin: what the device should be, what it says that it is, and what of the desired it doesn't say.

    `version` counts changes of both sides, as devices see it; `desired_version` is another after every change of `desired`, and is
    the one of the ETag. `desired_at` and `reported_at` have when each value was set, in whole seconds UTC.
    """

    device_id: str
    name: str
    version: int
    desired_version: str
    desired: dict[str, Any]
    reported: dict[str, Any]
    delta: dict[str, Any]
    desired_at: dict[str, Any]
    reported_at: dict[str, Any]
    desired_set_at_ms: int | None
    reported_at_ms: int | None


class TwinList(Answer, kw_only=True, frozen=True):
    """All twins of a device, at most 16, in the order of their names: the one without a name first, as ""."""

    device_id: str
    twins: tuple[Twin, ...]


class TwinEdit(Request, kw_only=True, frozen=True):
    """What a device is wanted to be. `replace` forgets what was desired before."""

    desired: Desired
    replace: bool = False


class Command(Answer, kw_only=True, frozen=True):
    """A command to a device. It is said once, to a device that listens: `queued` until then, `sent` from then on.

    `expires_at_ms` is until when it may be begun. `is_late`: the answer came after the command had been given up as unanswered.
    `created_by` is a user, or local for the command line.
    """

    command_id: str
    device_id: str
    method: str
    params: Any
    when_away: WhenAway
    state: CommandState
    created_by: str
    created_at_ms: int
    expires_at_ms: int
    sent_at_ms: int | None
    ended_at_ms: int | None
    answered_at_ms: int | None
    is_late: bool
    result: Any
    error: str


class CommandPage(Answer, kw_only=True, frozen=True):
    """A device's commands, the newest first. Give `next_before` as `before` for the next page; null at the end."""

    device_id: str
    commands: tuple[Command, ...]
    next_before: int | None


class CommandQuery(Query, kw_only=True, frozen=True):
    """A page of commands, in any of the states."""

    state: tuple[CommandState, ...] = ()
    before: Annotated[int, Meta(ge=1, le=2**62)] | None = None
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class WaitQuery(Query, kw_only=True, frozen=True):
    """Wait so many seconds for the command to end; then it is answered as it stands."""

    wait_s: WaitFor = 0


class NewCommand(Request, kw_only=True, frozen=True):
    """Something for a device to do. `params` are any JSON of at most 8 KiB, shown to whoever may see the device and kept in the
    audit: no place for secrets.

    `when_away`: a command to a device that does not listen waits until it expires (queue), or is refused (409 `device_away`).
    """

    method: Method
    params: msgspec.Raw | UnsetType = UNSET
    when_away: WhenAway = "queue"
    expires_s: ExpiresIn = COMMAND_EXPIRY_MS_DEFAULT // 1000


class DeviceChoice(Request, kw_only=True, frozen=True):
    """Active devices, within one's scope, that all of this holds of: any of the ids, in any of the groups, with all of the tags."""

    ids: Annotated[tuple[DeviceId, ...], Meta(max_length=DEVICE_BULK_COUNT_MAX)] = ()
    groups: GroupIds = ()
    tags: Annotated[tuple[Tag, ...], Meta(max_length=DEVICE_TAG_COUNT_MAX)] = ()
    q: Annotated[str, Meta(max_length=100)] = ""


Expected = Annotated[int, Meta(ge=0, le=DEVICE_COUNT_MAX)]


class BulkCommand(Request, kw_only=True, frozen=True):
    """A command to each of some devices. `device_count` is how many one means: another number is refused, with how many it would be."""

    devices: DeviceChoice
    device_count: Expected | None = None
    command: NewCommand


class BulkTwinEdit(Request, kw_only=True, frozen=True):
    """The same desired values for each of some devices; `device_count` as for commands."""

    devices: DeviceChoice
    device_count: Expected | None = None
    name: TwinName = ""
    edit: TwinEdit


class BulkDone(Answer, kw_only=True, frozen=True):
    """What came of one device: the status and, for a failure, the code and words that the request for it alone would have had."""

    device_id: str
    status: int
    command_id: str | None = None
    code: str = ""
    message: str = ""
    hint: str = ""


class BulkOutcome(Answer, kw_only=True, frozen=True):
    """Each device by itself: what failed for one holds up no other. In the order of their ids."""

    done_count: int
    failed_count: int
    items: tuple[BulkDone, ...]
