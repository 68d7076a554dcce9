"""Endpoints about the site's settings: those that hold at once. All others are in the configuration file."""

from __future__ import annotations

from typing import Annotated

import msgspec

from appliance.management.site_settings import SITE_SETTINGS
from ui.api.endpoint import Call, Endpoint, Reply
from ui.site import CHANGE_ACTION, checked, read_settings, write_settings


class Setting(msgspec.Struct, kw_only=True, frozen=True):
    """One setting. `choices` are its allowed values, empty where any text (or time zone) will do."""

    key: str
    value: str
    default: str
    label: str
    effect: str
    choices: tuple[str, ...] = ()


class SettingList(msgspec.Struct, kw_only=True, frozen=True):
    """All settings of the site."""

    settings: tuple[Setting, ...]


class SettingEdit(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """New values by key; all are taken or none."""

    values: Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=len(SITE_SETTINGS))]


def setting_list(values: dict[str, str]) -> SettingList:
    """Values as they are kept, with what is known of each."""
    return SettingList(
        settings=tuple(
            Setting(
                key=key,
                value=values[key],
                default=each.default,
                label=each.label,
                effect=each.effect,
                choices=tuple(word for word, _ in each.choices),
            )
            for key, each in SITE_SETTINGS.items()
        )
    )


async def list_settings(call: Call) -> Reply:
    return Reply(content=setting_list(await call.services.catalog.read(read_settings)))


async def edit_settings(call: Call) -> Reply:
    wish: SettingEdit = call.body
    values = checked(wish.values)
    return Reply(content=setting_list(await call.write(lambda writer: write_settings(writer, values))))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/settings",
        handler=list_settings,
        needs="settings.read",
        summary="List the site's settings",
        answer=SettingList,
        tags=("settings",),
    ),
    Endpoint(
        method="PATCH",
        path="/settings",
        handler=edit_settings,
        needs="settings.manage",
        action=CHANGE_ACTION,
        summary="Change some of the site's settings; they hold at once",
        body=SettingEdit,
        answer=SettingList,
        errors=(404,),
        tags=("settings",),
    ),
)
