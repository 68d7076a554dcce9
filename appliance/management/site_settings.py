"""Settings of the site that are changed on a page, through the API or on the command line, and hold at once. Pure.

All else is in the configuration file, which whoever owns the box edits. A setting here is a text; it is kept in the
catalog, so it is replicated and every change is in the audit. No secrets.

Must not know: where the time zones of this machine are listed, tables, requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Literal

from appliance.core.errors import NotFound, UsageError
from appliance.core.limits import SITE_NAME_LENGTH_MAX
from appliance.core.limits_updates import ROLLOUT_LARGE_DEVICE_COUNT

Kind = Literal["text", "choice", "zone", "url"]
UTC: Final = "UTC"
BASE_URL_SETTING: Final = "site.base_url"
SITE_URL_LENGTH_MAX: Final = 200
_BASE_URL: Final = re.compile(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?"
)
APPROVAL_SETTING: Final = "firmware.approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSetting:
    """One setting.

    Attributes:
        key: As API and command line name it.
        label: For people.
        effect: What it changes, one sentence.
        default: What holds while nobody has set it; "" for the site's name is the node's own.
        choices: What a choice may be, with its meaning in words.
        length_max: Characters of a text.
    """

    key: str
    label: str
    effect: str
    kind: Kind
    default: str
    choices: tuple[tuple[str, str], ...] = ()
    length_max: int = 0


SITE_SETTINGS: Final[dict[str, SiteSetting]] = {
    each.key: each
    for each in (
        SiteSetting(
            key="site.name",
            label="Site name",
            effect="Shown on top of every page. The box's own name (node.name) stays in its certificate.",
            kind="text",
            default="",
            length_max=SITE_NAME_LENGTH_MAX,
        ),
        SiteSetting(
            key="site.time_zone",
            label="Time zone",
            effect="Local times on pages are of this zone, whatever the browser's is. Everything is stored in UTC.",
            kind="zone",
            default=UTC,
        ),
        SiteSetting(
            key="site.date_format",
            label="Dates look like",
            effect="How local dates are written on pages. Files and the API always use 2026-11-27.",
            kind="choice",
            default="iso",
            choices=(("iso", "2026-11-27"), ("dmy", "27.11.2026"), ("dmy_slash", "27/11/2026"), ("mdy", "11/27/2026")),
        ),
        SiteSetting(
            key="site.language",
            label="Language",
            effect="The language of the pages. There is one so far.",
            kind="choice",
            default="en",
            choices=(("en", "English"),),
        ),
        SiteSetting(
            key=BASE_URL_SETTING,
            label="Address in notifications",
            effect="How links in notifications begin: the way whoever gets them reaches this box. Empty: the box's own address.",
            kind="url",
            default="",
            length_max=SITE_URL_LENGTH_MAX,
        ),
        SiteSetting(
            key=APPROVAL_SETTING,
            label="A second person approves rollouts",
            effect=f"Which rollouts of firmware somebody else than who made them has to approve. Large ones have more than "
            f"{ROLLOUT_LARGE_DEVICE_COUNT} devices.",
            kind="choice",
            default="large",
            choices=(("large", "Large ones"), ("always", "All"), ("never", "None")),
        ),
    )
}  # fmt: skip


def find_setting(key: str) -> SiteSetting:
    """The setting of that key.

    Raises:
        NotFound: `setting_unknown`.
    """
    found = SITE_SETTINGS.get(key)
    if found is None:
        raise NotFound(
            f"There is no setting “{key[:80]}” that can be changed here.",
            hint=f"These can: {', '.join(SITE_SETTINGS)}. All others are in homeport.toml.",
            code="setting_unknown",
        )
    return found


def check_value(setting: SiteSetting, value: str, *, zones: Callable[[], Collection[str]]) -> str:
    """The value as it is kept.

    Args:
        zones: The time zones that this machine knows; asked for only where it matters.
    Raises:
        UsageError: `setting_value`: it can't be one.
    """
    value = value.strip()
    if setting.kind == "text":
        if len(value) > setting.length_max or not value.isprintable():
            raise _refused(
                setting,
                f"at most {setting.length_max} visible characters, in one line",
                "Write it in one short line.",
            )
        return value
    if setting.kind == "url":
        if value and (len(value) > setting.length_max or _BASE_URL.fullmatch(value) is None):
            raise _refused(
                setting,
                "no address of a web server",
                "Write https:// with host and port, without a query: https://box.example.org:8443",
            )
        return value.rstrip("/")
    if setting.kind == "choice":
        words = [word for word, _ in setting.choices]
        if value not in words:
            raise _refused(
                setting, f"“{value[:40]}” is none of its values", f"Choose one of: {', '.join(words)}."
            )
        return value
    if value != UTC and value not in zones():
        raise _refused(
            setting,
            f"“{value[:40]}” is not known to this box",
            "Write it as region/city, for example Europe/Vienna, or UTC.",
        )
    return value


def _refused(setting: SiteSetting, why: str, hint: str) -> UsageError:
    return UsageError(f"{setting.label}: {why}.", hint=hint, code="setting_value")
