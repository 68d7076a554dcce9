"""Every key of the configuration as the page Settings shows it: grouped, with value, default, bounds and what it does.

Everything comes from the declarations in appliance/core/config*.py; a new key appears by itself. Lists of the
configuration (bridges, mappings, roles) are counted only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from appliance.core.config import LISTS, SECTIONS, Config
from appliance.core.settings import Setting, settings_of

GROUPS: Final = (
    ("access", "Access", "Who may sign in and ask how much."),
    ("devices", "Devices", "How devices are admitted and judged."),
    ("storage", "Storage and retention", "What is kept, where, and how much of the disk it may take."),
    ("listeners", "Listeners and TLS", "Where devices, people and programs connect."),
    ("limits", "Limits of the broker", "What one client may take from the others."),
    ("box", "The box itself", "Names, folders, logging."),
)
"""Key, heading and one sentence; the order on the page."""

_GROUP_OF_SECTION: Final[Mapping[str, str]] = {
    "ui": "access",
    "api": "access",
    "devices": "devices",
    "log": "storage",
    "store": "storage",
    "broker": "limits",
}
"""Sections that are not named here are about the box itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingView:
    """One key.

    Attributes:
        key: `section.key`.
        value, default: As they are written in homeport.toml.
        variable: Of the environment, which wins over the file.
    """

    key: str
    value: str
    default: str
    allowed: str
    effect: str
    variable: str

    @property
    def is_changed(self) -> bool:
        return self.value != self.default


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingGroup:
    key: str
    label: str
    meaning: str
    settings: tuple[SettingView, ...]

    @property
    def changed(self) -> int:
        """How many have another value than their default."""
        return sum(each.is_changed for each in self.settings)


def setting_groups(config: Config) -> tuple[SettingGroup, ...]:
    """All keys of all sections, each in one group; groups without any are left out."""
    found: dict[str, list[SettingView]] = {key: [] for key, _, _ in GROUPS}
    for section, kind in SECTIONS.items():
        values = getattr(config, section)
        for key, setting in settings_of(kind).items():
            view = SettingView(
                key=f"{section}.{key}",
                value=setting.as_toml(getattr(values, key)),
                default=setting.default_as_toml(),
                allowed=setting.bounds_in_words(),
                effect=setting.help,
                variable=f"HOMEPORT_{section.upper()}__{key.upper()}",
            )
            found[group_of(section, key, setting)].append(view)
    return tuple(
        SettingGroup(key=key, label=label, meaning=meaning, settings=tuple(found[key]))
        for key, label, meaning in GROUPS
        if found[key]
    )


def group_of(section: str, key: str, setting: Setting) -> str:
    """The group that a key belongs to."""
    if setting.kind == "bind" or key.startswith(("tls_", "websocket_", "proxy_")):
        return "listeners"
    if (section, key) == ("node", "data_dir"):
        return "storage"
    return _GROUP_OF_SECTION.get(section, "box")


def list_counts(config: Config) -> tuple[tuple[str, int], ...]:
    """How many entries each list of the configuration has."""
    return tuple((name, len(getattr(config, name))) for name in LISTS)
