"""What a device's name, tags and role may be, whoever writes them. Must not know the tables."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.core.errors import UsageError
from appliance.core.limits import DEVICE_NAME_LENGTH_MAX, DEVICE_TAG_COUNT_MAX, DEVICE_TAG_LENGTH_MAX
from appliance.management.access import Access


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
