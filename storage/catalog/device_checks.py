"""What a device's name, tags, serial and role may be, and a group's id and words, whoever writes them. Must not know the tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from appliance.core.errors import UsageError
from appliance.core.limits import (
    DEVICE_GROUP_COUNT_MAX,
    DEVICE_NAME_LENGTH_MAX,
    DEVICE_TAG_COUNT_MAX,
    DEVICE_TAG_LENGTH_MAX,
    GROUP_DESCRIPTION_LENGTH_MAX,
    GROUP_ID_LENGTH_MAX,
    GROUP_NAME_LENGTH_MAX,
    SERIAL_LENGTH_MAX,
)
from appliance.management.access import Access

_GROUP_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


def check_role(access: Access, role: str) -> None:
    """Refuse a role beside access "site". Raises UsageError: `role_with_site`."""
    if role and access == "site":
        raise UsageError(
            "A role stands beside access “own”; access “site” opens everything already.",
            hint="Leave one of them out.",
            code="role_with_site",
        )


def check_name(name: str) -> str:
    """A device's name without the space around it. Raises UsageError: `device_name_invalid`."""
    name = name.strip()
    if len(name) > DEVICE_NAME_LENGTH_MAX or not name.isprintable():
        raise UsageError(
            f"A device's name has at most {DEVICE_NAME_LENGTH_MAX} characters, all of them visible.",
            hint="Choose a shorter name without line breaks.",
            code="device_name_invalid",
        )
    return name


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags without the space around them, each once. Raises UsageError: `device_tags_invalid`."""
    checked = tuple(dict.fromkeys(tag.strip() for tag in tags))
    good = all(0 < len(tag) <= DEVICE_TAG_LENGTH_MAX and tag.isprintable() for tag in checked)
    if len(checked) > DEVICE_TAG_COUNT_MAX or not good:
        raise UsageError(
            f"A device has at most {DEVICE_TAG_COUNT_MAX} tags of 1 to {DEVICE_TAG_LENGTH_MAX} characters.",
            hint="Use fewer or shorter tags.",
            code="device_tags_invalid",
        )
    return checked


def check_serial(serial: str) -> str:
    """A serial number without the space around it. Raises UsageError: `device_serial_invalid`."""
    serial = serial.strip()
    if len(serial) > SERIAL_LENGTH_MAX or not serial.isprintable():
        raise UsageError(
            f"A serial number has at most {SERIAL_LENGTH_MAX} characters, all of them visible.",
            hint="Take it from the device's label.",
            code="device_serial_invalid",
        )
    return serial


def check_group_count(groups: Sequence[str]) -> tuple[str, ...]:
    """Ids of groups, each once; whether there are such groups is not known here. Raises UsageError: `device_groups_invalid`."""
    checked = tuple(dict.fromkeys(groups))
    if len(checked) > DEVICE_GROUP_COUNT_MAX:
        raise UsageError(
            f"A device is in at most {DEVICE_GROUP_COUNT_MAX} groups.",
            hint="Use tags for what nobody's account is limited to.",
            code="device_groups_invalid",
        )
    return checked


def check_group_id(group_id: str) -> str:
    """A group's id, or refuse it. Raises UsageError: `group_id_invalid`."""
    if len(group_id) > GROUP_ID_LENGTH_MAX or not _GROUP_ID.fullmatch(group_id):
        raise UsageError(
            f"A group's id has 1 to {GROUP_ID_LENGTH_MAX} of a to z, 0 to 9, “.”, “_” and “-”, and begins with a letter or digit.",
            hint="Choose a short id such as hall-3; the name may be anything.",
            code="group_id_invalid",
        )
    return group_id


def check_group_words(name: str, description: str) -> tuple[str, str]:
    """A group's name and description without the space around them. Raises UsageError: `group_words_invalid`."""
    name, description = name.strip(), description.strip()
    if (
        len(name) > GROUP_NAME_LENGTH_MAX
        or not name.isprintable()
        or len(description) > GROUP_DESCRIPTION_LENGTH_MAX
        or not description.replace("\n", " ").replace("\r", " ").isprintable()
    ):
        raise UsageError(
            f"A group's name has at most {GROUP_NAME_LENGTH_MAX} visible characters, its description"
            f" {GROUP_DESCRIPTION_LENGTH_MAX}.",
            hint="Say it shorter.",
            code="group_words_invalid",
        )
    return name, description
