"""A twin: what a device should be (desired), what it says that it is (reported), and what differs (delta). Pure.

The semantics are those of AWS IoT's Device Shadow. The version counts accepted changes of either side from 1 and never goes back,
also when the twin is deleted and made again; who names another version than the current one is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits_twins import (
    TWIN_COUNT_MAX,
    TWIN_DEPTH_MAX,
    TWIN_LEAF_COUNT_MAX,
    TWIN_NAME_LENGTH_MAX,
    TWIN_SECTION_BYTES_MAX,
)
from appliance.management.twin_json import depth, encode, leaf_count
from appliance.management.twin_merge import Section, Times, difference, merged, times_merged

UNNAMED: Final = ""
"""The name of the twin that every device may have without naming it."""
_NAME: Final = re.compile(rf"[A-Za-z0-9:_-]{{1,{TWIN_NAME_LENGTH_MAX}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionChange:
    """What becomes of a section.

    Attributes:
        values: Put on top; null deletes.
        is_cleared: All that was there goes first.
    """

    values: Section = field(default_factory=dict)
    is_cleared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinChange:
    """An update as it is asked for; None leaves a section as it is.

    Attributes:
        version: That the asker saw, None for any.
    """

    desired: SectionChange | None = None
    reported: SectionChange | None = None
    version: int | None = None
    client_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """A twin as it stands. Never changed: `updated` makes another.

    Attributes:
        version: 0 before the first change.
        is_there: Whether it was made, and not deleted since.
        desired_at, reported_at: When each value was set (twin_merge.Times).
    """

    version: int = 0
    is_there: bool = False
    desired: Section = field(default_factory=dict)
    desired_at: Times = field(default_factory=dict)
    reported: Section = field(default_factory=dict)
    reported_at: Times = field(default_factory=dict)

    @property
    def delta(self) -> Section:
        """What of the desired is not reported."""
        return difference(self.desired, self.reported)

    def updated(self, change: TwinChange, at_s: int) -> Twin:
        """The twin after a change.

        Args:
            at_s: When, whole seconds UTC.
        Raises:
            Conflict: `twin_version`. LimitExceeded: `twin_too_large`. UsageError: `twin_too_deep`.
        """
        self.expect(change.version)
        desired, desired_at = _changed(self.desired, self.desired_at, change.desired, at_s, "desired")
        reported, reported_at = _changed(self.reported, self.reported_at, change.reported, at_s, "reported")
        return Twin(
            version=self.version + 1,
            is_there=True,
            desired=desired,
            desired_at=desired_at,
            reported=reported,
            reported_at=reported_at,
        )

    def deleted(self, version: int | None = None) -> Twin:
        """What is left when it is deleted: its version, one further.

        Raises:
            NotFound: `twin_unknown`. Conflict: `twin_version`.
        """
        if not self.is_there:
            raise unknown()
        self.expect(version)
        return Twin(version=self.version + 1)

    def expect(self, version: int | None) -> None:
        """Refuse who saw another version.

        Raises:
            Conflict: `twin_version`.
        """
        if version is not None and version != self.version:
            raise Conflict(
                f"Version conflict: the twin is at version {self.version}, not {version}.",
                hint="Read the twin again and send the change with its version.",
                code="twin_version",
            )


def _changed(
    section: Section, times: Times, change: SectionChange | None, at_s: int, name: str
) -> tuple[Section, Times]:
    if change is None:
        return section, times
    if change.is_cleared:
        section, times = {}, {}
    after = merged(section, change.values)
    _check_size(after, name)
    return after, times_merged(times, section, change.values, at_s)


def _check_size(section: Section, name: str) -> None:
    if depth(section) - 1 > TWIN_DEPTH_MAX:
        raise UsageError(
            f"“{name}” has more than {TWIN_DEPTH_MAX} levels of objects and arrays.",
            hint="Make it flatter.",
            code="twin_too_deep",
        )
    size_bytes = len(encode(section))
    if size_bytes > TWIN_SECTION_BYTES_MAX:
        raise LimitExceeded(
            f"“{name}” would have {size_bytes:,} bytes; a twin takes {TWIN_SECTION_BYTES_MAX:,}.",
            hint="Delete what is not needed (null), or use another named twin.",
            code="twin_too_large",
        )
    count = leaf_count(section)
    if count > TWIN_LEAF_COUNT_MAX:
        raise LimitExceeded(
            f"“{name}” would have {count:,} values; a twin takes {TWIN_LEAF_COUNT_MAX}.",
            hint="Delete what is not needed (null), or use another named twin.",
            code="twin_too_large",
        )


def check_name(name: str) -> None:
    """Refuse what can't be a twin's name; "" is the one without.

    Raises:
        UsageError: `twin_name_invalid`.
    """
    if name != UNNAMED and not _NAME.fullmatch(name):
        raise UsageError(
            f"“{name[:80]}” can't be a twin's name.",
            hint=f"Use 1 to {TWIN_NAME_LENGTH_MAX} letters, digits, “:”, “_” and “-”.",
            code="twin_name_invalid",
        )


def unknown(name: str = UNNAMED) -> NotFound:
    """The refusal of a twin that isn't there."""
    which = f"No twin exists with name: “{name}”." if name else "No twin exists without a name."
    return NotFound(
        which, hint="It is made by the first update, of the device or of a person.", code="twin_unknown"
    )


def too_many() -> LimitExceeded:
    """The refusal of one twin more than a device may have."""
    return LimitExceeded(
        f"A device has at most {TWIN_COUNT_MAX} twins.",
        hint="Delete one that is not used.",
        code="twin_count",
    )
