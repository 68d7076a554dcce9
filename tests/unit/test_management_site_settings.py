"""The site's own settings: what each may be."""

from __future__ import annotations

import pytest

from appliance.core.errors import NotFound, UsageError
from appliance.core.limits import SITE_NAME_LENGTH_MAX
from appliance.management.site_settings import SITE_SETTINGS, check_value, find_setting

ZONES = ("UTC", "Europe/Vienna")


def test_every_default_is_a_value_that_is_allowed() -> None:
    for setting in SITE_SETTINGS.values():
        assert check_value(setting, setting.default, zones=lambda: ZONES) == setting.default


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("site.name", "  Sawmill  ", "Sawmill"),
        ("site.name", "ü" * SITE_NAME_LENGTH_MAX, "ü" * SITE_NAME_LENGTH_MAX),
        ("site.time_zone", "Europe/Vienna", "Europe/Vienna"),
        ("site.date_format", "mdy", "mdy"),
        ("site.base_url", " https://box.example.org:8443/ ", "https://box.example.org:8443"),
        ("site.base_url", "http://[fd00::1]/homeport", "http://[fd00::1]/homeport"),
        ("site.base_url", "", ""),
    ],
)
def test_a_value_is_kept_without_spaces_around_it(key: str, value: str, kept: str) -> None:
    assert check_value(find_setting(key), value, zones=lambda: ZONES) == kept


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("site.name", "x" * (SITE_NAME_LENGTH_MAX + 1)),
        ("site.name", "two\nlines"),
        ("site.name", "turned \u202e round"),
        ("site.time_zone", "Europe/Atlantis"),
        ("site.time_zone", "../../etc/passwd"),
        ("site.date_format", "ydm"),
        ("site.language", "de"),
        ("site.base_url", "box.example.org"),
        ("site.base_url", "javascript:alert(1)"),
        ("site.base_url", "https://box/?a=b"),
        ("site.base_url", "https://user:pass@box/"),
        ("site.base_url", "https://" + "x" * 200),
    ],
)
def test_what_it_can_t_be_is_refused_with_what_to_do(key: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_value(find_setting(key), value, zones=lambda: ZONES)
    assert caught.value.code == "setting_value"
    assert caught.value.hint


def test_an_unknown_key_names_those_there_are() -> None:
    with pytest.raises(NotFound) as caught:
        find_setting("setup.done")
    assert caught.value.code == "setting_unknown"
    assert "site.time_zone" in caught.value.hint
