"""Queries and answers of importing and exporting lists of devices, and of doing something with many."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from appliance.core.limits import DEVICE_BULK_COUNT_MAX, DEVICE_GROUP_COUNT_MAX, DEVICE_TAG_COUNT_MAX
from ui.api.structs import Answer, DeviceId, DeviceState, GroupId, Query, Request, Serial, Tag

BulkOperation = Literal[
    "adopt", "reject", "decommission", "tag", "untag", "add_to_group", "remove_from_group"
]


class ImportQuery(Query, kw_only=True, frozen=True):
    """How to import: `dry_run` only says what would be done, `update` changes devices that differ from their row, `tokens` makes a token
    for each device that is created without one.
    """

    dry_run: bool = False
    update: bool = False
    tokens: bool = False


class ImportProblem(Answer, kw_only=True, frozen=True):
    """A row that was refused, or differs from what is there and was left alone; `line` counts from 1, the header's too."""

    line: int
    device_id: str
    outcome: Literal["differs", "refused"]
    column: str
    code: str
    reason: str
    hint: str


class ImportedToken(Answer, kw_only=True, frozen=True):
    """A new device's token, shown this once."""

    device_id: str
    token: str


class ImportAnswer(Answer, kw_only=True, frozen=True):
    """What came of a list. Every row is counted; `problems` holds the first 10,000 of those to look at."""

    dry_run: bool
    row_count: int
    created_count: int
    updated_count: int
    unchanged_count: int
    differs_count: int
    refused_count: int
    problems: tuple[ImportProblem, ...]
    problems_left_off_count: int
    tokens: tuple[ImportedToken, ...]


class ExportQuery(Query, kw_only=True, frozen=True):
    """Which devices; as in the list of them."""

    state: tuple[DeviceState, ...] = ()
    kind: Literal["device", "application"] | None = None
    group: Annotated[tuple[GroupId, ...], Meta(max_length=DEVICE_GROUP_COUNT_MAX)] = ()
    tag: Annotated[tuple[Tag, ...], Meta(max_length=DEVICE_TAG_COUNT_MAX)] = ()
    serial: Serial = ""
    q: Annotated[str, Meta(max_length=200)] = ""


class BulkRequest(Request, kw_only=True, frozen=True):
    """Something to do with each of some devices. `tag` is for tag and untag, `group` for the groups' operations.

    Decommissioning, and groups, need the role installer.
    """

    op: BulkOperation
    ids: Annotated[tuple[DeviceId, ...], Meta(min_length=1, max_length=DEVICE_BULK_COUNT_MAX)]
    tag: Tag | None = None
    group: GroupId | None = None


class BulkItem(Answer, kw_only=True, frozen=True):
    """What came of one device: the status and, for a failure, the code and words that the request for it alone would have had.

    `token` is a new one, for an adopted device that had none; shown this once.
    """

    device_id: str
    status: int
    state: DeviceState | None = None
    token: str | None = None
    code: str = ""
    message: str = ""
    hint: str = ""


class BulkAnswer(Answer, kw_only=True, frozen=True):
    """Each device by itself: what failed for one holds up no other. In the order of `ids`, each once."""

    op: BulkOperation
    done_count: int
    failed_count: int
    connections_closed: bool
    items: tuple[BulkItem, ...]
