"""Bodies and answers of the endpoints about devices' credentials, groups and tags; `structs` has the device itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from appliance.core.limits import (
    DEVICE_TAG_LENGTH_MAX,
    GROUP_DESCRIPTION_LENGTH_MAX,
    GROUP_NAME_LENGTH_MAX,
    PAGE_ITEM_COUNT_DEFAULT,
)
from ui.api.structs import Answer, DeviceName, GroupId, GroupIds, Limit, Query, Request, Serial, Tag, Tags

GroupName = Annotated[str, Meta(max_length=GROUP_NAME_LENGTH_MAX)]
GroupDescription = Annotated[str, Meta(max_length=GROUP_DESCRIPTION_LENGTH_MAX)]


class DeviceEdit(Request, kw_only=True, frozen=True):
    """What to change of a device; what is left out stays as it is. `groups` and `serial` need the role installer."""

    name: DeviceName | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    groups: GroupIds | UnsetType = UNSET
    serial: Serial | UnsetType = UNSET


class Replacement(Request, kw_only=True, frozen=True):
    """The new hardware's serial number, if it is known."""

    serial: Serial = ""


class DeviceToken(Answer, kw_only=True, frozen=True):
    """A token of a device, without what it is. `expires_at_ms` is null for one that has no end."""

    token_id: str
    created_at_ms: int
    expires_at_ms: int | None


class DeviceTokens(Answer, kw_only=True, frozen=True):
    """The tokens of a device that are not revoked, the newest first; expired ones among them."""

    device_id: str
    tokens: tuple[DeviceToken, ...]


class Group(Answer, kw_only=True, frozen=True):
    """A group of devices; people's accounts may be limited to some. `device_count` counts devices in every state."""

    group_id: str
    name: str
    description: str
    created_at_ms: int
    updated_at_ms: int
    device_count: int
    version: str


class GroupList(Answer, kw_only=True, frozen=True):
    """All groups in the order of their ids: a site has 1,000 at most."""

    groups: tuple[Group, ...]


class NewGroup(Request, kw_only=True, frozen=True):
    """A group to make."""

    group_id: GroupId
    name: GroupName = ""
    description: GroupDescription = ""


class GroupEdit(Request, kw_only=True, frozen=True):
    """What to change of a group; what is left out stays as it is."""

    name: GroupName | UnsetType = UNSET
    description: GroupDescription | UnsetType = UNSET


class GroupRemoval(Query, kw_only=True, frozen=True):
    """`force` takes devices out of the group first; accounts, API tokens and claims that name it are never changed by it."""

    force: bool = False


class TagCount(Answer, kw_only=True, frozen=True):
    """A tag, and how many devices have it."""

    tag: str
    device_count: int


class TagPage(Answer, kw_only=True, frozen=True):
    """Tags in their order. Give `next_cursor` as `cursor` for the next page; null at the end."""

    tags: tuple[TagCount, ...]
    next_cursor: str | None


class TagQuery(Query, kw_only=True, frozen=True):
    """A page of tags."""

    cursor: Annotated[str, Meta(max_length=DEVICE_TAG_LENGTH_MAX)] = ""
    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class TagRename(Request, kw_only=True, frozen=True):
    """A tag and what it is to be; a device that has the new one already has it once. They aren't in the path, since a tag may hold a “/”."""

    tag: Tag
    new: Tag


class TagName(Query, kw_only=True, frozen=True):
    """Which tag."""

    tag: Tag


class DevicesChanged(Answer, kw_only=True, frozen=True):
    """How many devices were changed."""

    device_count: int
